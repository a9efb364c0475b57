"""Requests that nobody should send: none ends in a 5xx, a lost worker, lost memory, a wrong word.

2,000 of them, or SHIPCHIP_TEST_DRAWS. Nothing in a request makes the service open a connection or a
file.
"""

import io
import pickle
import socket
import time
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import numpy as np
import psutil
import pytest

from tests.robustness.conftest import Files, ask
from tests.robustness.drawing import Drawer, as_json, upload
from tests.robustness.files import burdened_jpeg, burdened_png, exif, packed_text
from tests.robustness.test_ends import load
from tests.robustness.watching import memory_of, opened, workers_of

MEANT = {503: {"unavailable", "closing"}, 504: {"timeout"}}


def addresses(port: int, canary: Path) -> list[str]:
    """The listening socket and the canary, in every way that a reader of files may understand."""
    local = f"127.0.0.1:{port}/chip.png"
    ways = [f"{scheme}://{local}" for scheme in ("http", "https", "ftp", "ws", "HTTP", "s3", "gs")]
    ways += [f"http://localhost:{port}/", f"http://[::1]:{port}/", f"//{local}", local]
    ways += [f"http://0x7f000001:{port}/a.tif", f"http://2130706433:{port}/", f"url({local})"]
    ways += [f"/vsicurl/http://{local}", f"/vsizip//{canary}", f"zip://{canary}!a"]
    ways += [str(canary), f"file://{canary}", f"file:{canary}", f"file://localhost{canary}"]
    ways += [f"../../../../../..{canary}", f"./{canary.name}", f"//{canary}", f"~/{canary.name}"]
    ways += [f"{canary}\0.png", f"|cat {canary}", f"$(cat {canary})", f"`cat {canary}`"]
    return [*ways, f"/proc/self/root{canary}", "/dev/stdin", "/dev/zero", "/etc/passwd"]


def assert_sound(response: httpx.Response, secret: str) -> None:
    """No fault of the program, in the status or in a result, and nothing of the canary."""
    reported = response.text
    if response.status_code >= 500:
        code = response.json()["error"]["code"]
        assert code in MEANT.get(response.status_code, set()), reported
    assert "internal_error" not in reported
    assert "Traceback" not in reported
    assert secret not in reported


def attack(client: httpx.Client, drawer: Drawer, count: int, good: Files, secret: str) -> None:
    """Send `count` requests, and good chips in between, which are answered as ever."""
    expected = ask(client, good)
    for number in range(count):
        drawn = drawer()
        try:
            response = client.request(
                drawn.method, drawn.path, headers=drawn.headers, content=drawn.body
            )
        except (httpx.WriteError, httpx.RemoteProtocolError, httpx.ReadError):
            # Refused while its body was still being sent: the connection is closed upon it.
            assert drawn.path == "/v1/classify"
            continue
        assert_sound(response, secret)
        if number % 25 == 0:
            assert ask(client, good) == expected


@pytest.mark.timeout(280)
def test_whatever_is_sent_the_service_stays_as_it_was(
    attacked: httpx.Client, tmp_path: Path, good: Files, draws: int
) -> None:
    canary = tmp_path / "canary.png"
    canary.write_text("the-secret-of-the-canary")
    with socket.create_server(("127.0.0.1", 0)) as listener, opened(canary) as seen:
        listener.setblocking(False)
        urls = addresses(listener.getsockname()[1], canary)
        (worker,) = workers_of(attacked)
        # Pools and caches fill up first. After 200 requests one decoding thread had yet to start
        # (20 MB); from 1,000 to 6,000 requests memory grew by 6 MB.
        attack(attacked, Drawer(1, urls), draws // 2, good, "secret-of-the-canary")
        before = memory_of(worker)
        attack(attacked, Drawer(2, urls), draws, good, "secret-of-the-canary")
        with pytest.raises(BlockingIOError):
            listener.accept()
    assert seen == []
    assert workers_of(attacked) == [worker]
    assert _settled(worker, 1.2 * before) < 1.2 * before


def _settled(worker: psutil.Process, wanted: float) -> int:
    """The worker's memory once it is below `wanted`, or after five seconds."""
    for _ in range(50):
        if memory_of(worker) < wanted:
            break
        time.sleep(0.1)
    return memory_of(worker)


def test_the_canary_would_be_seen(tmp_path: Path) -> None:
    """The watch of the test above is one that sees."""
    canary = tmp_path / "canary"
    canary.write_text("x")
    with opened(canary) as seen:
        canary.read_text()
    assert seen


def test_a_pickle_in_a_chip_is_never_run(attacked: httpx.Client, tmp_path: Path) -> None:
    touched = tmp_path / "touched"

    class Attack:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (touched,)

    objects = np.array([Attack()], dtype=object)
    saved = io.BytesIO()
    np.save(saved, objects, allow_pickle=True)
    for content in (saved.getvalue(), pickle.dumps(Attack())):
        response = attacked.post("/v1/classify", files=[("files", ("a.npy", content))])
        assert response.status_code == 422
    touched.unlink(missing_ok=True)  # numpy's own writer must not have run it either
    assert pickle.loads(pickle.dumps(Attack())) is None
    assert touched.exists(), "the attack would not have worked"


def test_many_slow_senders_keep_nobody_else_waiting(attacked: httpx.Client, good: Files) -> None:
    expected = ask(attacked, good)
    address = (attacked.base_url.host, attacked.base_url.port)
    head = "POST /v1/classify HTTP/1.1\r\nHost: a\r\nContent-Length: 9999\r\n"
    head += "Content-Type: multipart/form-data; boundary=b\r\n\r\n"
    slow = [socket.create_connection(address, 20) for _ in range(100)]
    try:
        for number, connection in enumerate(slow):
            # Some stop within the head, some within the body.
            connection.sendall(head.encode()[: 40 if number % 4 == 0 else None])
        start = time.monotonic()
        for connection in slow:
            connection.sendall(b"-")
            assert ask(attacked, good) == expected
        assert time.monotonic() - start < 30
        ended = [_answer(c) for n, c in enumerate(slow) if n % 4]
    finally:
        for connection in slow:
            connection.close()
    assert {answer[:13] for answer in ended} == {b"HTTP/1.1 504 "}


def _answer(connection: socket.socket) -> bytes:
    answer = b""
    while not answer.endswith(b"}}"):
        piece = connection.recv(4096)
        assert piece, f"the connection ended after {answer!r}"
        answer += piece
    return answer


def test_clients_that_leave_cost_nothing(attacked: httpx.Client, good: Files) -> None:
    expected = ask(attacked, good)
    (worker,) = workers_of(attacked)
    address = (attacked.base_url.host, attacked.base_url.port)
    whole = upload(*(content for _, (_, content) in good)).body
    assert isinstance(whole, bytes)
    head = f"POST /v1/classify HTTP/1.1\r\nHost: a\r\nContent-Length: {len(whole)}\r\n"
    head += "Content-Type: multipart/form-data; boundary=b0undary\r\n\r\n"
    for number in range(200):
        with socket.create_connection(address, 20) as leaving:
            leaving.sendall(head.encode() + whole[: len(whole) * number // 199])
    assert ask(attacked, good) == expected
    assert workers_of(attacked) == [worker]
    assert worker.num_fds() < 100


def test_chips_with_a_burden_hold_up_nobody_more_than_chips_without(attacked: httpx.Client) -> None:
    """/livez beside a load of each, in turn. Decoded on the event loop, 31 kB took it 70 ms."""
    texts = burdened_png(packed_text(b"zTXt"))
    entries = burdened_jpeg(exif(2500))
    plain = burdened_png(b"") + bytes(
        len(texts)
    )  # as many bytes to be sent; none after IEND is read
    waits: dict[bytes, list[float]] = {plain: [], texts: [], entries: []}
    for _ in range(3):
        for content, middles in waits.items():
            with load(attacked, [("files", ("a", content))], clients=2) as seen:
                middles.append(median(_livez_seconds(attacked) for _ in range(40)))
                for _ in range(1000):  # on a busy machine no answer may be there yet
                    if seen.statuses():
                        break
                    time.sleep(0.01)
            assert seen.statuses() == {200}
    assert min(waits[texts]) < 3 * min(waits[plain])
    assert min(waits[entries]) < 3 * min(waits[plain])


def _livez_seconds(client: httpx.Client) -> float:
    start = time.perf_counter()
    assert client.get("/livez").status_code == 200
    return time.perf_counter() - start


def test_a_full_body_of_brackets_does_not_fill_memory(attacked: httpx.Client) -> None:
    """A parser that reads it makes fifty times its size."""
    (worker,) = workers_of(attacked)
    before = memory_of(worker)
    bracket = '{"files": [' + "{}," * 700_000 + "{}]}"
    response = attacked.send(_request(attacked, bracket))
    assert (response.status_code, response.json()["error"]["code"]) == (400, "malformed_json")
    assert memory_of(worker) < before + 30 * 2**20


def _request(client: httpx.Client, body: str) -> httpx.Request:
    drawn = as_json(body)
    assert isinstance(drawn.body, bytes)
    return client.build_request("POST", drawn.path, headers=drawn.headers, content=drawn.body)
