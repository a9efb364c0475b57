"""Services beside each other on one machine, and what keeps one from starting."""

import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from serving.preflight import CannotServe
from serving.server import check_port, page_url
from tests.serving.server import ROOT, START_SECONDS, environment, free_port, serving

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What all services of a user share: one HOME, one TMPDIR. The latter is returned."""
    folder = tmp_path_factory.mktemp("machine")
    (folder / "tmp").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("BENTOML_HOME", raising=False)
        patch.setenv("HOME", str(folder))
        patch.setenv("TMPDIR", str(folder / "tmp"))
        yield folder / "tmp"


@pytest.fixture(scope="module")
def first(
    machine: Path, model: Path, png: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[httpx.Client]:
    """A service that has classified one chip, and still says so at the end."""
    del machine  # its variables hold for this service
    with serving(model, tmp_path_factory.mktemp("first") / "log.txt") as client:
        classify(client, png["Cargo"])
        yield client
        assert chips(client) == 1


def has_ipv6() -> bool:
    addresses = Path("/proc/net/if_inet6")
    return addresses.is_file() and bool(addresses.read_text())


def classify(client: httpx.Client, chip: bytes) -> None:
    client.post("/v1/classify", files=[("files", ("a.png", chip))]).raise_for_status()


def chips(client: httpx.Client) -> float:
    """How many chips were classified, as /metrics has it."""
    name = 'shipchip_chips_total{code="",outcome="ok"} '
    lines = client.get("/metrics").text.splitlines()
    return sum(float(line.removeprefix(name)) for line in lines if line.startswith(name))


def start(*options: str, model: Path) -> subprocess.CompletedProcess[str]:
    """`bentoml serve` that ends by itself."""
    return subprocess.run(
        [sys.executable, "-m", "bentoml", "serve", "--host", "127.0.0.1", *options],
        cwd=ROOT,
        env=environment(model),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_each_service_counts_its_own_chips_and_deletes_its_figures_at_the_end(
    first: httpx.Client, machine: Path, model: Path, png: dict[str, bytes], tmp_path: Path
) -> None:
    before = set(machine.iterdir())
    with serving(model, tmp_path / "log.txt") as second:
        assert chips(first) == 1
        for label in ("Cargo", "Tanker"):
            classify(second, png[label])
        assert (chips(first), chips(second)) == (1, 2)
    assert set(machine.iterdir()) == before
    assert chips(first) == 1


def test_a_port_that_is_taken_is_one_line_and_disturbs_nobody(
    first: httpx.Client, model: Path
) -> None:
    port = first.base_url.port
    ended = start("--port", str(port), model=model)
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert ended.stderr == (
        f"shipchip: cannot serve: port {port} of 127.0.0.1: Address already in use; stop what "
        "listens there, or choose another port: `make serve PORT=8080`, `bentoml serve --port "
        "8080`\n"
    )
    assert chips(first) == 1


def test_a_home_in_which_bentoml_cannot_make_its_folder_is_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, model: Path
) -> None:
    (tmp_path / "home").write_text("a file")
    monkeypatch.delenv("BENTOML_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    ended = start("--port", "0", model=model)
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert ended.stderr == (
        "shipchip: cannot serve: BentoML's folder cannot be made: [Errno 20] Not a directory: "
        f"'{tmp_path}/home/bentoml'; set HOME, or BENTOML_HOME, to a folder that can be written\n"
    )


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "0.0.0.0",
        pytest.param("::1", marks=pytest.mark.skipif(not has_ipv6(), reason="no IPv6 here")),
    ],
)
def test_a_free_port_is_let_pass(host: str) -> None:
    check_port(host, free_port())


@pytest.mark.parametrize(
    ("host", "port", "said"),
    [
        ("127.0.0.1", 65536, "port 65536 is no port; expected 1 to 65535"),
        ("localhost", 3000, "host 'localhost' is no IP address; expected one, as 127.0.0.1"),
        ("192.0.2.1", 3000, "port 3000 of 192.0.2.1: Cannot assign requested address; "),
    ],
)
def test_an_address_that_cannot_be_served_is_named(host: str, port: int, said: str) -> None:
    with pytest.raises(CannotServe) as error:
        check_port(host, port)
    assert str(error.value).startswith(said)


BENTOML = ("bentoml", "serve")
SHIPCHIP = ("shipchip.command", "serve")


@contextmanager
def on_a_terminal(*command: str, model: Path) -> Iterator[str]:
    """What `python -m COMMAND` says on a terminal until it is ready; it then ends by Ctrl-C."""
    shown, terminal = os.openpty()
    port = str(free_port())
    process = subprocess.Popen(
        [sys.executable, "-m", *command, "--host", "127.0.0.1", "--port", port],
        cwd=ROOT,
        env=environment(model),
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
    )
    os.close(terminal)
    said, deadline = "", time.monotonic() + START_SECONDS
    try:
        while "Completed startup hook" not in said:
            assert select.select([shown], [], [], deadline - time.monotonic())[0], said
            said += os.read(shown, 2**16).decode()
        yield said
    finally:
        process.send_signal(signal.SIGINT)
        while True:  # a full terminal would keep it from ending
            try:
                if not os.read(shown, 2**16):
                    break
            except OSError:  # nobody has the other end any more
                break
        os.close(shown)
        process.wait(timeout=20)


@pytest.mark.parametrize("command", [BENTOML, SHIPCHIP], ids=" ".join)
def test_on_a_terminal_one_line_says_where_the_page_and_the_api_are(
    command: tuple[str, str], model: Path
) -> None:
    with on_a_terminal(*command, model=model) as said:
        (line,) = [line for line in said.splitlines() if "/demo" in line]
        demo, docs = re.findall(r"http://127\.0\.0\.1:\d+/\w+", line)
        assert line == f"shipchip: classify chips on {demo}, see the API on {docs}"
        assert "<title>shipchip</title>" in httpx.get(demo).text
        assert "docs/swagger-ui-bundle.js" in httpx.get(docs).text


def test_in_a_log_there_is_no_such_line(model: Path, tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    with serving(model, log):
        assert "/demo" not in log.read_text()


@pytest.mark.parametrize(
    ("host", "secure", "start"),
    [
        ("0.0.0.0", False, "http://localhost:3000"),
        ("::", False, "http://localhost:3000"),
        ("::1", False, "http://[::1]:3000"),
        ("192.0.2.1", True, "https://192.0.2.1:3000"),
    ],
)
def test_the_address_of_the_page_is_one_that_a_browser_takes(
    host: str, secure: bool, start: str
) -> None:
    assert page_url(host, 3000, secure=secure) == start
