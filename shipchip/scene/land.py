"""Which positions are on land: a mask, or polygons."""

import json
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from shipchip.errors import Unreadable
from shipchip.geojson import check_system
from shipchip.scene.scene import Place, open_scene

Ring = NDArray[np.float64]

_MOST_BYTES = 512 * 2**20


class Land(Protocol):
    """Land, as a mask or as polygons."""

    def holds(self, lon: float, lat: float) -> bool:
        """Whether a position in degrees (WGS 84) is on land."""


class _Mask:
    """A GeoTIFF: land where the first band has data that is not 0."""

    def __init__(self, path: str) -> None:
        self._scene = open_scene(path)
        if self._scene.ground is None:
            raise Unreadable(f"{path} is not georeferenced; expected a land mask in a known system")
        self._ground = self._scene.ground

    def holds(self, lon: float, lat: float) -> bool:
        pixel = self._ground.pixel_of(lon, lat)
        if pixel is None or not self._scene.holds(Place(*pixel)):
            return False
        return bool(self._scene.sample(Place(*pixel)))  # None where there is no data


class _Polygons:
    """Polygons of a GeoJSON, by the even-odd rule over all rings of one."""

    def __init__(self, polygons: list[list[Ring]]) -> None:
        self._polygons = [(_bounds(rings), rings) for rings in polygons]

    def holds(self, lon: float, lat: float) -> bool:
        return any(
            west <= lon <= east and south <= lat <= north and _inside(rings, lon, lat)
            for (west, south, east, north), rings in self._polygons
        )


def open_land(path: str) -> Land:
    """Land from a GeoJSON of polygons in degrees, or from a GeoTIFF that is not 0 on land.

    Raises NotFound or Unreadable.
    """
    if Path(path).suffix.lower() not in (".geojson", ".json"):
        return _Mask(path)
    try:
        if Path(path).stat().st_size > _MOST_BYTES:
            raise Unreadable(f"{path} has more than {_MOST_BYTES} bytes; give simpler polygons")
        content = json.loads(Path(path).read_bytes())
        check_system(content)
        return _Polygons(list(_polygons(content)))
    except (OSError, RecursionError, ValueError, TypeError, KeyError, IndexError) as error:
        raise Unreadable(
            f"{path} is no GeoJSON of polygons ({error}); expected Polygon or MultiPolygon "
            "features in degrees"
        ) from error


def _polygons(value: Any) -> list[list[Ring]]:
    kind = value["type"]
    if kind == "FeatureCollection":
        return [p for feature in value["features"] for p in _polygons(feature)]
    if kind == "Feature":
        return [] if value["geometry"] is None else _polygons(value["geometry"])
    if kind == "GeometryCollection":
        return [p for geometry in value["geometries"] for p in _polygons(geometry)]
    if kind == "Polygon":
        return [[_ring(ring) for ring in value["coordinates"]]]
    if kind == "MultiPolygon":
        return [[_ring(ring) for ring in rings] for rings in value["coordinates"]]
    raise ValueError(f"a geometry of type {str(kind)[:40]!r}")


def _ring(places: Any) -> Ring:
    ring = np.array([place[:2] for place in places], np.float64)
    if ring.ndim != 2 or len(ring) < 4 or not np.isfinite(ring).all():
        raise ValueError("a ring needs four places of two numbers or more")
    return ring


def _bounds(rings: list[Ring]) -> tuple[float, float, float, float]:
    places = np.concatenate(rings)
    west, south = places.min(axis=0)
    east, north = places.max(axis=0)
    return float(west), float(south), float(east), float(north)


def _inside(rings: list[Ring], lon: float, lat: float) -> bool:
    """Whether a line to the east crosses the rings an odd number of times."""
    crossings = 0
    for ring in rings:
        (x, y), (next_x, next_y) = ring[:-1].T, ring[1:].T
        over = (y > lat) != (next_y > lat)
        at = x[over] + (lat - y[over]) / (next_y[over] - y[over]) * (next_x[over] - x[over])
        crossings += int((at > lon).sum())
    return crossings % 2 == 1
