"""FUSAR-Ship 1.0 (Gaofen-3; Hou et al. 2020, doi 10.1007/s11432-019-2772-5).

Category/SubCategory/Ship_CxxSyyNzzzz.tiff, 8-bit, 512 x 512. With `meta.csv` beside the folders, or
beside the zip, a chip's ship is its MMSI. Without it, blocks of consecutive index numbers within a
folder stand for ships, because neighbours in the index share ship and scene.
"""

import hashlib
import json
import math
import re
from collections import defaultdict
from functools import cached_property
from pathlib import Path, PurePosixPath

from shipchip.chip import Chip
from shipchip.decode import decode
from training.data.archive import Archive, is_dataset_archive
from training.data.class_folders import SUFFIXES
from training.data.metadata import Meta, parse_meta, polarisation_of, spacing_m, with_polarisations
from training.data.record import CLASSES, Record, mmsi_group
from training.data.sizes import size_of
from training.errors import DataInvalid

# Nominal pixel: azimuth 1.72 m, slant range 1.124 m, on the ground at 36 degrees of incidence.
AZIMUTH_M, SLANT_RANGE_M, INCIDENCE_DEGREES = 1.72, 1.124, 36.0
NOMINAL_SPACING_M = (
    AZIMUTH_M,
    round(SLANT_RANGE_M / math.sin(math.radians(INCIDENCE_DEGREES)), 2),
)

# A gap of more than this many index numbers ends a block; a longer run than this is cut.
MAX_GAP, MAX_BLOCK = 8, 50

_CHIP = re.compile(r"Ship_(C\d+S\d+)N(\d+)\.tiff?$", re.IGNORECASE)


class FusarSource:
    """The release as a zip or rar, or as the folder it unpacks to, under any name.

    apart  folders inside that are other sources, by their real paths
    """

    name = "fusar"

    def __init__(self, path: Path, apart: frozenset[Path] = frozenset()) -> None:
        self.archive = Archive(path, apart)

    @staticmethod
    def recognises(path: Path) -> bool:
        """Whether this path is the release: an archive so named, or class folders of its chips."""
        if path.is_dir():
            return any(
                _CHIP.search(chip.name)
                for label in CLASSES
                for depth in ("*", "*/*")
                for chip in (path / label).glob(depth)
            )
        if not is_dataset_archive(path):
            return False
        return path.name.lower().startswith("fusar") or bool(_chips(Archive(path).names))

    def index(self) -> list[Record]:
        """Chips of the three classes; DataInvalid if there is none, or meta.csv names none."""
        return list(self._records)

    def read(self, record: Record) -> Chip:
        """The chip with its pixel spacing from `meta.csv`, else the nominal one."""
        row = self._meta.get(PurePosixPath(record.key).stem, {})
        spacing = spacing_m(row) or NOMINAL_SPACING_M
        chip = decode(self.archive.read(record.key), pixel_spacing_m=spacing)
        return with_polarisations(chip, polarisation_of(row))

    def context(self) -> str:
        """The rows of meta.csv, which give spacing and polarisation."""
        rows = json.dumps(self._meta, sort_keys=True)
        return f"{NOMINAL_SPACING_M} {hashlib.sha256(rows.encode()).hexdigest()}"

    def notes(self) -> list[str]:
        """What meta.csv lacks, and how many chips are grouped by blocks instead."""
        total = len(self._records)
        unknown = [record for record in self._records if not record.ship_known]
        blocks = len({record.group for record in unknown})
        by_blocks = f"{blocks} blocks of consecutive numbers are used as ships"
        if not self._meta:
            excel = any(PurePosixPath(n).name.lower() == "meta.xls" for n in self.archive.names)
            saved = "meta.xls is not read, save it as meta.csv" if excel else "there is no meta.csv"
            return [f"{saved}: {total} chips name no ship, and {by_blocks}"]
        rows = [self._meta.get(PurePosixPath(record.key).stem) for record in self._records]
        lacking = rows.count(None)
        unsized = sum(row is not None and spacing_m(row) is None for row in rows)
        lines = []
        if unknown:
            lines.append(
                f"{len(unknown)} of {total} chips have no MMSI in meta.csv ({lacking} have no row "
                f"there): {by_blocks}"
            )
        if unsized:
            lines.append(f"{unsized} rows of meta.csv have no pixel size: the nominal one is taken")
        return lines

    @cached_property
    def _records(self) -> list[Record]:
        chips = _chips(self.archive.names)
        if not chips:
            raise DataInvalid(
                f"{self.archive.path} holds no Category/SubCategory/Ship_CxxSyyNzzzz.tiff chips "
                f"of {', '.join(CLASSES)}; expected FUSAR-Ship 1.0 as it is downloaded"
            )
        _check_no_other_chips(self.archive, chips)
        if self._meta and not any(PurePosixPath(n).stem in self._meta for n in chips):
            raise DataInvalid(
                f"{self.archive.path}: meta.csv names none of the {len(chips)} chips; expected "
                "Ship_CxxSyyNzzzz in its column id"
            )
        runs: dict[tuple[str, str], dict[int, list[str]]] = defaultdict(lambda: defaultdict(list))
        for name in sorted(chips):
            if match := _CHIP.search(name):
                run = _run(PurePosixPath(name).parent, match[1])
                runs[run][int(match[2])].append(name)
        return [
            self._record(name, chips[name], f"fusar:{run}:{block[0]}-{block[-1]}")
            for (_, run), members in sorted(runs.items())
            for block in index_blocks(sorted(members))
            for number in block
            for name in members[number]
        ]

    def _record(self, name: str, label: str, block: str) -> Record:
        row = self._meta.get(PurePosixPath(name).stem, {})
        digest = hashlib.sha256(self.archive.read(name)).hexdigest()
        group = mmsi_group(row.get("mmsi")) or block
        size = size_of(row.get("length"), row.get("width"))
        return Record(self.name, name, label, group, digest, size)

    @cached_property
    def _meta(self) -> Meta:
        """Rows of meta.csv by chip id; empty if the file is absent."""
        found = [n for n in self.archive.names if PurePosixPath(n).name.lower() == "meta.csv"]
        beside = self.archive.path.parent / "meta.csv"
        if found:
            content = self.archive.read(min(found, key=len))
            return parse_meta(content, f"{self.archive.path}: {min(found, key=len)}")
        if not beside.is_file():
            return {}
        try:
            return parse_meta(beside.read_bytes(), str(beside))
        except OSError as error:
            raise DataInvalid(
                f"{beside} cannot be read ({error}); check its permissions"
            ) from error


def _chips(names: list[str]) -> dict[str, str]:
    """Class of each chip: Category/SubCategory/chip, or where none is so, Category/chip."""
    chips = [PurePosixPath(name) for name in names if _CHIP.search(name)]
    for level in (-3, -2):
        labels = {str(c): c.parts[level] for c in chips if len(c.parts) >= -level}
        ours = {name: label for name, label in labels.items() if label in CLASSES}
        if ours:
            return ours
    return {}


def _check_no_other_chips(archive: Archive, chips: dict[str, str]) -> None:
    """DataInvalid if its class folders hold chips that are not of the release."""
    tops = {PurePosixPath(*PurePosixPath(chip).parts[:-1]) for chip in chips}
    others = [
        name
        for name in map(PurePosixPath, archive.names)
        if name.suffix.lower() in SUFFIXES
        and str(name) not in chips
        and set(name.parts[:-1]) & set(CLASSES)
        and (not _CHIP.search(name.name) or any(name.parent in top.parents for top in tops))
    ]
    if others:
        raise DataInvalid(
            f"{archive.path}: folder {others[0].parent} of FUSAR-Ship holds {len(others)} chips "
            f"that are not named or placed as FUSAR-Ship's, the first is {others[0].name}; move "
            "your own chips into class folders elsewhere"
        )


def _run(folder: PurePosixPath, code: str) -> tuple[str, str]:
    """A folder and the name of its run of index numbers: its own, or the chips' code where the
    folder is a whole category, in which each subcategory counts anew."""
    whole = folder.name in CLASSES and folder.parent.name not in CLASSES
    return folder.as_posix(), code.upper() if whole else folder.name


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
