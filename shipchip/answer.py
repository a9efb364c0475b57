"""What every answer says besides its numbers: what was assumed of the chip, and the verdict.

The library, the service, the client and batch runs share these words. This module needs the
standard library only, as the client does.
"""

from collections.abc import Collection
from dataclasses import dataclass
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


def verdict_of(in_distribution: bool, prediction_set: Collection[str]) -> Verdict:
    """How far to rely on a label.

    unlike     out of distribution: the numbers mean little
    undecided  the prediction set does not hold exactly one class
    sure       the label is the only class in the prediction set
    """
    if not in_distribution:
        return "unlike"
    return "sure" if len(prediction_set) == 1 else "undecided"
