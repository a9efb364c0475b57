"""Georeferencing of a TIFF -> metres on the ground, and where the chip is.

GeoTIFF 1.1 (OGC 19-008r4): a pixel scale with a tie point, a model transformation, or ground
control points (several tie points), in any coordinate reference system that PROJ knows by its EPSG
code; and rational polynomials (RPC). Nothing is fetched: PROJ's network access is off.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyproj import Geod
from pyproj.exceptions import ProjError

from shipchip.decode.crs import (
    GEO_DOUBLES,
    GEO_KEY_DIRECTORY,
    MODEL_TYPE,
    PROJECTED,
    PROJECTED_CRS,
    PROJECTION,
    RASTER_TYPE,
    LonLats,
    ToLonLat,
    axis_unit,
    epsg_code,
    geo_keys,
    linear_unit,
    transformer,
)
from shipchip.decode.rpc import RPC_COEFFICIENTS, degrees_by_rpc

MODEL_PIXEL_SCALE, MODEL_TIEPOINT, MODEL_TRANSFORMATION = 33550, 33922, 34264
GEO_TAGS = (
    MODEL_PIXEL_SCALE,
    MODEL_TIEPOINT,
    MODEL_TRANSFORMATION,
    GEO_KEY_DIRECTORY,
    GEO_DOUBLES,
    RPC_COEFFICIENTS,
)
_PIXEL_IS_POINT = 2
# Projections whose scale depends on the latitude so much that metres of the grid say little:
# Mercator, equirectangular, cylindrical equal area, by GeoTIFF's numbers.
_NOT_TRUE_TO_SCALE = (7, 17, 28)
# Within this share, the grid's own spacing is kept: UTM's scale of 0.9996 is not what a product's
# "10 m" means, and no model sees the difference.
_TRUE_TO_SCALE = 0.01
_NEAREST_POINTS = 9  # control points for the local fit: a cell of a grid, and those around it

_ELLIPSOID = Geod(ellps="WGS84")


@dataclass(frozen=True)
class GroundPlace:
    """Where a chip is.

    spacing_m  (row, column) metres on the ground from one sample to the next, at the centre
    position   (longitude, latitude) of the centre in degrees, WGS 84; None if unknown
    """

    spacing_m: tuple[float, float]
    position: tuple[float, float] | None


def ground_place(tags: Mapping[int, Any], height: int, width: int) -> GroundPlace | None:
    """Where a chip of height x width samples is, from the values of its TIFF tags.

    None if the tags do not say. Raises ValueError or TypeError for malformed tags.
    """
    return ground_place_at(tags, width / 2, height / 2)


def ground_place_at(tags: Mapping[int, Any], column: float, row: float) -> GroundPlace | None:
    """The same for a chip with its centre at this place of a larger TIFF with these tags."""
    keys = geo_keys(tags)
    matrix = _matrix(tags, keys)
    if matrix is not None:
        place = _of_grid(matrix, keys, column, row)
    elif len(tags.get(MODEL_TIEPOINT, ())) >= 18:
        place = _of_function(_control_points(tags, keys, column, row), column, row)
    elif RPC_COEFFICIENTS in tags:
        place = _of_function(degrees_by_rpc(tags[RPC_COEFFICIENTS]), column, row)
    else:
        return None
    if place is None or not all(0 < metres < math.inf for metres in place.spacing_m):
        return None
    return place


def _matrix(tags: Mapping[int, Any], keys: Mapping[int, float]) -> NDArray[np.float64] | None:
    """(2, 3): model coordinates of (column, row, 1), of the outer corner of each sample."""
    if MODEL_TRANSFORMATION in tags:
        full = np.asarray(tags[MODEL_TRANSFORMATION], dtype=np.float64).reshape(4, 4)
        matrix = full[:2, [0, 1, 3]]
    elif MODEL_PIXEL_SCALE in tags and len(tags.get(MODEL_TIEPOINT, ())) >= 6:
        scale = np.asarray(tags[MODEL_PIXEL_SCALE], dtype=np.float64)
        column, row, _, x, y, _ = np.asarray(tags[MODEL_TIEPOINT], dtype=np.float64)[:6]
        matrix = np.array(
            [[scale[0], 0, x - column * scale[0]], [0, -scale[1], y + row * scale[1]]]
        )
    else:
        return None
    if keys.get(RASTER_TYPE) == _PIXEL_IS_POINT:  # then (0, 0) is the centre of the first sample
        matrix = matrix @ np.array([[1, 0, -0.5], [0, 1, -0.5], [0, 0, 1]])
    return np.asarray(matrix)


def _of_grid(
    matrix: NDArray[np.float64], keys: Mapping[int, float], column: float, row: float
) -> GroundPlace | None:
    """The place of a grid in a coordinate reference system."""
    columns, rows = np.hypot(matrix[0, :2], matrix[1, :2])
    crs = epsg_code(keys)
    projected = keys.get(MODEL_TYPE) == PROJECTED
    unit = linear_unit(keys, crs) if projected else None
    if projected and unit is None:
        return None
    nominal = None if unit is None else (float(rows * unit), float(columns * unit))
    if crs is None:
        # A system that is named, but neither known to PROJ nor by its projection, may be Mercator.
        unknown = PROJECTED_CRS in keys and PROJECTION not in keys
        if nominal is None or unknown or keys.get(PROJECTION) in _NOT_TRUE_TO_SCALE:
            return None
        return GroundPlace(nominal, None)
    to_degrees = transformer(crs)
    # Where the linear unit is not that of the EPSG code: coordinates in kilometres, for example.
    factor = 1.0 if unit is None else unit / axis_unit(crs)

    def lon_lats(across: NDArray[np.float64], down: NDArray[np.float64]) -> LonLats:
        x, y = matrix @ np.stack([across, down, np.ones_like(down)]) * factor
        lon, lat = to_degrees.transform(x, y)
        return lon, lat

    place = place_at(lon_lats, column, row)
    if place is None or nominal is None:
        return place
    measured = np.asarray(place.spacing_m) / nominal
    true = bool((abs(measured - 1) < _TRUE_TO_SCALE).all())
    return GroundPlace(nominal if true else place.spacing_m, place.position)


def _of_function(to_lon_lat: ToLonLat | None, column: float, row: float) -> GroundPlace | None:
    return None if to_lon_lat is None else place_at(to_lon_lat, column, row)


def place_at(to_lon_lat: ToLonLat, column: float, row: float) -> GroundPlace | None:
    """Spacing and position at a place in pixels, by differences of one sample."""
    steps = np.array([[0, -0.5, 0.5, 0, 0], [0, 0, 0, -0.5, 0.5]])
    try:
        lon, lat = to_lon_lat(column + steps[0], row + steps[1])
    except ProjError:
        return None
    if not (np.isfinite(lon).all() and np.isfinite(lat).all() and (abs(lat) <= 90).all()):
        return None
    _, _, metres = _ELLIPSOID.inv(lon[[3, 1]], lat[[3, 1]], lon[[4, 2]], lat[[4, 2]])
    east = (float(lon[0]) + 180) % 360 - 180
    return GroundPlace((float(metres[0]), float(metres[1])), (east, float(lat[0])))


def _control_points(
    tags: Mapping[int, Any], keys: Mapping[int, float], column: float, row: float
) -> ToLonLat | None:
    """The affine map that fits the control points nearest to a place (least squares)."""
    crs = epsg_code(keys)
    unit = linear_unit(keys, crs) if keys.get(MODEL_TYPE) == PROJECTED else None
    points = np.asarray(tags[MODEL_TIEPOINT], dtype=np.float64)
    points = points[: len(points) // 6 * 6].reshape(-1, 6)
    if crs is None or (unit is None and keys.get(MODEL_TYPE) == PROJECTED):
        return None
    factor = 1.0 if unit is None else unit / axis_unit(crs)
    fit = local_affine(points, column, row)
    if fit is None:
        return None
    to_degrees = transformer(crs)

    def lon_lats(across: NDArray[np.float64], down: NDArray[np.float64]) -> LonLats:
        x, y = (np.column_stack([across, down, np.ones_like(down)]) @ fit).T * factor
        lon, lat = to_degrees.transform(x, y)
        return lon, lat

    return lon_lats


def local_affine(
    points: NDArray[np.float64], column: float, row: float
) -> NDArray[np.float64] | None:
    """(3, 2): what takes (column, row, 1) to (x, y), of the control points nearest to a place.

    points  (N, 5 or more): column, row, anything, x, y

    Least squares; None if the points are on one line.
    """
    away = np.hypot(points[:, 0] - column, points[:, 1] - row)
    near = points[np.argsort(away, kind="stable")[:_NEAREST_POINTS]]
    design = np.column_stack([near[:, :2], np.ones(len(near))])
    if np.linalg.matrix_rank(design) < 3:
        return None
    return np.asarray(np.linalg.lstsq(design, near[:, 3:5])[0], np.float64)
