"""The speed of `python -m serving.batch` as ratios within one run: `... benchmarks.batch --help`.

limit    chips a second of the bare ONNX Runtime session on prepared batches of 32
loop     opening, preparing and running chips one by one in one process
many     ten times the chips: peak memory and seconds a chip against fewer
ray      the Ray engine on this machine against the local one
first    from the start of the command to its end, for one chip

With --counts only this is measured, on PNGs of 64 x 64: seconds a chip and peak memory of runs of
so many chips, and --shards of the last run at the same time, a core each, with their merge.

The limit is measured anew on both sides of every figure. Chips are links to 64 different files,
which the disk's cache holds, so the disk is not measured. Memory is of all processes together,
looked at ten times a second; pages that they share are counted in each.
"""

import argparse
import io
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import imagecodecs
import numpy as np
import psutil
from PIL import Image
from rich.console import Console
from rich.table import Table

from benchmarks.server import ROOT
from benchmarks.serving import draw_chips, machine, middle
from shipchip import ShipClassifier, decode

BATCH = 32
_KINDS = 64
_BARS = {"tif": 0.92}  # of the limit; 0.90 for other files


def main() -> int:
    """Measure, print a table, and give 0."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", type=Path, default=ROOT / "models" / "ship.onnx")
    parser.add_argument("--chips", type=int, default=5000, help="ten times as many for `many`")
    parser.add_argument("--without", nargs="*", default=[], choices=("many", "ray"))
    parser.add_argument("--counts", nargs="*", type=int, default=[], help="such as 100 1000 10000")
    parser.add_argument("--shards", nargs="*", type=int, default=[], help="such as 2 4")
    parser.add_argument("--device", default="auto", help="of the runs; the limit keeps `auto`")
    options = parser.parse_args()
    title = "as runs grow" if options.counts else f"{options.chips} chips"
    table = Table("figure", "value", "ratio", "bar", title=f"{title}, device {options.device}")
    with tempfile.TemporaryDirectory() as folder:
        _Bench(options, Path(folder), table).run()
    Console(width=110).print(table, f"{machine()}, load before: {os.getloadavg()[0]:.1f}")
    return 0


class _Bench:
    def __init__(self, options: argparse.Namespace, folder: Path, table: Table) -> None:
        self.options, self.folder, self.table = options, folder, table
        self.ships = ShipClassifier(options.model)
        self.small = draw_chips(_KINDS)
        chips = [self.ships.prepare(decode(file)).input for file in self.small[:BATCH]]
        self.batch = np.stack(chips)
        self.seconds = 0.0

    def run(self) -> None:
        if self.options.counts:
            self._growth()
            return
        chips = self.options.chips
        one = self._write("one", self.small[:1], "png", 1)
        self.table.add_row("start to end, one chip", f"{self._batch(one)[0]:.2f} s", "", "<= 2 s")
        large = _large()
        for kind, ending, files in (
            ("TIFF 512 x 512, uint8, PackBits", "tif", [_tiff(image) for image in large]),
            ("PNG 512 x 512", "png", [_png(image) for image in large]),
            ("PNG 64 x 64", "png", self.small),
        ):
            place = self._write(kind.replace(" ", ""), files, ending, chips)
            self._compare(kind, ending, place, chips)
        if "ray" not in self.options.without:
            self._ray(place, chips)
        if "many" not in self.options.without:
            self._many(place, chips)

    def _compare(self, kind: str, ending: str, place: Path, chips: int) -> None:
        before = self._limit()
        seconds, _ = self._batch(place)
        limit = (before + self._limit()) / 2
        rate = chips / (seconds - self._start())
        value = f"{rate:.0f} chips/s, limit {limit:.0f}"
        self.table.add_row(kind, value, f"{rate / limit:.2f}", f">= {_BARS.get(ending, 0.90):.2f}")
        paths = sorted(place.iterdir())[:300]
        if "512" in kind:
            used = time.process_time()
            for path in paths:
                self.ships.prepare(decode(path))
            each = (time.process_time() - used) / len(paths) * 1e3
            self.table.add_row(f"{kind}, decode and prepare", f"{each:.1f} ms", "", "<= 1.5 ms")
        began = time.perf_counter()
        for path in paths:
            self.ships.classify_file(path)
        loop = len(paths) / (time.perf_counter() - began)
        value = f"{loop:.0f} chips/s in a loop"
        self.table.add_row(f"{kind}, against a loop", value, f"{rate / loop:.1f}", ">= 1.5")

    def _ray(self, place: Path, chips: int) -> None:
        local, _ = self._batch(place)
        there, _ = self._batch(place, "--engine", "ray")
        again, _ = self._batch(place)
        start, _ = self._batch(self.folder / "one", "--engine", "ray")
        rates = [chips / ((local + again) / 2 - self._start()), chips / (there - start)]
        value = f"{rates[1]:.0f} chips/s after {start:.1f} s of start, local {rates[0]:.0f}"
        self.table.add_row("Ray on this machine", value, f"{rates[1] / rates[0]:.2f}", ">= 0.8")

    def _many(self, place: Path, chips: int) -> None:
        more = self._write("many", self.small, "png", 10 * chips)
        few = [self._batch(place) for _ in range(2)]
        seconds, peak = self._batch(more)
        few.append(self._batch(place))
        each, memory = sorted(s for s, _ in few)[1] / chips, max(m for _, m in few)
        ratio = seconds / 10 / chips / each
        value = f"{seconds / 10 / chips * 1e3:.2f} ms, {each * 1e3:.2f} ms"
        self.table.add_row(f"a chip at {10 * chips} and {chips}", value, f"{ratio:.2f}", "<= 1.05")
        value = f"{peak:.0f} MiB, {memory:.0f} MiB"
        self.table.add_row("peak memory at these", value, f"{peak / memory:.2f}", "<= 1.1")

    def _growth(self) -> None:
        for count in self.options.counts:
            place = self._write(f"{count}", self.small, "png", count)
            seconds, peak = self._batch(place)
            each = (seconds - self._start()) / count
            value = f"{each * 1e3:.2f} ms a chip, {seconds:.1f} s in all, {peak:.0f} MiB"
            self.table.add_row(f"{count} chips", value, "", "")
        for shards in self.options.shards:
            together, merged = self._sharded(place, shards)
            value = f"{together:.1f} s, merged in {merged:.1f} s"
            ratio = f"{seconds / (together + merged):.2f}"
            self.table.add_row(f"{count} chips in {shards} shards", value, ratio, "")

    def _sharded(self, place: Path, shards: int) -> tuple[float, float]:
        """Seconds of all shards at the same time, a core each, and of joining their outputs."""
        outs = [self.folder / f"{number}-{shards}.csv" for number in range(1, shards + 1)]
        began = time.perf_counter()
        started = [
            self._started(place, out, "--shard", f"{number}/{shards}", "--workers", "1")
            for number, out in enumerate(outs, 1)
        ]
        if any(process.wait() for process in started):
            raise RuntimeError(f"a shard of {place} failed")
        together = time.perf_counter() - began
        words = ["merge", *map(str, outs), "--out", str(self.folder / "merged.csv"), "--overwrite"]
        began = time.perf_counter()
        subprocess.run([sys.executable, "-m", "serving.batch", *words], cwd=ROOT, check=True)
        return together, time.perf_counter() - began

    def _start(self) -> float:
        """Seconds that a run of two chunks takes: processes, model; no more than that."""
        if not self.seconds:
            two = self._write("two", self.small, "png", BATCH + 1)
            self.seconds = min(self._batch(two)[0] for _ in range(2))
        return self.seconds

    def _limit(self) -> float:
        return BATCH / middle(lambda: self.ships.run(self.batch), 3)

    def _write(self, name: str, files: Sequence[bytes], ending: str, count: int) -> Path:
        place = self.folder / name
        place.mkdir()
        for number in range(count):
            path = place / f"{number:06d}.{ending}"
            if number < len(files):
                path.write_bytes(files[number])
            else:
                path.hardlink_to(place / f"{number % len(files):06d}.{ending}")
        return place

    def _batch(self, place: Path, *more: str) -> tuple[float, float]:
        """Seconds of a run, and the most memory in MiB that its processes had."""
        began = time.perf_counter()
        process = self._started(place, self.folder / "out.csv", *more)
        peak = peak_memory(process)
        seconds = time.perf_counter() - began
        if process.returncode != 0:
            raise RuntimeError(f"serving.batch ended with {process.returncode} on {place}")
        return seconds, peak

    def _started(self, place: Path, out: Path, *more: str) -> "subprocess.Popen[bytes]":
        words = [str(place), "--out", str(out), "--overwrite", "--device", self.options.device]
        env = {**os.environ, "SHIPCHIP_MODEL": str(self.options.model.absolute())}
        return subprocess.Popen(
            [sys.executable, "-m", "serving.batch", *words, *more],
            cwd=ROOT,
            env=env,
            stderr=subprocess.DEVNULL,
        )


def peak_memory(process: "subprocess.Popen[bytes]") -> float:
    """The most MiB that a process and its children have until it ends."""
    began, peak = time.perf_counter(), 0.0
    while process.poll() is None:
        peak = max(peak, _memory(process.pid))
        time.sleep(0.1 if time.perf_counter() - began > 3 else 0.01)
    return peak


def _memory(pid: int) -> float:
    total = 0
    try:
        root = psutil.Process(pid)
        family = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0.0
    for process in family:
        try:
            total += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total / 2**20


def _large() -> list[np.ndarray]:
    """uint8 (512, 512): speckled sea and a bright hull, as a FUSAR chip is."""
    rng = np.random.default_rng(0)
    images = []
    for small in draw_chips(_KINDS):
        hull = np.asarray(Image.open(io.BytesIO(small))) > 100
        sea = rng.rayleigh(12, (512, 512))
        sea[224:288, 224:288] *= np.where(hull, 8, 1)
        images.append(np.clip(sea, 1, 255).astype(np.uint8))
    return images


def _tiff(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "tiff", compression="packbits")
    return file.getvalue()


def _png(image: np.ndarray) -> bytes:
    return bytes(imagecodecs.png_encode(image, level=6))


if __name__ == "__main__":
    sys.exit(main())
