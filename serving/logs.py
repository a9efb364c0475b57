"""Logs: one line an event, as JSON or as text, with the id of the request that it belongs to.

Every request ends in one line (logger `serving.access`) with its method, path, status and seconds,
and with what was noted on its way: how many chips it had, how many failed, the code of a refusal.
Nothing of a chip is written, and no header: so no key either.
"""

import json
import logging
import sys
import time
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.refusals import REQUEST_ID_HEADER, begin_request, refusal_code, request_id
from serving.settings import Settings

# Asked for every few seconds by machines: their lines would hide the others.
_PROBES = frozenset({"/livez", "/readyz", "/healthz", "/metrics"})
_MAX_PATH = 200
# Loggers whose lines are wanted from `log_level` on; all others speak from warnings on.
_OURS = ("serving", "shipchip", "bentoml")
# They bring handlers of their own, or write a line a request beside ours.
_FOREIGN = ("bentoml", "circus", "uvicorn", "uvicorn.error", "uvicorn.access")

_facts: ContextVar[dict[str, Any] | None] = ContextVar("facts", default=None)

log = logging.getLogger("serving.access")


def configure(settings: Settings) -> None:
    """Send all logs of this process to standard output, as the settings say."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonLines() if settings.log_format == "json" else TextLines())
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    for name in _FOREIGN:
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(logging.NOTSET)
    for name in _OURS:
        logging.getLogger(name).setLevel(level)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(level, logging.WARNING))
    logging.captureWarnings(True)


def note(**facts: Any) -> None:
    """Add facts to the line in which the current request ends; nothing outside of a request."""
    known = _facts.get()
    if known is not None:
        known |= facts


class JsonLines(logging.Formatter):
    """One JSON object a line; non-ASCII and control characters are escaped, so a line is a line."""

    def format(self, record: logging.LogRecord) -> str:
        """time, level, logger, message, request_id within a request, facts, exception."""
        line = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if request_id.get():
            line["request_id"] = request_id.get()
        line |= getattr(record, "facts", {})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class TextLines(logging.Formatter):
    """The same for people; a traceback follows on lines of its own."""

    def format(self, record: logging.LogRecord) -> str:
        """time LEVEL logger message key=value ..."""
        facts = getattr(record, "facts", {})
        if request_id.get():
            facts = {"request_id": request_id.get(), **facts}
        shown = "".join(f" {name}={value}" for name, value in facts.items())
        line = _printable(
            f"{_time(record)} {record.levelname} {record.name} {record.getMessage()}{shown}"
        )
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class RequestLog:
    """The outermost ASGI middleware: gives a request its id, and writes its line at the end."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; `status` is null in the line of one that was never answered."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        name = begin_request(scope)
        noted: dict[str, Any] = {}
        _facts.set(noted)
        status: int | None = None

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message).setdefault(REQUEST_ID_HEADER, name)
            await send(message)

        start = time.perf_counter()
        try:
            await self.app(scope, receive, watch)
        finally:
            facts = {
                "method": scope["method"],
                "path": scope["path"][:_MAX_PATH],
                "status": status,
                **({"code": refusal_code.get()} if refusal_code.get() else {}),
                **noted,
                "seconds": round(time.perf_counter() - start, 4),
            }
            log.log(_level(scope["path"], status), "request", extra={"facts": facts})


def _level(path: str, status: int | None) -> int:
    if status is not None and status >= 500:
        return logging.DEBUG if path in _PROBES else logging.ERROR
    return logging.DEBUG if path in _PROBES else logging.INFO


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
