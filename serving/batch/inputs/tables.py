"""A CSV or GeoJSON list: names of chips or positions of ships, with other columns beside them.

The other columns are carried to the output as they are written.
"""

import csv
import io
import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from serving.batch.inputs.entries import ChipEntry, InputError, tidy
from serving.batch.rows import columns, readable
from shipchip.geojson import check_system

NAME_COLUMNS = ("path", "file", "filename", "chip")
DEGREES = (("lon", "lat"), ("longitude", "latitude"))
PIXELS = (("x", "y"), ("col", "row"), ("column", "row"))

_MOST_ROWS, _MOST_COLUMNS = 5_000_000, 500
_LONGEST_FIELD = 2**20

CellText = str | None


@dataclass(frozen=True)
class Table:
    """The columns of a list, and its rows, all as text; an empty cell is None."""

    columns: tuple[str, ...]
    rows: list[tuple[CellText, ...]]

    def index(self, name: str) -> int | None:
        """The number of a column, in any case; None if there is none."""
        lowered = [column.lower() for column in self.columns]
        return lowered.index(name.lower()) if name.lower() in lowered else None

    def pair(self, choices: Sequence[tuple[str, str]]) -> tuple[int, int] | None:
        """The numbers of the first pair of columns that is there."""
        for one, other in choices:
            found = self.index(one), self.index(other)
            if found[0] is not None and found[1] is not None:
                return found[0], found[1]
        return None

    def without(self, numbers: set[int]) -> "Table":
        """The table without these columns."""
        kept = [k for k in range(len(self.columns)) if k not in numbers]
        return Table(
            tuple(self.columns[k] for k in kept),
            [tuple(row[k] for k in kept) for row in self.rows],
        )


def table_of_names(data: bytes) -> Table | None:
    """The table in a list of chips, in UTF-8; None if the list is plain names.

    It is one if it is GeoJSON, or if its first line has several names of columns, one of which is
    in NAME_COLUMNS. Raises InputError if it begins like one and is damaged.
    """
    start = data[: 2**16].lstrip()
    if start.startswith(b"{"):
        return read_table(data)
    first = start.partition(b"\n")[0].decode("utf-8", "replace").lower()
    names = [name.strip() for name in next(csv.reader([first]), [])]
    if names[:3] == [*columns(())[:3]]:
        return None  # a batch has written it: its other columns are old answers
    return read_table(data) if len(names) > 1 and {*names} & {*NAME_COLUMNS} else None


def with_cells(
    entries: Sequence[ChipEntry], table: Table, names: Sequence[str]
) -> tuple[list[ChipEntry], tuple[str, ...]]:
    """Entries with the cells of their rows, and the names of the carried columns.

    names  the chips, as `names_in` gives them

    `lon` and `lat` become positions. Raises InputError if rows of one chip differ.
    """
    degrees = table.pair(DEGREES[:1])
    carried = table.without({_name_column(table), *(degrees or ())})
    cells: dict[str, tuple[tuple[CellText, ...], tuple[float, float] | None]] = {}
    for number, (name, row, kept) in enumerate(
        zip(names, table.rows, carried.rows, strict=True), 2
    ):
        ours = kept, position_in(row, degrees) if degrees else None
        if cells.setdefault(tidy(name), ours) != ours:
            raise InputError(
                f"row {number} of the list names {readable(name)!r} again with other values; "
                "expected one row per chip"
            )
    none: tuple[CellText, ...] = (None,) * len(carried.columns)
    found = []
    for entry in entries:
        kept, position = cells.get(tidy(entry.name), (none, None))
        found.append(replace(entry, carried=kept, position=position))
    return found, carried.columns


def names_in(table: Table) -> list[str]:
    """The names of the chips, one per row; InputError for a row without."""
    column = _name_column(table)
    names = []
    for number, row in enumerate(table.rows, 2):
        name = row[column]
        if name is None:
            raise InputError(f"row {number} of the list names no chip")
        names.append(os.fsdecode(name.encode()))
    return names


def _name_column(table: Table) -> int:
    found = [k for name in NAME_COLUMNS if (k := table.index(name)) is not None]
    if len(found) != 1:
        raise InputError(
            f"the list has the columns {', '.join(table.columns[:20])}; expected one of "
            f"{', '.join(NAME_COLUMNS)}"
        )
    return found[0]


def position_in(row: tuple[CellText, ...], pair: tuple[int, int]) -> tuple[float, float] | None:
    """The two numbers of these columns; None unless both are finite numbers."""
    try:
        one, other = (float(row[k] or "nan") for k in pair)
    except ValueError:
        return None
    return (one, other) if math.isfinite(one) and math.isfinite(other) else None


def read_table(data: bytes) -> Table:
    """A CSV with a header, or a GeoJSON of points, in UTF-8. InputError says what is wrong.

    The coordinates of points become the columns `lon` and `lat`; properties of these names are
    left out.
    """
    if data[: 2**16].lstrip().startswith(b"{"):
        return _of_geojson(data)
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise InputError(f"the table is not UTF-8: {error.reason} at byte {error.start}") from error
    if "\0" in text:
        raise InputError("the table holds NUL bytes; expected a CSV with a header, or GeoJSON")
    before = csv.field_size_limit(_LONGEST_FIELD)
    try:
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        columns = tuple(name.strip() for name in next(reader, []))
        _check_columns(columns)
        rows = []
        for number, row in enumerate(reader, 2):
            if not row:
                continue
            if len(row) != len(columns):
                raise InputError(
                    f"row {number} of the table has {len(row)} cells; expected {len(columns)}, "
                    "one per column of its first line"
                )
            rows.append(tuple(cell.strip() or None for cell in row))
            _check_rows(rows)
    except csv.Error as error:
        raise InputError(f"the table is no CSV that can be read: {error}") from error
    finally:
        csv.field_size_limit(before)
    return Table(columns, rows)


def _check_columns(columns: Sequence[str]) -> None:
    if not columns or not all(columns):
        raise InputError("the table's first line must name every column")
    if len(columns) > _MOST_COLUMNS:
        raise InputError(f"the table has {len(columns)} columns, the limit is {_MOST_COLUMNS}")
    lowered = [name.lower() for name in columns]
    twice = sorted({name for name in lowered if lowered.count(name) > 1})
    if twice:
        raise InputError(f"the table has the column {readable(twice[0])!r} twice; rename one")


def _check_rows(rows: Sequence[object]) -> None:
    if len(rows) > _MOST_ROWS:
        raise InputError(f"the table has more than {_MOST_ROWS} rows; divide it")


def _of_geojson(data: bytes) -> Table:
    try:
        content = json.loads(data)
        check_system(content)
        features = _features(content)
    except (ValueError, RecursionError) as error:
        raise InputError(f"the list begins as GeoJSON, but cannot be read: {error}") from error
    _check_rows(features)
    columns = dict.fromkeys(
        name
        for feature in features
        for name in _properties(feature)
        if name.lower() not in DEGREES[0]
    )
    names = (*DEGREES[0], *columns)
    _check_columns(names)
    rows = []
    for number, feature in enumerate(features, 1):
        properties = _properties(feature)
        rows.append((*_point(feature, number), *(_cell(properties.get(c)) for c in columns)))
    return Table(names, rows)


def _features(value: Any) -> list[dict[str, Any]]:
    features = value.get("features") if isinstance(value, dict) else None
    if not isinstance(features, list) or not all(isinstance(one, dict) for one in features):
        raise ValueError("expected a FeatureCollection of points")
    return features


def _properties(feature: dict[str, Any]) -> dict[str, Any]:
    properties = feature.get("properties") or {}
    if not isinstance(properties, dict):
        raise InputError("the properties of a feature are no object; expected name and value pairs")
    return properties


def _point(feature: dict[str, Any], number: int) -> tuple[CellText, CellText]:
    geometry = feature.get("geometry")
    if geometry is None:
        return None, None
    try:
        if geometry["type"] != "Point":
            raise ValueError(geometry["type"])
        lon, lat = (float(value) for value in geometry["coordinates"][:2])
    except (TypeError, ValueError, KeyError) as error:
        raise InputError(
            f"feature {number} is no point ({error}); expected Point features in degrees"
        ) from error
    return repr(lon), repr(lat)


def _cell(value: Any) -> CellText:
    """A property as text; what is no text or number stays JSON."""
    if value is None or isinstance(value, str):
        return value or None
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return json.dumps(value, ensure_ascii=False)
