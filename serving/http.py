"""The front door: ASGI middleware before BentoML's router (`Service.add_asgi_middleware`).

It checks the API key, reads the bounded body of a classification into a form, enforces the time
limit, and gives every error the same shape: a response of status >= 400 without our request id
header comes from BentoML or Starlette, and is replaced. The form is left in the request's scope,
where the input spec of the API finds it (serving.openapi.ClassifyForm).
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.access import KeyCheck
from serving.forms import Form, read_form
from serving.json_form import is_json, max_json_bytes, read_json_form
from serving.metrics import RequestMetrics
from serving.multipart import boundary_of, split_parts
from serving.refusals import (
    REQUEST_ID_HEADER,
    Refused,
    begin_request,
    envelope,
    refusal_code,
    request_id,
)
from serving.settings import Settings

CLASSIFY = "/v1/classify"
CLASSIFY_BASE64 = "/v1/classify_base64"
FORMS = (CLASSIFY, CLASSIFY_BASE64)
_WITH_SLASH = ("/", "/demo/", "/docs/")
FORM = "shipchip.form"  # the key of the request's form in its ASGI scope

_HEADER = REQUEST_ID_HEADER.lower().encode()
_FIELDS_BESIDE_FILES = 16
# A body up to this size is parsed on the event loop, in a few milliseconds at worst: a thread would
# cost a small request more. A larger body may hold hundreds of odd names, which take 0.1 s.
_AT_ONCE_BYTES = 32 * 2**10
_FOREIGN = {
    404: ("not_found", "no such path; /docs.json lists them"),
    405: ("method_not_allowed", "this path does not take this method; see /docs.json"),
    503: ("unavailable", "the service cannot answer yet; try again in a moment"),
}

log = logging.getLogger(__name__)


class RequestMiddleware:
    """See the module.

    app             what is behind it: BentoML's router
    check_capacity  raises Refused if not even one chip would be accepted
    settings        the limits
    """

    def __init__(
        self, app: ASGIApp, check_capacity: Callable[[], None], settings: Settings
    ) -> None:
        self.app = app
        self.check_capacity = check_capacity
        self.settings = settings
        self._check_key = KeyCheck(settings)
        self._metrics = RequestMetrics()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begin_request(scope)
        reply = _Reply(scope, receive, send, self._metrics)
        deadline = asyncio.timeout(self.settings.timeout_s)
        try:
            async with deadline:
                self._check_key(scope)
                if scope["path"].endswith("/") and scope["path"] not in _WITH_SLASH:
                    # Starlette would redirect by an absolute address, of the scheme and path that
                    # this process sees; a proxy may have changed both.
                    raise _foreign(404)
                if scope["path"] in FORMS and scope["method"] == "POST":
                    scope[FORM] = await self._read(scope, receive)
                    async with _while_connected(receive, reply):
                        await self.app(scope, receive, reply.send)
                else:
                    await self.app(scope, receive, reply.send)
        except Refused as refused:
            await reply.refuse(refused)
        # Whatever failed, the client gets an answer and the log a traceback.
        except Exception as error:
            if reply.started:
                raise
            if isinstance(error, TimeoutError) and deadline.expired():
                await reply.refuse(_timed_out(self.settings.timeout_s))
                return
            log.exception("request %s met a fault of the program", request_id.get())
            await reply.refuse(_fault())

    async def _read(self, scope: Scope, receive: Receive) -> Form:
        headers = Headers(scope=scope)
        if scope["query_string"]:
            raise Refused(400, "unknown_field", "a query string; send the options as form fields")
        if headers.get("content-encoding", "identity") != "identity":
            raise Refused(400, "wrong_content_type", "a compressed body; send it as it is")
        kind = headers.get("content-type", "")
        if is_json(kind):
            body = await self._body(headers, receive, max_json_bytes(self.settings))
            self.check_capacity()
            # Always off the event loop: parsing creates many objects.
            return await asyncio.to_thread(read_json_form, body, self.settings)
        boundary = boundary_of(kind)
        body = await self._body(headers, receive, self.settings.max_request_bytes)
        # Under overload, parsing forms only to refuse them took a fifth of the event loop's time.
        self.check_capacity()
        if len(body) <= _AT_ONCE_BYTES:
            return self._form(body, boundary)
        return await asyncio.to_thread(self._form, body, boundary)

    def _form(self, body: bytes, boundary: bytes) -> Form:
        parts = split_parts(body, boundary, self.settings.max_files + _FIELDS_BESIDE_FILES)
        return read_form(parts, self.settings)

    async def _body(self, headers: Headers, receive: Receive, limit: int) -> bytes:
        """The complete body; Refused (413) as soon as it exceeds `limit` bytes."""
        announced = headers.get("content-length", "0")
        if announced.isdecimal() and int(announced) > limit:
            raise _too_large(limit)
        chunks: list[bytes] = []
        size, more = 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Refused(400, "disconnected", "the client left before its upload ended")
            chunks.append(message.get("body", b""))
            size += len(chunks[-1])
            if size > limit:
                raise _too_large(limit)
            more = message.get("more_body", False)
        return b"".join(chunks)


class _Reply:
    """Sends the response: adds the request id, and replaces errors of BentoML and Starlette."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, metrics: RequestMetrics) -> None:
        self.started = False
        self.code = ""  # of the refusal, if the request was refused
        self._began = time.perf_counter()
        self._asgi = scope, receive, send
        self._replaced = False
        self._metrics = metrics if scope["path"] in FORMS else None

    def _start(self, status: int) -> None:
        self.started = True
        if self._metrics is not None:
            seconds = time.perf_counter() - self._began
            self._metrics.answered(status, refusal_code.get(), seconds)

    async def refuse(self, refused: Refused, allow: bytes | None = None) -> None:
        """Answer with the error envelope; only if no response has started."""
        response: Response = envelope(refused)
        self.code = refused.code
        self._start(refused.status)
        if allow is not None:
            response.headers["Allow"] = allow.decode("latin-1")
        await response(*self._asgi)

    async def send(self, message: Message) -> None:
        """Send a message of the application."""
        if message["type"] == "http.response.start":
            headers = dict(message["headers"])
            if _HEADER not in headers:
                if message["status"] >= 400:
                    self._replaced = True
                    await self.refuse(_foreign(message["status"]), headers.get(b"allow"))
                    return
                message["headers"] = [*message["headers"], (_HEADER, request_id.get().encode())]
            self._start(message["status"])
        if not self._replaced:
            await self._asgi[2](message)


@asynccontextmanager
async def _while_connected(receive: Receive, reply: _Reply) -> AsyncIterator[None]:
    """End the block with Refused (400) if the client disconnects before it is being answered.

    Its chips must not keep places in the queue. The body has been read, so the next message from
    `receive` is the end of the connection.
    """
    request = asyncio.current_task()
    left = False

    async def watch() -> None:
        nonlocal left
        while (await receive())["type"] != "http.disconnect":
            pass
        if request is not None and not reply.started:
            left = True
            request.cancel()

    watching = asyncio.create_task(watch())
    try:
        yield
    except asyncio.CancelledError:
        # Not only ours if the time limit has cancelled the request as well.
        if not left or request is None or request.uncancel() > 0:
            raise
        raise Refused(400, "disconnected", "the client left before it was answered") from None
    finally:
        watching.cancel()


def _foreign(status: int) -> Refused:
    if status in _FOREIGN:
        return Refused(status, *_FOREIGN[status])
    return _fault() if status >= 500 else Refused(status, "bad_request", "not understood")


def _fault() -> Refused:
    return Refused(500, "internal_error", "the program failed on this request; see its log")


def _timed_out(seconds: float) -> Refused:
    return Refused(504, "timeout", f"not done within {seconds:g} s, the upload included")


def _too_large(limit: int) -> Refused:
    return Refused(
        413, "request_too_large", f"more than {limit} bytes in one request: send several requests"
    )
