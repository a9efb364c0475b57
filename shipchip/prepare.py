"""Chip -> model input, as specified by an InputSpec. The only preprocessing code.

Training and serving call the same `prepare`, so both see the same numbers.

Power (amplitude squared) is resampled to square ground pixels around the chip's centre, divided by
the clutter power of the chip or of a window in it, converted to decibels, clipped and scaled. So 0
is sea clutter for any sensor and calibration, and a hull has its true size at any pixel spacing.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shipchip.answer import SpacingOrigin, Used
from shipchip.card import InputSpec
from shipchip.chip import Chip
from shipchip.errors import Blank, NoData, PolarisationMissing

# Clutter is the mean power of the dimmest three quarters of a chip: a ship rarely fills more than
# a quarter of it, and a mean is finer than a median of 8-bit samples (3 and 4 are 2.5 dB apart).
_CLUTTER_SHARE = 0.75
# Whole numbers up to this are counted in a histogram: 16-bit samples.
_HIGHEST_LEVEL = 65535
_MOST_MISSING = 0.5
_MOST_POWER = 1e30  # times the clutter: 300 dB, and still far from float32's end when summed


@dataclass(frozen=True, eq=False)
class PreparedChip:
    """A model input, and what its answer has to say about it.

    input     float32 (1, S, S), clutter at 0, a ship near 1
    used      what it was made with
    position  (lon, lat) of the chip's centre in degrees (WGS 84), None if unknown
    """

    input: NDArray[np.float32]
    used: Used
    position: tuple[float, float] | None = None


def prepare(chip: Chip, spec: InputSpec) -> PreparedChip:
    """One chip as the model takes it.

    Raises PolarisationMissing if the chip has none of the spec's polarisations, Blank if the plane
    is constant (decode refuses a chip only if all its planes are), NoData if more than half of what
    the model would see of it is missing.
    """
    number = _plane_number(chip, spec)
    name, plane = chip.polarisations[number], chip.amplitude[number]
    lowest, highest = plane.min(), float(plane.max())
    if lowest == highest:
        raise Blank(f"every {name} sample is {highest:g}; expected an image of a ship")
    (rows, columns), origin = spacing_of(chip, spec)
    if spec.clutter_window_m:
        clutter = window_clutter(plane, (rows, columns), spec.clutter_window_m)
    elif chip.encoding == "integer" and highest <= _HIGHEST_LEVEL and _whole_numbers(plane):
        clutter = _clutter_of_levels(plane)
    else:
        clutter = clutter_power(np.square(plane, dtype=np.float64))
    zooms = rows / spec.spacing_m, columns / spec.spacing_m
    if chip.valid is not None:
        _check_missing(chip.valid[number], zooms, spec.size)
    canvas = _resample(plane, clutter, zooms, spec.size)
    # Cells without any power are no-data (the edge of a scene), not dark sea.
    decibels = 10 * np.log10(np.where(canvas > 0, canvas, 1))
    scaled: NDArray[np.float32] = np.float32(1 / spec.db_scale) * np.clip(
        decibels, spec.db_min, spec.db_max
    ).astype(np.float32)
    used = Used((rows, columns), origin, name, chip.quantity, chip.clipped or None)
    return PreparedChip(scaled[None], used, chip.position)


def window_clutter(
    plane: NDArray[np.float32], spacing_m: tuple[float, float], window_m: float
) -> float:
    """Mean power of the dimmest three quarters of the positive samples (1.0 if there are none) of
    an amplitude plane (H, W) in a square of `window_m` metres around its centre.

    Of equal samples at the three quarters only as many count as are needed: with all of them, the
    mean of an 8-bit sea of two or three grey levels would jump when its gain changes.
    """
    seen = tuple(
        slice(max(0, math.floor((side - kept) / 2)), math.ceil((side + kept) / 2))
        for side, kept in zip(plane.shape, (window_m / m for m in spacing_m), strict=True)
    )
    samples = plane[seen]
    samples = samples[samples > 0]
    if samples.size == 0:
        return 1.0
    last = int(_CLUTTER_SHARE * (samples.size - 1))
    dim = np.partition(samples, last)[: last + 1]
    return float(np.square(dim, dtype=np.float64).mean())


def clutter_power(power: NDArray[np.floating]) -> float:
    """Mean power of the dimmest three quarters of the positive samples (1.0 if there are none)."""
    positive = power[power > 0]
    if positive.size == 0:
        return 1.0
    # Half the time of np.percentile, whose answer lies between this sample and the next.
    last = int(_CLUTTER_SHARE * (positive.size - 1))
    dim = positive[positive <= np.partition(positive, last)[last]]
    return float(dim.mean())


def _whole_numbers(plane: NDArray[np.float32]) -> bool:
    """Integers that hold sigma0 are not: their amplitude is a square root."""
    return bool((plane == np.rint(plane)).all())


def _clutter_of_levels(plane: NDArray[np.float32]) -> float:
    """clutter_power of whole numbers, by counting them: the same number in a tenth of the time."""
    counts = np.bincount(plane.astype(np.intp).ravel())
    counts[0] = 0
    upto = counts.cumsum()
    if not upto[-1]:
        return 1.0
    last = int(_CLUTTER_SHARE * (upto[-1] - 1))
    level = int(np.searchsorted(upto, last, side="right"))
    squares = np.arange(level + 1, dtype=np.float64) ** 2
    return float(counts[: level + 1] @ squares / upto[level])


def spacing_of(chip: Chip, spec: InputSpec) -> tuple[tuple[float, float], SpacingOrigin]:
    """(row, column) metres and where they come from: the chip, else the first rule that applies.

    If a chip was made by hand and does not say, its spacing is the caller's: "request".
    """
    if chip.pixel_spacing_m is not None:
        return chip.pixel_spacing_m, chip.pixel_spacing_from or "request"
    side = max(chip.amplitude.shape[1:])
    rule = next(rule for rule in spec.spacing_rules if rule.applies(chip.encoding, side))
    return rule.spacing_m, "rule"


def _plane_number(chip: Chip, spec: InputSpec) -> int:
    """The number of the plane that the model uses."""
    for name in spec.polarisations:
        if name in chip.polarisations:
            return chip.polarisations.index(name)
    raise PolarisationMissing(
        f"the chip has {', '.join(chip.polarisations)}; "
        f"the model takes one of {', '.join(spec.polarisations)}"
    )


def _check_missing(valid: NDArray[np.bool_], zooms: tuple[float, float], size: int) -> None:
    """NoData if more than half of the samples in the field of view are missing."""
    top, bottom, _ = _span(valid.shape[0], zooms[0], size)
    left, right, _ = _span(valid.shape[1], zooms[1], size)
    seen = valid[math.floor(top) : math.ceil(bottom), math.floor(left) : math.ceil(right)]
    missing = 1 - float(seen.mean())
    if missing > _MOST_MISSING:
        raise NoData(
            f"{missing:.0%} of the ship's window are no-data or masked; at most "
            f"{_MOST_MISSING:.0%} may be. Cut the chip out further from the edge of the scene"
        )


def _resample(
    plane: NDArray[np.float32], clutter: float, zooms: tuple[float, float], size: int
) -> NDArray[np.float64]:
    """(size, size) of power over clutter around the centre of an amplitude plane.

    Zooms, of rows and columns, are output pixels per sample. A larger chip is cropped; a smaller
    one is padded with 1, the clutter level. Downsampling uses every sample (an antialiased triangle
    filter): that is multilooking, and it keeps the mean.
    """
    row_zoom, column_zoom = zooms
    top, bottom, out_rows = _span(plane.shape[0], row_zoom, size)
    left, right, out_columns = _span(plane.shape[1], column_zoom, size)
    # Samples beyond the reach of the filter are never read, so they are not computed. Those before
    # it stay: Pillow takes the box in float32, so moving it would change the last digits.
    rows = _reach(top, bottom, row_zoom, plane.shape[0])
    columns = _reach(left, right, column_zoom, plane.shape[1])
    relative = np.zeros((rows.stop, columns.stop), np.float32)
    power = np.square(plane[rows, columns], dtype=np.float64) / clutter
    relative[rows, columns] = np.minimum(power, _MOST_POWER)
    inside = Image.fromarray(relative).resize(
        (out_columns, out_rows), Image.Resampling.BILINEAR, box=(left, top, right, bottom)
    )
    canvas = np.ones((size, size))
    row, column = (size - out_rows) // 2, (size - out_columns) // 2
    canvas[row : row + out_rows, column : column + out_columns] = np.asarray(inside)
    return canvas


def _reach(start: float, end: float, zoom: float, samples: int) -> slice:
    """Samples that the filter needs for the span `start` to `end`: one output pixel more."""
    margin = math.ceil(max(1.0, 1 / zoom)) + 1
    return slice(max(0, math.floor(start) - margin), min(math.ceil(end) + margin, samples))


def _span(samples: int, zoom: float, size: int) -> tuple[float, float, int]:
    """The visible part of one axis, in samples, and how many output pixels it fills."""
    seen = size / zoom
    if seen <= samples:
        start = (samples - seen) / 2
        return start, start + seen, size
    return 0.0, float(samples), max(1, min(size, round(samples * zoom)))
