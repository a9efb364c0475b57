"""A refused request: the exception, and the one shape that every whole-request error has."""

from contextvars import ContextVar

from starlette.responses import Response

from serving.schema import ErrorEnvelope, RequestError

REQUEST_ID_HEADER = "X-Request-ID"

# Set by serving.limits for the length of a request; log lines and answers take it from here.
request_id: ContextVar[str] = ContextVar("request_id", default="")


class Refused(Exception):
    """The whole request is refused, with an HTTP status, a stable code and a message."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


def envelope(refused: Refused) -> Response:
    """The answer to a refused request."""
    error = RequestError(code=refused.code, message=refused.message, request_id=request_id.get())
    return json_response(ErrorEnvelope(error=error).model_dump_json(), refused.status)


def json_response(body: str, status: int) -> Response:
    """A JSON answer that names its request; by that header serving.limits knows it for ours."""
    headers = {REQUEST_ID_HEADER: request_id.get()}
    return Response(body, status, headers, media_type="application/json")
