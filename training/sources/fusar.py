"""FUSAR-Ship 1.0 (Gaofen-3; Hou et al. 2020, doi 10.1007/s11432-019-2772-5).

Category/SubCategory/Ship_CxxSyyNzzzz.tiff, 8-bit, 512 x 512. With `meta.csv` beside the folders a
chip's ship is its MMSI. Without it, blocks of consecutive index numbers within a folder stand for
ships, because neighbours in the index share ship and scene.
"""

import csv
import hashlib
import io
import math
import re
from collections import defaultdict
from dataclasses import replace
from functools import cached_property
from pathlib import Path, PurePosixPath

from shipchip.decode import Chip, decode
from training.errors import DataInvalid
from training.sources.archive import Archive
from training.sources.record import CLASSES, Record, join_groups_of_repeats

# Nominal pixel: azimuth 1.72 m, slant range 1.124 m, on the ground at 36 degrees of incidence.
AZIMUTH_M, SLANT_RANGE_M, INCIDENCE_DEGREES = 1.72, 1.124, 36.0
NOMINAL_SPACING_M = (
    AZIMUTH_M,
    round(SLANT_RANGE_M / math.sin(math.radians(INCIDENCE_DEGREES)), 2),
)

# A gap of more than this many index numbers ends a block; a longer run than this is cut.
MAX_GAP, MAX_BLOCK = 8, 50

_CHIP = re.compile(r"Ship_C\d+S\d+N(\d+)\.tiff?$", re.IGNORECASE)


class FusarSource:
    """The release as a zip or as the folder it unpacks to."""

    name = "fusar"

    def __init__(self, path: Path) -> None:
        self.archive = Archive(path)

    @staticmethod
    def recognises(path: Path) -> bool:
        """Whether this path is the release: its zip, or a folder of its categories."""
        if not path.name.lower().startswith("fusar"):
            return False
        return path.suffix == ".zip" or any((path / category).is_dir() for category in CLASSES)

    def index(self) -> list[Record]:
        """Chips of the three classes; DataInvalid where the archive holds none."""
        folders: dict[str, dict[int, str]] = defaultdict(dict)
        for name in self.archive.names:
            match = _CHIP.search(name)
            if match and _category(name) in CLASSES:
                folders[str(PurePosixPath(name).parent)][int(match[1])] = name
        if not folders:
            raise DataInvalid(
                f"{self.archive.path} holds no Category/SubCategory/Ship_CxxSyyNzzzz.tiff chips "
                f"of {', '.join(CLASSES)}; expected FUSAR-Ship 1.0 as it is downloaded"
            )
        records = [
            self._record(name, folder, block)
            for folder, members in sorted(folders.items())
            for block in index_blocks(sorted(members))
            for name in (members[number] for number in block)
        ]
        joined = join_groups_of_repeats(records)
        return [replace(record, group=joined[record.group]) for record in records]

    def _record(self, name: str, folder: str, block: list[int]) -> Record:
        mmsi = self._meta.get(PurePosixPath(name).stem, {}).get("mmsi", "")
        short = PurePosixPath(folder).name
        group = f"mmsi:{mmsi}" if mmsi.strip("0 ") else f"fusar:{short}:{block[0]}-{block[-1]}"
        digest = hashlib.sha256(self.archive.read(name)).hexdigest()
        return Record(self.name, name, _category(name), group, digest)

    def read(self, record: Record) -> Chip:
        """The chip with its pixel spacing from `meta.csv`, else the nominal one."""
        meta = self._meta.get(PurePosixPath(record.key).stem, {})
        return decode(self.archive.read(record.key), pixel_spacing_m=_spacing(meta))

    @cached_property
    def _meta(self) -> dict[str, dict[str, str]]:
        """Rows of meta.csv by chip stem; empty where the file is absent."""
        found = [n for n in self.archive.names if PurePosixPath(n).name.lower() == "meta.csv"]
        if not found:
            return {}
        text = self.archive.read(found[0]).decode("utf-8-sig", errors="replace")
        rows = csv.DictReader(io.StringIO(text))
        return {_stem(row): row for row in rows}


def _category(name: str) -> str:
    parts = PurePosixPath(name).parts
    return parts[-3] if len(parts) >= 3 else ""


def _stem(row: dict[str, str]) -> str:
    path = (row.get("path") or row.get("id") or "").replace("\\", "/")
    return PurePosixPath(path).stem


def _spacing(meta: dict[str, str]) -> tuple[float, float]:
    """(row, column) metres on the ground; slant range is divided by the sine of the look angle."""
    try:
        row, slant = float(meta["heightspace"]), float(meta["widthspace"])
        look = math.radians(float(meta["centerLookAngle"]))
    except (KeyError, ValueError):
        return NOMINAL_SPACING_M
    if not (row > 0 and slant > 0 and 0.1 < look < 1.2):
        return NOMINAL_SPACING_M
    return row, slant / math.sin(look)


def index_blocks(numbers: list[int]) -> list[list[int]]:
    """Sorted index numbers, cut at gaps over MAX_GAP and into equal parts spanning <= MAX_BLOCK.

    >>> index_blocks([1, 2, 3, 40, 41])
    [[1, 2, 3], [40, 41]]
    """
    blocks: list[list[int]] = []
    for number in numbers:
        if not blocks or number - blocks[-1][-1] > MAX_GAP:
            blocks.append([])
        blocks[-1].append(number)
    return [part for block in blocks for part in _cut(block)]


def _cut(block: list[int]) -> list[list[int]]:
    span = block[-1] - block[0] + 1
    parts: dict[int, list[int]] = defaultdict(list)
    length = math.ceil(span / math.ceil(span / MAX_BLOCK))
    for number in block:
        parts[(number - block[0]) // length].append(number)
    return [parts[k] for k in sorted(parts)]
