"""Requests that are refused as a whole: their status, their code, and one shape for all."""

import socket
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

MULTIPART = {"Content-Type": "multipart/form-data; boundary=b"}
OK = ("files", ("a.png", b"x"))


def part(disposition: str, content: bytes = b"x") -> bytes:
    header = f"--b\r\nContent-Disposition: form-data; {disposition}\r\n\r\n"
    return header.encode() + content + b"\r\n"


FILE = part('name="files"; filename="a"')
END = b"--b--\r\n"


def assert_refused(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The envelope, whole: a code for programs, a message for people, the request's id."""
    assert (response.status_code, response.json()["error"]["code"]) == (status, code)
    body: dict[str, Any] = response.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"code", "message", "request_id"}
    assert body["error"]["message"]
    assert body["error"]["request_id"] == response.headers["X-Request-ID"]
    return body


@pytest.mark.parametrize("name", ["files", "pixel_spacing_m"])
def test_an_address_is_never_fetched(client: httpx.Client, name: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/chip.png"
        response = client.post("/v1/classify", data={name: url}, files=[OK])
        assert_refused(response, 400, {"files": "not_a_file"}.get(name, "bad_pixel_spacing"))
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_an_address_as_the_whole_body_is_never_fetched(client: httpx.Client) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/chip.png"
        response = client.post("/v1/classify", json={"files": [url]})
        assert_refused(response, 400, "not_a_file")
        with pytest.raises(BlockingIOError):
            listener.accept()


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (END, "no_files"),
        (part('name="explain"', b"true") + END, "no_files"),
        (FILE + part('name="colour"') + END, "unknown_field"),
        (FILE + part('name="Files"; filename="b"') + END, "unknown_field"),
        (FILE + part('name="explain"', b"true") * 2 + END, "duplicate_field"),
        (FILE + part('name="explain"', b"perhaps") + END, "bad_field"),
        (FILE + part('name="explain"; filename="a"', b"true") + END, "bad_field"),
        (FILE + part('name="polarisation"', b"VX") + END, "bad_field"),
        (FILE + part('name="quantity"', b"decibels") + END, "bad_field"),
        (FILE + part('name="quantity"', b"a" * 1000) + END, "bad_field"),
        (FILE + part('name="pixel_spacing_m"', b"ten") + END, "bad_pixel_spacing"),
        (FILE + part('name="pixel_spacing_m"', b"10,5") + END, "bad_pixel_spacing"),
        (FILE + part('name="pixel_spacing_m"', b"1x2x3") + END, "bad_pixel_spacing"),
        (FILE + part('name="pixel_spacing_m"', b"-10") + END, "bad_pixel_spacing"),
        (FILE + part('name="pixel_spacing_m"', b"nan") + END, "bad_pixel_spacing"),
        (part(f'name="files"; filename="{"n" * 300}"') + END, "filename_too_long"),
        (part(f'name="files"; filename="{"n" * 9000}"') + END, "malformed_multipart"),
        (b"", "malformed_multipart"),
        (b"no boundary in here", "malformed_multipart"),
        (FILE, "malformed_multipart"),
        (FILE[:30], "malformed_multipart"),
        (b"--b\r\n\r\nno headers\r\n" + END, "malformed_multipart"),
        (b"--b\r\nContent-Type: text/plain\r\n\r\nnameless\r\n" + END, "malformed_multipart"),
        (FILE + b"--bX\r\n" + END, "malformed_multipart"),
    ],
)
def test_a_malformed_form_is_400(client: httpx.Client, body: bytes, code: str) -> None:
    assert_refused(client.post("/v1/classify", content=body, headers=MULTIPART), 400, code)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content-Type": "application/vnd.bentoml+pickle"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {**MULTIPART, "Content-Encoding": "gzip"},
    ],
)
def test_another_content_type_is_400(client: httpx.Client, headers: dict[str, str]) -> None:
    response = client.post("/v1/classify", content=FILE + END, headers=headers)
    assert_refused(response, 400, "wrong_content_type")


@pytest.mark.parametrize("boundary", ["", "; boundary=", "; boundary=" + "b" * 71])
def test_an_unusable_boundary_is_400(client: httpx.Client, boundary: str) -> None:
    headers = {"Content-Type": f"multipart/form-data{boundary}"}
    response = client.post("/v1/classify", content=FILE + END, headers=headers)
    assert_refused(response, 400, "malformed_multipart")


def test_options_in_the_address_are_refused_rather_than_ignored(client: httpx.Client) -> None:
    assert_refused(client.post("/v1/classify?explain=true", files=[OK]), 400, "unknown_field")


def begin_upload(client: httpx.Client, announced: int, sent: bytes) -> socket.socket:
    """A connection on which an upload of `announced` bytes has begun, and stops after `sent`."""
    raw = socket.create_connection((client.base_url.host, client.base_url.port), 20)
    head = f"POST /v1/classify HTTP/1.1\r\nHost: a\r\nContent-Length: {announced}\r\n"
    raw.sendall(head.encode() + b"Content-Type: multipart/form-data; boundary=b\r\n\r\n" + sent)
    return raw


def answer_on(raw: socket.socket) -> bytes:
    """What the service answers, up to the end of its envelope."""
    answer = b""
    while not answer.endswith(b"}}"):
        piece = raw.recv(4096)
        assert piece, f"the connection ended after {answer!r}"
        answer += piece
    return answer


def test_a_body_announced_too_large_is_413_before_it_is_sent(client: httpx.Client) -> None:
    with begin_upload(client, 2**20 + 1, b"") as raw:
        answer = answer_on(raw)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'"code":"request_too_large"' in answer


def test_a_body_sent_in_chunks_past_the_limit_is_413(client: httpx.Client) -> None:
    def chunks() -> Iterator[bytes]:
        yield part('name="files"; filename="a"', b"")[:-2]
        for _ in range(40):
            yield b"\0" * 2**15

    response = client.post("/v1/classify", content=chunks(), headers=MULTIPART)
    assert_refused(response, 413, "request_too_large")


@pytest.mark.parametrize(("count", "code"), [(17, "too_many_files"), (500, "too_many_parts")])
def test_too_many_files_are_413(client: httpx.Client, count: int, code: str) -> None:
    assert_refused(client.post("/v1/classify", files=[OK] * count), 413, code)


@pytest.mark.slow
def test_a_sender_too_slow_is_504(client: httpx.Client) -> None:
    start = time.monotonic()
    with begin_upload(client, 1000, b"--b") as raw:
        answer = answer_on(raw)
    assert answer.startswith(b"HTTP/1.1 504 ")
    assert b'"code":"timeout"' in answer
    assert time.monotonic() - start < 15


def test_a_client_that_leaves_does_no_harm(client: httpx.Client, png: dict[str, bytes]) -> None:
    begin_upload(client, 1000, b"--b").close()
    upload = [("files", ("a.png", png["Cargo"]))]
    assert client.post("/v1/classify", files=upload).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/nothing", 404, "not_found"),
        ("GET", "/v1/classify", 405, "method_not_allowed"),
        ("POST", "/v1/model", 405, "method_not_allowed"),
    ],
)
def test_errors_of_the_router_have_our_shape_too(
    client: httpx.Client, method: str, path: str, status: int, code: str
) -> None:
    response = client.request(method, path, headers={"X-Request-ID": "r-1"})
    assert assert_refused(response, status, code)["error"]["request_id"] == "r-1"
    assert ("Allow" in response.headers) == (status == 405)
