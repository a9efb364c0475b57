"""A service that is measured: started on a free port, its memory, its processor time, its end."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Server:
    """A running service: its port, its processes, and how long it took to be ready."""

    port: int
    pid: int
    ready_s: float

    def resident_mib(self) -> float:
        """Memory of all its processes. Pages that they share are counted in each."""
        return sum(int(stat[21]) for stat in self._stats()) * os.sysconf("SC_PAGE_SIZE") / 2**20

    def cpu_s(self) -> float:
        """Processor time that its processes have taken."""
        ticks = sum(int(stat[11]) + int(stat[12]) for stat in self._stats())
        return ticks / os.sysconf("SC_CLK_TCK")

    def _stats(self) -> list[list[str]]:
        """/proc's line on each of its processes, from the state on (field 3 of proc(5))."""
        lines = dict(_processes())
        return [lines[pid] for pid in _family(self.pid) if pid in lines]


def bentoml(target: str) -> tuple[str, ...]:
    """The command that serves TARGET, but for the port, its last word."""
    return ("bentoml", "serve", target, "--host", "127.0.0.1", "--port")


@contextmanager
def serving(
    command: tuple[str, ...],
    model: Path,
    folder: Path,
    python_path: Path | None = None,
    device: str = "auto",
) -> Iterator[Server]:
    """`python -m COMMAND PORT`, ready; ended at the end of the block.

    python_path  a folder with what the environment lacks, for this process alone
    device       SHIPCHIP_DEVICE of the service
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    kept = {k: v for k, v in os.environ.items() if not k.startswith("SHIPCHIP_")}
    ours = {"BENTOML_DO_NOT_TRACK": "True", "BENTOML_HOME": str(folder / "bentoml")}
    more = {"PYTHONPATH": str(python_path)} if python_path else {}
    started = time.monotonic()
    with (folder / "log.txt").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *command, str(port)],
            cwd=ROOT,
            env=kept | ours | more | {"SHIPCHIP_MODEL": str(model), "SHIPCHIP_DEVICE": device},
            stdout=log,
            stderr=log,
        )
        try:
            _await_ready(process, port)
            yield Server(port, process.pid, time.monotonic() - started)
        finally:
            family = _family(process.pid)
            process.send_signal(signal.SIGTERM)
            process.wait(30)
            for pid in family:  # LitServe leaves processes behind, which go on taking time
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def _family(pid: int) -> set[int]:
    """A process and all that came of it."""
    lines = dict(_processes())
    family = {pid}
    while more := {p for p, line in lines.items() if int(line[1]) in family} - family:
        family |= more
    return family


def _processes() -> Iterator[tuple[int, list[str]]]:
    """Process ids with /proc's fields from the state on; what ends meanwhile is left out."""
    for place in Path("/proc").iterdir():
        if place.name.isdecimal():
            with suppress(OSError):
                yield int(place.name), (place / "stat").read_text().rsplit(")", 1)[1].split()


def _await_ready(process: "subprocess.Popen[bytes]", port: int) -> None:
    for _ in range(1200):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            if process.poll() is not None:
                break
            time.sleep(0.05)
    raise RuntimeError("the service did not become ready within a minute")
