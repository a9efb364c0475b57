"""TIFF, GeoTIFF and BigTIFF -> Raster, through tifffile.

Only one page and its mask are read, and only from the bytes given: no series logic, which may
follow names inside the file to other files. directories.py says which, before tifffile sees it.
"""

import io
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tifffile import COMPRESSION, EXTRASAMPLE, PHOTOMETRIC, TiffFile, TiffFrame, TiffPage

from shipchip.chip import DecodeLimits
from shipchip.decode import directories, geo, metadata
from shipchip.decode.bands import Band
from shipchip.decode.metadata import read_bands, read_nodata
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

MAGICS = directories.MAGICS
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
PLAIN: dict[str, Any] = {"is_lsm": False, "is_ndpi": False, "is_ome": False, "is_scanimage": False}
_ALPHA = (EXTRASAMPLE.ASSOCALPHA, EXTRASAMPLE.UNASSALPHA)
TAGS = (*geo.GEO_TAGS, *metadata.METADATA_TAGS)
_MOST_BANDS = 16
_RGB = (
    "a colour TIFF: a plot, a screenshot, or planes that GDAL wrote as RGB and alpha; expected "
    "grey radar amplitude. Write planes with PHOTOMETRIC=MINISBLACK and ALPHA=NO"
)


def read_tiff(data: bytes, limits: DecodeLimits) -> Raster:
    """The full page of a TIFF. Raises a ChipError, and nothing else on bad content."""
    pages = directories.find_pages(data)
    try:
        with TiffFile(io.BytesIO(data), **PLAIN) as file:
            page = file.pages[pages.image]
            if not isinstance(page, TiffPage):
                raise Corrupt("the TIFF has no readable page")
            _check_page(page, len(data), limits)
            layout = Layout.of(page)
            tags = {tag: page.tags.valueof(tag) for tag in TAGS if tag in page.tags}
            bands, missing = read_bands(tags, page.samplesperpixel), read_nodata(tags)
            samples = page.asarray(maxworkers=1)
            axis = {"YX": None, "YXS": 2, "SYX": 0}[page.axes]
            mask = None
            if pages.mask is not None:
                mask = _mask(file.pages[pages.mask], page, len(data), limits)
            raster = grey_raster(planes_first(samples, axis), bands, missing, mask, layout)
            place = geo.ground_place(tags, page.imagelength, page.imagewidth)
    except ChipError:
        raise
    except DECODER_FAILURES as error:
        text = str(error) or type(error).__name__
        raise Corrupt(f"the TIFF cannot be decoded: {text}") from error
    return replace(raster, place=place)


class Layout(NamedTuple):
    """What a page says about its samples, by the names and numbers of its tags."""

    photometric: int
    extrasamples: tuple[int, ...]
    bitspersample: int

    @classmethod
    def of(cls, page: TiffPage) -> "Layout":
        return cls(page.photometric, tuple(page.extrasamples), page.bitspersample)


def check_samples(page: TiffPage, size: int) -> None:
    """Check the kind of a page's samples and where they are in a file of `size` bytes."""
    if page.dtype is None or (page.dtype.kind not in "iufc" and not page.is_mask):
        raise UnsupportedFormat(f"TIFF samples of type {page.dtype}; expected 8 to 64 bits")
    if page.axes not in ("YX", "YXS", "SYX"):
        raise UnsupportedBands(f"a TIFF page with axes {page.axes}; expected one image of bands")
    if page.compression not in _COMPRESSIONS:
        known = ", ".join(compression.name for compression in _COMPRESSIONS)
        raise UnsupportedFormat(f"TIFF compression {page.compression!r}; expected one of {known}")
    bands, parts = page.samplesperpixel, math.prod(page.chunked)
    if bands > _MOST_BANDS:
        raise UnsupportedBands(f"{bands} bands; expected 1, 2 or 4 polarisation planes")
    if not parts == len(page.dataoffsets) == len(page.databytecounts):
        raise Corrupt(f"the TIFF has {parts} strips or tiles and {len(page.dataoffsets)} offsets")
    end = max(o + c for o, c in zip(page.dataoffsets, page.databytecounts, strict=True))
    if end > size:
        raise Truncated(f"the TIFF's pixel data ends at byte {end}, the file at {size}")


def _check_page(page: TiffPage, size: int, limits: DecodeLimits) -> None:
    """Check everything in the header, before any pixel is decoded."""
    item = 1 if page.dtype is None else page.dtype.itemsize
    limits.check(page.imagelength, page.imagewidth, page.samplesperpixel * item)
    parts, part = math.prod(page.chunked), math.prod(page.chunks)
    if parts * part * item > 2 * 16 * limits.max_pixels:  # twice the image's own limit
        raise TooManyPixels(f"{parts} TIFF tiles of {part} samples for a far smaller picture")
    check_samples(page, size)


def _mask(
    page: TiffPage | TiffFrame, image: TiffPage, size: int, limits: DecodeLimits
) -> NDArray[np.bool_]:
    """Where there is data (H, W), by the page that holds the image's mask (GDAL's internal one)."""
    if not isinstance(page, TiffPage) or page.shape != (image.imagelength, image.imagewidth):
        raise Corrupt(f"the TIFF's mask has the shape {page.shape}, the image {image.shape}")
    _check_page(page, size, limits)
    return np.asarray(page.asarray(maxworkers=1) != 0)


def grey_raster(
    planes: NDArray[Any],
    bands: Sequence[Band],
    missing: float | None,
    mask: NDArray[np.bool_] | None,
    layout: Layout,
) -> Raster:
    """Planes of a grey or multi-band page without its alpha bands, and where they have data."""
    colours = 3 if layout.photometric == PHOTOMETRIC.RGB else 1
    alpha = [colours + k for k, kind in enumerate(layout.extrasamples) if kind in _ALPHA]
    kept = [k for k in range(len(planes)) if k not in alpha]
    if layout.photometric == PHOTOMETRIC.RGB:
        if len(kept) != 3 or (planes[kept] != planes[:1]).any():
            raise NotGrey(_RGB)
        kept = [0]
    elif layout.photometric not in (PHOTOMETRIC.MINISBLACK, PHOTOMETRIC.MINISWHITE):
        raise NotGrey(f"a TIFF of photometric {layout.photometric!r}; expected grey")
    masks = [_opaque(planes[k]) for k in alpha] + ([] if mask is None else [mask])
    if len(kept) < len(planes):
        planes = planes[kept]
    if missing is not None:
        masks.append(~_equal(planes, missing))
    if any(bands[k].nodata is not None for k in kept):
        masks.append(np.stack([_present(planes[n], bands[k]) for n, k in enumerate(kept)]))
    valid = None
    if masks:
        valid = np.broadcast_to(np.logical_and.reduce(np.broadcast_arrays(*masks)), planes.shape)
    if layout.photometric == PHOTOMETRIC.MINISWHITE:
        planes = _inverted(planes, layout.bitspersample)
    return Raster(
        planes,
        float_is_sigma0=True,
        valid=valid,
        bands=tuple(bands[k] for k in kept),
    )


def _present(plane: NDArray[Any], band: Band) -> NDArray[np.bool_]:
    """Where a plane is not its band's own no-data value."""
    if band.nodata is None:
        return np.ones(plane.shape, dtype=bool)
    return ~_equal(plane, band.nodata)


def _equal(planes: NDArray[Any], value: float) -> NDArray[np.bool_]:
    """Samples that are the no-data value, as it is stored in their type."""
    if math.isnan(value):
        return np.asarray(np.isnan(planes))
    if planes.dtype.kind == "f":
        with np.errstate(over="ignore"):
            value = float(planes.dtype.type(value))
    return np.asarray(planes == value)


def _opaque(alpha: NDArray[Any]) -> NDArray[np.bool_]:
    """Where an alpha band is not 0; NotGrey if it fades."""
    if len(np.unique(alpha[alpha != 0])) > 1:
        raise NotGrey("a partly transparent TIFF; expected an alpha band of 0 and one other value")
    return np.asarray(alpha != 0)


def _inverted(planes: NDArray[Any], bits: int) -> NDArray[Any]:
    """Samples in which the least is white -> samples in which it is black."""
    if planes.dtype.kind == "u":
        return np.asarray(planes.dtype.type(2**bits - 1) - planes)
    if planes.dtype.kind == "i":
        return np.asarray(-1 - planes)
    raise UnsupportedFormat(
        f"a TIFF of {planes.dtype} in which the least value is white; write it as minisblack"
    )
