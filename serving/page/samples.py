"""The sample chips behind "Try samples": simulated, each drawn when it is first asked for.

    GET /demo/samples              their paths, as JSON: ["Cargo/cargo-1-gaofen3.tiff", ...]
    GET /demo/samples/Cargo/...    one of these files

All processes draw the same bytes, and keep them: 1.5 MB at most.
"""

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from shipchip.samples import draw_sample, sample_paths


def sample_routes(address: str, headers: Mapping[str, str]) -> list[Route]:
    """The routes of the list and of each chip; `headers` go with every answer."""
    paths = sample_paths()
    listed = [path.as_posix() for path in paths]

    def answer_list(request: Request) -> Response:
        del request
        return JSONResponse(listed, headers=headers)

    return [
        Route(address, answer_list, methods=["GET"]),
        *(Route(f"{address}/{p.as_posix()}", _chip(p, headers), methods=["GET"]) for p in paths),
    ]


def _chip(path: Path, headers: Mapping[str, str]) -> Callable[[Request], Response]:
    # No coroutine, so Starlette calls it on a thread: drawing a chip takes a third of a second.
    def answer(request: Request) -> Response:
        del request
        return Response(_content(path), headers=headers, media_type="application/octet-stream")

    return answer


@cache
def _content(path: Path) -> bytes:
    return draw_sample(path).content
