"""What samples mean: a Raster -> amplitude. shipchip.chip has the table.

A real plane with negative samples is none of amplitude or sigma0. It may be one part of a complex
plane, sigma0 with a few negatives from noise removal or resampling, decibels, a standardised array,
or integers that were stored with a wrong sign. Only the first two can be read.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from shipchip.chip import Encoding, Quantity, ReadQuantity
from shipchip.decode.negatives import check_negatives
from shipchip.decode.pairs import is_pairs, paired
from shipchip.decode.planes import Planes, backscatter_planes, plane_names, scaled_planes
from shipchip.decode.raster import Raster
from shipchip.errors import NonFinite, UnsupportedBands


class Amplitude(NamedTuple):
    """Amplitude float32 (P, H, W), >= 0 and 0 where there is no data, and what it was read from."""

    planes: NDArray[np.float32]
    valid: NDArray[np.bool_] | None
    names: tuple[str, ...]
    encoding: Encoding
    quantity: ReadQuantity
    clipped: float


def to_amplitude(raster: Raster, quantity: Quantity) -> Amplitude:
    """The amplitude of a raster's planes of backscatter. Raises a ChipError."""
    planes = scaled_planes(backscatter_planes(raster))
    samples, valid, bands = planes
    if samples.dtype.kind in "fc" and not np.isfinite(samples).all():
        raise NonFinite(
            "NaN or infinite samples; declare them as no-data (GDAL: gdal_edit -a_nodata nan), or "
            "crop them"
        )
    if samples.dtype.kind == "c":
        pairs = [(plane.real, plane.imag) for plane in samples]
        return _complex(pairs, valid, plane_names(bands))
    if is_pairs(planes, quantity):
        pairs, order = paired(planes)
        valid = None if valid is None else valid[[first for first, _ in order]]
        return _complex(pairs, valid, plane_names([bands[first] for first, _ in order]))
    clipped = check_negatives(planes)
    read: ReadQuantity = "sigma0" if _is_sigma0(planes, quantity, raster) else "amplitude"
    encoding: Encoding = "float" if samples.dtype.kind == "f" else "integer"
    if clipped:
        samples = np.maximum(samples, 0)
    if read == "sigma0":
        roots = (np.sqrt(plane, dtype=np.float64) for plane in samples)
        amplitude = _float32(roots, samples.shape)
    elif encoding == "float":
        amplitude = _float32(samples, samples.shape)
    else:
        amplitude = samples.astype(np.float32)  # no integer is beyond float32's range
    return Amplitude(amplitude, valid, plane_names(bands), encoding, read, clipped)


def _is_sigma0(planes: Planes, quantity: Quantity, raster: Raster) -> bool:
    """Whether real planes are power: as the caller says, as they are named, or by the table."""
    if quantity != "auto":
        return quantity == "sigma0"
    named = {band.quantity for band in planes.bands} - {None}
    if len(named) > 1:
        names = ", ".join(repr(band.name[:60]) for band in planes.bands)
        raise UnsupportedBands(
            f"the bands are {names}: amplitude beside power; expected bands of one quantity"
        )
    if named:
        return "sigma0" in named
    fractional = planes.samples.dtype.kind == "f" and raster.float_is_sigma0
    return fractional and any((plane % 1 != 0).any() for plane in planes.samples)


def _complex(
    pairs: Sequence[tuple[NDArray[Any], NDArray[Any]]],
    valid: NDArray[np.bool_] | None,
    names: tuple[str, ...],
) -> Amplitude:
    """|z| of (re, im) pairs; in float64, which holds any float32 pair's."""
    lengths = (np.hypot(re, im, dtype=np.float64) for re, im in pairs)
    amplitude = _float32(lengths, (len(pairs), *pairs[0][0].shape))
    return Amplitude(amplitude, valid, names, "complex", "complex", 0.0)


def _float32(planes: Iterable[NDArray[Any]], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Planes as one array, computed one at a time: wide samples need memory."""
    amplitude = np.empty(shape, np.float32)
    with np.errstate(over="ignore", under="ignore"):
        for plane, place in zip(planes, amplitude, strict=True):
            place[:] = plane
    if not np.isfinite(amplitude).all():
        raise NonFinite("samples beyond float32's range; expected SAR amplitude")
    return amplitude
