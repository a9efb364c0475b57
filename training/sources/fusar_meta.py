"""meta.csv of FUSAR-Ship: MMSI, polarisation and pixel of a chip, by the chip's id.

id,mmsi,length,width,polarMode,centerLookAngle,heightspace,widthspace,path, where id is the chip's
name without its ending and path its folder with backslashes; some copies have the whole path.
"""

import csv
import io
import math
import re
from pathlib import PurePosixPath

from training.errors import DataInvalid

_ID = re.compile(r"Ship_C\d+S\d+N\d+", re.IGNORECASE)

# Pixel sizes of any spaceborne SAR; outside them a row is wrong, or in another unit.
_LEAST_M, _MOST_M = 0.1, 100.0

Meta = dict[str, dict[str, str]]


def parse_meta(content: bytes, where: str) -> Meta:
    """Rows by chip id. Raises DataInvalid where it is no table or lacks the columns."""
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
    """The id, or the end of the path, whichever names a chip; empty where neither does."""
    for column in ("id", "path"):
        stem = PurePosixPath((row.get(column) or "").replace("\\", "/")).stem
        if _ID.fullmatch(stem):
            return stem
    return ""


def spacing_m(row: dict[str, str]) -> tuple[float, float] | None:
    """(row, column) metres on the ground; slant range is divided by the sine of the look angle.

    None where the row does not tell.
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
    """The plane's polarisation; empty where polarMode is a mode of several, such as DH."""
    mode = row.get("polarMode", "").strip().upper()
    return (mode,) if mode in {"HH", "HV", "VH", "VV"} else ()
