"""Pictures for people: a chip as the model saw it, and its activation map over it.

Both are PNG files, made with numpy and Pillow alone. The chip is grey, decibels above its own
clutter. The map is drawn in the colours of matplotlib's plasma: their lightness rises evenly, for
colour-blind eyes too, and none of them is a grey that could be taken for the chip. A ship whose
size is estimated gets a rectangle of that size, in a light blue that is not in plasma.
"""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from serving.chips import ChipFailure
from shipchip import InputSpec, Prediction, PreparedChip

Pixels = NDArray[np.uint8]

_SIDE = 192  # about; pixels are enlarged by a whole number, so that they stay even
_DARK_DB, _BRIGHT_DB = -6.0, 36.0
_SHIP_DB = 10.0  # above clutter; dimmer samples are hardly the ship
_OUTLINE = (120, 220, 255)
_FONT, _LINE = ImageFont.load_default(15), 18  # pixels
_MOST_HEAT = 0.75  # the share of colour where the map is highest: the ship still shows
_PLASMA = np.array(
    [
        (13, 8, 135),
        (76, 2, 161),
        (126, 3, 168),
        (170, 35, 149),
        (204, 71, 120),
        (230, 108, 92),
        (248, 149, 64),
        (253, 197, 39),
        (240, 249, 33),
    ],
    np.float64,
)


@dataclass(frozen=True, eq=False, kw_only=True)
class ExplainedPrediction(Prediction):
    """A prediction with its pictures, PNG files in base64.

    preview  what the model saw, grey
    overlay  the same with the activation map of the label and the outline of the ship over it
    """

    preview: str
    overlay: str


def explain_chips(
    prepared: Sequence[PreparedChip | ChipFailure],
    results: Sequence[Prediction | ChipFailure],
    spec: InputSpec,
) -> list[Prediction | ChipFailure]:
    """Results with their pictures, of prepared chips; `spec` as in the card.

    What has failed, or has no activation map, stays as it is.
    """
    return [
        result
        if isinstance(chip, ChipFailure) or isinstance(result, ChipFailure)
        else _explained(chip, result, spec)
        for chip, result in zip(prepared, results, strict=True)
    ]


def _explained(chip: PreparedChip, prediction: Prediction, spec: InputSpec) -> Prediction:
    decibels = chip.input[0] * spec.db_scale
    grey = chip_grey(decibels)
    drawn = draw_answer(grey, decibels, prediction, spec)
    if drawn is None:
        return prediction
    preview, overlay = (_base64(png_of(pixels)) for pixels in (grey, drawn))
    return ExplainedPrediction(**vars(prediction), preview=preview, overlay=overlay)


def draw_answer(
    grey: Pixels, decibels: NDArray[np.float32], prediction: Prediction, spec: InputSpec
) -> Pixels | None:
    """The activation map and the outline of the ship over a chip: RGB (T, T, 3).

    grey      (T, T), of `chip_grey`, of `decibels` (S, S) above clutter
    Returns None if the prediction has no map.
    """
    if prediction.activation_map is None:
        return None
    image = Image.fromarray(lay_over(grey, prediction.activation_map))
    draw_outline(image, decibels, prediction, spec)
    return np.asarray(image)


def with_caption(pixels: Pixels, prediction: Prediction) -> Pixels:
    """RGB (T, T, 3) with a black strip below it that says `caption`: (T + 61, T, 3)."""
    lines = caption(prediction)
    strip = Image.new("RGB", (pixels.shape[1], _LINE * len(lines) + 7))
    pen = ImageDraw.Draw(strip)
    for number, line in enumerate(lines):
        pen.text((4, 2 + _LINE * number), line, "white", _FONT)
    return np.concatenate([pixels, np.asarray(strip)])


def caption(prediction: Prediction) -> tuple[str, str, str]:
    """Label, verdict and length of an answer, each in a few words; "" for no length."""
    return (
        f"{prediction.label} {prediction.confidence:.0%}",
        prediction.verdict,
        _length(prediction),
    )


def _length(prediction: Prediction) -> str:
    low, length, high = prediction.length_low_m, prediction.length_m, prediction.length_high_m
    if length is None:
        return ""
    if not prediction.length_validated:
        return f"{length:.0f} m, not validated"
    return f"{length:.0f} m ({low:.0f} to {high:.0f})"


def draw_outline(
    image: Image.Image, decibels: NDArray[np.float32], prediction: Prediction, spec: InputSpec
) -> None:
    """Draw the ship's outline, if its size is estimated, on a square RGB picture of the chip (S, S)
    in decibels above clutter."""
    length, width = prediction.length_m, prediction.width_m
    if length is None or width is None:
        return
    corners = ship_outline(decibels, length / spec.spacing_m, width / spec.spacing_m)
    if corners is not None:
        scale = image.width / len(decibels)
        places = [(float(column) * scale, float(row) * scale) for row, column in corners]
        ImageDraw.Draw(image).polygon(places, outline=_OUTLINE)


def ship_outline(
    decibels: NDArray[np.float32], length: float, width: float
) -> NDArray[np.float64] | None:
    """The corners (4, 2), as (row, column) in pixels, of a rectangle of this length and width in
    pixels on the ship of a chip (S, S), in decibels above clutter.

    It lies where the samples above _SHIP_DB have their mean, along the direction in which they
    spread most; those near the chip's centre count most, as other ships are at its edges. None if
    no sample is above.
    """
    side = len(decibels)
    rows, columns = np.mgrid[:side, :side] + 0.5
    near = np.exp(-((rows - side / 2) ** 2 + (columns - side / 2) ** 2) / (2 * (side / 5) ** 2))
    weight = near * np.clip(decibels - _SHIP_DB, 0, None)
    total = weight.sum()
    if total <= 0:
        return None
    centre = np.array([(weight * rows).sum(), (weight * columns).sum()]) / total
    off = np.stack([rows - centre[0], columns - centre[1]])
    spread = np.einsum("ihw,jhw,hw->ij", off, off, weight)
    _, directions = np.linalg.eigh(spread)  # in ascending order of the spread
    along, across = directions[:, 1] * length / 2, directions[:, 0] * width / 2
    corners: NDArray[np.float64] = centre + np.array(
        [along + across, along - across, -along - across, across - along]
    )
    return corners


def chip_grey(decibels: NDArray[np.float32]) -> Pixels:
    """Decibels above clutter (S, S) -> grey (T, T) with T about 192, a whole multiple of S."""
    share = (decibels - _DARK_DB) / (_BRIGHT_DB - _DARK_DB)
    grey = np.round(255 * np.clip(share, 0, 1)).astype(np.uint8)
    factor = max(1, round(_SIDE / len(grey)))
    enlarged: Pixels = grey.repeat(factor, axis=0).repeat(factor, axis=1)
    return enlarged


def lay_over(grey: Pixels, heat: NDArray[np.float32]) -> Pixels:
    """Grey (T, T) with an activation map (h, w) of any size over it: RGB (T, T, 3).

    Colour tells the map's share of its own highest value. Where it is zero or less the chip is
    left as it is, and all of it where the map is nowhere positive.
    """
    share = _share(heat, grey.shape[0])[..., None]
    alpha = _MOST_HEAT * np.sqrt(share)
    at = np.linspace(0, 1, len(_PLASMA))
    colour = np.concatenate([np.interp(share, at, band) for band in _PLASMA.T], axis=2)
    mixed: Pixels = np.round((1 - alpha) * grey[..., None] + alpha * colour).astype(np.uint8)
    return mixed


def _share(heat: NDArray[np.float32], side: int) -> NDArray[np.float64]:
    """The map (h, w) as shares of its highest value, 0 to 1, smoothly resized to (side, side)."""
    positive = np.clip(heat, 0, None).astype(np.float32)
    highest = positive.max()
    if highest <= 0:
        return np.zeros((side, side))
    image = Image.fromarray(positive / highest)
    resized = image.resize((side, side), Image.Resampling.BILINEAR)
    return np.clip(np.asarray(resized, np.float64), 0, 1)


def png_of(pixels: Pixels) -> bytes:
    """Pixels, grey or RGB, as a PNG file."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return file.getvalue()


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
