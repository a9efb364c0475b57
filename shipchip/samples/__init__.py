"""Simulated chips to try shipchip with: every kind of file that is read, in class folders.

    ship.py    what a ship of a class is made of
    scene.py   how a SAR images it
    kinds.py   how a product stores that
    large_scene.py  forty ships in one scene, for `shipchip classify --scene`

They resemble the real chips that the default model was trained on, but they are not real: what a
model makes of them says nothing about its accuracy.
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shipchip.errors import FolderNotEmpty
from shipchip.samples.kinds import GAOFEN3, GRD, SIGMA0, SLC
from shipchip.samples.large_scene import write_large_scene
from shipchip.samples.ship import draw_ship

# As in the data sets, Cargo is the most common and is seen by all sensors. Fishing is there as
# 8-bit chips of Gaofen-3, because Sentinel-1 shows such a boat as a blob of a few pixels; Tanker is
# there as Sentinel-1 chips, because FUSAR-Ship's tankers are from a few scenes, all scaled alike.
_DOZEN = {
    "Cargo": (GAOFEN3, SIGMA0, SLC, GRD, SLC),
    "Fishing": (GAOFEN3, GAOFEN3, GAOFEN3, GAOFEN3),
    "Tanker": (SIGMA0, SLC, GRD),
}
_NUMBERED = {
    Path(label) / f"{label.lower()}-{number}-{kind.name}{kind.suffix}": (label, number, kind)
    for label, kinds in _DOZEN.items()
    for number, kind in enumerate(kinds, 1)
}


@dataclass(frozen=True)
class Sample:
    """A simulated chip: its path in the folder, its class, the ship's length, and the file."""

    path: Path
    label: str
    length_m: float
    content: bytes


def sample_paths() -> list[Path]:
    """The paths of the dozen, in the order of `draw_samples`: no chip is drawn."""
    return list(_NUMBERED)


def draw_sample(path: Path, seed: int = 0) -> Sample:
    """One of `sample_paths`, as `draw_samples` draws it; KeyError for any other path."""
    label, number, kind = _NUMBERED[path]
    rng = np.random.default_rng([seed, *label.encode(), number])
    ship = draw_ship(label, rng)
    return Sample(path, label, ship.length_m, kind.write(ship, rng))


def draw_samples(seed: int = 0) -> list[Sample]:
    """A dozen chips of every kind of file; equal seeds give equal bytes."""
    return [draw_sample(path, seed) for path in sample_paths()]


def write_samples(folder: Path, seed: int = 0) -> list[Path]:
    """Write `draw_samples` into a new or empty folder; FolderNotEmpty, and nothing written, else.

    Returns the paths of the chips, in the folders Cargo, Fishing and Tanker.
    """
    if folder.exists() and not folder.is_dir():
        raise FolderNotEmpty(f"{folder} is a file; give a new folder or an empty one")
    if folder.exists() and any(folder.iterdir()):
        raise FolderNotEmpty(f"{folder} is not empty; give a new folder or an empty one")
    paths = []
    for sample in draw_samples(seed):
        path = folder / sample.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(sample.content)
        paths.append(path)
    return paths


def main(arguments: list[str] | None = None, prog: str = "shipchip samples") -> int:
    """The command `shipchip samples`: 0, or 1 where the folder cannot be used."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Write a dozen simulated chips of every kind that is read, in class folders.",
    )
    parser.add_argument("folder", metavar="DIR", type=Path, help="a new or empty folder")
    parser.add_argument(
        "--scene",
        action="store_true",
        help="a scene of forty ships, with positions and coast",
    )
    parser.add_argument("--seed", type=_seed, default=0, help="other chips (default: 0)")
    options = parser.parse_args(arguments)
    try:
        if options.scene:
            write_large_scene(options.folder, options.seed)
            sys.stdout.write(f"scene.tif, ships.csv and land.geojson in {options.folder}\n")
            return 0
        paths = write_samples(options.folder, options.seed)
    except (FolderNotEmpty, OSError) as error:
        sys.stderr.write(f"shipchip samples: {error}\n")
        return 1
    sys.stdout.write(f"{len(paths)} simulated chips in {options.folder}\n")
    return 0


def _seed(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r}; expected a whole number of at least 0")
    return int(text)
