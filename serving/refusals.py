"""A refused request: the exception, and the one shape that every whole-request error has."""

import re
import uuid
from collections.abc import Mapping, MutableMapping
from contextvars import ContextVar
from typing import Any

from starlette.datastructures import Headers
from starlette.responses import Response

from serving.schema import ErrorEnvelope, RequestError

REQUEST_ID_HEADER = "X-Request-ID"

# Set for the length of a request; log lines and answers take it from here.
request_id: ContextVar[str] = ContextVar("request_id", default="")
# The code that the request was refused with, for figures about it; "" where it was taken.
refusal_code: ContextVar[str] = ContextVar("refusal_code", default="")

_USABLE_ID = re.compile(r"[\w.:/+=@-]{1,128}", re.ASCII)
_KEPT_ID = "shipchip.request_id"  # the key of the ASGI scope that keeps it


def begin_request(scope: MutableMapping[str, Any]) -> str:
    """The id of this request, from now on in `request_id`: the caller's where usable, else new.

    The first middleware decides; the others get the same. It also clears `refusal_code`: uvicorn
    starts a pipelined request in a copy of the context in which the one before it was answered.
    """
    if _KEPT_ID not in scope:
        given = Headers(scope=scope).get(REQUEST_ID_HEADER, "")
        scope[_KEPT_ID] = given if _USABLE_ID.fullmatch(given) else uuid.uuid4().hex
        refusal_code.set("")
    request_id.set(scope[_KEPT_ID])
    return request_id.get()


class Refused(Exception):
    """The whole request is refused, with an HTTP status, a stable code and a message.

    `headers` go with the answer: Retry-After, WWW-Authenticate.
    """

    def __init__(
        self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = dict(headers or {})


def envelope(refused: Refused) -> Response:
    """The answer to a refused request."""
    refusal_code.set(refused.code)
    error = RequestError(code=refused.code, message=refused.message, request_id=request_id.get())
    answer = json_response(ErrorEnvelope(error=error).model_dump_json(), refused.status)
    answer.headers.update(refused.headers)
    return answer


def json_response(body: str, status: int) -> Response:
    """A JSON answer that names its request; by that header serving.http knows it for ours."""
    headers = {REQUEST_ID_HEADER: request_id.get()}
    return Response(body, status, headers, media_type="application/json")
