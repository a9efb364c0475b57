"""GeoPackage (OGC 12-128r19): the layer `ships`, a point per row in degrees of WGS 84.

Written by SQLite alone: GDAL's Python packages bring pandas. Rows are read back in their order.
"""

import shutil
import sqlite3
import struct
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, BinaryIO

from serving.batch.rows import BatchRow, ColumnKind, OutputError, column_kind

LAYER = "ships"

_TYPES: dict[ColumnKind, str] = {
    "text": "TEXT",
    "number": "REAL",
    "flag": "BOOLEAN",
    "set": "TEXT",
}
# "GP", version 0, little-endian without an envelope, EPSG:4326; a little-endian point.
_POINT = struct.Struct("<2sBBi BIdd")
_WGS_84 = (
    'GEOGCS["WGS 84",DATUM["WGS_1984",SPHEROID["WGS 84",6378137,298.257223563]],'
    'PRIMEM["Greenwich",0],UNIT["degree",0.0174532925199433],AUTHORITY["EPSG","4326"]]'
)
_TABLES = """
PRAGMA application_id = 1196444487;
PRAGMA user_version = 10300;
CREATE TABLE gpkg_spatial_ref_sys (srs_name TEXT NOT NULL, srs_id INTEGER PRIMARY KEY,
  organization TEXT NOT NULL, organization_coordsys_id INTEGER NOT NULL, definition TEXT NOT NULL,
  description TEXT);
CREATE TABLE gpkg_contents (table_name TEXT NOT NULL PRIMARY KEY, data_type TEXT NOT NULL,
  identifier TEXT UNIQUE, description TEXT DEFAULT '', last_change DATETIME NOT NULL, min_x DOUBLE,
  min_y DOUBLE, max_x DOUBLE, max_y DOUBLE, srs_id INTEGER,
  FOREIGN KEY (srs_id) REFERENCES gpkg_spatial_ref_sys (srs_id));
CREATE TABLE gpkg_geometry_columns (table_name TEXT NOT NULL, column_name TEXT NOT NULL,
  geometry_type_name TEXT NOT NULL, srs_id INTEGER NOT NULL, z TINYINT NOT NULL, m TINYINT NOT NULL,
  PRIMARY KEY (table_name, column_name),
  FOREIGN KEY (table_name) REFERENCES gpkg_contents (table_name),
  FOREIGN KEY (srs_id) REFERENCES gpkg_spatial_ref_sys (srs_id));
INSERT INTO gpkg_spatial_ref_sys VALUES
  ('Undefined Cartesian', -1, 'NONE', -1, 'undefined', NULL),
  ('Undefined geographic', 0, 'NONE', 0, 'undefined', NULL);
"""
_NO_DATE = "1970-01-01T00:00:00.000Z"  # equal rows give equal bytes


def write_geopackage(file: BinaryIO, names: Sequence[str], rows: Iterable[BatchRow]) -> None:
    """All rows, and nothing else: equal rows give equal bytes with one version of SQLite."""
    with tempfile.NamedTemporaryFile(suffix=".gpkg") as temporary:
        with closing(sqlite3.connect(temporary.name, isolation_level=None)) as base:
            base.executescript("PRAGMA journal_mode = OFF;" + _TABLES)
            base.execute("BEGIN")
            _write(base, names, rows)
            base.execute("COMMIT")
        with Path(temporary.name).open("rb") as written:
            shutil.copyfileobj(written, file)


def _write(base: sqlite3.Connection, names: Sequence[str], rows: Iterable[BatchRow]) -> None:
    base.execute(
        "INSERT INTO gpkg_spatial_ref_sys VALUES ('WGS 84', 4326, 'EPSG', 4326, ?, NULL)",
        (_WGS_84,),
    )
    key, geometry = _own_names(names)
    columns = "".join(f", {_quoted(name)} {_TYPES[column_kind(name)]}" for name in names)
    base.execute(f"CREATE TABLE {LAYER} ({key} INTEGER PRIMARY KEY, {geometry} POINT{columns})")
    marks = ", ".join("?" * (len(names) + 2))
    box: list[float] = []
    for number, row in enumerate(rows, 1):
        point = _point(row)
        if point is not None:
            box = _widened(box, row["lon"], row["lat"])
        values = [_stored(row[name]) for name in names]
        base.execute(f"INSERT INTO {LAYER} VALUES ({marks})", (number, point, *values))
    base.execute(
        "INSERT INTO gpkg_contents VALUES (?, 'features', ?, '', ?, ?, ?, ?, ?, 4326)",
        (LAYER, LAYER, _NO_DATE, *(box or (None,) * 4)),
    )
    base.execute(
        "INSERT INTO gpkg_geometry_columns VALUES (?, ?, 'POINT', 4326, 0, 0)", (LAYER, geometry)
    )


def read_geopackage(path: Path, names: Sequence[str]) -> Iterator[BatchRow]:
    """The rows of a file; OutputError for other columns, or damage."""
    try:
        address = f"{path.resolve().as_uri()}?mode=ro&immutable=1"
        with closing(sqlite3.connect(address, uri=True)) as base:
            own = _own_names(names)
            found = base.execute(f"SELECT * FROM {LAYER} ORDER BY rowid")
            columns = [column[0] for column in found.description]
            if columns != [*own, *names]:
                raise OutputError(f"{path}: other columns; expected {', '.join(names)}")
            for _, _, *values in found:
                yield _row(names, values)
    except sqlite3.Error as error:
        raise OutputError(f"{path}: damaged ({error}); write the file again") from error


def _own_names(names: Sequence[str]) -> tuple[str, str]:
    """The key's and the geometry's column: fid and geom, unless a list brought these names along,
    as layers that QGIS has exported do."""
    taken = {name.lower() for name in names}
    key, geometry = (
        next(name for name in (own, f"ship_{own}", f"shipchip_{own}") if name not in taken)
        for own in ("fid", "geom")
    )
    return key, geometry


def _row(names: Sequence[str], values: Sequence[Any]) -> BatchRow:
    row = dict(zip(names, values, strict=True))
    for name in names:
        kind = column_kind(name)
        if kind == "flag" and row[name] is not None:
            row[name] = bool(row[name])
        elif kind == "set" and row[name] is not None:
            row[name] = row[name].split("|") if row[name] else []
    return row


def _stored(value: Any) -> Any:
    return "|".join(value) if isinstance(value, list) else value


def _point(row: BatchRow) -> bytes | None:
    if row["lon"] is None or row["lat"] is None:
        return None
    return _POINT.pack(b"GP", 0, 1, 4326, 1, 1, row["lon"], row["lat"])


def _widened(box: list[float], lon: float, lat: float) -> list[float]:
    west, south, east, north = box or (lon, lat, lon, lat)
    return [min(west, lon), min(south, lat), max(east, lon), max(north, lat)]


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
