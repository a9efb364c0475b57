"""TIFF, GeoTIFF and BigTIFF -> Raster, through tifffile.

Only the first page is read, and only from the bytes given: no series logic, which may follow
names inside the file to other files.

The first directories are parsed here before tifffile sees the file, for two reasons. tifffile
reports a cut file and a damaged one by the same errors, but to the sender they differ: a cut upload
can be sent again. And if the width is several numbers, or a fraction, tifffile takes it as a tuple,
whose product with the height is a tuple of gigabytes.
"""

import io
import math
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tifffile import COMPRESSION, EXTRASAMPLE, PHOTOMETRIC, TiffFile, TiffPage

from shipchip.chip import DecodeLimits
from shipchip.decode import geo
from shipchip.decode.raster import DECODER_FAILURES, Raster, planes_first
from shipchip.errors import (
    ChipError,
    Corrupt,
    NotGrey,
    TooManyPixels,
    Truncated,
    UnsupportedBands,
    UnsupportedFormat,
)

MAGICS = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
# Compressions whose decoders get a bound on their output. A picture inside the TIFF (JPEG, JPEG
# 2000, WebP) has a size of its own, which no check here sees.
_COMPRESSIONS = (
    COMPRESSION.NONE,
    COMPRESSION.LZW,
    COMPRESSION.PACKBITS,
    COMPRESSION.DEFLATE,
    COMPRESSION.ADOBE_DEFLATE,
    COMPRESSION.ZSTD,
    COMPRESSION.LZMA,
)
# Microscope formats that tifffile would follow further than the first page.
_PLAIN: dict[str, Any] = {"is_lsm": False, "is_ndpi": False, "is_ome": False, "is_scanimage": False}
_ALPHA = (EXTRASAMPLE.ASSOCALPHA, EXTRASAMPLE.UNASSALPHA)
_GEO_TAGS = (
    geo.MODEL_PIXEL_SCALE,
    geo.MODEL_TIEPOINT,
    geo.MODEL_TRANSFORMATION,
    geo.GEO_KEY_DIRECTORY,
)

# TIFF 6.0 and BigTIFF field types -> bytes each.
_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_TYPE_BYTES |= {16: 8, 17: 8, 18: 8}
_NUMBER_FORMATS = {1: "B", 3: "H", 4: "L", 13: "L", 16: "Q", 18: "Q"}

_NEW_SUBFILE_TYPE = 254
# Width, length, compression, photometric, samples a pixel, rows a strip, planes, predictor,
# tile width and length, image and tile depth.
_SINGLE = (256, 257, 259, 262, 277, 278, 284, 317, 322, 323, 32997, 32998)
_REDUCED_OR_MASK = 1 | 4
_MOST_TAGS = 4096  # tifffile refuses more, too


def read_tiff(data: bytes, limits: DecodeLimits) -> Raster:
    """The first page of a TIFF. Raises a ChipError, and nothing else on bad content."""
    _check_directories(data)
    try:
        with TiffFile(io.BytesIO(data), **_PLAIN) as file:
            page = file.pages[0]
            if not isinstance(page, TiffPage):
                raise Corrupt("the TIFF has no readable first page")
            _check_page(page, len(data), limits)
            samples = page.asarray(maxworkers=1)
            axis = {"YX": None, "YXS": 2, "SYX": 0}[page.axes]
            values = {tag: page.tags.valueof(tag) for tag in _GEO_TAGS if tag in page.tags}
            spacing = geo.pixel_spacing(values)
            planes = _grey(planes_first(samples, axis), page)
    except ChipError:
        raise
    except DECODER_FAILURES as error:
        text = str(error) or type(error).__name__
        raise Corrupt(f"the TIFF cannot be decoded: {text}") from error
    return Raster(planes, spacing, float_is_sigma0=True)


def _check_directories(data: bytes) -> None:
    """Refuse files that tifffile must not see, before it sees them."""
    first = _first_directory(data)
    if first is None or first.end > len(data):
        raise Truncated(f"the TIFF ends within its first directory, at byte {len(data)}")
    if first.malformed:
        raise Corrupt(f"the TIFF's tags {first.malformed} should be one whole number each")
    second = _directory_at(data, first.following) if first.following else None
    if second is not None and second.is_page:
        raise UnsupportedBands("the TIFF has several full pages; expected one chip a file")


def _check_page(page: TiffPage, size: int, limits: DecodeLimits) -> None:
    """Check everything in the header, before any pixel is decoded."""
    if page.dtype is None or page.dtype.kind not in "iufc":
        raise UnsupportedFormat(f"TIFF samples of type {page.dtype}; expected 8 to 64 bits")
    if page.axes not in ("YX", "YXS", "SYX"):
        raise UnsupportedBands(f"a TIFF page with axes {page.axes}; expected one image of bands")
    if page.compression not in _COMPRESSIONS:
        known = ", ".join(compression.name for compression in _COMPRESSIONS)
        raise UnsupportedFormat(f"TIFF compression {page.compression!r}; expected one of {known}")
    bands, item = page.samplesperpixel, page.dtype.itemsize
    limits.check(page.imagelength, page.imagewidth, bands * item)
    if bands > 4:
        raise UnsupportedBands(f"{bands} bands; expected 1, 2 or 4 polarisation planes")
    parts, part = math.prod(page.chunked), math.prod(page.chunks)
    if parts * part * item > 2 * 16 * limits.max_pixels:  # twice the image's own limit
        raise TooManyPixels(f"{parts} TIFF tiles of {part} samples for a far smaller picture")
    if not parts == len(page.dataoffsets) == len(page.databytecounts):
        raise Corrupt(f"the TIFF has {parts} strips or tiles and {len(page.dataoffsets)} offsets")
    end = max(o + c for o, c in zip(page.dataoffsets, page.databytecounts, strict=True))
    if end > size:
        raise Truncated(f"the TIFF's pixel data ends at byte {end}, the file at {size}")


def _grey(planes: NDArray[Any], page: TiffPage) -> NDArray[Any]:
    """Planes of a grey or multi-band page; colour is refused unless its planes are equal."""
    if page.photometric == PHOTOMETRIC.MINISWHITE and planes.dtype.kind == "u":
        return np.iinfo(planes.dtype).max - planes
    if page.photometric == PHOTOMETRIC.RGB:
        colour = planes[:3]
        if len(colour) != 3 or (colour != colour[:1]).any():
            raise NotGrey("a colour TIFF: a plot or a screenshot; expected grey radar amplitude")
        return colour[:1]
    if len(planes) == 2 and page.extrasamples and page.extrasamples[0] in _ALPHA:
        if planes[1].min() != planes[1].max():
            raise NotGrey("a partly transparent TIFF; expected plain grey radar amplitude")
        return planes[:1]
    if page.photometric not in (PHOTOMETRIC.MINISBLACK, PHOTOMETRIC.MINISWHITE):
        raise NotGrey(f"a TIFF of photometric {page.photometric!r}; expected grey")
    return planes


@dataclass(frozen=True)
class _Directory:
    """One page: the count of values per tag, the single numbers stored in the directory itself, the
    end of the last value, and the offset of the next directory (0: none)."""

    counts: dict[int, int]
    numbers: dict[int, int]
    end: int
    following: int

    @property
    def malformed(self) -> list[int]:
        """Tags that should be one whole number, but are several or of another type."""
        return [tag for tag in _SINGLE if tag in self.counts and tag not in self.numbers]

    @property
    def is_page(self) -> bool:
        """Whether it is a full image, not an overview or a mask."""
        return not self.numbers.get(_NEW_SUBFILE_TYPE, 0) & _REDUCED_OR_MASK


def _first_directory(data: bytes) -> _Directory | None:
    """The first page's directory; None if the file ends first."""
    order, big = _form(data)
    try:
        (offset,) = struct.unpack_from(order + ("Q" if big else "L"), data, 8 if big else 4)
    except struct.error:
        return None
    return _directory_at(data, offset)


def _directory_at(data: bytes, offset: int) -> _Directory | None:
    """The directory at a byte offset; None if the file ends first."""
    order, big = _form(data)
    pointer, counter, head = (order + f for f in (("Q", "Q", "HHQ") if big else ("L", "H", "HHL")))
    inline, top = struct.calcsize(pointer), struct.calcsize(head)
    if offset + struct.calcsize(counter) > len(data):
        return None
    (count,) = struct.unpack_from(counter, data, offset)
    if count > _MOST_TAGS:
        return _Directory({}, {}, 0, 0)
    first, step = offset + struct.calcsize(counter), top + inline
    after = first + count * step
    if after + inline > len(data):
        return None
    counts, numbers, end = {}, {}, after
    for position in range(first, after, step):
        tag, kind, length = struct.unpack_from(head, data, position)
        counts[tag] = length
        size = length * _TYPE_BYTES.get(kind, 0)
        if size > inline:
            end = max(end, struct.unpack_from(pointer, data, position + top)[0] + size)
        elif length == 1 and kind in _NUMBER_FORMATS:
            form = order + _NUMBER_FORMATS[kind]
            numbers[tag] = struct.unpack_from(form, data, position + top)[0]
    return _Directory(counts, numbers, end, struct.unpack_from(pointer, data, after)[0])


def _form(data: bytes) -> tuple[str, bool]:
    """(byte order, whether it is a BigTIFF)."""
    return "<" if data.startswith(b"II") else ">", data[2:4] in (b"+\x00", b"\x00+")
