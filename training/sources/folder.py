"""Chips in folders named after their class: a folder, or a zip of it, read in place.

Which chips show one ship is told, in this order, by
  - `groups.csv` at the top: columns path,group (path as in the archive);
  - names that end in scene coordinates, as OpenSARShip's do (Cargo_x10004_y2630): chips whose
    centres lie within a chip's width of each other show the same water;
  - nothing: then each chip stands for itself, and `ungrouped` says how many do.
"""

import csv
import hashlib
import io
import re
from functools import cached_property
from pathlib import Path, PurePosixPath

import numpy as np

from shipchip.decode import Chip, decode
from training.errors import DataInvalid
from training.sources.archive import Archive
from training.sources.record import CLASSES, Record

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".npy")
_NEAR_SAMPLES = 64
_PLACE = re.compile(r"_x(\d+)_y(\d+)$")


class FolderSource:
    """Class folders.

    classes   the folder names taken; None takes every folder that holds chips
    extent_m  None, or: every chip is said to span this many metres (its longer side), for chips
              that are not ships at sea and have no common scale
    """

    def __init__(
        self,
        path: Path,
        classes: tuple[str, ...] | None = CLASSES,
        extent_m: float | None = None,
    ) -> None:
        self.archive = Archive(path)
        self.name = path.stem if path.suffix == ".zip" else path.name
        self._classes = classes
        self._extent_m = extent_m
        self.ungrouped = 0

    @staticmethod
    def recognises(path: Path, classes: tuple[str, ...] = CLASSES) -> bool:
        """Whether this zip or folder holds at least two class folders at its top."""
        if not (path.is_dir() or path.suffix == ".zip"):
            return False
        if path.is_dir():
            tops = {p.name for p in path.iterdir() if p.is_dir()}
        else:
            tops = {name.split("/")[0] for name in Archive(path).names}
        return len(tops & set(classes)) >= 2

    def index(self) -> list[Record]:
        """Chips by sorted name; DataInvalid where there is none, or groups.csv lacks one."""
        names = [n for n in self.archive.names if PurePosixPath(n).suffix.lower() in SUFFIXES]
        labelled = {n: _label(n, self._classes) for n in names}
        chips = {n: label for n, label in labelled.items() if label}
        if not chips:
            wanted = ", ".join(self._classes) if self._classes else "their classes"
            raise DataInvalid(
                f"{self.archive.path} holds no chips ({' '.join(SUFFIXES)}) in folders named "
                f"{wanted}"
            )
        groups = self._groups(list(chips))
        return [
            Record(
                self.name,
                name,
                label,
                f"{self.name}:{groups[name]}",
                hashlib.sha256(self.archive.read(name)).hexdigest(),
            )
            for name, label in chips.items()
        ]

    def read(self, record: Record) -> Chip:
        """The chip; its spacing is what the file tells, or `extent_m` over its longer side."""
        chip = decode(self.archive.read(record.key))
        if self._extent_m is None:
            return chip
        spacing = self._extent_m / max(chip.amplitude.shape[1:])
        return Chip(chip.amplitude, chip.polarisations, (spacing, spacing), chip.encoding)

    def _groups(self, names: list[str]) -> dict[str, str]:
        if self._told:
            missing = [n for n in names if n not in self._told]
            if missing:
                raise DataInvalid(
                    f"{self.archive.path}: groups.csv lacks {len(missing)} chips, "
                    f"the first is {missing[0]}"
                )
            return {n: self._told[n] for n in names}
        places = {n: _PLACE.search(PurePosixPath(n).stem) for n in names}
        groups = {n: n for n, place in places.items() if place is None}
        self.ungrouped = len(groups)
        placed = {n: (int(m[1]), int(m[2])) for n, m in places.items() if m}
        return groups | _clusters(placed)

    @cached_property
    def _told(self) -> dict[str, str]:
        if "groups.csv" not in self.archive.names:
            return {}
        text = self.archive.read("groups.csv").decode("utf-8-sig")
        rows = list(csv.DictReader(io.StringIO(text)))
        if not rows or not {"path", "group"} <= set(rows[0]):
            raise DataInvalid(f"{self.archive.path}: groups.csv needs the columns path,group")
        return {row["path"].replace("\\", "/"): row["group"] for row in rows}


def _label(name: str, classes: tuple[str, ...] | None) -> str:
    """The class of a chip by its folder; empty where it is not among those wanted."""
    folder = PurePosixPath(name).parent
    if classes is None:
        return folder.as_posix()
    return next((part for part in reversed(folder.parts) if part in classes), "")


def _clusters(placed: dict[str, tuple[int, int]]) -> dict[str, str]:
    """Chips joined while their centres are within _NEAR_SAMPLES of another's on both axes."""
    names = list(placed)
    points = np.array([placed[n] for n in names]).reshape(-1, 2)
    label = np.arange(len(names))
    for i, point in enumerate(points):
        near = (np.abs(points - point) <= _NEAR_SAMPLES).all(axis=1)
        label[np.isin(label, label[near])] = label[i]
    return {name: names[k] for name, k in zip(names, label, strict=True)}
