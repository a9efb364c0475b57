"""TIFF, GeoTIFF and BigTIFF -> Raster, through tifffile.

Only the first page is read, and only from the bytes given: no series logic, which may follow
names inside the file to other files.
"""

import io
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tifffile import PHOTOMETRIC, TiffFile, TiffPage

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
_METRES_A_DEGREE = 111_320.0  # of latitude; longitude times the cosine of the latitude
_METRES_A_UNIT = {9001: 1.0, 9002: 0.3048, 9003: 1200 / 3937}  # EPSG linear units


def read_tiff(data: bytes, limits: DecodeLimits) -> Raster:
    """The first page of a TIFF. Raises a ChipError, and nothing else on bad content."""
    try:
        with TiffFile(io.BytesIO(data)) as file:
            page = file.pages[0]
            if not isinstance(page, TiffPage):
                raise Corrupt("the TIFF has no readable first page")
            _check_page(page, len(data), limits)
            _refuse_more_pages(file)
            samples = page.asarray(maxworkers=1)
            axis = {"YX": None, "YXS": 2, "SYX": 0}[page.axes]
            spacing = _spacing(page)
            planes = _grey(planes_first(samples, axis), page)
    except ChipError:
        raise
    except DECODER_FAILURES as error:
        text = str(error) or type(error).__name__
        raise Corrupt(f"the TIFF cannot be decoded: {text}") from error
    return Raster(planes, spacing, float_is_sigma0=True)


def _check_page(page: TiffPage, size: int, limits: DecodeLimits) -> None:
    """Everything that the header tells, before any pixel is decoded."""
    if page.dtype is None or page.dtype.kind not in "iufc":
        raise UnsupportedFormat(f"TIFF samples of type {page.dtype}; expected 8 to 64 bits")
    if page.axes not in ("YX", "YXS", "SYX"):
        raise UnsupportedBands(f"a TIFF page with axes {page.axes}; expected one image of bands")
    bands = page.samplesperpixel
    limits.check(page.imagelength, page.imagewidth, planes=bands)
    if bands > 4:
        raise UnsupportedBands(f"{bands} bands; expected 1, 2 or 4 polarisation planes")
    if math.prod(page.chunks) > 4 * limits.max_pixels:
        raise TooManyPixels(f"a TIFF tile of {page.chunks} pixels; limit {limits.max_pixels}")
    ends = [o + c for o, c in zip(page.dataoffsets, page.databytecounts, strict=False)]
    if ends and max(ends) > size:
        raise Truncated(f"the TIFF's pixel data ends at byte {max(ends)}, the file at {size}")


def _refuse_more_pages(file: TiffFile) -> None:
    try:
        second = file.pages[1]
    except IndexError:
        return
    if isinstance(second, TiffPage) and not (second.is_reduced or second.is_mask):
        raise UnsupportedBands("the TIFF has several full pages; expected one chip a file")


def _grey(planes: NDArray[Any], page: TiffPage) -> NDArray[Any]:
    """Planes of a grey or multi-band page; colour is refused unless its planes are equal."""
    if page.photometric == PHOTOMETRIC.MINISWHITE and planes.dtype.kind == "u":
        return np.iinfo(planes.dtype).max - planes
    if page.photometric == PHOTOMETRIC.RGB:
        colour = planes[:3]
        if len(colour) != 3 or (colour != colour[:1]).any():
            raise NotGrey("a colour TIFF: a plot or a screenshot; expected grey radar amplitude")
        return colour[:1]
    if page.photometric not in (PHOTOMETRIC.MINISBLACK, PHOTOMETRIC.MINISWHITE):
        raise NotGrey(f"a TIFF of photometric {page.photometric!r}; expected grey")
    return planes


def _spacing(page: TiffPage) -> tuple[float, float] | None:
    """(row, column) metres from GeoTIFF tags; None without a coordinate system in known units.

    GeoTIFF 1.1 (OGC 19-008r4): ModelPixelScale is in the units of the model, GTModelType 1 is
    projected, 2 is geographic.
    """
    tags = page.geotiff_tags or {}
    scale, tie = tags.get("ModelPixelScale"), tags.get("ModelTiepoint")
    if scale is None and "ModelTransformation" in tags:
        matrix = np.asarray(tags["ModelTransformation"], dtype=np.float64).reshape(4, 4)
        scale = np.hypot(matrix[0, :2], matrix[1, :2])
        tie = (0.0, 0.0, 0.0, *matrix[:3, 3])
    if scale is None:
        return None
    column, row = abs(float(scale[0])), abs(float(scale[1]))
    model = int(tags.get("GTModelTypeGeoKey", 0))
    if model == 1:
        unit = _METRES_A_UNIT.get(int(tags.get("ProjLinearUnitsGeoKey", 9001)))
    elif model == 2 and tie is not None:
        unit = _METRES_A_DEGREE
        column *= math.cos(math.radians(float(tie[4])))
    else:
        unit = None
    if unit is None or not (0 < row * unit < math.inf and 0 < column * unit < math.inf):
        return None
    return row * unit, column * unit
