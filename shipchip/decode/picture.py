"""PNG and JPEG -> Raster, through Pillow, which gets only the parts that the pixels need.

Pillow would unpack and parse everything else as well: 31 kB of compressed PNG text become 30 MB,
and the entries of an EXIF block take a tenth of a second. None of that describes a chip.
"""

import io
import re
import zlib
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shipchip.chip import DecodeLimits
from shipchip.decode.raster import DECODER_FAILURES, Raster, grey_of_colour
from shipchip.errors import (
    ChipError,
    Corrupt,
    NotGrey,
    TooManyPixels,
    Truncated,
    UnsupportedFormat,
)

_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
MAGICS = (_PNG, _JPEG)
_MODES = {"L": 1, "LA": 2, "P": 4, "RGB": 3, "RGBA": 4, "I": 4, "I;16": 2}  # bytes a pixel
_JPEG_GREY_TOLERANCE = 3  # levels: what YCbCr rounding leaves between planes of a grey JPEG
_PNG_KEPT = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})
_PNG_HEAD = 33  # bytes of the signature and IHDR
_PNG_END = b"\0\0\0\0IEND\xaeB`\x82"
_JPEG_MARKER = re.compile(rb"\xff+([\x01-\xfe])")
_JPEG_ALONE = frozenset({0x01, *range(0xD0, 0xDA)})  # markers that no length and no content follow
_JPEG_SCAN = 0xDA
# APP1 to APP15 and comments. APP0 and APP14 tell how colours are stored.
_JPEG_LEFT_OUT = frozenset({*range(0xE1, 0xF0), 0xFE}) - {0xEE}
# Chunks of a PNG, or segments before the first scan of a JPEG. Of the largest chip, encoders write
# about a thousand.
_MAX_BLOCKS = 10_000
# Each scan of a progressive JPEG passes over all pixels, and an empty one costs the sender a few
# bytes. Encoders write about ten.
_JPEG_MAX_SCANS = 100


def read_picture(data: bytes, limits: DecodeLimits) -> Raster:
    """A grey picture; its size is checked before pixels are decoded. Raises a ChipError."""
    bomb = (Image.DecompressionBombError, Image.DecompressionBombWarning)
    jpeg = data.startswith(_JPEG)
    needed = _jpeg_for_pixels(data) if jpeg else _inflated(_png_for_pixels(data), limits)
    if jpeg and needed.count(b"\xff\xda") > _JPEG_MAX_SCANS:
        raise Corrupt(f"a JPEG of more than {_JPEG_MAX_SCANS} scans; expected a plain picture")
    try:
        with Image.open(io.BytesIO(needed), formats=("PNG", "JPEG")) as picture:
            limits.check(picture.height, picture.width, _MODES.get(picture.mode, 4))
            if picture.mode not in _MODES:
                raise UnsupportedFormat(f"a picture of mode {picture.mode}; expected 8/16-bit grey")
            if _is_wide_colour(needed):
                samples = imagecodecs.png_decode(needed)
                transparent = samples.shape[-1] in (2, 4)
            else:
                picture.load()
                shown = picture.convert("RGBA") if picture.mode == "P" else picture
                samples = np.asarray(shown)
                transparent = shown.mode in ("LA", "RGBA")
    except ChipError:
        raise
    except bomb as error:
        raise TooManyPixels(f"{error}; the limit is {limits.max_pixels} pixels") from error
    except DECODER_FAILURES as error:
        text = str(error).split("<")[0].strip() or type(error).__name__  # no object addresses
        if "truncated" in text.lower() or _ends_early(data):
            raise Truncated(f"the picture ends before its data does: {text}") from error
        raise Corrupt(f"the picture cannot be decoded: {text}") from error
    planes = samples[None] if samples.ndim == 2 else np.moveaxis(samples, -1, 0)
    if transparent:
        planes = _without_alpha(planes)
    if planes.shape[0] == 3:
        planes = grey_of_colour(planes, _JPEG_GREY_TOLERANCE if jpeg else 0)
    return Raster(planes, float_is_sigma0=False)


def _is_wide_colour(data: bytes) -> bool:
    """Whether it is a 16-bit PNG with colour or alpha, of which Pillow keeps the upper bytes."""
    depth, kind = data[24:25], data[25:26]
    return data.startswith(_PNG) and depth == b"\x10" and kind in (b"\x02", b"\x04", b"\x06")


def _png_for_pixels(data: bytes) -> bytes:
    """A PNG without text, profiles, EXIF and animation; one that breaks off still does."""
    kept, at, kind = [_PNG], len(_PNG), b""
    for _ in range(_MAX_BLOCKS):
        if at >= len(data) or kind == b"IEND":
            return b"".join(kept)
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        kind = data[at + 4 : at + 8]
        if kind in _PNG_KEPT:
            kept.append(data[at:end])
        at = end
    raise Corrupt(f"a PNG of more than {_MAX_BLOCKS} chunks; expected a plain picture")


def _inflated(data: bytes, limits: DecodeLimits) -> bytes:
    """The PNG with its samples inflated, if it is an ordinary grey one; otherwise as it is.

    libdeflate takes half the time of the zlib in Pillow. What it does not inflate, or not to the
    size that it should have, is left to Pillow, which says what is wrong.
    """
    width, height = (int.from_bytes(data[at : at + 4], "big") for at in (16, 20))
    depth, kind, interlaced = data[24:25], data[25:26], data[28:29] != b"\0"
    ordinary = depth in (b"\x08", b"\x10") and kind == b"\0" and not interlaced
    if not ordinary or not data.endswith(_PNG_END) or width * height > limits.max_pixels:
        return data
    parts, at = [], _PNG_HEAD
    while at < len(data) - len(_PNG_END):
        end = at + 8 + int.from_bytes(data[at : at + 4], "big")
        if data[at + 4 : at + 8] != b"IDAT":
            return data
        parts.append(data[at + 8 : end])
        at = end + 4
    size = height * (1 + width * depth[0] // 8)
    try:
        samples = imagecodecs.deflate_decode(b"".join(parts), out=size)
    except imagecodecs.DeflateError:
        return data
    if len(samples) != size:
        return data
    content = b"IDAT" + zlib.compress(samples, 0)
    length, checksum = len(content) - 4, zlib.crc32(content)
    whole = length.to_bytes(4, "big"), content, checksum.to_bytes(4, "big")
    return b"".join([data[:_PNG_HEAD], *whole, _PNG_END])


def _jpeg_for_pixels(data: bytes) -> bytes:
    """A JPEG without EXIF, profiles, previews and comments; what lies between segments goes, too.

    From the first scan on everything stays: libjpeg itself passes over what it does not need.
    """
    kept, at = [data[:2]], 2
    for _ in range(_MAX_BLOCKS):
        marker = _JPEG_MARKER.search(data, at)
        if marker is None:
            return b"".join(kept)
        start, code = marker.start(1) - 1, marker[1][0]
        if code == _JPEG_SCAN:
            return b"".join([*kept, data[start:]])
        at = marker.end()
        if code not in _JPEG_ALONE:
            at += int.from_bytes(data[at : at + 2], "big")
        if code not in _JPEG_LEFT_OUT:
            kept.append(data[start:at])
    raise Corrupt(f"a JPEG of more than {_MAX_BLOCKS} segments; expected a plain picture")


def _ends_early(data: bytes) -> bool:
    """Whether a picture that could not be decoded stops before its end marker."""
    if data.startswith(_JPEG):
        return data.rfind(b"\xff\xd9") <= data.rfind(b"\xff\xda")
    position, chunk = len(_PNG), b""
    while position + 8 <= len(data) and chunk != b"IEND":
        length = int.from_bytes(data[position : position + 4], "big")
        chunk = data[position + 4 : position + 8]
        position += 12 + length
    return chunk != b"IEND" or position > len(data)


def _without_alpha(planes: NDArray[Any]) -> NDArray[Any]:
    if planes[-1].min() != planes[-1].max():
        raise NotGrey("the picture is partly transparent; expected plain grey radar amplitude")
    return planes[:-1]
