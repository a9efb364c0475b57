"""Rational polynomials (RPC00B) of a TIFF -> degrees of its samples."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from shipchip.decode.crs import LonLats, ToLonLat

RPC_COEFFICIENTS = 50844


def degrees_by_rpc(values: Sequence[float]) -> ToLonLat | None:
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
