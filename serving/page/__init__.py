"""The page /demo: its files, and the headers that keep it from loading anything from elsewhere.

BentoML answers GET / with a page that loads Google Tag Manager. Apps mounted on a BentoML service
are asked before that page, so the route for / here takes its place and leads to /demo.
"""

from collections.abc import Awaitable, Callable
from pathlib import Path

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from serving.page.samples import sample_routes

PAGE = "/demo"

_FOLDER = Path(__file__).parent
# The address of each file. Those of scripts and styles are under /demo/, so that index.html can
# name them relative to its own address, also behind a proxy that adds a prefix.
_SCRIPTS = ("corrections", "files", "model", "pace", "page", "queue", "row", "table", "zip")
_FILES = {
    PAGE: ("index.html", "text/html; charset=utf-8"),
    **{f"{PAGE}/{n}.js": (f"{n}.js", "text/javascript; charset=utf-8") for n in _SCRIPTS},
    f"{PAGE}/page.css": ("page.css", "text/css; charset=utf-8"),
}
# Relative, so that they stay below the prefix of a proxy that adds one.
_REDIRECTS = {"/": "demo", f"{PAGE}/": "../demo"}
_HEADERS = {
    "Content-Security-Policy": "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self' data: blob:",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",  # a page and scripts of two releases must not meet
}


def page_routes() -> list[Route]:
    """GET / and /demo/ lead to /demo; the page's files and sample chips.

    A missing file is an OSError here.
    """
    return [
        *(Route(path, _redirect(to), methods=["GET"]) for path, to in _REDIRECTS.items()),
        *(_file_route(path, name, kind) for path, (name, kind) in _FILES.items()),
        *sample_routes(f"{PAGE}/samples", _HEADERS),
    ]


def _redirect(to: str) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        del request
        return RedirectResponse(to, 307)

    return answer


def _file_route(path: str, name: str, kind: str) -> Route:
    content = (_FOLDER / name).read_bytes()

    async def answer(request: Request) -> Response:
        del request
        return Response(content, headers=_HEADERS, media_type=kind)

    return Route(path, answer, methods=["GET"])
