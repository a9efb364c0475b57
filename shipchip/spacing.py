"""Pixel spacing: (row, column) metres on the ground, and how it is written.

One number applies to both axes, a pair is written `13.93x3.87`. A comma is refused: `10,5` could be
a pair, or ten and a half with a decimal comma.
"""

import math

from shipchip.errors import BadPixelSpacing

Spacing = tuple[float, float]

_RANGE_M = (0.01, 1000.0)


def check_spacing(value: float | Spacing) -> Spacing:
    """(row, column) metres from one number or a pair; BadPixelSpacing outside 0.01 to 1000 m."""
    row, column = value if isinstance(value, tuple) else (value, value)
    low, high = _RANGE_M
    for metres in (row, column):
        if not (math.isfinite(metres) and low <= metres <= high):
            raise BadPixelSpacing(f"pixel spacing {metres} m, expected {low} to {high} m")
    return float(row), float(column)


def parse_spacing(text: str) -> Spacing:
    """(row, column) metres from "10" or "13.93x3.87"; BadPixelSpacing for anything else."""
    if "," in text:
        raise BadPixelSpacing(
            f"pixel spacing {text[:80]!r} has a comma; write decimals with a point (10.5), and row "
            "and column with an x between them (13.93x3.87)"
        )
    try:
        numbers = [float(part) for part in text.lower().split("x")]
    except ValueError:
        numbers = []
    if len(numbers) not in (1, 2):
        raise BadPixelSpacing(
            f"pixel spacing {text[:80]!r}; expected metres as one number (10) or as row and column "
            "(13.93x3.87)"
        )
    return check_spacing((numbers[0], numbers[-1]))


def spacing_text(value: float | Spacing | str) -> str:
    """The text form that `parse_spacing` reads; text is returned as it is."""
    return "x".join(str(metres) for metres in value) if isinstance(value, tuple) else str(value)
