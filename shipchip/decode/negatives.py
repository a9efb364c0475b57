"""Negative samples: which of them may be set to 0, and what a file with others probably holds."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from shipchip.decode.planes import Planes
from shipchip.errors import Negative

# Noise removal and cubic resampling leave a few negatives in sigma0: up to this share is set to 0.
MOST_CLIPPED = 0.05
_SLIGHTLY = 0.01  # of the highest sample
_FILL_SHARE, _FILL_SAMPLES = 0.9, 16
_DECIBEL_SHARE, _DECIBEL_LOW = 0.9, -3.0


def check_negatives(planes: Planes) -> float:
    """The share of samples that are negative and may be set to 0; Negative if they may not."""
    samples, valid, _ = planes
    if samples.dtype.kind in "ub" or samples.min() >= 0:
        return 0.0
    lowest, highest = samples.min(), samples.max()
    there = samples.size if valid is None else int(valid.sum())
    share = float((samples < 0).sum() / there)
    if _decibels(samples):
        raise Negative(
            f"samples down to {lowest:g}, nearly all negative: decibels; expected amplitude or "
            "linear sigma0"
        )
    fill = _fill_value(samples)
    if fill is not None:
        raise Negative(
            f"{int((samples == fill).sum())} samples are {fill:.17g}: a no-data value that the "
            f"file does not declare? Declare it (gdal_edit -a_nodata {fill:.17g}), or crop them"
        )
    if samples.dtype.kind == "i":
        raise Negative(
            f"negative samples of {samples.dtype}, down to {lowest}: unsigned integers that were "
            f"stored as signed ones (wrapped)? Write them as u{samples.dtype.name}"
        )
    if share > MOST_CLIPPED and -float(lowest) < _SLIGHTLY * float(highest):
        raise Negative(
            f"{share:.0%} of the samples are slightly negative, down to {lowest:g}: noise was "
            f"removed, and the sea was left below 0? At most {MOST_CLIPPED:.0%} may be negative. "
            "Use the product before noise removal, or multilook it first"
        )
    if share > MOST_CLIPPED or -float(lowest) > float(highest):
        raise Negative(
            f"{share:.0%} of the samples are negative, down to {lowest:g}: decibels, or a "
            "standardised array (z-scores)? Expected amplitude or linear sigma0, in which at most "
            f"{MOST_CLIPPED:.0%} may be negative after noise removal or resampling"
        )
    return share


def _fill_value(samples: NDArray[Any]) -> float | None:
    """The lowest value of a plane if it stands for no data: it is nearly all that is negative in
    the plane, or most of that and lower than the highest sample is high."""
    for plane in samples:
        lowest, highest = float(plane.min()), float(plane.max())
        if lowest < 0:
            same = np.count_nonzero(plane == plane.min())
            share = same / np.count_nonzero(plane < 0)
            alone = share > _FILL_SHARE and same >= _FILL_SAMPLES
            if alone or (share > 0.5 and -lowest > highest):
                return lowest
    return None


def _decibels(samples: NDArray[Any]) -> bool:
    """Whether a plane is nearly all negative, as sea is in decibels; zeros may be no-data."""
    for plane in samples:
        some = np.count_nonzero(plane)
        if plane.min() < _DECIBEL_LOW and np.count_nonzero(plane < 0) > _DECIBEL_SHARE * some:
            return True
    return False
