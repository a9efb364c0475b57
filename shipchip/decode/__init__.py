"""Bytes or a path -> Chip: one reader per format, and the amplitude of what it read.

    picture.py  PNG and JPEG
    tiff.py     TIFF, GeoTIFF and BigTIFF
    npy.py      NumPy arrays
    raster.py   what every reader returns

    directories.py  which page of a TIFF is the chip
    metadata.py     what GDAL and SNAP write about bands: names, scale, no-data
    geo.py          georeferencing -> pixel spacing and position; crs.py, rpc.py

    samples.py    what samples mean: a raster -> amplitude
    planes.py     which planes are backscatter; bands.py says what their names mean
    pairs.py      which planes are the parts of complex ones
    negatives.py  which negative samples may be set to 0

shipchip.chip has the table of what samples mean.
"""

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from shipchip.chip import Chip, DecodeLimits, Quantity
from shipchip.decode import npy, picture, tiff
from shipchip.decode.raster import Raster
from shipchip.decode.samples import Amplitude, to_amplitude
from shipchip.errors import Blank, Empty, PolarisationMissing, TooLarge, UnsupportedFormat
from shipchip.files import EMPTY, read_chip_file
from shipchip.spacing import check_spacing

# tifffile logs problems of broken files; here each such file becomes a ChipError instead.
logging.getLogger("tifffile").setLevel(logging.CRITICAL)


def decode(
    source: bytes | str | os.PathLike[str],
    *,
    polarisation: str | None = None,
    pixel_spacing_m: float | tuple[float, float] | None = None,
    quantity: Quantity = "auto",
    limits: DecodeLimits | None = None,
) -> Chip:
    """Decode one chip from bytes or from a file.

    polarisation     keep this plane only ("VV", "vh", ...)
    pixel_spacing_m  overrides the file's; one number, or (row, column), in metres on the ground
    quantity         what the samples are, if the table in shipchip.chip would be wrong

    Bad content raises a ChipError, whose `code` says what is wrong, and nothing else.
    """
    limits = limits or DecodeLimits()
    given = None if pixel_spacing_m is None else check_spacing(pixel_spacing_m)
    if quantity not in get_args(Quantity):
        raise ValueError(f"quantity is {quantity!r}, expected one of {get_args(Quantity)}")
    data = source if isinstance(source, bytes) else read_chip_file(Path(source), limits.max_bytes)
    if not data:
        raise Empty(EMPTY)
    if len(data) > limits.max_bytes:
        raise TooLarge(f"{len(data)} bytes, the limit is {limits.max_bytes}: send a smaller chip")
    return to_chip(_reader(data)(data, limits), polarisation, given, quantity)


def to_chip(
    raster: Raster,
    polarisation: str | None,
    given: tuple[float, float] | None,
    quantity: Quantity,
) -> Chip:
    """The chip that a raster is, be it of a chip's file or of a scene; options as in `decode`.

    Raises a ChipError.
    """
    found = _keep(to_amplitude(raster, quantity), polarisation)
    _check_content(found.planes)
    place = raster.place
    spacing = given or (None if place is None else check_spacing(place.spacing_m))
    return Chip(
        amplitude=found.planes,
        polarisations=found.names,
        pixel_spacing_m=spacing,
        encoding=found.encoding,
        quantity=found.quantity,
        pixel_spacing_from=None if spacing is None else "file" if given is None else "request",
        clipped=found.clipped,
        position=None if place is None else place.position,
        valid=found.valid,
    )


def _reader(data: bytes) -> Callable[[bytes, DecodeLimits], Raster]:
    if data.startswith(picture.MAGICS):
        return picture.read_picture
    if data.startswith(tiff.MAGICS):
        return tiff.read_tiff
    if data.startswith(npy.MAGIC):
        return npy.read_npy
    raise UnsupportedFormat(
        f"the file starts with {data[:8]!r}; expected a PNG, JPEG, TIFF, GeoTIFF or .npy chip"
    )


def _keep(found: Amplitude, polarisation: str | None) -> Amplitude:
    """The plane of one polarisation, or all planes."""
    if polarisation is None:
        return found
    wanted = polarisation.upper()
    if wanted not in found.names:
        has = ", ".join(found.names)
        raise PolarisationMissing(f"polarisation {wanted} asked for; the chip has {has}")
    plane = slice(found.names.index(wanted), found.names.index(wanted) + 1)
    valid = None if found.valid is None else found.valid[plane]
    return found._replace(planes=found.planes[plane], valid=valid, names=(wanted,))


def _check_content(amplitude: NDArray[np.float32]) -> None:
    if all(plane.min() == plane.max() for plane in amplitude):
        raise Blank(f"every sample is {amplitude.flat[0]:g}; expected an image of a ship")
