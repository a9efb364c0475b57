"""TIFF, GeoTIFF and BigTIFF -> Raster, through tifffile.

Only the first page is read, and only from the bytes given: no series logic, which may follow
names inside the file to other files.
"""

import io
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tifffile import COMPRESSION, EXTRASAMPLE, PHOTOMETRIC, TiffFile, TiffPage

from shipchip import geo, tiffhead
from shipchip.errors import (
    ChipError,
    Corrupt,
    NotGrey,
    TooManyPixels,
    Truncated,
    UnsupportedBands,
    UnsupportedFormat,
)
from shipchip.raster import DECODER_FAILURES, DecodeLimits, Raster, planes_first

MAGICS = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
# Those whose decoders are told how much to give. A picture inside the TIFF (JPEG, JPEG 2000, WebP)
# has a size of its own, which no check here sees.
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
    """What tifffile must not be given, and what it need not look for."""
    first = tiffhead.first_directory(data)
    if first is None or first.end > len(data):
        raise Truncated(f"the TIFF ends within its first directory, at byte {len(data)}")
    if first.malformed:
        raise Corrupt(f"the TIFF's tags {first.malformed} should be one whole number each")
    second = tiffhead.directory_at(data, first.following) if first.following else None
    if second is not None and second.is_page:
        raise UnsupportedBands("the TIFF has several full pages; expected one chip a file")


def _check_page(page: TiffPage, size: int, limits: DecodeLimits) -> None:
    """Everything that the header tells, before any pixel is decoded."""
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
