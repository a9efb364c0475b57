"""Georeferencing of a TIFF -> metres on the ground, and where the chip is.

GeoTIFF 1.1 (OGC 19-008r4): a pixel scale with a tie point, a model transformation, or ground
control points (several tie points), in any coordinate reference system that PROJ knows by its EPSG
code; and rational polynomials (RPC). Nothing is fetched: PROJ's network access is off.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS, Geod, Transformer
from pyproj.exceptions import CRSError, ProjError
from pyproj.network import set_network_enabled  # type: ignore[attr-defined]

MODEL_PIXEL_SCALE, MODEL_TIEPOINT, MODEL_TRANSFORMATION = 33550, 33922, 34264
GEO_KEY_DIRECTORY, GEO_DOUBLES, RPC_COEFFICIENTS = 34735, 34736, 50844
GEO_TAGS = (
    MODEL_PIXEL_SCALE,
    MODEL_TIEPOINT,
    MODEL_TRANSFORMATION,
    GEO_KEY_DIRECTORY,
    GEO_DOUBLES,
    RPC_COEFFICIENTS,
)
_MODEL_TYPE, _RASTER_TYPE, _GEOGRAPHIC_CRS, _PROJECTED_CRS = 1024, 1025, 2048, 3072
_ANGULAR_UNITS, _PROJECTION, _LINEAR_UNITS, _LINEAR_UNIT_SIZE = 2054, 3075, 3076, 3077
_PROJECTED, _GEOGRAPHIC = 1, 2
_PIXEL_IS_POINT = 2
_METRE, _DEGREE, _USER_DEFINED = 9001, 9102, 32767
# EPSG linear units, in metres.
_METRES_A_UNIT = {_METRE: 1.0, 9002: 0.3048, 9003: 1200 / 3937, 9036: 1000.0}
# Projections whose scale depends on the latitude so much that metres of the grid say little:
# Mercator, equirectangular, cylindrical equal area, by GeoTIFF's numbers.
_NOT_TRUE_TO_SCALE = (7, 17, 28)
# Within this share, the grid's own spacing is kept: UTM's scale of 0.9996 is not what a product's
# "10 m" means, and no model sees the difference.
_TRUE_TO_SCALE = 0.01
_NEAREST_POINTS = 9  # control points for the local fit: a cell of a grid, and those around it

_ELLIPSOID = Geod(ellps="WGS84")
set_network_enabled(active=False)

# Columns and rows of samples, (0, 0) at the outer corner of the first one -> degrees.
LonLats = tuple[NDArray[np.float64], NDArray[np.float64]]
ToLonLat = Callable[[NDArray[np.float64], NDArray[np.float64]], LonLats]


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
    keys = geo_keys(tags)
    matrix = _matrix(tags, keys)
    if matrix is not None:
        place = _of_grid(matrix, keys, height, width)
    elif len(tags.get(MODEL_TIEPOINT, ())) >= 18:
        place = _of_function(_control_points(tags, keys, height, width), height, width)
    elif RPC_COEFFICIENTS in tags:
        place = _of_function(_rational(tags[RPC_COEFFICIENTS]), height, width)
    else:
        return None
    if place is None or not all(0 < metres < math.inf for metres in place.spacing_m):
        return None
    return place


def geo_keys(tags: Mapping[int, Any]) -> dict[int, float]:
    """The keys with one number: in the directory itself, or in the tag of doubles.

    The directory is a header of four numbers, then (key, tag of the value, count, value) per key.
    """
    entries = np.asarray(tags.get(GEO_KEY_DIRECTORY, ()), dtype=np.int64)[4:]
    doubles = np.atleast_1d(np.asarray(tags.get(GEO_DOUBLES, ()), dtype=np.float64))
    found: dict[int, float] = {}
    for key, tag, _, value in entries[: len(entries) // 4 * 4].reshape(-1, 4):
        if tag == 0:
            found[int(key)] = int(value)
        elif tag == GEO_DOUBLES and 0 <= value < len(doubles):
            found[int(key)] = float(doubles[value])
    return found


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
    if keys.get(_RASTER_TYPE) == _PIXEL_IS_POINT:  # then (0, 0) is the centre of the first sample
        matrix = matrix @ np.array([[1, 0, -0.5], [0, 1, -0.5], [0, 0, 1]])
    return np.asarray(matrix)


def _of_grid(
    matrix: NDArray[np.float64], keys: Mapping[int, float], height: int, width: int
) -> GroundPlace | None:
    """The place of a grid in a coordinate reference system."""
    columns, rows = np.hypot(matrix[0, :2], matrix[1, :2])
    crs = _crs(keys)
    unit = _unit(keys, crs) if keys.get(_MODEL_TYPE) == _PROJECTED else None
    nominal = None if unit is None else (float(rows * unit), float(columns * unit))
    if crs is None:
        # A system that is named, but neither known to PROJ nor by its projection, may be Mercator.
        unknown = _PROJECTED_CRS in keys and _PROJECTION not in keys
        if nominal is None or unknown or keys.get(_PROJECTION) in _NOT_TRUE_TO_SCALE:
            return None
        return GroundPlace(nominal, None)
    to_degrees = _to_degrees(crs)
    # Where the linear unit is not that of the EPSG code: coordinates in kilometres, for example.
    factor = 1.0 if unit is None else unit / _axis_unit(crs)

    def lon_lats(column: NDArray[np.float64], row: NDArray[np.float64]) -> LonLats:
        x, y = matrix @ np.stack([column, row, np.ones_like(row)]) * factor
        lon, lat = to_degrees.transform(x, y)
        return lon, lat

    place = _of_function(lon_lats, height, width)
    if place is None or nominal is None:
        return place
    measured = np.asarray(place.spacing_m) / nominal
    true = bool((abs(measured - 1) < _TRUE_TO_SCALE).all())
    return GroundPlace(nominal if true else place.spacing_m, place.position)


def _of_function(to_lon_lat: ToLonLat | None, height: int, width: int) -> GroundPlace | None:
    """Spacing and position at the centre, by differences of one sample."""
    if to_lon_lat is None:
        return None
    column, row = width / 2, height / 2
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


def _unit(keys: Mapping[int, float], crs: int | None) -> float | None:
    """Metres of the linear unit that the keys name, else of that of the EPSG code; None if it is
    unknown."""
    if _LINEAR_UNITS not in keys and crs is not None:
        return _axis_unit(crs)
    code = int(keys.get(_LINEAR_UNITS, _METRE))
    if code == _USER_DEFINED:
        return keys.get(_LINEAR_UNIT_SIZE)
    return _METRES_A_UNIT.get(code)


def _axis_unit(crs: int) -> float:
    """Metres of the unit in which an EPSG code's coordinates are."""
    return float(_known(crs).axis_info[0].unit_conversion_factor) or 1.0


def _crs(keys: Mapping[int, float]) -> int | None:
    """The EPSG code that the keys name, if PROJ knows it."""
    model = keys.get(_MODEL_TYPE)
    code = 0.0
    if model == _PROJECTED:
        code = keys.get(_PROJECTED_CRS, 0)
    elif model == _GEOGRAPHIC and keys.get(_ANGULAR_UNITS, _DEGREE) == _DEGREE:
        # Without a code, degrees are taken as those of WGS 84.
        code = keys.get(_GEOGRAPHIC_CRS, 4326)
        code = 4326 if code == _USER_DEFINED else code
    try:
        _known(int(code))
    except CRSError:
        return None
    return int(code)


@lru_cache(maxsize=64)
def _known(code: int) -> CRS:
    return CRS.from_epsg(code)


@lru_cache(maxsize=64)
def _to_degrees(code: int) -> Transformer:
    return Transformer.from_crs(_known(code), CRS.from_epsg(4326), always_xy=True)


def _control_points(
    tags: Mapping[int, Any], keys: Mapping[int, float], height: int, width: int
) -> ToLonLat | None:
    """The affine map that fits the control points nearest to the centre (least squares)."""
    crs = _crs(keys)
    points = np.asarray(tags[MODEL_TIEPOINT], dtype=np.float64)
    points = points[: len(points) // 6 * 6].reshape(-1, 6)
    if crs is None:
        return None
    away = np.hypot(points[:, 0] - width / 2, points[:, 1] - height / 2)
    near = points[np.argsort(away, kind="stable")[:_NEAREST_POINTS]]
    design = np.column_stack([near[:, :2], np.ones(len(near))])
    if np.linalg.matrix_rank(design) < 3:  # all on one line
        return None
    fit, *_ = np.linalg.lstsq(design, near[:, 3:5])
    to_degrees = _to_degrees(crs)

    def lon_lats(column: NDArray[np.float64], row: NDArray[np.float64]) -> LonLats:
        x, y = (np.column_stack([column, row, np.ones_like(row)]) @ fit).T
        lon, lat = to_degrees.transform(x, y)
        return lon, lat

    return lon_lats


def _rational(values: Sequence[float]) -> ToLonLat | None:
    """Degrees of samples by rational polynomials, which give samples of degrees: Newton's method at
    the mean height. The tag: two errors, offsets and scales of (line, sample, latitude, longitude,
    height), then 20 coefficients each of line and sample, numerator and denominator (RPC00B)."""
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.size != 92 or not np.isfinite(numbers).all() or not numbers[7:12].all():
        return None
    offset, scale = numbers[2:7], numbers[7:12]
    line, line_below, sample, sample_below = numbers[12:].reshape(4, 20)

    def image(lat: NDArray[np.float64], lon: NDArray[np.float64]) -> LonLats:
        """(column, row) of normalised degrees; RPC counts from the centre of the first sample."""
        terms = _terms(lat, lon)
        row = (terms @ line) / (terms @ line_below) * scale[0] + offset[0] + 0.5
        column = (terms @ sample) / (terms @ sample_below) * scale[1] + offset[1] + 0.5
        return column, row

    def lon_lats(column: NDArray[np.float64], row: NDArray[np.float64]) -> LonLats:
        lat, lon = np.zeros_like(row), np.zeros_like(row)
        step = 1e-4
        with np.errstate(all="ignore"):
            for _ in range(20):
                c, r = image(lat, lon)
                c_lat, r_lat = image(lat + step, lon)
                c_lon, r_lon = image(lat, lon + step)
                a, b = (c_lat - c) / step, (c_lon - c) / step
                d, e = (r_lat - r) / step, (r_lon - r) / step
                determinant = a * e - b * d
                lat = lat + (e * (column - c) - b * (row - r)) / determinant
                lon = lon + (a * (row - r) - d * (column - c)) / determinant
        return lon * scale[3] + offset[3], lat * scale[2] + offset[2]

    return lon_lats


def _terms(lat: NDArray[np.float64], lon: NDArray[np.float64]) -> NDArray[np.float64]:
    """RPC00B's 20 terms (N, 20) at the mean height, where all terms with the height are 0."""
    one, none = np.ones_like(lat), np.zeros_like(lat)
    p, m = lat, lon
    return np.stack(
        [
            *(one, m, p, none, m * p, none, none, m * m, p * p, none),
            *(none, m**3, m * p * p, none, m * m * p, p**3, none, none, none, none),
        ],
        axis=-1,
    )
