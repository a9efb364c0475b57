"""Bytes or a path -> Chip: one reader per format, and the amplitude of what it read.

    picture.py  PNG and JPEG
    tiff.py     TIFF, GeoTIFF and BigTIFF
    npy.py      NumPy arrays
    geo.py      GeoTIFF tags -> pixel spacing
    raster.py   what every reader returns

shipchip.chip has the table of what samples mean.
"""

import logging
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from shipchip.chip import PLANE_NAMES, Chip, DecodeLimits, Encoding, Quantity, ReadQuantity
from shipchip.decode import npy, picture, tiff
from shipchip.decode.raster import Raster
from shipchip.errors import (
    Blank,
    Empty,
    Negative,
    NonFinite,
    PolarisationMissing,
    TooLarge,
    UnsupportedBands,
    UnsupportedFormat,
)
from shipchip.files import EMPTY, read_chip_file
from shipchip.spacing import check_spacing

# tifffile logs problems of broken files; here each such file becomes a ChipError instead.
logging.getLogger("tifffile").setLevel(logging.CRITICAL)

_DECIBEL_SHARE = 0.9


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
    raster = _reader(data)(data, limits)
    amplitude, names, encoding, read_as = _to_amplitude(raster, quantity)
    amplitude, names = _keep(amplitude, names, polarisation)
    _check_content(amplitude)
    spacing = given or (None if raster.spacing_m is None else check_spacing(raster.spacing_m))
    origin: Literal["request", "file"] | None = "request" if given else "file" if spacing else None
    return Chip(amplitude, names, spacing, encoding, read_as, origin)


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


def _to_amplitude(
    raster: Raster, quantity: Quantity
) -> tuple[NDArray[np.float32], tuple[str, ...], Encoding, ReadQuantity]:
    samples = raster.planes
    if samples.shape[0] not in PLANE_NAMES:
        raise UnsupportedBands(f"{samples.shape[0]} bands; expected 1, 2 or 4 polarisation planes")
    if samples.dtype.kind in "fc" and not np.isfinite(samples).all():
        raise NonFinite("NaN or infinite samples; fill or crop no-data areas before sending")
    if samples.dtype.kind == "c":
        pairs = [(plane.real, plane.imag) for plane in samples]
        return _magnitude(pairs), PLANE_NAMES[samples.shape[0]], "complex", "complex"
    if quantity == "auto":
        quantity = _guess(raster)
    if quantity == "complex_pairs":
        if samples.shape[0] not in (2, 4):
            raise UnsupportedBands(f"(re, im) pairs in {samples.shape[0]} band; expected 2 or 4")
        pairs = list(zip(samples[0::2], samples[1::2], strict=True))
        return _magnitude(pairs), PLANE_NAMES[len(pairs)], "complex", "complex"
    if samples.min() < 0:
        raise Negative(
            f"samples down to {samples.min():g}: decibels? expected amplitude or linear sigma0"
        )
    encoding: Encoding = "float" if samples.dtype.kind == "f" else "integer"
    names = raster.polarisations or PLANE_NAMES[samples.shape[0]]
    if quantity == "sigma0":
        roots = (np.sqrt(plane, dtype=np.float64) for plane in samples)
        return _float32(roots, samples.shape), names, encoding, "sigma0"
    return _float32(samples, samples.shape), names, encoding, "amplitude"


def _guess(raster: Raster) -> Quantity:
    """The table in shipchip.chip: by how the samples are stored, never by their values' size."""
    samples = raster.planes
    if samples.shape[0] in (2, 4) and samples.min() < 0 and not _decibels(samples):
        return "complex_pairs"
    if samples.dtype.kind == "f" and raster.float_is_sigma0:
        return "sigma0" if any((plane % 1 != 0).any() for plane in samples) else "amplitude"
    return "amplitude"


def _decibels(samples: NDArray[Any]) -> bool:
    """Whether a plane is nearly all negative, as sea is in decibels; of re and im, half is."""
    return any((plane < 0).mean() > _DECIBEL_SHARE for plane in samples)


def _magnitude(pairs: Sequence[tuple[NDArray[Any], NDArray[Any]]]) -> NDArray[np.float32]:
    """(P, H, W) of |z| for P (re, im) pairs; in float64, which holds any float32 pair's."""
    lengths = (np.hypot(re, im, dtype=np.float64) for re, im in pairs)
    return _float32(lengths, (len(pairs), *pairs[0][0].shape))


def _float32(planes: Iterable[NDArray[Any]], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Planes as one array, computed one at a time: wide samples need memory."""
    amplitude = np.empty(shape, np.float32)
    with np.errstate(over="ignore", under="ignore"):
        for plane, place in zip(planes, amplitude, strict=True):
            place[:] = plane
    if not np.isfinite(amplitude).all():
        raise NonFinite("samples beyond float32's range; expected SAR amplitude")
    return amplitude


def _keep(
    amplitude: NDArray[np.float32], names: tuple[str, ...], polarisation: str | None
) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    if polarisation is None:
        return amplitude, names
    wanted = polarisation.upper()
    if wanted not in names:
        raise PolarisationMissing(f"polarisation {wanted} asked for; the chip has {names}")
    index = names.index(wanted)
    return amplitude[index : index + 1], (wanted,)


def _check_content(amplitude: NDArray[np.float32]) -> None:
    if all(plane.min() == plane.max() for plane in amplitude):
        raise Blank(f"every sample is {amplitude.flat[0]:g}; expected an image of a ship")
