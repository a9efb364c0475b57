"""Chips in folders named after their class: a folder, or a zip or rar of it, read in place.

Which chips show one ship is decided, in this order, by
  - `groups.csv` beside the class folders: columns path,group;
  - names that end in scene coordinates, as OpenSARShip's do (Cargo_x10004_y2630): chips whose
    centres lie within a chip's width of each other show the same water;
  - names that differ in polarisation and ending alone (a_vv.tif, a_vh.png);
  - nothing: then each chip is a group of its own, and `notes` says how many are.
"""

import hashlib
import re
from collections import Counter, defaultdict
from functools import cached_property
from pathlib import Path, PurePosixPath

import numpy as np

from shipchip.chip import Chip
from shipchip.decode import decode
from shipchip.errors import ChipError
from training.data.archive import Archive, children, is_dataset_archive
from training.data.metadata import (
    GroupRow,
    check_agreed,
    parse_groups,
    polarisation_in_name,
    with_polarisations,
    without_polarisation,
)
from training.data.record import CLASSES, Record
from training.data.sizes import NAME as SIZES
from training.data.sizes import SizeTable, sizes_of
from training.errors import DataInvalid

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".npy")
_NEAR_SAMPLES = 64
_PLACE = re.compile(r"_x(\d+)_y(\d+)$")


class FolderSource:
    """Class folders.

    classes    the folder names taken; None takes every folder that holds chips
    extent_m   metres that the longer side of every chip is taken to span, for chips of things
               without a common scale; None for ships
    apart      folders inside that are other sources, by their real paths
    ungrouped  after `index`: chips whose ship is unknown
    """

    def __init__(
        self,
        path: Path,
        classes: tuple[str, ...] | None = CLASSES,
        extent_m: float | None = None,
        apart: frozenset[Path] = frozenset(),
    ) -> None:
        self.archive = Archive(path, apart)
        path = self.archive.path
        self.name = path.stem if is_dataset_archive(path) else path.name
        self._classes = classes
        self._extent_m = extent_m
        self.ungrouped = 0
        self._placed: dict[str, tuple[int, int]] = {}

    @staticmethod
    def recognises(path: Path, classes: tuple[str, ...] = CLASSES) -> bool:
        """Whether this folder, or any folder in this archive, holds at least two class folders."""
        if path.is_dir():
            return len(top_folders(path) & set(classes)) >= 2
        return is_dataset_archive(path) and bool(_homes(Archive(path), classes))

    def index(self) -> list[Record]:
        """Chips by sorted name; DataInvalid if there is none, or groups.csv lacks one."""
        return list(self._records)

    def read(self, record: Record) -> Chip:
        """The chip; its spacing is the file's, or `extent_m` over its longer side."""
        chip = decode(self.archive.read(record.key))
        if "unknown" in chip.polarisations:
            own = polarisation_in_name(PurePosixPath(record.key).stem)
            chip = with_polarisations(chip, own)
        if self._extent_m is None:
            return chip
        spacing = self._extent_m / max(chip.amplitude.shape[1:])
        return Chip(chip.amplitude, chip.polarisations, (spacing, spacing), chip.encoding)

    def context(self) -> str:
        """The extent that all chips are given."""
        return f"extent {self._extent_m}"

    def notes(self) -> list[str]:
        """Chips that name no ship, and files that were left out."""
        chips, lines = {record.key for record in self._records}, []
        if self.ungrouped:
            lines.append(
                f"{self.ungrouped} chips name no ship, so each counts as a ship; add groups.csv "
                "(path,group) if some show the same one"
            )
        if self._placed:
            lines.append(
                f"{len(self._placed)} chips name no ship, so chips near each other in the scene "
                "stand for one"
            )
        if self._sizes.rows:
            sized = sum(record.size_m is not None for record in self._records)
            lines.append(f"{SIZES} gives the size of {sized} of {len(chips)} ships")
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
        kinds: dict[bool, str] = {}
        records = []
        for name, label in chips.items():
            content = self.archive.read(name)
            if name in self._placed and self._classes is not None:
                kinds.setdefault(_is_complex(content), name)
            digest = hashlib.sha256(content).hexdigest()
            group, size = f"{self.name}:{groups[name]}", self._sizes.size_of(name)
            records.append(Record(self.name, name, label, group, digest, size))
        if len(kinds) > 1:
            raise DataInvalid(
                f"{self.archive.path} holds complex chips ({kinds[True]}) and amplitudes "
                f"({kinds[False]}) that name their place, but a ship has other coordinates in an "
                "SLC than in a GRD product, so it could not be known again; say by groups.csv "
                "(path,group) which chips show one ship, or give them as two folders that show "
                "different ships"
            )
        return records

    def _groups(self, names: list[str]) -> dict[str, str]:
        if self._rows:
            missing = [n for n in names if n not in self._rows]
            if missing:
                raise DataInvalid(
                    f"{self._table_path} lacks {len(missing)} chips, the first is {missing[0]}; "
                    "add them"
                )
            files: dict[str, list[GroupRow]] = defaultdict(list)
            for n in names:
                files[_chip_name(n)].append(self._rows[n])
            for rows in files.values():
                check_agreed(rows, self._table_path)
            return {n: self._rows[n].group for n in names}
        bare = {n: _chip_name(n) for n in names}
        places = {n: _PLACE.search(PurePosixPath(b).name) for n, b in bare.items()}
        groups = {n: bare[n] for n, place in places.items() if place is None}
        self.ungrouped = len(groups)
        self._placed = {n: (int(m[1]), int(m[2])) for n, m in places.items() if m}
        return groups | _clusters(self._placed)

    @cached_property
    def _sizes(self) -> SizeTable:
        """Of ships; chips of other things have none."""
        return sizes_of(self.archive) if self._classes is not None else SizeTable()

    @cached_property
    def _rows(self) -> dict[str, GroupRow]:
        """Rows of groups.csv by chip name; empty if the file is absent."""
        if not self._table:
            return {}
        return parse_groups(self.archive.read(self._table), self._table, self._table_path)

    @property
    def _table_path(self) -> str:
        return f"{self.archive.path}: {self._table}"

    @cached_property
    def _table(self) -> str:
        """The name of groups.csv; empty if there is none. DataInvalid for one in any other place
        than beside the class folders or at the top, because it would not be clear what it is of."""
        homes = _homes(self.archive, self._classes or ())
        places = ["", self.archive.wrapper, *(homes if len(homes) == 1 else ())]
        wanted = {f"{place.rstrip('/')}/groups.csv".lstrip("/") for place in places}
        found = [n for n in self.archive.names if PurePosixPath(n).name == "groups.csv"]
        beside = [name for name in found if name in wanted]
        if len(beside) < len(found) or len(beside) > 1:
            other = next((name for name in found if name not in wanted), found[-1])
            raise DataInvalid(
                f"{self.archive.path}: {other} is not the one groups.csv beside the class folders; "
                "join all rows into that, or move the folder out and give it as well"
            )
        return beside[0] if beside else ""


def top_folders(path: Path) -> set[str]:
    """Names of the folders at the top of a folder or archive, inside the one that wraps them all.

    Empty for any other file.
    """
    if path.is_dir():
        return {p.name for p in children(path) if p.is_dir()}
    if not is_dataset_archive(path):
        return set()
    archive = Archive(path)
    wrapper = archive.wrapper.rstrip("/")
    if wrapper in ("", *CLASSES):
        return {folder.split("/")[0] for folder in archive.folders}
    return {folder.split("/")[1] for folder in archive.folders - {wrapper}}


def _homes(archive: Archive, classes: tuple[str, ...]) -> list[str]:
    """Folders of an archive that hold at least two class folders; "." is its top."""
    held: dict[str, set[str]] = defaultdict(set)
    for folder in map(PurePosixPath, archive.folders):
        if folder.name in classes:
            held[str(folder.parent)].add(folder.name)
    return sorted(home for home, labels in held.items() if len(labels) >= 2)


def _chip_name(name: str) -> str:
    """The name without polarisation and ending, which all files of one chip share."""
    path = PurePosixPath(name)
    return str(path.with_name(without_polarisation(path.stem)))


def _is_complex(content: bytes) -> bool:
    """Whether these are complex samples; False for what cannot be decoded, which is reported
    later."""
    try:
        return decode(content).encoding == "complex"
    except ChipError:
        return False


def _label(name: str, classes: tuple[str, ...] | None) -> str:
    """The class of a chip by its folder; empty if it is not among those wanted."""
    folder = PurePosixPath(name).parent
    if classes is None:
        return folder.as_posix() if folder.parts else ""
    return next((part for part in reversed(folder.parts) if part in classes), "")


def _clusters(placed: dict[str, tuple[int, int]]) -> dict[str, str]:
    """Chips joined while their centres are within _NEAR_SAMPLES of another's on both axes; each
    group is named by its first chip."""
    names = list(placed)
    points = np.array([placed[n] for n in names]).reshape(-1, 2)
    label = np.arange(len(names))
    for point in points:
        near = (np.abs(points - point) <= _NEAR_SAMPLES).all(axis=1)
        label[np.isin(label, label[near])] = label[near].min()
    return {name: names[k] for name, k in zip(names, label, strict=True)}
