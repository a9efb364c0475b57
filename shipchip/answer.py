"""What every answer says besides its numbers: what was assumed of the chip, and the verdict.

The library, the service, the client and batch runs share these words. This module needs the
standard library only, as the client does.
"""

from collections.abc import Collection
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:  # it imports numpy
    from shipchip.chip import ReadQuantity

# The caller, the file's own georeferencing or scene, or a spacing rule of the model card.
SpacingOrigin = Literal["request", "file", "rule"]
Verdict = Literal["sure", "undecided", "unlike"]


@dataclass(frozen=True)
class Used:
    """What the model's input was made with.

    pixel_spacing_m     (row, column) metres on the ground
    pixel_spacing_from  where it came from; "rule" is a guess by sample encoding and size
    polarisation        of the plane: "VV", "VH", "HH", "HV", or "unknown"
    quantity            what the samples were read as
    clipped             share of the samples that were clipped, 0..1; None if none were
    """

    pixel_spacing_m: tuple[float, float]
    pixel_spacing_from: SpacingOrigin
    polarisation: str
    quantity: "ReadQuantity"
    clipped: float | None = None


@dataclass(frozen=True, kw_only=True)
class ShipSize:
    """A ship's length and width in metres, each with an interval; all None if the model gives none.

    length_low_m, length_high_m  the interval holds the length of the share of ships that the model
                                 card states as `size.coverage`, where `length_validated` is true
    width_low_m, width_high_m    the same for the width
    length_validated             whether such chips were measured against lengths from AIS: the
                                 pixel spacing is not a rule's guess and is like that of these
                                 chips, and the chip is in distribution
    """

    length_m: float | None = None
    length_low_m: float | None = None
    length_high_m: float | None = None
    width_m: float | None = None
    width_low_m: float | None = None
    width_high_m: float | None = None
    length_validated: bool | None = None


SIZE_FIELDS = tuple(field.name for field in fields(ShipSize))


def verdict_of(in_distribution: bool, prediction_set: Collection[str]) -> Verdict:
    """How far to rely on a label.

    unlike     out of distribution: the numbers mean little
    undecided  the prediction set does not hold exactly one class
    sure       the label is the only class in the prediction set
    """
    if not in_distribution:
        return "unlike"
    return "sure" if len(prediction_set) == 1 else "undecided"
