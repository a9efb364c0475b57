"""One chip on its way to the model: its options, and decode and prepare with failures kept apart.

The service and batch runs share this road, so a chip gets the same answer in both.
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from shipchip import ChipError, DecodeLimits, decode
from shipchip.card import InputSpec
from shipchip.chip import Quantity
from shipchip.prepare import prepare

Polarisation = Literal["VV", "VH", "HH", "HV"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ChipOptions:
    """What the caller knows about the chips; the meanings are those of shipchip.decode.

    pixel_spacing_m  (row, column) metres on the ground
    """

    polarisation: Polarisation | None = None
    pixel_spacing_m: tuple[float, float] | None = None
    quantity: Quantity = "auto"


@dataclass(frozen=True)
class Failure:
    """Why a chip was not classified: a stable code, and a message for people."""

    code: str
    message: str


def prepare_chip(
    source: bytes | Path, options: ChipOptions, spec: InputSpec, limits: DecodeLimits
) -> NDArray[np.float32] | Failure:
    """The model input (1, S, S) of one chip, or why there is none. Raises nothing."""
    try:
        chip = decode(
            source,
            polarisation=options.polarisation,
            pixel_spacing_m=options.pixel_spacing_m,
            quantity=options.quantity,
            limits=limits,
        )
        return prepare(chip, spec)
    except ChipError as error:
        return Failure(error.code, str(error))
    # A fault of ours on one chip must not cost the answers of the chips beside it. It is logged
    # with its traceback, and its code is none of shipchip's, so that it cannot pass for bad input.
    except Exception:
        log.exception("a chip met a fault of the program")
        return Failure("internal_error", "the program failed on this chip; see its log")
