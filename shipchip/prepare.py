"""Chip -> model input, as an InputSpec says. The only preprocessing code there is.

Training and serving call the same `prepare`, so the two see the same numbers.

Power (amplitude squared) is resampled to square ground pixels around the chip's centre, divided by
the chip's own clutter power, turned into decibels, clipped and scaled. So 0 is sea clutter whatever
the sensor and its calibration, and a hull has its true size whatever the pixel spacing.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shipchip.card import InputSpec
from shipchip.decode import Chip
from shipchip.errors import Blank, PolarisationMissing

# Clutter is the mean power of the dimmest three quarters of a chip: a ship rarely fills more than
# a quarter of it, and a mean is finer than a median of 8-bit samples (3 and 4 are 2.5 dB apart).
_CLUTTER_SHARE = 0.75
_MOST_POWER = 1e30  # times the clutter: 300 dB, and still far from float32's end when summed


def prepare(chip: Chip, spec: InputSpec) -> NDArray[np.float32]:
    """The model input of one chip: float32 (1, S, S), clutter at 0, a ship near 1.

    Raises PolarisationMissing where the chip has none of the spec's polarisations, Blank where the
    one it has is empty (decode refuses a chip only if all its planes are).
    """
    amplitude = _plane(chip, spec)
    power = amplitude * amplitude
    clutter = clutter_power(power)
    rows, columns = spacing_of(chip, spec)
    relative = np.minimum(power / clutter, _MOST_POWER)
    canvas = _resample(relative, rows / spec.spacing_m, columns / spec.spacing_m, spec.size)
    # Cells without any power are no-data (the edge of a scene), not dark sea.
    decibels = 10 * np.log10(np.where(canvas > 0, canvas, 1))
    scaled: NDArray[np.float32] = np.float32(1 / spec.db_scale) * np.clip(
        decibels, spec.db_min, spec.db_max
    ).astype(np.float32)
    return scaled[None]


def clutter_power(power: NDArray[np.floating]) -> float:
    """Mean power of the dimmest three quarters of the positive samples (1.0 if there are none)."""
    positive = power[power > 0]
    if positive.size == 0:
        return 1.0
    # Half the time of np.percentile, whose answer lies between this sample and the next.
    last = int(_CLUTTER_SHARE * (positive.size - 1))
    dim = positive[positive <= np.partition(positive, last)[last]]
    return float(dim.mean())


def spacing_of(chip: Chip, spec: InputSpec) -> tuple[float, float]:
    """(row, column) metres: what the chip tells, else the first spacing rule that applies."""
    if chip.pixel_spacing_m is not None:
        return chip.pixel_spacing_m
    side = max(chip.amplitude.shape[1:])
    rule = next(rule for rule in spec.spacing_rules if rule.applies(chip.encoding, side))
    return rule.spacing_m


def _plane(chip: Chip, spec: InputSpec) -> NDArray[np.float64]:
    for name in spec.polarisations:
        if name in chip.polarisations:
            plane = chip.amplitude[chip.polarisations.index(name)]
            if plane.min() == plane.max():
                raise Blank(
                    f"every {name} sample is {plane.flat[0]:g}; expected an image of a ship"
                )
            return np.asarray(plane, dtype=np.float64)
    raise PolarisationMissing(
        f"the chip has {chip.polarisations}, the model takes one of {spec.polarisations}"
    )


def _resample(
    power: NDArray[np.float64], row_zoom: float, column_zoom: float, size: int
) -> NDArray[np.float64]:
    """(size, size) around the centre of `power`, zoomed by output pixels a sample on each axis.

    A larger chip is cropped; a smaller one is padded with 1, the clutter level. Going down, every
    sample counts (an antialiased triangle filter): that is multilooking, and it keeps the mean.
    """
    top, bottom, out_rows = _span(power.shape[0], row_zoom, size)
    left, right, out_columns = _span(power.shape[1], column_zoom, size)
    image = Image.fromarray(power.astype(np.float32))
    inside = image.resize(
        (out_columns, out_rows), Image.Resampling.BILINEAR, box=(left, top, right, bottom)
    )
    canvas = np.ones((size, size))
    row, column = (size - out_rows) // 2, (size - out_columns) // 2
    canvas[row : row + out_rows, column : column + out_columns] = np.asarray(inside)
    return canvas


def _span(samples: int, zoom: float, size: int) -> tuple[float, float, int]:
    """The part of one axis that is seen, in samples, and how many output pixels it fills."""
    seen = size / zoom
    if seen <= samples:
        start = (samples - seen) / 2
        return start, start + seen, size
    return 0.0, float(samples), max(1, min(size, round(samples * zoom)))
