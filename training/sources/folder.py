"""Chips in folders named after their class: a folder, or a zip or rar of it, read in place.

Which chips show one ship is told, in this order, by
  - `groups.csv` at the top: columns path,group (path as in the archive);
  - names that end in scene coordinates, as OpenSARShip's do (Cargo_x10004_y2630): chips whose
    centres lie within a chip's width of each other show the same water;
  - names that differ in the polarisation at their end alone (a_vv, a_vh);
  - nothing: then each chip stands for itself, and `notes` says how many do.
"""

import csv
import hashlib
import io
import re
from collections import Counter
from functools import cached_property
from pathlib import Path, PurePosixPath

import numpy as np

from shipchip.decode import Chip, decode
from training.errors import DataInvalid
from training.sources import polarisation
from training.sources.archive import Archive, children, is_archive_name
from training.sources.record import CLASSES, Record

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".npy")
_NEAR_SAMPLES = 64
_PLACE = re.compile(r"_x(\d+)_y(\d+)$")


class FolderSource:
    """Class folders.

    classes    the folder names taken; None takes every folder that holds chips
    extent_m   None, or: every chip is said to span this many metres (its longer side), for chips
               that are not ships at sea and have no common scale
    ungrouped  after `index`: chips of which nothing tells the ship
    placed     after `index`: chips grouped by their place in the scene
    """

    def __init__(
        self,
        path: Path,
        classes: tuple[str, ...] | None = CLASSES,
        extent_m: float | None = None,
    ) -> None:
        self.archive = Archive(path)
        self.name = path.stem if is_archive_name(path) else (path.name or path.resolve().name)
        self._classes = classes
        self._extent_m = extent_m
        self.ungrouped = self.placed = 0

    @staticmethod
    def recognises(path: Path, classes: tuple[str, ...] = CLASSES) -> bool:
        """Whether this folder or archive holds at least two class folders at its top."""
        return len(top_folders(path) & set(classes)) >= 2

    def index(self) -> list[Record]:
        """Chips by sorted name; DataInvalid where there is none, or groups.csv lacks one."""
        return list(self._records)

    def read(self, record: Record) -> Chip:
        """The chip; its spacing is what the file tells, or `extent_m` over its longer side."""
        chip = decode(self.archive.read(record.key))
        if "unknown" in chip.polarisations:
            own = polarisation.of_stem(PurePosixPath(record.key).stem)
            chip = polarisation.named(chip, own)
        if self._extent_m is None:
            return chip
        spacing = self._extent_m / max(chip.amplitude.shape[1:])
        return Chip(chip.amplitude, chip.polarisations, (spacing, spacing), chip.encoding)

    def context(self) -> str:
        """The extent that chips are said to have."""
        return f"extent {self._extent_m}"

    def notes(self) -> list[str]:
        """Chips that name no ship, and files that were left out."""
        chips, lines = {record.key for record in self._records}, []
        if self.ungrouped:
            lines.append(
                f"{self.ungrouped} chips name no ship, so each stands for itself; add groups.csv "
                "(path,group) if some show the same one"
            )
        if self.placed:
            lines.append(
                f"{self.placed} chips name no ship, so chips near each other in the scene stand "
                "for one"
            )
        others = [PurePosixPath(n) for n in self.archive.names if n not in chips]
        unread = Counter(o.suffix for o in others if _label(str(o), self._classes))
        folders = Counter(o.parent.name for o in others if o.suffix.lower() in SUFFIXES)
        for what, left in (("files ending in", unread), ("chips in folders named", folders)):
            if left:
                named = ", ".join(f"{name or 'nothing'} ({n})" for name, n in sorted(left.items()))
                lines.append(f"left out: {what} {named}")
        return lines

    @cached_property
    def _records(self) -> list[Record]:
        names = [n for n in self.archive.names if PurePosixPath(n).suffix.lower() in SUFFIXES]
        labelled = {n: _label(n, self._classes) for n in names}
        chips = {n: label for n, label in labelled.items() if label}
        if not chips:
            wanted = ", ".join(self._classes) if self._classes else "their classes"
            raise DataInvalid(
                f"{self.archive.path} holds no chips ({' '.join(SUFFIXES)}) in folders named "
                f"{wanted}; put some there"
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

    def _groups(self, names: list[str]) -> dict[str, str]:
        if self._told:
            missing = [n for n in names if n not in self._told]
            if missing:
                raise DataInvalid(
                    f"{self.archive.path}: groups.csv lacks {len(missing)} chips, "
                    f"the first is {missing[0]}; add them"
                )
            return {n: self._told[n] for n in names}
        bare = {n: _without_polarisation(n) for n in names}
        places = {n: _PLACE.search(PurePosixPath(b).stem) for n, b in bare.items()}
        groups = {n: bare[n] for n, place in places.items() if place is None}
        self.ungrouped = len(groups)
        placed = {n: (int(m[1]), int(m[2])) for n, m in places.items() if m}
        self.placed = len(placed)
        return groups | _clusters(placed)

    @cached_property
    def _told(self) -> dict[str, str]:
        """Group by chip name, from groups.csv; empty where the file is absent."""
        top = self.archive.wrapper
        where = next((n for n in (f"{top}groups.csv", "groups.csv") if n in self.archive.names), "")
        if not where:
            return {}
        text = self.archive.read(where).decode("utf-8-sig", errors="replace")
        try:
            rows = list(csv.DictReader(io.StringIO(text), restval=""))
        except csv.Error as error:
            raise DataInvalid(f"{self.archive.path}: groups.csv is no table ({error})") from error
        if not rows or not {"path", "group"} <= set(rows[0]):
            raise DataInvalid(f"{self.archive.path}: groups.csv needs the columns path,group")
        told = {row["path"].replace("\\", "/"): row["group"].strip() for row in rows}
        empty = [path for path, group in told.items() if not group]
        if empty:
            raise DataInvalid(
                f"{self.archive.path}: groups.csv gives {empty[0]} no group; name one"
            )
        return told | {f"{top}{path}": group for path, group in told.items()}


def top_folders(path: Path) -> set[str]:
    """Names of the folders at the top of a folder or archive, inside the one that wraps them all.

    Empty for any other file.
    """
    if path.is_dir():
        return {p.name for p in children(path) if p.is_dir()}
    if not is_archive_name(path):
        return set()
    archive = Archive(path)
    wrapper = archive.wrapper.rstrip("/")
    if wrapper in ("", *CLASSES):
        return {folder.split("/")[0] for folder in archive.folders}
    return {folder.split("/")[1] for folder in archive.folders - {wrapper}}


def _without_polarisation(name: str) -> str:
    path = PurePosixPath(name)
    return str(path.with_name(polarisation.without(path.stem) + path.suffix))


def _label(name: str, classes: tuple[str, ...] | None) -> str:
    """The class of a chip by its folder; empty where it is not among those wanted."""
    folder = PurePosixPath(name).parent
    if classes is None:
        return folder.as_posix() if folder.parts else ""
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
