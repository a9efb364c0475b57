"""Two models side by side, and the way from one to the other and back without a lost request."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.serving.server import serving
from tests.serving.switch import Switch, switch
from tests.tiny_model import tiny_card, write_tiny_model

pytestmark = pytest.mark.slow

OLD, NEW = "0.0.1-test", "0.0.2-test"
CLIENTS = 4
PER_CONNECTION = 5  # requests, then a client opens another connection
LONGEST_S = 60


@pytest.fixture(scope="module")
def newer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model beside the other, of another version."""
    folder = tmp_path_factory.mktemp("newer")
    return write_tiny_model(folder / "tiny.onnx", tiny_card(version=NEW))


def metric(client: httpx.Client, name: str) -> dict[str, float]:
    """A metric's values by the label `version` or `outcome`, whichever it has."""
    return {
        sample.labels.get("version") or sample.labels["outcome"]: sample.value
        for family in text_string_to_metric_families(client.get("/metrics").text)
        for sample in family.samples
        if sample.name == name
    }


def ask(client: httpx.Client, chip: bytes) -> httpx.Response:
    return client.post("/v1/classify", files=[("files", ("a.png", chip))])


def test_two_models_are_served_side_by_side_each_with_its_own_answers_and_figures(
    model: Path, newer: Path, png: dict[str, bytes], tmp_path: Path
) -> None:
    with (
        serving(model, tmp_path / "old.txt") as old,
        serving(newer, tmp_path / "new.txt") as new,
    ):
        asked = ((old, OLD, 2), (new, NEW, 3))
        threads = [
            threading.Thread(target=ask, args=(client, png["Cargo"]))
            for client, _, times in asked
            for _ in range(times)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        for client, version, times in asked:
            assert client.get("/v1/model").json()["card"]["version"] == version
            assert metric(client, "shipchip_model_info") == {version: 1}
            assert metric(client, "shipchip_chips_total") == {"ok": times}
            answer = ask(client, png["Tanker"]).json()
            assert answer["model"]["version"] == version
            assert answer["results"][0]["label"] == "Tanker"


@dataclass
class Load:
    """What clients saw who ask without a pause: statuses and versions in order, and failures."""

    seen: list[tuple[int, str]] = field(default_factory=list)
    broken: list[Exception] = field(default_factory=list)

    def versions(self, since: int = 0) -> set[str]:
        return {version for _, version in self.seen[since:]}

    def goes_on(self, requests: int = 40) -> None:
        """Until so many more requests are answered."""
        wanted = len(self.seen) + requests
        wait_for(lambda: len(self.seen) >= wanted or bool(self.broken))


def wait_for(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LONGEST_S
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@contextmanager
def load(port: int, chip: bytes) -> Iterator[Load]:
    """Clients that ask while the block runs, at most `LONGEST_S`, and never try again."""
    made, end = Load(), threading.Event()
    deadline = time.monotonic() + LONGEST_S

    def run() -> None:
        while not end.is_set() and time.monotonic() < deadline and not made.broken:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
                for _ in range(PER_CONNECTION):
                    try:
                        answer = ask(client, chip)
                        made.seen.append((answer.status_code, answer.json()["model"]["version"]))
                    except (httpx.HTTPError, KeyError) as error:
                        made.broken.append(error)
                        return

    threads = [threading.Thread(target=run) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        yield made
    finally:
        end.set()
        for thread in threads:
            thread.join(30)


def turn(proxy: Switch, to: httpx.Client, away: httpx.Client) -> None:
    """Send new connections to one service, and wait until none is open to the other."""
    assert to.base_url.port is not None
    assert away.base_url.port is not None
    gone = away.base_url.port
    proxy.turn_to(to.base_url.port)
    wait_for(lambda: proxy.open[gone] == 0)


def test_an_upgrade_and_its_rollback_behind_a_proxy_lose_no_request(
    model: Path, newer: Path, png: dict[str, bytes], tmp_path: Path
) -> None:
    logs = [tmp_path / f"{name}.txt" for name in ("first", "second", "third")]
    with switch() as proxy, ExitStack() as first, ExitStack() as second, ExitStack() as third:
        old = first.enter_context(serving(model, logs[0]))
        assert old.base_url.port is not None
        proxy.turn_to(old.base_url.port)
        with load(proxy.port, png["Fishing"]) as seen:
            seen.goes_on()
            assert seen.versions() == {OLD}

            new = second.enter_context(serving(newer, logs[1]))  # ready, by /readyz
            turn(proxy, to=new, away=old)
            first.close()  # SIGTERM, then its end
            upgraded = len(seen.seen)
            seen.goes_on()
            assert seen.versions(since=upgraded) == {NEW}

            again = third.enter_context(serving(model, logs[2]))
            turn(proxy, to=again, away=new)
            second.close()
            back = len(seen.seen)
            seen.goes_on()
            assert seen.versions(since=back) == {OLD}
        assert seen.broken == []
        assert {status for status, _ in seen.seen} == {200}
        for log in logs[:2]:
            assert "Service instance cleanup finalized" in log.read_text()
