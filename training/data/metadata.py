"""What is known of a chip besides its pixels: Ship.xml, meta.csv, groups.csv, file names.

Ship.xml     of an OpenSARShip scene: the ships that AIS matched to its chips
meta.csv     of FUSAR-Ship, with the columns id, mmsi, length, width, polarMode, centerLookAngle,
             heightspace, widthspace and path; id is the chip's name without its ending, path its
             folder with backslashes, in some copies the whole path
groups.csv   of class folders: path,group
"""

import csv
import io
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

from shipchip.chip import Chip
from shipchip.ship_list import DoctypeFound, parse_ship_list
from training.data.record import mmsi_group
from training.data.sizes import SizeM, size_of
from training.errors import DataInvalid


@dataclass(frozen=True)
class ShipRecord:
    """One ship: its group by MMSI, incidence in degrees, (length, width) in metres by AIS.

    Each is None if unknown.
    """

    group: str | None
    incidence_degrees: float | None
    size_m: SizeM | None = None


@dataclass(frozen=True)
class ShipList:
    """Ships by the (x, y) of their chip's centre in the scene, in pixels.

    mended  whether the XML was not valid and could be mended
    fault   why there is no ship list; empty if there is one
    """

    ships: dict[tuple[int, int], ShipRecord] = field(default_factory=dict)
    mended: bool = False
    fault: str = ""


def parse_ships(xml: bytes, where: str) -> ShipList:
    """Ships of a Ship.xml. One that cannot be parsed even when mended is a list with a `fault`.

    Raises DataInvalid if it declares entities or a document type, which no Ship.xml does.
    """
    try:
        listed, mended = parse_ship_list(xml)
    except DoctypeFound as error:
        raise DataInvalid(
            f"{where}: Ship.xml declares a document type or entities ({error}), which none of "
            "OpenSARShip does; fetch the archive again"
        ) from error
    except ValueError as error:
        return ShipList(fault=f"cannot be parsed ({error})")
    ships = {}
    for place, ship in listed.items():
        incidence = ship.incidence_degrees
        known = incidence is not None and 10 < incidence < 80
        size = size_of(ship.length, ship.width)
        ships[place] = ShipRecord(mmsi_group(ship.mmsi), incidence if known else None, size)
    return ShipList(ships, mended)


_ID = re.compile(r"Ship_C\d+S\d+N\d+", re.IGNORECASE)

# Pixel sizes of any spaceborne SAR; outside them a row is wrong, or in another unit.
_LEAST_M, _MOST_M = 0.1, 100.0

Meta = dict[str, dict[str, str]]


def parse_meta(content: bytes, where: str) -> Meta:
    """Rows by chip id. Raises DataInvalid if it is no table or lacks the columns."""
    text = content.decode("utf-8-sig", errors="replace")
    header = text.partition("\n")[0]
    delimiter = max(",;\t", key=header.count)
    try:
        rows = list(csv.DictReader(io.StringIO(text), delimiter=delimiter, restval=""))
    except csv.Error as error:
        raise DataInvalid(f"{where} cannot be read as a table ({error})") from error
    columns = set(rows[0]) if rows else set()
    if "mmsi" not in columns or not columns & {"id", "path"}:
        raise DataInvalid(
            f"{where} needs the columns mmsi and id; its first line is {header.strip()[:80]!r}"
        )
    return {chip_id: row for row in rows if (chip_id := _chip_id(row))}


def _chip_id(row: dict[str, str]) -> str:
    """The id, or the end of the path, whichever names a chip; empty if neither does."""
    for column in ("id", "path"):
        stem = PurePosixPath((row.get(column) or "").replace("\\", "/")).stem
        if _ID.fullmatch(stem):
            return stem
    return ""


def spacing_m(row: dict[str, str]) -> tuple[float, float] | None:
    """(row, column) metres on the ground; slant range is divided by the sine of the look angle.

    None if the row does not give them.
    """
    try:
        height, slant = float(row.get("heightspace", "")), float(row.get("widthspace", ""))
        look = math.radians(float(row.get("centerLookAngle", "")))
    except ValueError:
        return None
    if not (_LEAST_M < height < _MOST_M and _LEAST_M < slant < _MOST_M and 0.1 < look < 1.2):
        return None
    return height, slant / math.sin(look)


def polarisation_of(row: dict[str, str]) -> tuple[str, ...]:
    """The plane's polarisation; empty if polarMode is a mode of several, such as DH."""
    mode = row.get("polarMode", "").strip().upper()
    return (mode,) if mode in {"HH", "HV", "VH", "VV"} else ()


@dataclass(frozen=True)
class GroupRow:
    """A line of groups.csv: its number in the file, and what it says."""

    line: int
    path: str
    group: str


def parse_groups(content: bytes, name: str, where: str) -> dict[str, GroupRow]:
    """Rows by the name of their chip in the archive.

    name   of the table in the archive; its paths count from its own folder or from the top
    where  what an error calls the table

    Raises DataInvalid if it is no table, lacks the columns or a group, or contradicts itself.
    """
    rows: dict[str, GroupRow] = {}
    for row in _group_rows(content, where):
        for chip in {PurePosixPath(row.path), PurePosixPath(name).parent / row.path}:
            check_agreed([rows.setdefault(str(chip), row), row], where)
    return rows


def check_agreed(rows: Iterable[GroupRow], where: str) -> None:
    """DataInvalid if these rows, all of one chip, name more than one group."""
    first, *others = rows
    for other in others:
        if other.group != first.group:
            raise DataInvalid(
                f"{where} puts one chip into two groups: line {first.line} says that {first.path} "
                f"is of {first.group}, line {other.line} that {other.path} is of {other.group}; "
                "correct one of them"
            )


def _group_rows(content: bytes, where: str) -> list[GroupRow]:
    reader = csv.DictReader(io.StringIO(content.decode("utf-8-sig", errors="replace")), restval="")
    try:
        rows = [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise DataInvalid(f"{where} is no table ({error})") from error
    if not rows or not {"path", "group"} <= set(rows[0][1]):
        raise DataInvalid(f"{where} needs the columns path,group")
    parsed = [GroupRow(n, row["path"].replace("\\", "/"), row["group"].strip()) for n, row in rows]
    empty = next((row for row in parsed if not row.group), None)
    if empty:
        raise DataInvalid(f"{where} gives {empty.path} no group in line {empty.line}; name one")
    return parsed


_SUFFIX = re.compile(r"_([vh]{2})$", re.IGNORECASE)


def polarisation_in_name(stem: str) -> tuple[str, ...]:
    """("VV",) for a stem that ends in _vv, and so on; empty for other endings."""
    match = _SUFFIX.search(stem)
    return (match[1].upper(),) if match else ()


def without_polarisation(stem: str) -> str:
    """The stem without its polarisation, which all files of one chip share."""
    return _SUFFIX.sub("", stem)


def with_polarisations(chip: Chip, *choices: tuple[str, ...]) -> Chip:
    """The chip, its planes named by the first of `choices` that has as many."""
    for names in choices:
        if len(names) == len(chip.polarisations):
            return replace(chip, polarisations=names)
    return chip
