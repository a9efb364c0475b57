"""Log lines: one an event, one a request, with the request's id and nothing of a chip."""

import asyncio
import io
import json
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from serving.chips import ChipOptions
from serving.engine import Engine
from serving.logs import JsonLines, TextLines
from serving.refusals import request_id
from serving.settings import Settings
from tests.serving.server import serving


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("logged") / "log.txt"


@pytest.fixture(scope="module")
def logged(model: Path, log: Path) -> Iterator[httpx.Client]:
    """The service with its default log."""
    with serving(model, log, timeout_s=5) as client:
        yield client


def lines_of(log: Path, request: str) -> list[dict[str, Any]]:
    """The lines of one request; the last is written after its answer has gone out."""
    for _ in range(50):
        lines = [json.loads(line) for line in log.read_text().splitlines() if line[:1] == "{"]
        found = [line for line in lines if line.get("request_id") == request]
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"no line of {request} in:\n{log.read_text()[-2000:]}")


def test_a_request_ends_in_one_line_that_says_what_it_was(
    logged: httpx.Client, log: Path, png: dict[str, bytes]
) -> None:
    upload = [("files", ("secret-name.png", png["Cargo"])), ("files", ("b.png", b"broken"))]
    logged.post("/v1/classify", files=upload, headers={"X-Request-ID": "mixed-1"})
    (line,) = lines_of(log, "mixed-1")
    assert line["time"][10] == "T"
    assert 0 < line["seconds"] < 5
    del line["time"], line["seconds"]
    assert line == {
        "level": "info",
        "logger": "serving.access",
        "message": "request",
        "request_id": "mixed-1",
        "method": "POST",
        "path": "/v1/classify",
        "status": 200,
        "chips": 2,
        "failed": 1,
    }
    assert "secret-name" not in log.read_text()


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("POST", "/v1/classify", 400, "wrong_content_type"),
        ("GET", "/v1/classify", 405, "method_not_allowed"),
        ("GET", "/v1/nothing", 404, "not_found"),
    ],
)
def test_the_line_of_a_refusal_has_its_code(
    logged: httpx.Client, log: Path, method: str, path: str, status: int, code: str
) -> None:
    name = f"refused-{status}"
    logged.request(method, path, headers={"X-Request-ID": name})
    (line,) = lines_of(log, name)
    assert (line["status"], line["code"]) == (status, code)


def test_an_id_that_the_service_made_is_in_answer_and_line_alike(
    logged: httpx.Client, log: Path
) -> None:
    answer = logged.get("/v1/model")
    (line,) = lines_of(log, answer.headers["X-Request-ID"])
    assert line["path"] == "/v1/model"


def test_a_path_cannot_forge_a_line_nor_fill_the_log(logged: httpx.Client, log: Path) -> None:
    forged = "%0a%7B%22level%22:%22error%22%7D%0d%1b[31m" + "x" * 5000
    logged.get(f"/{forged}", headers={"X-Request-ID": "forged"})
    (line,) = lines_of(log, "forged")
    assert line["path"].startswith('/\n{"level":"error"}')
    assert len(line["path"]) <= 200
    assert "\x1b" not in log.read_text()


def test_the_questions_of_machines_leave_no_lines(logged: httpx.Client, log: Path) -> None:
    for path in ("/livez", "/readyz", "/metrics"):
        logged.get(path)
    logged.get("/v1/model", headers={"X-Request-ID": "after-probes"})
    lines_of(log, "after-probes")
    reported = log.read_text()
    assert [path for path in ("/livez", "/readyz", "/metrics") if path in reported] == []


def test_every_line_of_a_worker_is_json_and_none_stands_beside_the_line_of_a_request(
    logged: httpx.Client, log: Path
) -> None:
    before = len(log.read_text().splitlines())
    for number in range(5):
        logged.get("/v1/model", headers={"X-Request-ID": f"counted-{number}"})
    lines_of(log, "counted-4")
    new = log.read_text().splitlines()[before:]
    assert [json.loads(line)["request_id"] for line in new] == [f"counted-{n}" for n in range(5)]


def record(message: str, **extra: object) -> logging.LogRecord:
    made = logging.LogRecord("serving.x", logging.WARNING, __file__, 1, message, (), None)
    made.__dict__.update(extra)
    return made


def test_a_traceback_stays_within_its_json_line() -> None:
    try:
        raise KeyError("two\nlines")
    except KeyError as error:
        broken = record("failed", exc_info=(KeyError, error, error.__traceback__))
    line = JsonLines().format(broken)
    assert "\n" not in line
    assert "KeyError" in json.loads(line)["exception"]


def test_a_line_of_a_decoding_thread_has_the_id_of_its_request(
    model: Path, png: dict[str, bytes]
) -> None:
    impossible = ChipOptions(quantity="decibels")  # type: ignore[arg-type]
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    engine = Engine(Settings(model=model, device="cpu"))
    logger = logging.getLogger("serving.chips")
    logger.addHandler(handler)
    reset = request_id.set("r-9")
    try:
        asyncio.run(engine.classify([png["Cargo"]] * 2, impossible, explain=False))
    finally:
        request_id.reset(reset)
        logger.removeHandler(handler)
        engine.close()
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["request_id"] for line in lines] == ["r-9", "r-9"]
    assert "quantity is 'decibels'" in lines[0]["exception"]


def test_text_says_the_same_for_people_in_one_line() -> None:
    reset = request_id.set("r-7")
    try:
        line = TextLines().format(record("a\nb", facts={"status": 200, "chips": 2}))
    finally:
        request_id.reset(reset)
    assert line.endswith(" WARNING serving.x a\\nb request_id=r-7 status=200 chips=2")


@pytest.mark.slow
def test_a_service_set_to_text_writes_text(model: Path, tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    with serving(model, log, log_format="text", log_level="WARNING") as client:
        client.get("/v1/model", headers={"X-Request-ID": "quiet"})
        client.get("/v1/nothing", headers={"X-Request-ID": "quiet"})
    reported = log.read_text()
    assert "{" not in reported
    assert "quiet" not in reported
