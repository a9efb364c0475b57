"""GeoJSON (RFC 7946): a point per row, in degrees of WGS 84; null where the position is unknown.

A line per feature, so that reading and writing keep one row in memory.
"""

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from serving.batch.rows import BatchRow, OutputError, is_carried

_HEAD, _TAIL = b'{"type":"FeatureCollection","features":[\n', b"\n]}\n"


def write_geojson(file: BinaryIO, names: Sequence[str], rows: Iterable[BatchRow]) -> None:
    """All rows; equal rows give equal bytes."""
    file.write(_HEAD)
    for number, row in enumerate(rows):
        feature = _feature(row, names)
        line = json.dumps(feature, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        file.write((b",\n" if number else b"") + line.encode())
    file.write(_TAIL)


def read_geojson(path: Path, names: Sequence[str]) -> Iterator[BatchRow]:
    """The rows of a file; OutputError for other columns, or damage."""
    number = 0
    with path.open("rb") as file:
        try:
            if file.readline() != _HEAD:
                raise ValueError("it does not begin as one that a batch has written")
            line = b""
            for line in file:
                if line not in (b"\n", b"]}\n"):
                    number += 1
                    yield _row(json.loads(line.rstrip(b",\n")), names)
            if line != b"]}\n":
                raise ValueError("its end is missing")
        except (ValueError, KeyError, TypeError) as error:
            raise OutputError(
                f"{path}, row {number}: no row of this run ({error}); write the file again"
            ) from error


def _feature(row: BatchRow, names: Sequence[str]) -> dict[str, Any]:
    place = None
    if row["lon"] is not None and row["lat"] is not None:
        place = {"type": "Point", "coordinates": [row["lon"], row["lat"]]}
    properties = {name: _property(name, row[name]) for name in names}
    return {"type": "Feature", "geometry": place, "properties": properties}


def _property(name: str, value: Any) -> Any:
    """A carried cell that is written as a JSON number becomes one."""
    if not isinstance(value, str) or not is_carried(name):
        return value
    try:
        number = json.loads(value)
    except ValueError:
        return value
    if isinstance(number, bool) or not isinstance(number, int | float):
        return value
    # NaN and Infinity, which Python reads and writes, are no JSON.
    return number if math.isfinite(number) and json.dumps(number) == value else value


def _row(feature: dict[str, Any], names: Sequence[str]) -> BatchRow:
    row: BatchRow = feature["properties"]
    if tuple(row) != tuple(names):
        raise ValueError(f"expected the columns {', '.join(names)}")
    return {
        name: json.dumps(value) if is_carried(name) and isinstance(value, int | float) else value
        for name, value in row.items()
    }
