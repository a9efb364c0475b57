"""Length and width of a ship: the graph's estimates with intervals around them.

The graph estimates both (training.network.size). The card's SizeSpec says how far the truth was
from such estimates for ships held out from training.
"""

import numpy as np
from numpy.typing import NDArray

from shipchip.answer import ShipSize, Used
from shipchip.card import SizeSpec

# Decimals of a metre. Float32 holds more; an estimate means less.
_DIGITS = 1


def size_with_interval(
    estimate: NDArray[np.float32], spec: SizeSpec, used: Used, in_distribution: bool
) -> ShipSize:
    """The size of a ship.

    estimate  (2,) length and width in metres, as the graph gives them
    """
    length, width = (float(metres) for metres in estimate)
    return ShipSize(
        length_m=round(length, _DIGITS),
        length_low_m=round(length / spec.length_factor, _DIGITS),
        length_high_m=round(length * spec.length_factor, _DIGITS),
        width_m=round(width, _DIGITS),
        width_low_m=round(width / spec.width_factor, _DIGITS),
        width_high_m=round(width * spec.width_factor, _DIGITS),
        length_validated=in_distribution and is_validated(spec, used),
    )


def is_validated(spec: SizeSpec, used: Used) -> bool:
    """Whether the estimates of such chips were measured against ships of known size."""
    return used.pixel_spacing_from != "rule" and any(
        known.holds(used.pixel_spacing_m) for known in spec.validated
    )
