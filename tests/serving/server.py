"""Starts the real service in a process of its own, and always ends it."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

ROOT = Path(__file__).parent.parent.parent
START_SECONDS = 60


def environment(model: Path, **settings: object) -> dict[str, str]:
    """This process's environment with SHIPCHIP_ settings of its own and no others."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("SHIPCHIP_")}
    given = {f"SHIPCHIP_{name.upper()}": str(value) for name, value in settings.items()}
    return {**kept, "BENTOML_DO_NOT_TRACK": "True", "SHIPCHIP_MODEL": str(model), **given}


@contextmanager
def serving(model: Path, log: Path, **settings: object) -> Iterator[httpx.Client]:
    """`bentoml serve` in the project's folder; a client of it once /readyz says yes."""
    port = free_port()
    command = [sys.executable, "-m", "bentoml", "serve", "--host", "127.0.0.1", "--port", str(port)]
    with (
        log.open("wb") as file,
        subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment(model, **settings),
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process,
    ):
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
                wait_until_ready(client, process, log)
                yield client
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)  # its own session: nothing else is in it


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until_ready(client: httpx.Client, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            if client.get("/readyz", timeout=2).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise RuntimeError(f"the service did not become ready; its log:\n{log.read_text()[-4000:]}")
