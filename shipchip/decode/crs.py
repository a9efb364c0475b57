"""The coordinate reference system of a GeoTIFF: its keys -> EPSG code, unit, degrees.

Any system that PROJ knows by its EPSG code. Nothing is fetched: PROJ's network access is off.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError
from pyproj.network import set_network_enabled  # type: ignore[attr-defined]

GEO_KEY_DIRECTORY, GEO_DOUBLES = 34735, 34736
MODEL_TYPE, RASTER_TYPE, GEOGRAPHIC_CRS, PROJECTED_CRS = 1024, 1025, 2048, 3072
_ANGULAR_UNITS, PROJECTION, _LINEAR_UNITS, _LINEAR_UNIT_SIZE = 2054, 3075, 3076, 3077
PROJECTED, GEOGRAPHIC = 1, 2
_DEGREE, _USER_DEFINED = 9102, 32767
# EPSG linear units, in metres.
_METRES_A_UNIT = {9001: 1.0, 9002: 0.3048, 9003: 1200 / 3937, 9036: 1000.0}
# Columns and rows of samples, (0, 0) at the outer corner of the first one -> degrees.
LonLats = tuple[NDArray[np.float64], NDArray[np.float64]]
ToLonLat = Callable[[NDArray[np.float64], NDArray[np.float64]], LonLats]

set_network_enabled(active=False)


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


def linear_unit(keys: Mapping[int, float], crs: int | None) -> float | None:
    """Metres of a projected file's unit; None if it is unknown. Where the keys do not say, it is
    that of the EPSG code, otherwise the metre."""
    if _LINEAR_UNITS not in keys:
        return 1.0 if crs is None else axis_unit(crs)
    code = int(keys[_LINEAR_UNITS])
    if code == _USER_DEFINED:
        return keys.get(_LINEAR_UNIT_SIZE)
    return _METRES_A_UNIT.get(code)


def axis_unit(crs: int) -> float:
    """Metres of the unit in which an EPSG code's coordinates are."""
    return float(_known(crs).axis_info[0].unit_conversion_factor) or 1.0


def epsg_code(keys: Mapping[int, float]) -> int | None:
    """The EPSG code that the keys name, if PROJ knows it."""
    model = keys.get(MODEL_TYPE)
    code = 0.0
    if model == PROJECTED:
        code = keys.get(PROJECTED_CRS, 0)
    elif model == GEOGRAPHIC and keys.get(_ANGULAR_UNITS, _DEGREE) == _DEGREE:
        # Without a code, degrees are taken as those of WGS 84.
        code = keys.get(GEOGRAPHIC_CRS, 4326)
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
def transformer(code: int) -> Transformer:
    return Transformer.from_crs(_known(code), CRS.from_epsg(4326), always_xy=True)
