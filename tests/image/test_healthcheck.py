"""The container's health command: exit status 0 when /readyz says yes, else one line and 1."""

import http.server
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from serving import healthcheck
from tests.serving.server import ROOT


class Readyz(http.server.BaseHTTPRequestHandler):
    """Answers /readyz with the server's `status`, everything else with 404."""

    def do_GET(self) -> None:
        status = self.server.status if self.path == "/readyz" else 404  # type: ignore[attr-defined]
        if status is None:
            self.wfile.write(b"this is not HTTP\r\n\r\n")
            return
        self.send_response(status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """No line a request."""


@contextmanager
def answering(status: int | None) -> Iterator[int]:
    """The port of a server on this machine."""
    with http.server.HTTPServer(("127.0.0.1", 0), Readyz) as server:
        server.status = status  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def health(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[[object], tuple[int, str]]:
    def at(port: object) -> tuple[int, str]:
        monkeypatch.setenv("BENTOML_PORT", str(port))
        status = healthcheck.main()
        return status, capfd.readouterr().err

    return at


def test_ready_is_0_and_silent(health: Callable[[object], tuple[int, str]]) -> None:
    with answering(200) as port:
        assert health(port) == (0, "")


@pytest.mark.parametrize(
    ("status", "message"), [(503, "answers 503"), (404, "answers 404"), (None, "no answer")]
)
def test_any_other_answer_is_1_and_one_line(
    health: Callable[[object], tuple[int, str]], status: int | None, message: str
) -> None:
    with answering(status) as port:
        code, said = health(port)
    assert code == 1
    assert said.startswith("shipchip: not ready: ")
    assert f"port {port}" in said
    assert message in said
    assert said.count("\n") == 1


def test_nobody_there_is_1(health: Callable[[object], tuple[int, str]]) -> None:
    with socket.socket() as bound:  # and not listening
        bound.bind(("127.0.0.1", 0))
        code, said = health(bound.getsockname()[1])
    assert (code, said.count("\n")) == (1, 1)
    assert "refused" in said


@pytest.mark.parametrize("port", ["", "0", "65536", "tcp://10.0.0.1:3000", "³"])
def test_a_port_that_is_none_is_reported(
    health: Callable[[object], tuple[int, str]], port: str
) -> None:
    code, said = health(port)
    assert code == 1
    assert f"BENTOML_PORT is {port!r}" in said


def test_a_service_that_hangs_is_not_waited_for(
    health: Callable[[object], tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(healthcheck, "_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert health(silent.getsockname()[1])[0] == 1


def test_it_starts_without_what_it_does_not_need() -> None:
    script = "import sys, serving.healthcheck; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert set(done.stdout.split()) & {"bentoml", "numpy", "onnxruntime", "pydantic"} == set()
