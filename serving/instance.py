"""What one running service must not share with another on the same machine: port and metrics.

BentoML keeps the metrics of all workers in one folder below BENTOML_HOME and empties it at each
start, so a second service would erase the figures of the first. Here each service has its own.
"""

import atexit
import ipaddress
import shutil
import socket
import tempfile
import uuid
from pathlib import Path

import click
from bentoml._internal.configuration.containers import BentoMLContainer

from serving.preflight import CannotServe, cannot_serve_exits


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
    context = click.get_current_context(silent=True)
    if context is None or context.command.name != "serve":
        return  # BentoML was called from Python: its exception reaches the caller
    host = context.params["host"] or BentoMLContainer.http.host.get()
    port = context.params["port"]
    with cannot_serve_exits():
        check_port(host, BentoMLContainer.http.port.get() if port is None else port)


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
