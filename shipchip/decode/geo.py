"""GeoTIFF tags -> pixel spacing in metres (GeoTIFF 1.1, OGC 19-008r4)."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

MODEL_PIXEL_SCALE, MODEL_TIEPOINT, MODEL_TRANSFORMATION = 33550, 33922, 34264
GEO_KEY_DIRECTORY = 34735
_MODEL_TYPE, _ANGULAR_UNITS, _LINEAR_UNITS = 1024, 2054, 3076
_PROJECTED, _GEOGRAPHIC = 1, 2
_METRE, _DEGREE = 9001, 9102

_METRES_A_DEGREE = 111_320.0  # of latitude; longitude times the cosine of the latitude
_METRES_A_UNIT = {_METRE: 1.0, 9002: 0.3048, 9003: 1200 / 3937}  # EPSG linear units


def pixel_spacing(tags: Mapping[int, Any]) -> tuple[float, float] | None:
    """(row, column) metres from the values of a TIFF's tags.

    None without a coordinate system in known units. Raises ValueError or TypeError for malformed
    tags.
    """
    scale, tie = tags.get(MODEL_PIXEL_SCALE), tags.get(MODEL_TIEPOINT)
    if scale is None and MODEL_TRANSFORMATION in tags:
        matrix = np.asarray(tags[MODEL_TRANSFORMATION], dtype=np.float64).reshape(4, 4)
        scale = np.hypot(matrix[0, :2], matrix[1, :2])
        tie = (0.0, 0.0, 0.0, *matrix[:3, 3])
    if scale is None or GEO_KEY_DIRECTORY not in tags:
        return None
    keys = geo_keys(tags[GEO_KEY_DIRECTORY])
    column, row = abs(float(scale[0])), abs(float(scale[1]))
    model = keys.get(_MODEL_TYPE)
    unit: float | None = None
    if model == _PROJECTED:
        unit = _METRES_A_UNIT.get(keys.get(_LINEAR_UNITS, _METRE))
    elif model == _GEOGRAPHIC and tie is not None and keys.get(_ANGULAR_UNITS, _DEGREE) == _DEGREE:
        unit = _METRES_A_DEGREE
        column *= math.cos(math.radians(float(tie[4])))
    if unit is None or not (0 < row * unit < math.inf and 0 < column * unit < math.inf):
        return None
    return row * unit, column * unit


def geo_keys(directory: Sequence[int]) -> dict[int, int]:
    """The keys whose value is in the directory itself; keys stored in other tags are left out.

    The directory is a header of four numbers, then (key, tag of the value, count, value) per key.
    """
    entries = np.asarray(directory, dtype=np.int64)[4:]
    rows = entries[: len(entries) // 4 * 4].reshape(-1, 4)
    return {int(key): int(value) for key, tag, _, value in rows if tag == 0}
