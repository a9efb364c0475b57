"""A simulated scene of forty ships off a coast, with the list that a detector would give.

Like a Sentinel-1 GRD product in a map projection: amplitude in 16 bits, pixels of 10 m.
"""

import csv
import io
import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from pyproj import Transformer

from shipchip.errors import FolderNotEmpty
from shipchip.samples.kinds import DN, GRD, UTM_50_NORTH, geotiff, intensity
from shipchip.samples.scene import draw_pose, observe
from shipchip.samples.ship import Floats, draw_ship

SHIPS = {"Cargo": 20, "Fishing": 8, "Tanker": 12}
FALSE_ALARMS = 2  # on land

_ROWS, _COLUMNS, _TILE = 5, 8, 200  # of tiles with a ship each; samples a side of a tile
_COAST = 150  # samples of land at the western edge
_WANDER = 40  # samples that a ship may be off the middle of its tile
_SEA_SIGMA0, _LAND_SIGMA0 = 10**-1.8, 10**-0.8
_PIXEL_M = 10.0
_CORNER = (412_340.0, 4_316_780.0)  # easting and northing of the north-western corner


@dataclass(frozen=True)
class PlacedShip:
    """A ship of the scene.

    column, row  of its middle in pixels, from the outer corner of the first sample
    lon, lat     the same in degrees
    """

    number: int
    column: float
    row: float
    lon: float
    lat: float
    label: str
    length_m: float


@dataclass(frozen=True)
class LargeScene:
    """The scene's GeoTIFF, its ships, and the coast as GeoJSON."""

    content: bytes
    ships: list[PlacedShip]
    land: str


def draw_large_scene(seed: int = 0) -> LargeScene:
    """Forty ships, then false alarms on land in the list; equal seeds give equal bytes."""
    rng = np.random.default_rng([seed, *b"scene"])
    labels = rng.permutation([label for label, count in SHIPS.items() for _ in range(count)])
    power = np.empty((_ROWS * _TILE, _COAST + _COLUMNS * _TILE))
    power[:, :_COAST] = _LAND_SIGMA0 * rng.gamma(1.2, 1 / 1.2, (_ROWS * _TILE, _COAST))
    ships = []
    for number, label in enumerate(labels, 1):
        top, left = (_TILE * k for k in divmod(number - 1, _COLUMNS))
        tile, middle, length = _tile(str(label), rng)
        power[top : top + _TILE, _COAST + left : _COAST + left + _TILE] = tile
        place = _COAST + left + middle[1], top + middle[0]
        ships.append(_placed(number, *place, str(label), length))
    for number in range(len(labels) + 1, len(labels) + 1 + FALSE_ALARMS):
        place = rng.uniform(40, _COAST - 40), rng.uniform(40, _ROWS * _TILE - 40)
        ships.append(_placed(number, *place, "", 0.0))
    levels = np.clip(np.rint(DN * np.sqrt(power)), 1, 65535).astype(np.uint16)
    return LargeScene(geotiff(levels, _CORNER), ships, _coast())


def write_large_scene(folder: Path, seed: int = 0) -> list[Path]:
    """Write `scene.tif`, `ships.csv` and `land.geojson` into a new or empty folder.

    FolderNotEmpty, and nothing written, if it is neither. Returns the paths.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FolderNotEmpty(f"{folder} is not empty; give a new folder or an empty one")
    scene = draw_large_scene(seed)
    table = io.StringIO(newline="")
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(("id", "lon", "lat", "true_class", "true_length_m"))
    for ship in scene.ships:
        length = f"{ship.length_m:.0f}" if ship.label else ""
        writer.writerow((ship.number, f"{ship.lon:.7f}", f"{ship.lat:.7f}", ship.label, length))
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / name for name in ("scene.tif", "ships.csv", "land.geojson")]
    paths[0].write_bytes(scene.content)
    paths[1].write_text(table.getvalue())
    paths[2].write_text(scene.land)
    return paths


def _tile(label: str, rng: np.random.Generator) -> tuple[Floats, tuple[float, float], float]:
    """sigma0 (_TILE, _TILE) of a ship on a level sea, its middle (row, column), its length."""
    ship = draw_ship(label, rng)
    pose = replace(draw_pose(ship, 0.0, rng), sea_state=2)
    side = _TILE + 2 * _WANDER + 1
    whole = intensity(observe(ship, pose, GRD.sensor, side, rng))
    whole *= _SEA_SIGMA0 / np.median(whole)
    top, left = rng.integers(0, 2 * _WANDER + 1, 2)
    middle = side / 2 - top, side / 2 - left
    return whole[top : top + _TILE, left : left + _TILE], middle, ship.length_m


def _placed(number: int, column: float, row: float, label: str, length_m: float) -> PlacedShip:
    lon, lat = _degrees(column, row)
    return PlacedShip(number, column, row, lon, lat, label, length_m)


def _degrees(column: float, row: float) -> tuple[float, float]:
    to_degrees = Transformer.from_crs(UTM_50_NORTH, 4326, always_xy=True)
    lon, lat = to_degrees.transform(_CORNER[0] + column * _PIXEL_M, _CORNER[1] - row * _PIXEL_M)
    return float(lon), float(lat)


def _coast() -> str:
    """The land as a GeoJSON polygon."""
    height = _ROWS * _TILE
    corners = [(-100.0, -100.0), (_COAST, -100.0), (_COAST, height + 100), (-100.0, height + 100)]
    ring = [_degrees(*corner) for corner in (*corners, corners[0])]
    outline = [[round(value, 7) for value in place] for place in ring]
    geometry = {"type": "Polygon", "coordinates": [outline]}
    feature = {"type": "Feature", "properties": {"name": "land"}, "geometry": geometry}
    return json.dumps({"type": "FeatureCollection", "features": [feature]}) + "\n"
