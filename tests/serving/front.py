"""A server before the service, as a proxy is: it answers the first requests itself, then passes on.

So a test can see what a client does with 429, 503 and a connection that breaks, over real HTTP.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any

import httpx

CLASSIFY = "/v1/classify"


@dataclass(frozen=True)
class Reply:
    """What is answered instead; status 0 breaks the connection off."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass
class Front:
    """Where it is, what it will still answer itself, and who asked, when, and how many at once.

    A reply that is None lets the service answer.
    """

    url: str
    replies: list[Reply | None]
    asked: list[dict[str, str]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0


@contextmanager
def in_front_of(
    service: httpx.Client,
    *replies: Reply | None,
    path: str = CLASSIFY,
    delay_s: float = 0,
    prefix: str = "",
) -> Iterator[Front]:
    """Answers the first requests for `path` by `replies`; the service answers all others.

    delay_s  how much longer an answer for `path` takes
    prefix   of every path here, taken off before the service is asked; other paths are a 404
    """
    front, lock = Front("", list(replies)), Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # the name is http.server's
            self._answer("GET", None)

        def do_POST(self) -> None:
            self._answer("POST", self.rfile.read(int(self.headers["Content-Length"])))

        def _answer(self, method: str, body: bytes | None) -> None:
            reply = None
            if self.path == path:
                with lock:
                    front.asked.append(dict(self.headers))
                    front.times.append(time.monotonic())
                    front.at_once += 1
                    front.most_at_once = max(front.most_at_once, front.at_once)
                    reply = front.replies.pop(0) if front.replies else None
                time.sleep(delay_s)
                with lock:
                    front.at_once -= 1
            self._write(reply or self._pass_on(method, body))

        def _pass_on(self, method: str, body: bytes | None) -> Reply:
            if not self.path.startswith(prefix):
                return Reply(404)
            kept = {k: v for k, v in self.headers.items() if k in ("Content-Type", "Authorization")}
            answer = service.request(
                method, self.path.removeprefix(prefix), content=body, headers=kept
            )
            headers = {k: v for k, v in answer.headers.items() if k != "content-length"}
            return Reply(answer.status_code, headers, answer.content)

        def _write(self, reply: Reply) -> None:
            if reply.status:
                self.send_response(reply.status)
                for name, value in {**reply.headers, "Content-Length": len(reply.body)}.items():
                    self.send_header(name, str(value))
                self.end_headers()
                self.wfile.write(reply.body)
            self.close_connection = True

        def log_message(self, *_: Any) -> None:
            """Nothing: the output of tests is read by people."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        front.url = f"http://127.0.0.1:{server.server_port}"
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield front
        finally:
            server.shutdown()
            thread.join()
