"""What every format reader returns to shipchip.decode."""

import struct
import tokenize
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shipchip.decode.bands import Band
from shipchip.decode.geo import GroundPlace
from shipchip.errors import NotGrey

# What Pillow, tifffile, imagecodecs and numpy raise on hostile bytes, found by fuzzing. They are
# listed one by one: anything else is a bug, and must not be reported as a bad chip.
DECODER_FAILURES = (
    ArithmeticError,
    LookupError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    tokenize.TokenError,
)


@dataclass(frozen=True, eq=False)
class Raster:
    """Samples as stored, before they are interpreted.

    planes           (P, H, W) of an integer, float or complex dtype
    float_is_sigma0  whether fractional float samples of this format are linear sigma0
    place            where the chip is on the ground, None if the file does not say
    valid            bool (P, H, W), False where the file says that there is no data; None if it
                     says so nowhere
    bands            what the file says about each plane, None if it says nothing
    """

    planes: NDArray[Any]
    float_is_sigma0: bool
    place: GroundPlace | None = None
    valid: NDArray[np.bool_] | None = None
    bands: tuple[Band, ...] | None = None


def planes_first(samples: NDArray[Any], axis: int | None) -> NDArray[Any]:
    """(P, H, W) of an (H, W) array (axis None) or of one with its bands on `axis`."""
    return samples[None] if axis is None else np.moveaxis(samples, axis, 0)


def grey_of_colour(planes: NDArray[Any], tolerance: int = 0) -> NDArray[Any]:
    """(1, H, W) of an RGB picture whose planes are equal; else NotGrey."""
    apart = int((planes.max(axis=0).astype(np.int64) - planes.min(axis=0)).max())
    if apart > tolerance:
        raise NotGrey(
            f"a colour picture (planes differ by up to {apart}): a plot or a screenshot; "
            "expected grey radar amplitude"
        )
    return planes[:1]
