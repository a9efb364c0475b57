"""What BentoML's server does not do by itself: own metrics, checks before the start, keep-alive.

- BentoML keeps the metrics of all workers in one folder below BENTOML_HOME and empties it at each
  start, so a second service would erase the figures of the first. Here each service has its own
  folder.
- A proxy keeps its connections to a service for later requests, often for 60 s. If the service
  closes them earlier, a request that is on its way at that moment fails, and the proxy answers 502.
  uvicorn closes them after 5 s, and `bentoml serve` changes that by a hidden option only, which
  every place that starts the service would have to give. SHIPCHIP_KEEP_ALIVE_S sets it here.
- BentoML starts a worker that died again within 10 seconds. The new one deletes the gauges that the
  dead one left among the metrics.

`bentoml._internal` is imported for three things that BentoML offers nowhere else: the folder of its
metrics, the host and port that it is about to listen on, and its exporter of traces.
tests/serving/test_server.py and test_tracing.py tell when they change.
"""

import asyncio
import atexit
import ipaddress
import logging
import os
import shutil
import socket
import sys
import tempfile
import uuid
from pathlib import Path
from typing import Any

import click
from bentoml._internal.configuration.containers import BentoMLContainer
from prometheus_client.multiprocess import mark_process_dead
from starlette.types import ASGIApp, Receive, Scope, Send

from serving.preflight import CannotServe, cannot_serve_exits

_EXPORT_S = 5  # how long the end of a worker waits for the collector of traces

log = logging.getLogger(__name__)


def own_metrics_folder() -> None:
    """Give BentoML a folder of this process's own; BentoML makes it, the exit removes it.

    To be called when the service is imported: BentoML asks for the folder right after that.
    """
    with cannot_serve_exits():
        try:
            place = tempfile.gettempdir()
        except FileNotFoundError as error:
            raise CannotServe(f"no folder for temporary files: {error}; set TMPDIR") from error
    folder = Path(place) / f"bentoml-metrics-{uuid.uuid4().hex}"
    BentoMLContainer.prometheus_multiproc_dir.set(str(folder))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)


def metrics_folder() -> Path:
    """The folder that the workers started by this process keep their figures in."""
    return Path(BentoMLContainer.prometheus_multiproc_dir.get())


def port_or_exit() -> None:
    """SystemExit (1) after a line where `bentoml serve` could not listen on its port."""
    address = _address()
    if address is not None:
        with cannot_serve_exits():
            check_port(*address)


def say_where() -> None:
    """Where to look, in a line on standard error, if that is a terminal: logs are for machines."""
    address = _address()
    if address is not None and sys.stderr.isatty():
        given = click.get_current_context().params.get("ssl_certfile")
        url = page_url(*address, secure=bool(given or BentoMLContainer.ssl.enabled.get()))
        sys.stderr.write(f"shipchip: classify chips on {url}/demo, see the API on {url}/docs\n")
        sys.stderr.flush()


def page_url(host: str, port: int, *, secure: bool = False) -> str:
    """The start of addresses for a browser on this machine, where `host` may mean "any"."""
    address = ipaddress.ip_address(host)
    name = f"[{host}]" if address.version == 6 else host
    where = "localhost" if address.is_unspecified else name
    return f"{'https' if secure else 'http'}://{where}:{port}"


def _address() -> tuple[str, int] | None:
    """The host and port of `bentoml serve`; None where BentoML was called from Python instead."""
    context = click.get_current_context(silent=True)
    if context is None or context.command.name != "serve":
        return None  # an exception of BentoML reaches the caller
    host, port = context.params["host"], context.params["port"]
    return (
        host or BentoMLContainer.http.host.get(),
        BentoMLContainer.http.port.get() if port is None else port,
    )


def check_port(host: str, port: int) -> None:
    """CannotServe where nothing can listen on `port` of the address `host`."""
    if not 0 <= port < 65536:
        raise CannotServe(f"port {port} is no port; expected 1 to 65535")
    try:
        family = socket.AF_INET6 if ipaddress.ip_address(host).version == 6 else socket.AF_INET
    except ValueError as error:
        raise CannotServe(f"host {host!r} is no IP address; expected one, as 127.0.0.1") from error
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise CannotServe(
                f"port {port} of {host}: {error.strerror}; stop what listens there, or choose "
                "another port: `make serve PORT=8080`, `bentoml serve --port 8080`"
            ) from error


def traces_are_exported() -> bool:
    """Whether BentoML's configuration names an exporter of traces, for all services or for one."""
    return _names_exporter(BentoMLContainer.config.get())


def _names_exporter(part: object) -> bool:
    if not isinstance(part, dict):
        return False
    return part.get("exporter_type") is not None or any(map(_names_exporter, part.values()))


def tracing_or_exit() -> None:
    """SystemExit (1) after a line where traces are to be exported and the package is missing.

    BentoML asks for it in each worker, where it would fail for ever: the worker is started again.
    """
    with cannot_serve_exits():
        try:
            provider = BentoMLContainer.tracer_provider.get()
        except ImportError as error:
            kind = BentoMLContainer.tracing.exporter_type.get()
            raise CannotServe(
                f"tracing.exporter_type is {kind}: {error}; install its exporter, as "
                "docs/operations.md says under Traces, or unset it"
            ) from error
    provider.shutdown()  # this process has no requests to trace; workers make their own


async def export_last_spans() -> None:
    """Export what was traced in the last seconds; to be called when the last request is answered.

    uvicorn ends a worker by its signal, so what OpenTelemetry does at a normal exit is never run.
    """
    export = asyncio.to_thread(BentoMLContainer.tracer_provider.get().force_flush)
    try:
        await asyncio.wait_for(export, _EXPORT_S)
    except TimeoutError:
        log.warning("the last traces are lost: the collector did not answer in %s s", _EXPORT_S)


class KeepAlive:
    """ASGI middleware that sets uvicorn's `timeout_keep_alive` before the first connection."""

    def __init__(self, app: ASGIApp, seconds: int) -> None:
        self.app = app
        self.seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            # uvicorn gives its configuration to no application, but the `receive` of the lifespan
            # is a method of the object that holds it. Each new connection reads it.
            config: Any = getattr(getattr(receive, "__self__", None), "config", None)
            if hasattr(config, "timeout_keep_alive"):
                config.timeout_keep_alive = self.seconds
            else:
                log.warning("SHIPCHIP_KEEP_ALIVE_S does nothing: the server is not uvicorn")
        await self.app(scope, receive, send)


def forget_dead_workers() -> None:
    """Delete the gauges of workers that are gone; a worker that takes the place of one calls it.

    Such gauges, as the number of waiting chips, are added up over the files of all workers.
    """
    folder = Path(os.environ.get("PROMETHEUS_MULTIPROC_DIR", ""))
    if folder == Path():  # one process keeps its figures to itself
        return
    for file in folder.glob("gauge_live*_*.db"):
        pid = int(file.stem.rpartition("_")[2])
        if not Path(f"/proc/{pid}").exists():
            mark_process_dead(pid, str(folder))  # type: ignore[no-untyped-call]
