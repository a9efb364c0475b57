"""Workers that are killed, services that are stopped, and more load than there is room for."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.robustness.conftest import Files, ask
from tests.robustness.watching import supervisor_of, workers_of
from tests.serving.server import serving

pytestmark = pytest.mark.slow

WITHIN = 10  # seconds until a service whose worker was killed answers again


@dataclass
class Seen:
    """What clients met, with the second at which they met it."""

    answers: list[tuple[float, httpx.Response]] = field(default_factory=list)
    broken: list[tuple[float, httpx.TransportError]] = field(default_factory=list)

    def statuses(self) -> set[int]:
        """Every status that was answered."""
        return {response.status_code for _, response in self.answers}


@contextmanager
def load(client: httpx.Client, files: Files, clients: int) -> Iterator[Seen]:
    """Clients that ask again and again, each as soon as it is answered, until the block ends."""
    seen = Seen()
    enough = threading.Event()

    def keep_asking() -> None:
        with httpx.Client(base_url=client.base_url, timeout=30) as own:
            while not enough.is_set():
                try:
                    response = own.post("/v1/classify", files=files)
                    seen.answers.append((time.monotonic(), response))
                except httpx.TransportError as error:
                    seen.broken.append((time.monotonic(), error))
                    time.sleep(0.05)

    threads = [threading.Thread(target=keep_asking) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        enough.set()
        for thread in threads:
            thread.join(40)


def wait_for(what: Callable[[], Any], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.05)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_worker_is_replaced_and_no_answer_is_wrong(
    tiny_model_file: Path, tmp_path: Path, good: Files, workers: int
) -> None:
    with serving(tiny_model_file, tmp_path / "log.txt", workers=workers) as client:
        wait_for(lambda: len(workers_of(client)) == workers, 20)
        expected = ask(client, good)
        with load(client, good, clients=4) as seen:
            time.sleep(1)
            killed = workers_of(client)[0]
            killed.send_signal(signal.SIGKILL)
            at = time.monotonic()
            psutil.wait_procs([killed], timeout=5)
            # An answer to a request that began after the kill, and all workers are there again.
            ask_again = httpx.Client(base_url=client.base_url, timeout=WITHIN)
            with ask_again:
                wait_for(lambda: _answers(ask_again), WITHIN)
            took = time.monotonic() - at
            wait_for(lambda: len(workers_of(client)) == workers, 20)
            time.sleep(1)
        assert took < WITHIN
        assert seen.statuses() == {200}
        assert {str(response.json()["results"]) for _, response in seen.answers} == {str(expected)}
        assert killed not in workers_of(client)
        # Only what the killed worker held was lost: at most a connection a client, and its retry.
        assert len(seen.broken) <= 8
        assert any(when > at for when, _ in seen.answers)


def test_a_dead_worker_is_replaced_however_often(tiny_model_file: Path, tmp_path: Path) -> None:
    """By BentoML, which looks every ten seconds."""
    with serving(tiny_model_file, tmp_path / "log.txt") as client:
        for _ in range(2):
            (worker,) = workers_of(client)
            worker.send_signal(signal.SIGKILL)
            wait_for(lambda gone=worker: workers_of(client) not in ([gone], []), 15)
        wait_for(lambda: _answers(client), 20)


def test_chips_that_died_with_their_worker_no_longer_count_as_waiting(
    tiny_model_file: Path, tmp_path: Path, heavy: bytes
) -> None:
    files = [("files", ("heavy.png", heavy))] * 32
    with serving(tiny_model_file, tmp_path / "log.txt", decode_threads=1) as client:
        ask(client, files[:1])
        with load(client, files, clients=2):
            wait_for(lambda: _waiting(client) > 0, 10)
            (worker,) = workers_of(client)
            worker.send_signal(signal.SIGKILL)
            psutil.wait_procs([worker], timeout=5)
        wait_for(lambda: _answers(client), 20)
        wait_for(lambda: _waiting(client) == 0, 10)
        assert _classified(client) >= 1  # what was counted stays counted


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/readyz").status_code == 200
    except httpx.TransportError:
        return False


def test_a_service_that_is_stopped_answers_what_it_has_accepted(
    tiny_model_file: Path, tmp_path: Path, heavy: bytes
) -> None:
    """SIGTERM to the supervisor, as a container's runtime or systemd sends it."""
    answers: list[httpx.Response] = []
    files = [("files", (f"{place}.png", heavy)) for place in range(8)]
    with serving(tiny_model_file, tmp_path / "log.txt") as client:
        supervisor = supervisor_of(client)

        def post() -> None:
            with httpx.Client(base_url=client.base_url, timeout=60) as own:
                answers.append(own.post("/v1/classify", files=files))

        threads = [threading.Thread(target=post) for _ in range(6)]
        for thread in threads:
            thread.start()
        wait_for(lambda: _waiting(client) >= 6 * len(files) / 2, 10)
        assert answers == []
        supervisor.send_signal(signal.SIGTERM)
        for thread in threads:
            thread.join(60)
        _, alive = psutil.wait_procs([supervisor], timeout=20)
        assert alive == []
        assert [response.status_code for response in answers] == [200] * 6
        for response in answers:
            assert [r["label"] for r in response.json()["results"]] == ["Cargo"] * len(files)
        with pytest.raises(httpx.TransportError):
            client.get("/livez")


def _waiting(client: httpx.Client) -> float:
    """Chips that the service has accepted and not yet run."""
    for line in client.get("/metrics").text.splitlines():
        if line.startswith("shipchip_queue_chips"):
            return float(line.split()[-1])
    return 0


def _classified(client: httpx.Client) -> float:
    lines = client.get("/metrics").text.splitlines()
    counts = [line.split() for line in lines if line.startswith("shipchip_predictions_total")]
    return sum(float(count[-1]) for count in counts)


def test_more_load_than_there_is_room_for_is_refused_in_time_and_passes(
    tiny_model_file: Path, tmp_path: Path, good: Files, heavy: bytes
) -> None:
    asked = [*good, ("files", ("heavy.png", heavy))]
    limits = {"max_queue": 8, "batch_size": 4, "decode_threads": 1}
    with serving(tiny_model_file, tmp_path / "log.txt", **limits) as client:
        (worker,) = workers_of(client)
        expected = ask(client, asked)
        with load(client, asked, clients=24) as seen:
            time.sleep(4)
            alive = client.get("/livez", timeout=5)
        assert alive.status_code == 200
        assert seen.statuses() <= {200, 429, 503}
        assert {200, 429} <= seen.statuses()
        for _, response in seen.answers:
            if response.status_code == 200:
                assert response.json()["results"] == expected
                continue
            assert int(response.headers["Retry-After"]) >= 1
            assert response.json()["error"]["code"] in ("overloaded", "closing")
        assert seen.broken == []
        assert workers_of(client) == [worker]
        assert ask(client, asked) == expected
