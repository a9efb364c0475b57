"""The service's speed as ratios within one run: `python -m benchmarks.serving --help`.

limit      chips a second of the bare ONNX Runtime session on prepared batches of 32
of 32      the service, over HTTP, in requests of 32 chips, against the limit
single     the service, one chip a request on 32 connections, against the limit
plain      a plain BentoML service of the same model (benchmarks/peers/plain.py), as single
lit        LitServe with its batching (benchmarks/peers/lit.py), as single
alone      middle answer time of one chip at no load, against the bare session's for one chip

The limit is measured anew on both sides of every figure, for the speed of a shared machine drifts.
The load generator (benchmarks/load.py) runs beside the service on the same cores: its share of them
is shown, and is part of what the service falls short by. Processor time a chip is shown as well: it
depends less on what else the machine does.
"""

import argparse
import io
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.table import Table

from benchmarks.load import Load
from benchmarks.server import ROOT, Server, bentoml, serving
from shipchip import ShipClassifier, decode

BATCH = 32
SIDE = 64
_SERVICE = bentoml(".")
_PLAIN = bentoml("benchmarks.peers.plain:Plain")
_LIT = ("benchmarks.peers.lit",)


def main() -> int:
    """Measure, print a table, and give 0."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", type=Path, default=ROOT / "models" / "ship.onnx")
    parser.add_argument("--seconds", type=float, default=8, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3, help="of each; the middle one is shown")
    parser.add_argument(
        "--litserve", type=Path, help="a folder of `pip install --target FOLDER litserve`"
    )
    parser.add_argument("--device", default="auto", help="of the service; the limit keeps `auto`")
    options = parser.parse_args()
    bench = Bench(options)
    name = f"{bench.ships.card.name} {bench.ships.card.version}"
    title = f"{name}, limit on {bench.ships.provider}, service on device {bench.device}"
    columns = ("figure", "value", "ratio", "bar", "processor ms a chip", "load generator")
    table = Table(*columns, title=title)
    busy = f"load of the machine before: {os.getloadavg()[0]:.1f}"
    with tempfile.TemporaryDirectory() as folder:
        bench.measure(table, Path(folder))
    Console(width=130).print(table, f"{machine()}, {busy}, model {bench.ships.sha256[:12]}")
    return 0


class Bench:
    """The model and the chips that everything is measured with."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.model: Path = options.model.absolute()
        self.ships = ShipClassifier(self.model)
        self.seconds: float = options.seconds
        self.rounds: int = options.rounds
        self.litserve: Path | None = options.litserve
        self.device: str = options.device
        self.files = draw_chips(256)
        chips = [self.ships.prepare(decode(file)).input for file in self.files[:BATCH]]
        self.batch: NDArray[np.float32] = np.stack(chips)

    def limit(self) -> tuple[float, float]:
        """The session alone: chips a second, processor seconds a chip."""
        cpu, runs = time.process_time(), 0

        def run() -> None:
            nonlocal runs
            self.ships.run(self.batch)
            runs += 1

        rate = BATCH / middle(run, self.seconds)
        return rate, (time.process_time() - cpu) / runs / BATCH

    def measure(self, table: Table, folder: Path) -> None:
        """All rows. Only one service runs at a time."""
        single = requests_of(self.files, 1, "/v1/classify", "files")
        with serving(_SERVICE, self.model, folder, device=self.device) as server:
            idle = server.resident_mib()
            self.alone(table, server, write(single, folder / "alone"))
            of_32 = write(requests_of(self.files, BATCH, "/v1/classify", "files"), folder / "32")
            self.ratio(table, server, "in requests of 32", of_32, 4, BATCH, ">= 0.95")
            paths = write(single, folder / "1")
            self.ratio(table, server, "one chip a request", paths, 32, 1, ">= 0.90")
            table.add_row("ready after the start", f"{server.ready_s:.1f} s")
            loaded = server.resident_mib()
            table.add_row("resident memory", f"{idle:.0f} MiB idle, {loaded:.0f} after load")
        with serving(_PLAIN, self.model, folder) as server:
            plain = write(requests_of(self.files, 1, "/classify", "image"), folder / "plain")
            self.ratio(table, server, "peer: plain BentoML, the same", plain, 32, 1, "")
        if self.litserve is None:
            table.add_row("peer: LitServe", "not measured: --litserve says where it is")
        else:
            with serving(_LIT, self.model, folder, self.litserve) as server:
                self.ratio(table, server, "peer: LitServe, the same", plain, 32, 1, "")
        self.eager(table)

    def ratio(
        self, table: Table, server: Server, name: str, paths: Sequence[Path], *more: Any
    ) -> None:
        """A row: chips a second over the limit on both sides of it; the middle of the rounds."""
        connections, chips, bar = more
        found: list[tuple[float, ...]] = []
        load(server.port, paths, connections, 2)  # to warm up
        before, _ = self.limit()
        for _ in range(self.rounds):
            cpu = server.cpu_s()
            reported = load(server.port, paths, connections, self.seconds)
            spent = (server.cpu_s() - cpu) / reported.answers / chips
            after, bare = self.limit()
            rate = reported.answers * chips / reported.seconds
            share = reported.cpu_s / reported.seconds / (os.cpu_count() or 1)
            found.append((2 * rate / (before + after), rate, share, spent, bare))
            before = after
        ratio, rate, share, spent, bare = sorted(found)[len(found) // 2]
        spread = f"{min(found)[0]:.2f} to {max(found)[0]:.2f}"
        value = f"{rate:.0f} chips/s, limit {rate / ratio:.0f}"
        cpu_ms = f"{spent * 1e3:.1f}, session {bare * 1e3:.1f}"
        table.add_row(name, value, f"{ratio:.2f} ({spread})", bar, cpu_ms, f"{share:.0%}")

    def eager(self, table: Table) -> None:
        """A row: the networks alone in torch, where it is installed."""
        name = "peer: torch eager, batches of 32, no HTTP"
        if find_spec("torch") is None:
            table.add_row(name, "not measured: torch is not installed here (make dev does)")
            return
        before, _ = self.limit()
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.peers.eager", str(self.seconds)],
            cwd=ROOT,
            input=self.ships.card.to_json().encode(),
            capture_output=True,
            check=True,
        )
        rate, limit = float(done.stdout), (before + self.limit()[0]) / 2
        table.add_row(name, f"{rate:.0f} chips/s, limit {limit:.0f}", f"{rate / limit:.2f}")

    def alone(self, table: Table, server: Server, paths: Sequence[Path]) -> None:
        """A row: the answer time of one chip when nothing else is asked."""
        one = self.batch[:1]
        found = []
        for _ in range(self.rounds):
            bare = middle(lambda: self.ships.run(one), self.seconds / 2) * 1e3
            found.append((load(server.port, paths, 1, self.seconds / 2).p50_ms, bare))
        http, bare = (median(values) for values in zip(*found, strict=True))
        table.add_row(
            "one chip at no load, p50", f"{http:.2f} ms, session {bare:.2f}", f"{http / bare:.2f}"
        )


def draw_chips(count: int) -> list[bytes]:
    """8-bit grey PNGs, 64 x 64: speckled sea and a bright hull of some length and heading."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:SIDE, :SIDE] - SIDE / 2
    files = []
    for _ in range(count):
        turn, length, width = rng.uniform(0, np.pi), rng.uniform(6, 24), rng.uniform(2, 5)
        along, across = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
        hull = (abs(along) < length) & (abs(across) < width)
        amplitude = rng.rayleigh(12, (SIDE, SIDE)) * np.where(hull, 9, 1)
        file = io.BytesIO()
        Image.fromarray(np.clip(amplitude, 1, 255).astype(np.uint8)).save(file, "png")
        files.append(file.getvalue())
    return files


def requests_of(files: Sequence[bytes], chips: int, path: str, field: str) -> list[bytes]:
    """Requests as they go over the wire, of so many chips each."""
    found = []
    for start in range(0, len(files), chips):
        body = b""
        for i, file in enumerate(files[start : start + chips]):
            head = f'form-data; name="{field}"; filename="{i}.png"\r\nContent-Type: image/png'
            body += f"--b\r\nContent-Disposition: {head}\r\n\r\n".encode() + file + b"\r\n"
        body += b"--b--\r\n"
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
        found.append(
            head.encode() + b"Content-Type: multipart/form-data; boundary=b\r\n\r\n" + body
        )
    return found


def write(requests: Sequence[bytes], folder: Path) -> list[Path]:
    """The requests as files of a new folder, for the load generator."""
    folder.mkdir()
    paths = [folder / str(i) for i in range(len(requests))]
    for path, request in zip(paths, requests, strict=True):
        path.write_bytes(request)
    return paths


def load(port: int, paths: Sequence[Path], connections: int, seconds: float) -> Load:
    """What the load generator tells; RuntimeError where any answer was not 200."""
    command = [sys.executable, "-m", "benchmarks.load", "127.0.0.1", str(port), str(connections)]
    done = subprocess.run(
        [*command, str(seconds), *map(str, paths)], cwd=ROOT, capture_output=True, check=True
    )
    reported = Load(**json.loads(done.stdout))
    if set(reported.statuses) != {"200"}:
        raise RuntimeError(f"answers other than 200: {reported.statuses}; nothing was measured")
    return reported


def middle(work: Callable[[], object], seconds: float) -> float:
    """Middle time, in seconds, of doing `work` over and over for so long."""
    times = []
    end = time.perf_counter() + seconds
    work()
    while (start := time.perf_counter()) < end:
        work()
        times.append(time.perf_counter() - start)
    return median(times)


def machine() -> str:
    """Where this ran, in a few words."""
    names = [k for k in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in k]
    name = names[0].split(":")[1].strip() if names else platform.machine()
    return f"{os.cpu_count()} x {name}, Python {platform.python_version()}"


if __name__ == "__main__":
    sys.exit(main())
