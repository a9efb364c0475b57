"""Changes of a stored chip that leave its ship as it is: what a model's answer must not depend on.

The same picture of a ship reaches a user brighter or darker, cut larger or smaller, averaged down,
saved as JPEG, turned. CHANGES are fixed ones, which the tables of an evaluation apply to each
chip; `presented` draws a random one, for training. Both work on the chip as it is stored, before
`shipchip.prepare`, because rounding and saturation happen there.
"""

import io
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from shipchip.card import InputSpec
from shipchip.chip import Chip
from shipchip.prepare import spacing_of

# Raise it when `presented` gives other chips than before.
PRESENTED_VERSION = 1
NONE = "none"  # the name of the chips as they are, beside those of CHANGES
_LEVELS_8, _LEVELS_16 = 255, 65535
_SMALLEST_LOOKS = 16  # pixels a side: smaller chips are not averaged down
_LEFT_M = 384.0  # of a side after a move: longer than ships
_CUT_M, _MOVE_M, _QUALITY = 440.0, 34.0, 85


def with_spacing(chip: Chip, spec: InputSpec) -> Chip:
    """The chip with the spacing that `prepare` would take for it, so that a change of its size or
    encoding changes no rule. Its missing samples are 0, and no longer counted."""
    spacing, _ = spacing_of(chip, spec)
    return replace(chip, pixel_spacing_m=spacing, valid=None)


def gained(chip: Chip, gain: float) -> Chip:
    """Amplitude times `gain`; whole numbers are rounded, and saturate where their type ends."""
    amplitude = chip.amplitude * np.float32(gain)
    if _of_levels(chip):
        highest = _LEVELS_8 if chip.amplitude.max() <= _LEVELS_8 else _LEVELS_16
        amplitude = np.minimum(np.rint(amplitude), highest)
    return replace(chip, amplitude=amplitude)


def cut(chip: Chip, side_m: float, moved_m: tuple[float, float] = (0.0, 0.0)) -> Chip:
    """The square of `side_m` metres around a point `moved_m` (rows, columns) off the chip's centre,
    or as much of it as the chip holds while that point stays its centre.

    A move leaves _LEFT_M of a side; a side that is shorter is not moved, or it would cut the ship.
    """
    kept = []
    for side, spacing, moved in zip(chip.amplitude.shape[1:], _spacing(chip), moved_m, strict=True):
        most = max(0, math.floor((side - _LEFT_M / spacing) / 2))
        offset = max(-most, min(most, round(moved / spacing)))
        half = min(side / 2 - abs(offset), side_m / spacing / 2)
        start = math.floor(side / 2 + offset - half)
        kept.append(slice(start, start + max(1, round(2 * half))))
    return replace(chip, amplitude=chip.amplitude[:, kept[0], kept[1]])


def averaged(chip: Chip, rows: int, columns: int) -> Chip:
    """Power averaged over rows x columns samples, with the spacing that it then has.

    Whole numbers are rounded. A side of fewer than 16 averaged samples is left as it is.
    """
    planes, height, width = chip.amplitude.shape
    rows, columns = (
        looks if side // looks >= _SMALLEST_LOOKS else 1
        for side, looks in ((height, rows), (width, columns))
    )
    height, width = height // rows * rows, width // columns * columns
    top, left = (
        (a - b) // 2 for a, b in zip(chip.amplitude.shape[1:], (height, width), strict=True)
    )
    power = np.square(chip.amplitude[:, top : top + height, left : left + width], dtype=np.float64)
    blocks = power.reshape(planes, height // rows, rows, width // columns, columns)
    amplitude = np.sqrt(blocks.mean(axis=(2, 4))).astype(np.float32)
    spacing = _spacing(chip)
    return replace(
        chip,
        amplitude=np.rint(amplitude) if _of_levels(chip) else amplitude,
        pixel_spacing_m=(spacing[0] * rows, spacing[1] * columns),
    )


def as_jpeg(chip: Chip, quality: int) -> Chip:
    """Each plane saved as a grey JPEG and read again; samples beyond 8 bits are scaled so that the
    highest is 255."""
    planes = []
    for plane in chip.amplitude:
        highest = float(plane.max())
        fits = _of_levels(chip) and highest <= _LEVELS_8
        scale = 1.0 if fits or highest == 0 else _LEVELS_8 / highest
        buffer = io.BytesIO()
        grey = np.rint(plane * scale).astype(np.uint8)
        Image.fromarray(grey).save(buffer, "JPEG", quality=quality)
        planes.append(np.asarray(Image.open(buffer), dtype=np.float32))
    return replace(chip, amplitude=np.stack(planes), encoding="integer")


def in_16_bits(chip: Chip) -> Chip:
    """Scaled so that 255 of 8 bits, else the highest sample, is 65535, and rounded."""
    highest = float(chip.amplitude.max())
    full = _LEVELS_8 if _of_levels(chip) and highest <= _LEVELS_8 else highest
    amplitude = np.rint(chip.amplitude * np.float32(_LEVELS_16 / full))
    return replace(chip, amplitude=amplitude, encoding="integer")


def turned(chip: Chip, quarters: int, mirror: bool = False) -> Chip:
    """Turned by quarters of a circle, and mirrored if asked; rows and columns swap spacings."""
    amplitude = np.rot90(chip.amplitude, quarters, axes=(1, 2))
    amplitude = np.ascontiguousarray(amplitude[:, :, ::-1] if mirror else amplitude)
    rows, columns = _spacing(chip)
    spacing = (columns, rows) if quarters % 2 else (rows, columns)
    return replace(chip, amplitude=amplitude, pixel_spacing_m=spacing)


# Every change takes a chip of known spacing.
CHANGES: Mapping[str, Callable[[Chip], Chip]] = {
    "grey values halved": lambda chip: gained(chip, 0.5),
    "grey values doubled": lambda chip: gained(chip, 2.0),
    "cut to 440 m": lambda chip: cut(chip, _CUT_M),
    "2 x 2 looks": lambda chip: averaged(chip, 2, 2),
    "JPEG, quality 85": lambda chip: as_jpeg(chip, _QUALITY),
    "turned": lambda chip: turned(chip, 1),
    "mirrored": lambda chip: turned(chip, 0, mirror=True),
    "moved by 34 m": lambda chip: cut(chip, math.inf, (_MOVE_M, -_MOVE_M)),
    "16 bit": in_16_bits,
}


@dataclass(frozen=True)
class Ranges:
    """What `presented` draws from; each change but the turn has its chance.

    gain     largest factor of the grey values, either way; drawn evenly in its logarithm
    cut_m    sides of the square that is cut out
    move_m   largest move of the centre, each axis, either way
    quality  of JPEG
    spacing  largest relative error of the spacing
    """

    gain: float = 2.5
    cut_m: tuple[float, float] = (400.0, 900.0)
    move_m: float = 34.0
    quality: tuple[int, int] = (70, 95)
    spacing: float = 0.03
    chance_of_gain: float = 0.7
    chance_of_looks: float = 0.3
    chance_of_jpeg: float = 0.3


def presented(chip: Chip, rng: np.random.Generator, ranges: Ranges = Ranges()) -> Chip:
    """A random presentation of a chip of known spacing; equal generators give equal ones."""
    turns, mirror = int(rng.integers(4)), bool(rng.integers(2))
    moved = tuple(rng.uniform(-ranges.move_m, ranges.move_m, 2))
    chip = cut(chip, rng.uniform(*ranges.cut_m), (float(moved[0]), float(moved[1])))
    if rng.random() < ranges.chance_of_looks:
        rows, columns = ((2, 2), (2, 1), (1, 2))[int(rng.integers(3))]
        chip = averaged(chip, rows, columns)
    if rng.random() < ranges.chance_of_gain:
        chip = gained(chip, ranges.gain ** rng.uniform(-1, 1))
    if rng.random() < ranges.chance_of_jpeg:
        chip = as_jpeg(chip, int(rng.integers(*ranges.quality, endpoint=True)))
    factor = 1 + rng.uniform(-ranges.spacing, ranges.spacing)
    rows_m, columns_m = _spacing(chip)
    chip = replace(chip, pixel_spacing_m=(rows_m * factor, columns_m * factor))
    return turned(chip, turns, mirror)


def _spacing(chip: Chip) -> tuple[float, float]:
    if chip.pixel_spacing_m is None:
        raise ValueError("a change needs a chip of known spacing; see with_spacing")
    return chip.pixel_spacing_m


def _of_levels(chip: Chip) -> bool:
    """Whether samples are whole numbers, as integers are stored, or floats that hold them."""
    if chip.encoding == "complex":
        return False
    return bool((chip.amplitude == np.rint(chip.amplitude)).all())
