"""The size of a ship by AIS, and lengths.csv, which gives it for chips in class folders.

lengths.csv has the columns chip, length_m and width_m. It lies beside the class folders, or beside
their archive. `chip` is a path from its folder, or a name alone. 0 or nothing means unknown.
"""

import csv
import io
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from training.data.archive import Archive
from training.errors import DataInvalid

NAME = "lengths.csv"
SizeM = tuple[float, float]

_COLUMNS = ("chip", "length_m", "width_m")
# In metres, of any ship; outside them an entry in AIS is wrong.
_LENGTHS_M, _WIDTHS_M = (5.0, 500.0), (1.0, 100.0)


def size_of(length: str | None, width: str | None) -> SizeM | None:
    """(length, width) in metres; None if the texts do not give both. 0 means unknown in AIS.

    >>> size_of("190", "32.26"), size_of("190", "0"), size_of("30", "190"), size_of(None, "8")
    ((190.0, 32.26), None, None, None)
    """
    try:
        size = float(length or ""), float(width or "")
    except ValueError:
        return None
    fits = all(
        low <= metres <= high
        for metres, (low, high) in zip(size, (_LENGTHS_M, _WIDTHS_M), strict=True)
    )
    return size if fits and size[0] > size[1] else None


@dataclass(frozen=True)
class SizeTable:
    """The rows of a lengths.csv: chip as it is written there -> size, None if unknown.

    folder  of the table in its archive; empty if it is at the top or beside the archive
    """

    rows: dict[str, SizeM | None] = field(default_factory=dict)
    folder: str = ""

    def size_of(self, chip: str) -> SizeM | None:
        """The size of a chip by its name in the archive; None if it is unknown."""
        path = PurePosixPath(chip)
        inner = path.relative_to(self.folder) if path.is_relative_to(self.folder) else path
        for name in (str(inner), chip, path.name):
            if name in self.rows:
                return self.rows[name]
        return None


def sizes_of(archive: Archive) -> SizeTable:
    """The lengths.csv of class folders; an empty one if there is none.

    Raises DataInvalid if there are several, or if it is no table or contradicts itself.
    """
    found = [name for name in archive.names if PurePosixPath(name).name == NAME]
    beside = archive.path.parent / NAME
    if len(found) > 1:
        raise DataInvalid(
            f"{archive.path} holds {len(found)} tables {NAME} ({', '.join(found[:2])}); join them"
        )
    if found:
        content = archive.read(found[0])
        folder = str(PurePosixPath(found[0]).parent)
        return _parse(content, f"{archive.path}: {found[0]}", "" if folder == "." else folder)
    if archive.path.is_file() and beside.is_file():
        return _parse(_read(beside), str(beside), "")
    return SizeTable()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataInvalid(f"{path} cannot be read ({error}); check its permissions") from error


def _parse(content: bytes, where: str, folder: str) -> SizeTable:
    reader = csv.DictReader(io.StringIO(content.decode("utf-8-sig", errors="replace")), restval="")
    try:
        lines = [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise DataInvalid(f"{where} is no table ({error})") from error
    if not set(_COLUMNS) <= set(reader.fieldnames or ()):
        found = ",".join(reader.fieldnames or ())
        raise DataInvalid(f"{where} needs the columns {','.join(_COLUMNS)}; found {found}")
    rows: dict[str, SizeM | None] = {}
    for line, row in lines:
        chip = row["chip"].replace("\\", "/").strip()
        size = size_of(row["length_m"], row["width_m"])
        if rows.setdefault(chip, size) != size:
            raise DataInvalid(f"{where} gives {chip} two sizes, the second in line {line}")
    return SizeTable(rows, folder)
