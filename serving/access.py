"""Who may ask: the API keys, and the web pages of other origins (CORS). Both are off by default.

With keys set, /v1/* and /metrics ask for one of them, as `Authorization: Bearer KEY` or `X-API-Key:
KEY`, before anything of the body is read. /livez, /readyz, the pages and /docs.json stay open: they
tell nothing of chips, and what asks for them seldom has a key. Prometheus can send a key
(`authorization: credentials_file`), but not to targets that it finds by annotations:
SHIPCHIP_OPEN_METRICS opens /metrics, which shows how busy the service is but nothing of a chip.
"""

import hmac
from collections.abc import Iterator
from hashlib import sha256

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Scope

from serving.refusals import REQUEST_ID_HEADER, Refused, envelope
from serving.settings import Settings

KEY_HEADER = "X-API-Key"
_BEARER = "bearer "


class KeyCheck:
    """The keys that are good, kept as hashes: equally long, so comparing takes equally long."""

    def __init__(self, settings: Settings) -> None:
        self._digests = [_digest(key) for key in settings.api_keys()]
        self._open_metrics = settings.open_metrics

    def __call__(self, scope: Scope) -> None:
        """Refused (401) where the path asks for a key and none of the request's is good."""
        if not self._digests or not self._asks_for_key(scope["path"]):
            return
        given = list(_given(Headers(scope=scope)))
        # No early end: the time tells neither which key was compared nor how much of it fits.
        matches = [hmac.compare_digest(_digest(g), key) for g in given for key in self._digests]
        if not any(matches):
            what = "the API key is not known here" if given else "no API key"
            raise Refused(
                401,
                "unauthorised",
                f"{what}; send one as `Authorization: Bearer KEY` or `{KEY_HEADER}: KEY`",
                {"WWW-Authenticate": "Bearer"},
            )

    def _asks_for_key(self, path: str) -> bool:
        return path.startswith("/v1/") or (path == "/metrics" and not self._open_metrics)


class Cors(CORSMiddleware):
    """Starlette's, outside of the limits, so that a page may read refusals too.

    BentoML's `http.cors` puts the same middleware inside of ours: a 401 or 413 would reach the
    page without the headers that let it read them.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        super().__init__(
            app,
            allow_origins=settings.cors_origins,
            allow_methods=("GET", "POST"),
            allow_headers=("Authorization", KEY_HEADER, REQUEST_ID_HEADER),
            expose_headers=(REQUEST_ID_HEADER, "Retry-After", "WWW-Authenticate"),
        )

    def preflight_response(self, request_headers: Headers) -> Response:
        """Starlette's answer to OPTIONS, its 400 in the shape of all our errors."""
        answer = super().preflight_response(request_headers)
        if answer.status_code < 400:
            return answer
        shown = bytes(answer.body).decode()
        kept = {k: v for k, v in answer.headers.items() if not k.startswith("content-")}
        return envelope(
            Refused(400, "cors_refused", f"{shown}; SHIPCHIP_CORS_ORIGINS lists who may ask", kept)
        )


def _given(headers: Headers) -> Iterator[str]:
    yield from headers.getlist(KEY_HEADER)
    for value in headers.getlist("Authorization"):
        if value[: len(_BEARER)].lower() == _BEARER:
            yield value[len(_BEARER) :].strip()


def _digest(key: str) -> bytes:
    return sha256(key.encode()).digest()
