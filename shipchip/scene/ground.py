"""Pixels of a scene <-> degrees: an affine map in a coordinate reference system, or control points.

Columns and rows are those of outer corners: (0, 0) is the corner of the first sample, and
(0.5, 0.5) its centre.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError, ProjError

from shipchip.decode.crs import LonLats
from shipchip.decode.geo import GroundPlace, local_affine, place_at
from shipchip.errors import Unreadable

_TURNED = 10.0  # degrees by which a turned grid may reach west of its first sample
_STEPS, _NEAR_ENOUGH = 20, 1e-4  # of the search among control points; pixels


class Ground:
    """Where the samples of a scene are.

    crs     the system of the coordinates, as WKT
    affine  (2, 3): coordinates of (column, row, 1); None with control points
    points  (N, 5): column, row, 0, x, y of control points

    Raises Unreadable if PROJ does not know the system.
    """

    def __init__(
        self, crs: str, affine: NDArray[np.float64] | None, points: NDArray[np.float64]
    ) -> None:
        try:
            system = CRS.from_wkt(crs)
            self._to_degrees = Transformer.from_crs(system, CRS.from_epsg(4326), always_xy=True)
            self._from_degrees = Transformer.from_crs(CRS.from_epsg(4326), system, always_xy=True)
        except (CRSError, ProjError) as error:
            raise Unreadable(
                f"its coordinate reference system cannot be transformed to degrees: {error}"
            ) from error
        self._affine, self._points = affine, points
        self._geographic = bool(system.is_geographic)

    def pixel_of(self, lon: float, lat: float) -> tuple[float, float] | None:
        """(column, row) of a place in degrees; None where the system does not reach."""
        x, y = self._from_degrees.transform(lon, lat)
        if not np.isfinite([x, y]).all():
            return None
        if self._affine is not None:
            if self._geographic:  # a grid from 0 to 360 degrees, or one across 180
                west = self._affine[0, 2] - _TURNED
                x = west + (x - west) % 360
            return _inverse(self._affine, x, y)
        nearest = self._points[np.hypot(self._points[:, 3] - x, self._points[:, 4] - y).argmin()]
        column, row = nearest[0], nearest[1]
        for _ in range(_STEPS):  # each step fits the points near the last one
            fit = local_affine(self._points, column, row)
            found = None if fit is None else _inverse(fit.T, x, y)
            if found is None:
                return None
            moved = np.hypot(found[0] - column, found[1] - row)
            column, row = found
            if moved < _NEAR_ENOUGH:
                break
        return float(column), float(row)

    def place(self, column: float, row: float) -> GroundPlace | None:
        """Spacing and position at a place in pixels; None where the system does not reach."""
        return place_at(self._lon_lats, column, row)

    def _lon_lats(self, column: NDArray[np.float64], row: NDArray[np.float64]) -> LonLats:
        affine = self._affine
        if affine is None:
            fit = local_affine(self._points, float(column.mean()), float(row.mean()))
            if fit is None:
                return np.full_like(column, np.nan), np.full_like(row, np.nan)
            affine = fit.T
        x, y = affine @ np.stack([column, row, np.ones_like(row)])
        lon, lat = self._to_degrees.transform(x, y)
        return lon, lat


def _inverse(affine: NDArray[np.float64], x: float, y: float) -> tuple[float, float] | None:
    try:
        column, row = np.linalg.solve(affine[:, :2], np.array([x, y]) - affine[:, 2])
    except np.linalg.LinAlgError:
        return None
    return float(column), float(row)


def ground_of(dataset: Any) -> Ground | None:
    """The ground of an open rasterio dataset; None if it is not georeferenced."""
    points, crs = dataset.gcps
    if points and crs is not None:
        rows = [(point.col, point.row, 0, point.x, point.y) for point in points]
        return Ground(crs.to_wkt(), None, np.array(rows, np.float64))
    if dataset.crs is None or dataset.transform.is_identity:
        return None
    transform = dataset.transform
    affine = np.array([transform[:3], transform[3:6]], np.float64)
    return Ground(dataset.crs.to_wkt(), affine, np.zeros((0, 5)))
