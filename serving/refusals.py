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

# Every refusal: (status, code) -> what the client should do. `Refused` accepts no other, and
# docs/api.md is generated from it. `bad_request` may have any other status of 4xx.
REFUSALS: Mapping[tuple[int, str], str] = {
    (400, "wrong_content_type"): "send `multipart/form-data`, or JSON to `/v1/classify_base64`; "
    "do not compress the body",
    (400, "malformed_multipart"): "let a library build the body: boundary, headers or end are "
    "wrong",
    (400, "malformed_json"): "send one JSON object in UTF-8",
    (400, "bad_base64"): "use the standard alphabet, padded, without line breaks",
    (400, "no_files"): "send at least one chip in `files`",
    (400, "not_a_file"): "send the file's bytes: URLs are never fetched",
    (400, "filename_too_long"): "use names of at most 255 characters",
    (400, "unknown_field"): "check the field names; options do not go into the URL",
    (400, "duplicate_field"): "send each field once; only `files` may be repeated",
    (400, "bad_field"): "send one of the values that the message lists",
    (400, "bad_pixel_spacing"): "send metres as `10` or `13.93x3.87` (row x column), with a "
    "decimal point, from 0.01 to 1000",
    (400, "disconnected"): "nothing: the client had already left",
    (400, "cors_refused"): "add the page's origin to `SHIPCHIP_CORS_ORIGINS`",
    (400, "bad_request"): "correct the request: the HTTP server refused it; other 4xx statuses "
    "share this code",
    (401, "unauthorised"): "send an API key",
    (404, "not_found"): "check the path",
    (405, "method_not_allowed"): "use a method that the `Allow` header lists",
    (413, "request_too_large"): "send several smaller requests",
    (413, "too_many_files"): "send several smaller requests",
    (413, "too_many_parts"): "send fewer fields",
    (429, "overloaded"): "try again after `Retry-After` seconds",
    (500, "internal_error"): "report it: bad input never causes it",
    (503, "unavailable"): "try again in a moment",
    (503, "closing"): "send it again: another process will take it",
    (504, "timeout"): "send fewer chips; `SHIPCHIP_TIMEOUT_S` includes the upload",
}

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

    Status and code must be in REFUSALS, so that no client meets a code that is not documented.
    `headers` go with the answer: Retry-After, WWW-Authenticate.
    """

    def __init__(
        self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None
    ) -> None:
        if (status, code) not in REFUSALS and code != "bad_request":
            raise ValueError(f"({status}, {code!r}) is not in REFUSALS: add it with its remedy")
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
