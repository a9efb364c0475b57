"""The middleware around applications that misbehave: BentoML's and our own faults."""

import asyncio
import logging
from typing import Any

import httpx
import pytest
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.types import ASGIApp

from serving.http import RequestMiddleware
from serving.settings import Settings


def no_capacity() -> None:
    raise AssertionError("no test here sends a form")


def ask(app: ASGIApp, **settings: Any) -> httpx.Response:
    async def get() -> httpx.Response:
        transport = httpx.ASGITransport(RequestMiddleware(app, no_capacity, Settings(**settings)))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.get("/", headers={"X-Request-ID": "r-1"})

    return asyncio.run(get())


def test_an_exception_becomes_the_envelope_and_a_log_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def app(*_: object) -> None:
        raise KeyError("secret of the program")

    with caplog.at_level(logging.ERROR, "serving.http"):
        response = ask(app)
    assert response.status_code == 500
    assert response.json()["error"]["code"] == "internal_error"
    assert "secret" not in response.text
    assert "r-1" in caplog.text
    assert "secret of the program" in caplog.text


@pytest.mark.parametrize(
    ("status", "code"),
    [(400, "bad_request"), (404, "not_found"), (500, "internal_error"), (503, "unavailable")],
)
def test_errors_of_others_are_put_into_our_shape(status: int, code: str) -> None:
    response = ask(JSONResponse([{"error": "BentoML's own"}], status))
    assert response.status_code == status
    assert response.json()["error"] == {
        "code": code,
        "message": response.json()["error"]["message"],
        "request_id": "r-1",
    }
    assert "BentoML" not in response.text


def test_what_is_no_error_passes_with_the_request_id() -> None:
    response = ask(PlainTextResponse("as it was", 200, {"X-Other": "kept"}))
    assert response.text == "as it was"
    assert response.headers["X-Other"] == "kept"
    assert response.headers["X-Request-ID"] == "r-1"


def test_what_takes_too_long_is_ended() -> None:
    async def app(*_: object) -> None:
        await asyncio.sleep(60)

    response = ask(app, timeout_s=0.05)
    assert (response.status_code, response.json()["error"]["code"]) == (504, "timeout")


def test_a_timeout_of_somebody_else_is_not_taken_for_ours() -> None:
    async def app(*_: object) -> None:
        raise TimeoutError("a socket's")

    response = ask(app)
    assert (response.status_code, response.json()["error"]["code"]) == (500, "internal_error")
