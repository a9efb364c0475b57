"""One chip on its way to an answer: the caller's options, decode and prepare, one model run.

The service and batch runs share this code, so a chip gets the same answer in both.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from shipchip import ChipError, DecodeLimits, Prediction, ShipClassifier, decode
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
class ChipFailure:
    """Why a chip was not classified: a stable code, and a message for people."""

    code: str
    message: str


PreparedChip = NDArray[np.float32]
Outcome = Prediction | ChipFailure


def prepare_chip(
    source: bytes | Path, options: ChipOptions, spec: InputSpec, limits: DecodeLimits
) -> PreparedChip | ChipFailure:
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
        return ChipFailure(error.code, str(error))
    # A bug that one chip triggers must not cost the answers of the chips beside it. It is logged
    # with its traceback, and its code is not one of shipchip's, so nobody takes it for bad input.
    except Exception:
        log.exception("a chip met a fault of the program")
        return ChipFailure("internal_error", "the program failed on this chip; see its log")


def predict_each(
    ships: ShipClassifier, batch: Sequence[PreparedChip], explain: bool
) -> list[Outcome]:
    """Results of prepared inputs (1, S, S), in order.

    If the run fails, its chips are run one by one: the chip that fails again is a ChipFailure
    `internal_error`, and the error is logged.
    """
    try:
        return list(ships.predict(np.stack(batch), explain=explain))
    # ONNX Runtime's exceptions have no common base class. Whatever the run raises must not cost
    # other requests their answers; it is logged below, chip by chip.
    except Exception:
        if len(batch) == 1:
            log.exception("the model failed on a chip")
            return [ChipFailure("internal_error", "the model failed on this chip; see its log")]
    log.warning("a run of %d chips failed; they are run one by one", len(batch))
    return [predict_each(ships, [chip], explain)[0] for chip in batch]
