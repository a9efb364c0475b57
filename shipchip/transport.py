"""JSON over HTTP with the standard library.

One connection is kept open; a request is repeated if the service is busy or not reached.
"""

import http.client
import json
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from shipchip.errors import ServiceError, ServiceRefused, ServiceUnavailable

_BUSY = (429, 503)


class Transport:
    """A connection to the service at `url`; redirects are not followed, so a key stays with it.

    headers         sent with every request
    timeout_s       seconds without a byte from the service before the request fails
    tries           how often a request is sent at most, after connection errors, 429 and 503
    longest_wait_s  a longer Retry-After ends the tries

    Raises ServiceError if `url` is not an address of a service.
    """

    def __init__(
        self,
        url: str,
        headers: dict[str, str],
        *,
        timeout_s: float,
        tries: int,
        longest_wait_s: float,
    ) -> None:
        address = urlsplit(url)
        if address.scheme not in ("http", "https") or not address.hostname:
            raise ServiceError(f"address {url!r}; expected http://HOST:PORT or https://HOST")
        secure = address.scheme == "https"
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        self._host, self._prefix = address.netloc.rpartition("@")[2], address.path.rstrip("/")
        try:
            self._connection = kind(self._host, timeout=timeout_s)
        except http.client.InvalidURL as error:
            raise ServiceError(f"address {url!r}: {error}") from error
        self._headers = headers
        self._longest_wait_s = longest_wait_s
        self._tries = max(1, tries)

    def close(self) -> None:
        """Close the connection; the next request reopens it."""
        self._connection.close()

    def ask(
        self, method: str, path: str, body: bytes | None = None, content_type: str | None = None
    ) -> dict[str, Any]:
        """The JSON object of the answer.

        Raises ServiceRefused, or ServiceUnavailable when all tries failed. A request that times out
        is not repeated: that would only add to the load of a slow service.
        """
        headers = {**self._headers, **({"Content-Type": content_type} if content_type else {})}
        for tried in range(1, self._tries + 1):
            pause = 0.5 * 2 ** (tried - 1)
            try:
                status, retry_after, content = self._send(method, path, body, headers)
            except (OSError, http.client.HTTPException) as error:
                found = f"does not answer ({type(error).__name__}: {error})"
                cause: Exception | None = error
                last = isinstance(error, TimeoutError)
            else:
                answer = _object(content)
                if status == 200 or "results" in answer:
                    return answer
                if status not in _BUSY:
                    raise _refused(status, answer)
                found, cause = f"answers {status}, {_describe(answer)}", None
                pause = _seconds(retry_after, pause)
                last = pause > self._longest_wait_s
            if last or tried == self._tries:
                break
            time.sleep(pause)
        asked = "once" if tried == 1 else f"{tried} times"
        raise ServiceUnavailable(f"{self._host} {found}; asked {asked}") from cause

    def _send(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str]
    ) -> tuple[int, str | None, bytes]:
        """Status, Retry-After and body of one try."""
        reused = self._connection.sock is not None
        try:
            return self._exchange(method, path, body, headers)
        except ConnectionError:
            if not reused:
                raise
        # The service closed the idle connection: that does not count as a try.
        return self._exchange(method, path, body, headers)

    def _exchange(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str]
    ) -> tuple[int, str | None, bytes]:
        try:
            self._connection.request(method, self._prefix + path, body, headers)
            response = self._connection.getresponse()
            return response.status, response.getheader("Retry-After"), response.read()
        except BaseException:  # half an answer may be on its way
            self._connection.close()
            raise


def _object(content: bytes) -> dict[str, Any]:
    """The JSON object of an answer; an empty one for anything else, such as a proxy's page."""
    try:
        answer = json.loads(content)
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _refused(status: int, answer: dict[str, Any]) -> ServiceRefused:
    error = answer.get("error") or {}
    return ServiceRefused(
        f"the service refused the request: {status}, {_describe(answer)}",
        status=status,
        reason=error.get("code"),
        request_id=error.get("request_id"),
    )


def _describe(answer: dict[str, Any]) -> str:
    error = answer.get("error") or {}
    return f"{error.get('code', 'no code')}: {error.get('message', 'no message')}"


def _seconds(retry_after: str | None, otherwise: float) -> float:
    """A Retry-After header, which holds seconds or a date, as seconds."""
    if retry_after is None:
        return otherwise
    if retry_after.isdecimal():
        return float(retry_after)
    try:
        until = parsedate_to_datetime(retry_after) - datetime.now(UTC)
    except (TypeError, ValueError):
        return otherwise
    return max(0.0, until.total_seconds())
