"""PNG and JPEG -> Raster, through Pillow."""

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shipchip.errors import (
    ChipError,
    Corrupt,
    NotGrey,
    TooManyPixels,
    Truncated,
    UnsupportedFormat,
)
from shipchip.raster import DECODER_FAILURES, DecodeLimits, Raster, grey_of_colour

MAGICS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")
_JPEG_GREY_TOLERANCE = 3  # levels: what YCbCr rounding leaves between planes of a grey JPEG


def read_picture(data: bytes, limits: DecodeLimits) -> Raster:
    """A grey picture; its size is checked before pixels are decoded. Raises a ChipError."""
    bomb = (Image.DecompressionBombError, Image.DecompressionBombWarning)
    try:
        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG")) as picture:
            limits.check(picture.height, picture.width)
            if picture.mode not in ("L", "LA", "P", "RGB", "RGBA", "I", "I;16"):
                raise UnsupportedFormat(f"a picture of mode {picture.mode}; expected 8/16-bit grey")
            picture.load()
            tolerance = _JPEG_GREY_TOLERANCE if picture.format == "JPEG" else 0
            shown = picture.convert("RGBA") if picture.mode == "P" else picture
            samples = np.asarray(shown)
    except ChipError:
        raise
    except bomb as error:
        raise TooManyPixels(f"{error}; the limit is {limits.max_pixels} pixels") from error
    except DECODER_FAILURES as error:
        raise _truncated_or_corrupt(error, "picture") from error
    planes = samples[None] if samples.ndim == 2 else np.moveaxis(samples, -1, 0)
    if shown.mode in ("LA", "RGBA"):
        planes = _without_alpha(planes)
    if planes.shape[0] == 3:
        planes = grey_of_colour(planes, tolerance)
    return Raster(planes, None, float_is_sigma0=False)


def _truncated_or_corrupt(error: BaseException, what: str) -> ChipError:
    text = str(error) or type(error).__name__
    if "truncated" in text.lower() or "incomplete" in text.lower():
        return Truncated(f"the {what} ends before its data does: {text}")
    return Corrupt(f"the {what} cannot be decoded: {text}")


def _without_alpha(planes: NDArray[Any]) -> NDArray[Any]:
    if planes[-1].min() != planes[-1].max():
        raise NotGrey("the picture is partly transparent; expected plain grey radar amplitude")
    return planes[:-1]
