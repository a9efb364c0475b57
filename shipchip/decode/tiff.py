"""TIFF, GeoTIFF and BigTIFF -> Raster, through tifffile.

Only the first page and its mask are read, and only from the bytes given: no series logic, which may
follow names inside the file to other files.

The first directories are parsed here before tifffile sees the file, for two reasons. tifffile
reports a cut file and a damaged one by the same errors, but to the sender they differ: a cut upload
can be sent again. And if the width is several numbers, or a fraction, tifffile takes it as a tuple,
whose product with the height is a tuple of gigabytes.
"""

import io
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tifffile import COMPRESSION, EXTRASAMPLE, PHOTOMETRIC, TiffFile, TiffFrame, TiffPage

from shipchip.chip import DecodeLimits
from shipchip.decode import bands, geo
from shipchip.decode.bands import read_bands, read_nodata
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
_TAGS = (*geo.GEO_TAGS, bands.GDAL_METADATA, bands.GDAL_NODATA, bands.SNAP_METADATA)
_MOST_BANDS = 16
_RGB = (
    "a colour TIFF: a plot, a screenshot, or planes that GDAL wrote as RGB and alpha; expected "
    "grey radar amplitude. Write planes with PHOTOMETRIC=MINISBLACK and ALPHA=NO"
)

# TIFF 6.0 and BigTIFF field types -> bytes each.
_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_TYPE_BYTES |= {16: 8, 17: 8, 18: 8}
_NUMBER_FORMATS = {1: "B", 3: "H", 4: "L", 13: "L", 16: "Q", 18: "Q"}

_NEW_SUBFILE_TYPE = 254
# Width, length, compression, photometric, samples a pixel, rows a strip, planes, predictor,
# tile width and length, image and tile depth.
_SINGLE = (256, 257, 259, 262, 277, 278, 284, 317, 322, 323, 32997, 32998)
_REDUCED, _MASK = 1, 4
_REDUCED_OR_MASK = _REDUCED | _MASK
_MOST_DIRECTORIES = 64  # after the first: overviews and masks
_SUB_IFDS, _MOST_SUB_IFDS = 330, 16
_MOST_TAGS = 4096  # tifffile refuses more, too


def read_tiff(data: bytes, limits: DecodeLimits) -> Raster:
    """The first page of a TIFF. Raises a ChipError, and nothing else on bad content."""
    second = _check_directories(data)
    try:
        with TiffFile(io.BytesIO(data), **_PLAIN) as file:
            page = file.pages[0]
            if not isinstance(page, TiffPage):
                raise Corrupt("the TIFF has no readable first page")
            _check_page(page, len(data), limits)
            tags = {tag: page.tags.valueof(tag) for tag in _TAGS if tag in page.tags}
            samples = page.asarray(maxworkers=1)
            axis = {"YX": None, "YXS": 2, "SYX": 0}[page.axes]
            masked = second is not None and second.is_mask
            mask = _mask(file.pages[1], page, len(data), limits) if masked else None
            raster = _grey(planes_first(samples, axis), tags, mask, page)
            place = geo.ground_place(tags, page.imagelength, page.imagewidth)
    except ChipError:
        raise
    except DECODER_FAILURES as error:
        text = str(error) or type(error).__name__
        raise Corrupt(f"the TIFF cannot be decoded: {text}") from error
    return replace(raster, place=place)


def _check_directories(data: bytes) -> "_Directory | None":
    """The second directory; files that tifffile must not see are refused before it sees them."""
    first = _first_directory(data)
    if first is None or first.end > len(data):
        raise Truncated(f"the TIFF ends within its first directory, at byte {len(data)}")
    if first.malformed:
        raise Corrupt(f"the TIFF's tags {first.malformed} should be one whole number each")
    following = _directories_after(data, first)
    inner = [_directory_at(data, offset) for offset in first.sub_directories]
    others = [*following, *(one for one in inner if one is not None)]
    if first.is_reduced or any(other.samples > first.samples for other in others):
        raise UnsupportedBands(
            "the TIFF begins with a reduced image (a thumbnail or an overview); expected the full "
            "image first. Write it alone (gdal_translate)"
        )
    if any(other.is_page for other in following):
        raise UnsupportedBands(
            "the TIFF has several full pages; expected one chip a file. Write the planes of one "
            "chip as its bands (tifffile: planarconfig='separate')"
        )
    return following[0] if following else None


def _directories_after(data: bytes, first: "_Directory") -> list["_Directory"]:
    """The directories that follow the first, in the order of the file, as far as it goes."""
    found: list[_Directory] = []
    seen, offset = {0}, first.following
    while offset not in seen:
        seen.add(offset)
        directory = _directory_at(data, offset)
        if directory is None:
            break
        found.append(directory)
        if len(found) > _MOST_DIRECTORIES:
            raise UnsupportedBands(
                f"the TIFF has more than {_MOST_DIRECTORIES} directories; expected one chip a file"
            )
        offset = directory.following
    return found


def _check_page(page: TiffPage, size: int, limits: DecodeLimits) -> None:
    """Check everything in the header, before any pixel is decoded."""
    if page.dtype is None or (page.dtype.kind not in "iufc" and page.subfiletype & _MASK == 0):
        raise UnsupportedFormat(f"TIFF samples of type {page.dtype}; expected 8 to 64 bits")
    if page.axes not in ("YX", "YXS", "SYX"):
        raise UnsupportedBands(f"a TIFF page with axes {page.axes}; expected one image of bands")
    if page.compression not in _COMPRESSIONS:
        known = ", ".join(compression.name for compression in _COMPRESSIONS)
        raise UnsupportedFormat(f"TIFF compression {page.compression!r}; expected one of {known}")
    bands, item = page.samplesperpixel, page.dtype.itemsize
    limits.check(page.imagelength, page.imagewidth, bands * item)
    if bands > _MOST_BANDS:
        raise UnsupportedBands(f"{bands} bands; expected 1, 2 or 4 polarisation planes")
    parts, part = math.prod(page.chunked), math.prod(page.chunks)
    if parts * part * item > 2 * 16 * limits.max_pixels:  # twice the image's own limit
        raise TooManyPixels(f"{parts} TIFF tiles of {part} samples for a far smaller picture")
    if not parts == len(page.dataoffsets) == len(page.databytecounts):
        raise Corrupt(f"the TIFF has {parts} strips or tiles and {len(page.dataoffsets)} offsets")
    end = max(o + c for o, c in zip(page.dataoffsets, page.databytecounts, strict=True))
    if end > size:
        raise Truncated(f"the TIFF's pixel data ends at byte {end}, the file at {size}")


def _mask(
    page: TiffPage | TiffFrame, image: TiffPage, size: int, limits: DecodeLimits
) -> NDArray[np.bool_]:
    """Where there is data (H, W), by the page that holds the image's mask (GDAL's internal one)."""
    if not isinstance(page, TiffPage) or page.shape != (image.imagelength, image.imagewidth):
        raise Corrupt(f"the TIFF's mask has the shape {page.shape}, the image {image.shape}")
    _check_page(page, size, limits)
    return np.asarray(page.asarray(maxworkers=1) != 0)


def _grey(
    planes: NDArray[Any],
    tags: Mapping[int, Any],
    mask: NDArray[np.bool_] | None,
    page: TiffPage,
) -> Raster:
    """Planes of a grey or multi-band page without its alpha bands, and where they have data."""
    described = read_bands(tags, len(planes))
    colours = 3 if page.photometric == PHOTOMETRIC.RGB else 1
    alpha = [colours + k for k, kind in enumerate(page.extrasamples) if kind in _ALPHA]
    kept = [k for k in range(len(planes)) if k not in alpha]
    if page.photometric == PHOTOMETRIC.RGB:
        if len(kept) != 3 or (planes[kept] != planes[:1]).any():
            raise NotGrey(_RGB)
        kept = [0]
    elif page.photometric not in (PHOTOMETRIC.MINISBLACK, PHOTOMETRIC.MINISWHITE):
        raise NotGrey(f"a TIFF of photometric {page.photometric!r}; expected grey")
    masks = [_opaque(planes[k]) for k in alpha] + ([] if mask is None else [mask])
    if len(kept) < len(planes):
        planes = planes[kept]
    missing = read_nodata(tags)
    if missing is not None:
        masks.append(~_equal(planes, missing))
    valid = None
    if masks:
        valid = np.broadcast_to(np.logical_and.reduce(np.broadcast_arrays(*masks)), planes.shape)
    if page.photometric == PHOTOMETRIC.MINISWHITE:
        planes = _inverted(planes, page.bitspersample)
    return Raster(
        planes,
        float_is_sigma0=True,
        valid=valid,
        bands=tuple(described[k] for k in kept),
    )


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


@dataclass(frozen=True)
class _Directory:
    """One page: the count of values per tag, the single numbers stored in the directory itself, the
    end of the last value, the offset of the next directory (0: none), and of sub-directories."""

    counts: dict[int, int]
    numbers: dict[int, int]
    end: int
    following: int
    sub_directories: tuple[int, ...] = ()

    @property
    def samples(self) -> int:
        """Width times height; 0 if it has none."""
        return self.numbers.get(256, 0) * self.numbers.get(257, 0)

    @property
    def malformed(self) -> list[int]:
        """Tags that should be one whole number, but are several or of another type."""
        return [tag for tag in _SINGLE if tag in self.counts and tag not in self.numbers]

    @property
    def is_mask(self) -> bool:
        """Whether it is the mask of a full image."""
        return self.numbers.get(_NEW_SUBFILE_TYPE, 0) & _REDUCED_OR_MASK == _MASK

    @property
    def is_reduced(self) -> bool:
        """Whether it is a smaller version of another image."""
        return bool(self.numbers.get(_NEW_SUBFILE_TYPE, 0) & _REDUCED)

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
    counts, numbers, end, subs = {}, {}, after, ()
    for position in range(first, after, step):
        tag, kind, length = struct.unpack_from(head, data, position)
        counts[tag] = length
        size, place = length * _TYPE_BYTES.get(kind, 0), position + top
        if size > inline:
            (place,) = struct.unpack_from(pointer, data, position + top)
            end = max(end, place + size)
        elif length == 1 and kind in _NUMBER_FORMATS:
            form = order + _NUMBER_FORMATS[kind]
            numbers[tag] = struct.unpack_from(form, data, position + top)[0]
        if tag == _SUB_IFDS and kind in _NUMBER_FORMATS and place + size <= len(data):
            form = f"{order}{min(length, _MOST_SUB_IFDS)}{_NUMBER_FORMATS[kind]}"
            subs = struct.unpack_from(form, data, place)
    return _Directory(counts, numbers, end, struct.unpack_from(pointer, data, after)[0], subs)


def _form(data: bytes) -> tuple[str, bool]:
    """(byte order, whether it is a BigTIFF)."""
    return "<" if data.startswith(b"II") else ">", data[2:4] in (b"+\x00", b"\x00+")
