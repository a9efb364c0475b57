"""The pages /demo and /docs, and the headers that keep them from loading anything from elsewhere.

BentoML answers GET / with a page that loads Google Tag Manager. Apps mounted on a BentoML service
are asked before that page, so the route for / here takes its place and leads to /demo.

/docs is Swagger UI, which comes with BentoML, on our /docs.json.
"""

from collections.abc import Awaitable, Callable
from pathlib import Path

import bentoml
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from serving.page.samples import sample_routes

PAGE, DOCS_PAGE = "/demo", "/docs"

_FOLDER = Path(__file__).parent
# By its path, not by an import: it is data, and the package is private.
_SWAGGER = Path(bentoml.__file__).parent / "_internal" / "server" / "static_content"
_KINDS = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
}
_SCRIPTS = ("corrections", "files", "model", "pace", "page", "queue", "row", "table", "zip")
# The address of each file. Those of scripts and styles are under /demo/ and /docs/, so that a page
# can name them relative to its own address, also behind a proxy that adds a prefix.
_FILES = {
    PAGE: _FOLDER / "index.html",
    **{f"{PAGE}/{n}.js": _FOLDER / f"{n}.js" for n in _SCRIPTS},
    f"{PAGE}/page.css": _FOLDER / "page.css",
    DOCS_PAGE: _FOLDER / "docs.html",
    f"{DOCS_PAGE}/docs.js": _FOLDER / "docs.js",
    **{f"{DOCS_PAGE}/{n}": _SWAGGER / n for n in ("swagger-ui-bundle.js", "swagger-ui.css")},
}
# Relative, so that they stay below the prefix of a proxy that adds one.
_REDIRECTS = {"/": "demo", f"{PAGE}/": "../demo", f"{DOCS_PAGE}/": "../docs"}
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
    """GET / and /demo/ lead to /demo; the pages' files and sample chips.

    A missing file is an OSError here.
    """
    return [
        *(Route(path, _redirect(to), methods=["GET"]) for path, to in _REDIRECTS.items()),
        *(_file_route(path, file) for path, file in _FILES.items()),
        *sample_routes(f"{PAGE}/samples", _HEADERS),
    ]


def _redirect(to: str) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        del request
        return RedirectResponse(to, 307)

    return answer


def _file_route(path: str, file: Path) -> Route:
    content = file.read_bytes()
    kind = _KINDS[file.suffix]

    async def answer(request: Request) -> Response:
        del request
        return Response(content, headers=_HEADERS, media_type=kind)

    return Route(path, answer, methods=["GET"])
