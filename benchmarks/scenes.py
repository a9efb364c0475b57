"""Scenes against chips: `python -m benchmarks.scenes --help`.

speed    positions per second of `--scene`, against the same windows as files
memory   peak of all processes on a scene of 25,000 x 16,000 pixels, against 5,000 x 5,000
picture  the map of the simulated scene, for docs/scenes.md (`--picture FILE`)
"""

import argparse
import csv
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
import rasterio
from PIL import Image
from rasterio.warp import transform
from rasterio.windows import Window
from rich.console import Console
from rich.table import Table

from benchmarks.batch import peak_memory
from benchmarks.server import ROOT
from benchmarks.serving import machine
from serving.batch.inputs.scenes import WINDOW_M
from shipchip.samples.large_scene import write_large_scene
from shipchip.scene import Place, open_scene, window_size

matplotlib.use("Agg")
import matplotlib.pyplot as plt

_BLOCK = 1000  # rows of a scene that are written at once
_SIZES = ((5_000, 5_000), (16_000, 25_000))
_COLOURS = {"Cargo": "#56b4e9", "Fishing": "#ffb000", "Tanker": "#2ee6a8"}


def main(arguments: list[str] | None = None) -> int:
    """Measure and print the table, or draw the map."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--positions", type=int, default=1000)
    parser.add_argument("--picture", type=Path, metavar="PNG", help="draw the map into this file")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        if options.picture:
            draw_map(folder, options.picture)
            return 0
        table = Table("figure", "value", "ratio", "bar", title=machine())
        speed(table, folder, options.positions)
        memory(table, folder, options.positions)
    Console(width=110).print(table)
    return 0


def speed(table: Table, folder: Path, count: int) -> None:
    """A row: both ways in turns, three times; starts are subtracted."""
    scene, positions = write_scene(folder / "speed", (2_000, 2_000), count)
    chips = write_windows(scene, positions, folder / "chips")
    few = scene.with_name("few.csv")
    few.write_text("".join(positions.read_text().splitlines(keepends=True)[:34]))
    first = folder / "first"
    first.mkdir()
    for path in sorted(chips.iterdir())[:33]:
        (first / path.name).hardlink_to(path)
    pairs = []
    for _ in range(3):
        of_scene = run(folder, *at(scene, positions))[0] - run(folder, *at(scene, few))[0]
        of_files = run(folder, str(chips))[0] - run(folder, str(first))[0]
        pairs.append((of_files / of_scene, (count - 33) / of_scene, (count - 33) / of_files))
    ratio, here, there = sorted(pairs)[1]
    value = f"{here:.0f} positions/s, files {there:.0f} chips/s"
    table.add_row(f"{count} positions", value, f"{ratio:.2f}", ">= 0.9")


def memory(table: Table, folder: Path, count: int) -> None:
    """A row: the peak on a small and a large scene of as many positions."""
    peaks = []
    for size in _SIZES:
        scene, positions = write_scene(folder / f"{size[0]}", size, count)
        peaks.append(run(folder, *at(scene, positions))[1])
    value = f"{peaks[1]:.0f} MiB, {peaks[0]:.0f} MiB"
    table.add_row(
        "25,000 x 16,000 and 5,000 x 5,000", value, f"{peaks[1] / peaks[0]:.2f}", "<= 1.2"
    )


def write_scene(folder: Path, size: tuple[int, int], count: int) -> tuple[Path, Path]:
    """A tiled scene of speckle, and random positions in pixels."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    rows, columns = size
    scene = folder / "scene.tif"
    profile = {
        "driver": "GTiff",
        "height": rows,
        "width": columns,
        "count": 1,
        "dtype": "uint16",
        "crs": "EPSG:32632",
        "transform": rasterio.Affine(10, 0, 400_000, 0, -10, 5_000_000),
        "tiled": True,
    }
    with rasterio.open(scene, "w", **profile) as file:
        for top in range(0, rows, _BLOCK):
            height = min(_BLOCK, rows - top)
            sea = rng.integers(20, 90, (1, height, columns), dtype=np.uint16)
            file.write(sea, window=Window(0, top, columns, height))
    positions = folder / "positions.csv"
    with positions.open("w", newline="") as text:
        writer = csv.writer(text)
        writer.writerow(("x", "y"))
        writer.writerows(rng.uniform(60, [columns - 60, rows - 60], (count, 2)).round(2))
    return scene, positions


def write_windows(scene: Path, positions: Path, folder: Path) -> Path:
    """The windows of the positions as files."""
    folder.mkdir()
    opened = open_scene(str(scene))
    size = window_size(WINDOW_M, (10.0, 10.0), 2048**2)
    with positions.open(newline="") as text:
        for number, row in enumerate(csv.DictReader(text)):
            content = opened.window(Place(float(row["x"]), float(row["y"])), size)
            (folder / f"{number:05}.tif").write_bytes(content)
    return folder


def at(scene: Path, positions: Path) -> Sequence[str]:
    """The words for positions in a scene."""
    return "--scene", str(scene), "--positions", str(positions)


def run(folder: Path, *words: str) -> tuple[float, float]:
    """Seconds of a batch, and the most memory in MiB that its processes had."""
    out = ["--out", str(folder / "out.csv"), "--overwrite"]
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "serving.batch", *words, *out],
        cwd=ROOT,
        env={k: v for k, v in os.environ.items() if not k.startswith("SHIPCHIP_")},
        stderr=subprocess.DEVNULL,
    )
    peak = peak_memory(process)
    if process.returncode != 0:
        raise RuntimeError(f"serving.batch ended with {process.returncode}: {words}")
    return time.perf_counter() - began, peak


def draw_map(folder: Path, picture: Path) -> None:
    """The answers of the simulated scene on a map of it."""
    scene, ships, land = write_large_scene(folder / "scene")
    out = folder / "ships.geojson"
    words = [*at(scene, ships), "--land", str(land), "--out", str(out)]
    subprocess.run([sys.executable, "-m", "serving.batch", *words], cwd=ROOT, check=False)
    features = json.loads(out.read_text())["features"]
    with rasterio.open(scene) as file:
        amplitude, crs, bounds = file.read(1), file.crs, file.bounds
    figure, axes = plt.subplots(figsize=(11, 6.4), layout="constrained")
    decibels = 20 * np.log10(amplitude)
    extent = (bounds.left, bounds.right, bounds.bottom, bounds.top)
    axes.imshow(decibels, cmap="gray", extent=extent, vmin=32, vmax=80)
    for feature in features:
        answer, place = feature["properties"], feature["geometry"]["coordinates"]
        (x,), (y,) = transform("EPSG:4326", crs, [place[0]], [place[1]])
        colour = _COLOURS.get(answer["label"], "#ff6b6b")
        sure = answer["verdict"] == "sure"
        axes.plot(x, y, "o", ms=17, mfc="none", mec=colour, mew=2 if sure else 1)
        text = answer["error_code"] or f"{answer['label']}, {answer['length_m']:.0f} m"
        axes.annotate(text, (x, y - 220), color="white", ha="center", va="top", fontsize=9)
    axes.set_xlabel("easting in metres (UTM 50N)")
    axes.set_ylabel("northing in metres")
    axes.ticklabel_format(style="plain", useOffset=False)
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=90)
    plt.close(figure)
    Image.open(drawn).convert("RGB").quantize(48).save(picture, optimize=True)


if __name__ == "__main__":
    sys.exit(main())
