"""One chip on its way to an answer: the caller's options, decode and prepare, one model run.

The service and batch runs share this code, so a chip gets the same answer in both.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from shipchip import Chip, ChipError, DecodeLimits, Prediction, PreparedChip, ShipClassifier, decode
from shipchip.card import InputSpec
from shipchip.chip import Quantity
from shipchip.prepare import prepare

Polarisation = Literal["VV", "VH", "HH", "HV"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ChipOptions:
    """What the caller knows about the chips; the meanings are those of shipchip.decode.

    pixel_spacing_m     (row, column) metres on the ground
    pixel_spacing_from  "file" if the spacing is that of the chip's scene
    """

    polarisation: Polarisation | None = None
    pixel_spacing_m: tuple[float, float] | None = None
    quantity: Quantity = "auto"
    pixel_spacing_from: Literal["request", "file"] = "request"


@dataclass(frozen=True)
class ChipFailure:
    """Why a chip was not classified: a stable code, and a message for people."""

    code: str
    message: str


Outcome = Prediction | ChipFailure


def prepare_chip(
    source: bytes | Path, options: ChipOptions, spec: InputSpec, limits: DecodeLimits
) -> PreparedChip | ChipFailure:
    """One chip as the model takes it, or why it cannot be. Raises nothing."""
    return prepare_read(
        lambda: decode(
            source,
            polarisation=options.polarisation,
            pixel_spacing_m=options.pixel_spacing_m,
            quantity=options.quantity,
            limits=limits,
        ),
        options,
        spec,
    )


def prepare_read(
    read: Callable[[], Chip], options: ChipOptions, spec: InputSpec
) -> PreparedChip | ChipFailure:
    """The same for a chip that `read` gives, with these options."""
    try:
        chip = read()
        if options.pixel_spacing_m is not None:
            chip = replace(chip, pixel_spacing_from=options.pixel_spacing_from)
        return prepare(chip, spec)
    except ChipError as error:
        return ChipFailure(error.code, str(error))
    # A bug that one chip triggers must not cost the answers of the chips beside it. It is logged
    # with its traceback, and its code is not one of shipchip's, so it is not taken for bad input.
    except Exception:
        log.exception("a chip met a fault of the program")
        return ChipFailure("internal_error", "the program failed on this chip; see its log")


def predict_each(
    ships: ShipClassifier, batch: Sequence[PreparedChip], explain: bool
) -> list[Outcome]:
    """Results of prepared chips, in order.

    If the run fails, its chips are run one by one: the chip that fails again is a ChipFailure
    `internal_error`, and the error is logged.
    """
    try:
        return list(ships.predict(batch, explain=explain))
    # ONNX Runtime's exceptions have no common base class. Whatever the run raises must not cost
    # other requests their answers; it is logged below, chip by chip.
    except Exception:
        if len(batch) == 1:
            log.exception("the model failed on a chip")
            return [ChipFailure("internal_error", "the model failed on this chip; see its log")]
    log.warning("a run of %d chips failed; they are run one by one", len(batch))
    return [predict_each(ships, [chip], explain)[0] for chip in batch]
