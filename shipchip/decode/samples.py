"""What samples mean: a Raster -> amplitude. shipchip.chip has the table.

A real plane with negative samples is none of amplitude or sigma0. It may be one part of a complex
plane, sigma0 with a few negatives from noise removal or resampling, decibels, a standardised array,
or integers that were stored with a wrong sign. Only the first two can be read.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from shipchip.chip import PLANE_NAMES, Encoding, Quantity, ReadQuantity
from shipchip.decode.bands import Band, named_planes
from shipchip.decode.raster import Raster
from shipchip.errors import Negative, NoData, NonFinite, NotBackscatter, UnsupportedBands

# Noise removal and cubic resampling leave a few negatives in sigma0: up to this share is set to 0.
MOST_CLIPPED = 0.05
_SLIGHTLY = 0.01  # of the highest sample
_DECIBEL_SHARE, _DECIBEL_LOW = 0.9, -3.0
# Of (re, im) pairs half of the samples are negative, around 0, in both planes alike and without
# skew, and the planes are independent. All of 648 SLC chips of OpenSARShip, 74 of its patches and
# 350 SLC patches of land are within these bounds.
_PAIR_NEGATIVE = (0.3, 0.7)
_PAIR_SPREAD = 3.0
_PAIR_MEAN = 0.3
_PAIR_SKEW = 0.17
_PAIR_EXTREMES, _PAIR_SIGN = 0.01, 0.03
_PAIR_CORRELATION = 0.15
_PAIR_SAMPLES = 16


class Amplitude(NamedTuple):
    """Amplitude float32 (P, H, W), >= 0 and 0 where there is no data, and what it was read from."""

    planes: NDArray[np.float32]
    valid: NDArray[np.bool_] | None
    names: tuple[str, ...]
    encoding: Encoding
    quantity: ReadQuantity
    clipped: float


class _Planes(NamedTuple):
    """Planes of backscatter, missing samples set to 0; `bands` says what the file says of them."""

    samples: NDArray[Any]
    valid: NDArray[np.bool_] | None
    bands: tuple[Band, ...]


def to_amplitude(raster: Raster, quantity: Quantity) -> Amplitude:
    """The amplitude of a raster's planes of backscatter. Raises a ChipError."""
    planes = _scaled(_backscatter(raster))
    samples, valid, bands = planes
    if samples.dtype.kind in "fc" and not np.isfinite(samples).all():
        raise NonFinite(
            "NaN or infinite samples; declare them as no-data (GDAL: gdal_edit -a_nodata nan), or "
            "crop them"
        )
    if samples.dtype.kind == "c":
        pairs = [(plane.real, plane.imag) for plane in samples]
        return _complex(pairs, valid, _names(bands))
    if _is_pairs(planes, quantity):
        pairs, order = _paired(planes)
        valid = None if valid is None else valid[[first for first, _ in order]]
        return _complex(pairs, valid, _names([bands[first] for first, _ in order]))
    clipped = _check_negatives(planes)
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
    return Amplitude(amplitude, valid, _names(bands), encoding, read, clipped)


def _backscatter(raster: Raster) -> _Planes:
    """The planes of backscatter, by what the file says about its bands."""
    count = raster.planes.shape[0]
    bands = raster.bands or (Band(),) * count
    kept = named_planes(bands)
    if not kept:
        names = ", ".join(repr(band.name or band.unit) for band in bands)
        if any(band.decibels for band in bands):
            raise Negative(f"the bands are {names}: decibels; expected amplitude or linear sigma0")
        raise NotBackscatter(
            f"the bands are {names}; expected backscatter, such as 'VV' or 'Sigma0_VH'"
        )
    unnamed = bands[kept[0]].polarisation is None
    dropped = [bands[k].name for k in range(count) if k not in kept and bands[k].polarisation]
    if unnamed and dropped and any(bands[k].quantity is None for k in kept):
        raise NotBackscatter(
            f"the band {dropped[0]!r} is no backscatter in linear units, and the file does not say "
            "what the others are; expected a band such as 'VV' or 'Sigma0_VH'"
        )
    if unnamed and len(kept) not in PLANE_NAMES:
        raise UnsupportedBands(
            f"{len(kept)} bands without names; expected 1, 2 or 4 polarisation planes, or bands "
            "that are named (VV, VH)"
        )
    if kept == list(range(count)):
        samples, valid = raster.planes, raster.valid
    else:
        samples = raster.planes[kept]
        valid = None if raster.valid is None else raster.valid[kept]
    if valid is not None:
        if valid.all():
            valid = None
        elif not valid.any():
            raise NoData("every sample is no-data; expected an image of a ship")
        else:
            samples = np.where(valid, samples, samples.dtype.type(0))
    return _Planes(samples, valid, tuple(bands[k] for k in kept))


def _scaled(planes: _Planes) -> _Planes:
    """The samples with the file's scale and offset applied, in float64; missing ones stay 0."""
    if not any(band.scaled for band in planes.bands):
        return planes
    scale = np.array([band.scale for band in planes.bands])[:, None, None]
    offset = np.array([band.offset for band in planes.bands])[:, None, None]
    samples = planes.samples * scale + offset
    if planes.valid is not None:
        samples = np.where(planes.valid, samples, 0)
    return planes._replace(samples=samples)


def _names(bands: Sequence[Band]) -> tuple[str, ...]:
    """The polarisations of the planes: as the file names them, otherwise by their number."""
    named = tuple(band.polarisation for band in bands if band.polarisation is not None)
    return named if named else PLANE_NAMES[len(bands)]


def _is_sigma0(planes: _Planes, quantity: Quantity, raster: Raster) -> bool:
    """Whether real planes are power: as the caller says, as they are named, or by the table."""
    if quantity != "auto":
        return quantity == "sigma0"
    named = planes.bands[0].quantity
    if named is not None:
        return named == "sigma0"
    fractional = planes.samples.dtype.kind == "f" and raster.float_is_sigma0
    return fractional and any((plane % 1 != 0).any() for plane in planes.samples)


def _check_negatives(planes: _Planes) -> float:
    """The share of samples that are negative and may be set to 0; Negative if they may not."""
    samples, valid, _ = planes
    if samples.dtype.kind in "ub" or samples.min() >= 0:
        return 0.0
    lowest, highest = samples.min(), samples.max()
    there = samples.size if valid is None else int(valid.sum())
    share = float((samples < 0).sum() / there)
    if _decibels(samples):
        raise Negative(
            f"samples down to {lowest:g}, nearly all negative: decibels; expected amplitude or "
            "linear sigma0"
        )
    same = int((samples == lowest).sum())
    placeholder = samples.dtype.kind == "f" and float(lowest).is_integer() and same > 1
    if same > 0.5 * share * there and (placeholder or -float(lowest) > float(highest)):
        raise Negative(
            f"{same} samples are {lowest:g}: a no-data value that the file does not declare? "
            f"Declare it (gdal_edit -a_nodata {lowest:g}), or crop them"
        )
    if samples.dtype.kind == "i":
        raise Negative(
            f"negative samples of {samples.dtype}, down to {lowest}: unsigned integers that were "
            f"stored as signed ones (wrapped)? Write them as u{samples.dtype.name}"
        )
    if share > MOST_CLIPPED and -float(lowest) < _SLIGHTLY * float(highest):
        raise Negative(
            f"{share:.0%} of the samples are slightly negative, down to {lowest:g}: noise was "
            f"removed, and the sea was left below 0? At most {MOST_CLIPPED:.0%} may be negative. "
            "Use the product before noise removal, or multilook it first"
        )
    if share > MOST_CLIPPED or -float(lowest) > float(highest):
        raise Negative(
            f"{share:.0%} of the samples are negative, down to {lowest:g}: decibels, or a "
            "standardised array (z-scores)? Expected amplitude or linear sigma0, in which at most "
            f"{MOST_CLIPPED:.0%} may be negative after noise removal or resampling"
        )
    return share


def _decibels(samples: NDArray[Any]) -> bool:
    """Whether a plane is nearly all negative, as sea is in decibels; zeros may be no-data."""
    for plane in samples:
        some = np.count_nonzero(plane)
        if plane.min() < _DECIBEL_LOW and np.count_nonzero(plane < 0) > _DECIBEL_SHARE * some:
            return True
    return False


def _is_pairs(planes: _Planes, quantity: Quantity) -> bool:
    """Whether real planes are (re, im) pairs: as the caller says, as named, or as they look."""
    count = len(planes.bands)
    if quantity == "complex_pairs":
        if count not in (2, 4):
            raise UnsupportedBands(f"(re, im) pairs in {count} band; expected 2 or 4")
        return True
    if quantity != "auto":
        return False
    if any(band.part is not None for band in planes.bands):
        return all(band.part is not None for band in planes.bands) and count in (2, 4)
    if count not in (2, 4) or any(band.polarisation is not None for band in planes.bands):
        return False
    if planes.samples.dtype.kind not in "if" or planes.samples.min() >= 0:
        return False
    pairs, _ = _paired(planes)
    return all(_looks_complex(re, im) for re, im in pairs)


def _paired(
    planes: _Planes,
) -> tuple[list[tuple[NDArray[Any], NDArray[Any]]], list[tuple[int, int]]]:
    """The (re, im) planes, and their numbers: by name, or one after the other."""
    bands = planes.bands
    real = [k for k, band in enumerate(bands) if band.part == "real"]
    order = [(k, k + 1) for k in range(0, len(bands), 2)]
    if len(real) * 2 == len(bands):
        order = [
            (k, m)
            for k in real
            for m, band in enumerate(bands)
            if band.part == "imaginary" and band.polarisation == bands[k].polarisation
        ]
    return [(planes.samples[a], planes.samples[b]) for a, b in order], order


def _looks_complex(real: NDArray[Any], imaginary: NDArray[Any]) -> bool:
    """Whether two planes may be the parts of a complex one; see the constants."""
    seen = (real != 0) | (imaginary != 0)
    parts = np.stack([real[seen], imaginary[seen]]).astype(np.float64)
    spread = parts.std(axis=1) if parts.shape[1] >= _PAIR_SAMPLES else np.zeros(2)
    if not spread.all() or _standardised(parts):
        return False
    negative = (parts < 0).mean(axis=1)
    return bool(
        spread.max() < _PAIR_SPREAD * spread.min()
        and _PAIR_NEGATIVE[0] < negative.min()
        and negative.max() < _PAIR_NEGATIVE[1]
        and (abs(parts.mean(axis=1)) < _PAIR_MEAN * spread).all()
        and _symmetric(parts)
        and _independent(parts)
    )


def _symmetric(parts: NDArray[np.float64]) -> bool:
    """Whether the planes have no skew, and extremes of both signs: backscatter in decibels or
    standardised has nulls on one side and ships on the other."""
    low, middle, high = np.percentile(parts, [10, 50, 90], axis=1)
    extremes = max(_PAIR_SAMPLES, int(_PAIR_EXTREMES * parts.shape[1]))
    farthest = np.argpartition(abs(parts), -extremes, axis=1)[:, -extremes:]
    positive = (np.take_along_axis(parts, farthest, axis=1) > 0).mean(axis=1)
    even = (abs(high + low - 2 * middle) < _PAIR_SKEW * (high - low)).all()
    return bool(even and positive.min() > _PAIR_SIGN and positive.max() < 1 - _PAIR_SIGN)


def _independent(parts: NDArray[np.float64]) -> bool:
    """Whether the planes' ranks are not correlated; two polarisations show the same ship."""
    ranks = parts.argsort(axis=1).argsort(axis=1)
    correlation = np.asarray(np.corrcoef(ranks))[0, 1]
    return bool(abs(correlation) < _PAIR_CORRELATION)


def _standardised(parts: NDArray[np.float64]) -> bool:
    """Whether both planes have a mean of 0 and a deviation of 1: they were made so."""
    mean, deviation = parts.mean(axis=1), parts.std(axis=1)
    return bool((abs(mean) < 1e-3).all() and (abs(deviation - 1) < 1e-2).all())


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
