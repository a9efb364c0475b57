"""What a scene's TIFF says of itself, read as a chip's is, without its samples."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

from tifffile import TiffFile, TiffPage

from shipchip.decode import directories
from shipchip.decode.bands import Band
from shipchip.decode.metadata import read_bands, read_nodata
from shipchip.decode.raster import DECODER_FAILURES
from shipchip.decode.tiff import PLAIN, TAGS, Layout, check_samples
from shipchip.errors import ChipError, Corrupt, TooLarge, UnsupportedFormat

# Of a strip or tile with all its bands: more memory than that would a window of any size need.
_MOST_BLOCK_BYTES = 2**27


@dataclass(frozen=True, eq=False)
class Header:
    """Everything but the samples.

    height, width  in samples
    bands          what the file says about each, `missing` is the no-data value of all of them
    layout         how samples are to be read
    masked         whether the TIFF has a mask as a page of its own
    tags           values of those that shipchip.decode reads, also where its samples are
    """

    height: int
    width: int
    bands: tuple[Band, ...]
    missing: float | None
    layout: Layout
    masked: bool
    tags: Mapping[int, Any]


class _Slices:
    """A file as the bytes in it, of which only slices are read."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._size = file, size

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, part: slice, /) -> bytes:
        start, stop, _ = part.indices(self._size)
        self._file.seek(start)
        return self._file.read(max(0, stop - start))


def read_header(file: BinaryIO, size: int) -> Header:
    """The header of a TIFF of `size` bytes that is open, checked before GDAL sees the file.

    In a zip, the size must be known: to look for the end would inflate everything.

    Raises a ChipError, and nothing else on bad content.
    """
    content = _Slices(file, size)
    if content[:4] not in directories.MAGICS:
        raise UnsupportedFormat(
            f"the scene starts with {content[:8]!r}; expected a TIFF: GeoTIFF, COG or a "
            "measurement of Sentinel-1"
        )
    pages = directories.find_pages(content)
    try:
        file.seek(0)
        with TiffFile(file, offset=0, size=size, **PLAIN) as tiff:
            page = tiff.pages[pages.image]
            if not isinstance(page, TiffPage):
                raise Corrupt("the TIFF has no readable page")
            check_samples(page, len(content))
            _check_blocks(page)
            if pages.mask is not None and tiff.pages[pages.mask].shape != page.shape[:2]:
                raise Corrupt("the TIFF's mask has another shape than its image")
            tags = {tag: page.tags.valueof(tag) for tag in TAGS if tag in page.tags}
            return Header(
                page.imagelength,
                page.imagewidth,
                read_bands(tags, page.samplesperpixel),
                read_nodata(tags),
                Layout.of(page),
                pages.mask is not None,
                tags,
            )
    except ChipError:
        raise
    except DECODER_FAILURES as error:
        text = str(error) or type(error).__name__
        raise Corrupt(f"the TIFF cannot be read: {text}") from error


def _check_blocks(page: TiffPage) -> None:
    """TooLarge if one strip or tile would need too much memory. GDAL reads one that is not
    compressed row by row."""
    item = 1 if page.dtype is None else page.dtype.itemsize
    block = math.prod(page.chunks) * item
    if block > _MOST_BLOCK_BYTES and page.compression != 1:
        raise TooLarge(
            f"a strip or tile of the scene holds {block / 2**20:.0f} MiB; write it in tiles: "
            "gdal_translate -of COG scene.tif tiled.tif"
        )
