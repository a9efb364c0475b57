"""Whether real planes are the parts of complex ones: (re, im) pairs."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from shipchip.chip import Quantity
from shipchip.decode.planes import Planes
from shipchip.errors import UnsupportedBands

# Of (re, im) pairs half of the samples are negative, around 0, in both planes alike and without
# skew, and the planes are independent. All of 648 SLC chips of OpenSARShip, 74 of its patches and
# 350 SLC patches of land are within these bounds.
_PAIR_NEGATIVE = (0.3, 0.7)
_PAIR_SPREAD = 3.0
_PAIR_MEAN = 0.3
_PAIR_SKEW = 0.17
_PAIR_EXTREMES, _PAIR_SIGN = 0.01, 0.03
_PAIR_CORRELATION = 0.15
_PAIR_SAMPLES = 16


def is_pairs(planes: Planes, quantity: Quantity) -> bool:
    """Whether real planes are (re, im) pairs: as the caller says, as named, or as they look."""
    count = len(planes.bands)
    if quantity == "complex_pairs":
        if count not in (2, 4):
            raise UnsupportedBands(f"(re, im) pairs in {count} band; expected 2 or 4")
        return True
    if quantity != "auto":
        return False
    if any(band.part is not None for band in planes.bands):
        return all(band.part is not None for band in planes.bands) and count in (2, 4)
    if count not in (2, 4) or any(band.polarisation is not None for band in planes.bands):
        return False
    if planes.samples.dtype.kind not in "if" or planes.samples.min() >= 0:
        return False
    pairs, _ = paired(planes)
    return all(_looks_complex(re, im) for re, im in pairs)


def paired(
    planes: Planes,
) -> tuple[list[tuple[NDArray[Any], NDArray[Any]]], list[tuple[int, int]]]:
    """The (re, im) planes, and their numbers: by name, or one after the other."""
    bands = planes.bands
    real = [k for k, band in enumerate(bands) if band.part == "real"]
    order = [(k, k + 1) for k in range(0, len(bands), 2)]
    if len(real) * 2 == len(bands):
        imaginary = [k for k, band in enumerate(bands) if band.part == "imaginary"]
        order = []
        for k in real:  # with the first that is left of its polarisation, or of none
            m = next(m for m in imaginary if bands[m].polarisation == bands[k].polarisation)
            imaginary.remove(m)
            order.append((k, m))
    return [(planes.samples[a], planes.samples[b]) for a, b in order], order


def _looks_complex(real: NDArray[Any], imaginary: NDArray[Any]) -> bool:
    """Whether two planes may be the parts of a complex one; see the constants."""
    seen = (real != 0) | (imaginary != 0)
    parts = np.stack([real[seen], imaginary[seen]]).astype(np.float64)
    spread = parts.std(axis=1) if parts.shape[1] >= _PAIR_SAMPLES else np.zeros(2)
    if not spread.all() or _standardised(parts):
        return False
    negative = (parts < 0).mean(axis=1)
    return bool(
        spread.max() < _PAIR_SPREAD * spread.min()
        and _PAIR_NEGATIVE[0] < negative.min()
        and negative.max() < _PAIR_NEGATIVE[1]
        and (abs(parts.mean(axis=1)) < _PAIR_MEAN * spread).all()
        and _symmetric(parts)
        and _independent(parts)
    )


def _symmetric(parts: NDArray[np.float64]) -> bool:
    """Whether the planes have no skew, and extremes of both signs: backscatter in decibels or
    standardised has nulls on one side and ships on the other."""
    low, middle, high = np.percentile(parts, [10, 50, 90], axis=1)
    extremes = max(_PAIR_SAMPLES, int(_PAIR_EXTREMES * parts.shape[1]))
    farthest = np.argpartition(abs(parts), -extremes, axis=1)[:, -extremes:]
    positive = (np.take_along_axis(parts, farthest, axis=1) > 0).mean(axis=1)
    even = (abs(high + low - 2 * middle) < _PAIR_SKEW * (high - low)).all()
    return bool(even and positive.min() > _PAIR_SIGN and positive.max() < 1 - _PAIR_SIGN)


def _independent(parts: NDArray[np.float64]) -> bool:
    """Whether the planes' ranks are not correlated; two polarisations show the same ship."""
    ranks = parts.argsort(axis=1).argsort(axis=1)
    correlation = np.asarray(np.corrcoef(ranks))[0, 1]
    return bool(abs(correlation) < _PAIR_CORRELATION)


def _standardised(parts: NDArray[np.float64]) -> bool:
    """Whether both planes have a mean of 0 and a deviation of 1: they were made so."""
    mean, deviation = parts.mean(axis=1), parts.std(axis=1)
    return bool((abs(mean) < 1e-3).all() and (abs(deviation - 1) < 1e-2).all())
