"""The queue over HTTP: who is refused, and whose places come free."""

import asyncio
import io
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest

from tests.serving.server import serving

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def crowded(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A service where four chips may wait, and one thread decodes."""
    folder = tmp_path_factory.mktemp("crowded")
    with serving(model, folder / "log.txt", max_queue=4, decode_threads=1) as client:
        yield client


def slow(chips: int) -> list[tuple[str, tuple[str, bytes]]]:
    """Chips that take long to decode."""
    file = io.BytesIO()
    np.save(file, np.random.default_rng(0).integers(1, 99, (2048, 2048), dtype=np.uint8))
    return [("files", ("a.npy", file.getvalue()))] * chips


def waiting(client: httpx.Client) -> int:
    lines = client.get("/metrics").text.splitlines()
    return int(float(next(k.split()[-1] for k in lines if k.startswith("shipchip_queue_chips "))))


def until(truth: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not truth():
        assert time.monotonic() < deadline, "it did not come about in 10 s"
        time.sleep(0.01)


def test_over_http_what_does_not_fit_is_429_with_retry_after_and_the_accepted_is_answered(
    crowded: httpx.Client, png: dict[str, bytes]
) -> None:
    with ThreadPoolExecutor(1) as pool:
        long = pool.submit(crowded.post, "/v1/classify", files=slow(8))
        until(lambda: waiting(crowded) > 0)
        refused = crowded.post("/v1/classify", files=[("files", ("a.png", png["Cargo"]))] * 4)
        assert refused.status_code == 429
        assert refused.json()["error"]["code"] == "overloaded"
        assert int(refused.headers["Retry-After"]) >= 1
        # Nothing of a form is read where no chip would be taken: else this were a 400.
        unread = crowded.post(
            "/v1/classify",
            content=b"no parts",
            headers={"Content-Type": "multipart/form-data; boundary=b"},
        )
        assert unread.status_code == 429
        answer = long.result()
    assert [r["status"] for r in answer.json()["results"]] == ["ok"] * 8
    assert waiting(crowded) == 0


def test_over_http_a_client_that_leaves_frees_its_places(crowded: httpx.Client) -> None:
    address = (crowded.base_url.host, crowded.base_url.port)
    request = crowded.build_request("POST", "/v1/classify", files=slow(8))

    async def leave() -> None:
        _, writer = await asyncio.open_connection(*address)
        head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
        writer.write(f"POST /v1/classify HTTP/1.1\r\n{head}\r\n".encode() + request.read())
        await writer.drain()
        await asyncio.to_thread(until, lambda: waiting(crowded) > 0)
        writer.close()

    started = time.monotonic()
    crowded.post("/v1/classify", files=slow(8)).raise_for_status()
    whole = time.monotonic() - started
    asyncio.run(leave())
    until(lambda: waiting(crowded) == 0)
    reported = crowded.get("/metrics").text
    assert 'shipchip_requests_total{code="disconnected",status="400"} 1.0' in reported
    assert whole > 0.1  # else it had been answered before it left
