"""The planes of backscatter of a Raster, by what its file says about bands."""

from collections.abc import Sequence
from typing import Any, NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from shipchip.chip import PLANE_NAMES
from shipchip.decode.bands import Band, named_planes
from shipchip.decode.raster import Raster
from shipchip.errors import Corrupt, Negative, NoData, NotBackscatter, UnsupportedBands


class Planes(NamedTuple):
    """Planes of backscatter, missing samples set to 0; `bands` says what the file says of them."""

    samples: NDArray[Any]
    valid: NDArray[np.bool_] | None
    bands: tuple[Band, ...]


def backscatter_planes(raster: Raster) -> Planes:
    """The planes of backscatter, by what the file says about its bands."""
    count = raster.planes.shape[0]
    bands = raster.bands or (Band(),) * count
    kept = named_planes(bands)
    if not kept:
        _refuse(bands, "expected backscatter, such as 'VV' or 'Sigma0_VH'")
    _check_meaning([bands[k] for k in kept], bands)
    unnamed = bands[kept[0]].polarisation is None
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
    return Planes(samples, valid, tuple(bands[k] for k in kept))


def _check_meaning(kept: Sequence[Band], bands: Sequence[Band]) -> None:
    """A ChipError if what the file says about all bands leaves open what the kept ones are."""
    parts = [band.part for band in kept]
    if any(parts) and not parts.count("real") == parts.count("imaginary") == len(parts) / 2:
        raise UnsupportedBands(
            f"the bands are {_listed(bands)}; expected the real and the imaginary part of each "
            "complex plane (i_VV and q_VV), and no other planes beside them"
        )
    if any(band.polarisation is not None for band in kept):
        return
    says = [band for band in kept if band.quantity is not None or band.part is not None]
    dropped = [band for band in bands if band not in kept]
    if not says and any(band.of_backscatter for band in dropped):
        names = _listed(kept)
        _refuse(bands, f"nothing says that {names} is backscatter: name it, such as 'VV'")
    elements = [band.element for band in kept if band.element is not None]
    if elements and len(kept) > 1:
        raise UnsupportedBands(
            f"the bands are {_listed(bands)}: elements of a matrix do not say which polarisation "
            "they are. Name them by it, such as 'Sigma0_VV', or send one of them alone"
        )


def _refuse(bands: Sequence[Band], todo: str) -> NoReturn:
    """Negative if a band is in decibels, otherwise NotBackscatter."""
    if any(band.decibels for band in bands):
        raise Negative(f"the bands are {_listed(bands)}: decibels; {todo}, in linear units")
    raise NotBackscatter(f"the bands are {_listed(bands)}; {todo}")


def _listed(bands: Sequence[Band]) -> str:
    """Names of bands for a message."""
    return ", ".join(repr((band.name or band.unit)[:60]) for band in bands)


def scaled_planes(planes: Planes) -> Planes:
    """The samples with the file's scale and offset applied, in float64; missing ones stay 0."""
    if not any(band.scaled for band in planes.bands):
        return planes
    if any(band.scale == 0 for band in planes.bands):
        raise Corrupt(
            "the scale factor of the TIFF's metadata is 0, which makes all samples the same; "
            "expected the factor from stored samples to amplitude or sigma0 (1 if there is none)"
        )
    scale = np.array([band.scale for band in planes.bands])[:, None, None]
    offset = np.array([band.offset for band in planes.bands])[:, None, None]
    samples = planes.samples * scale + offset
    if planes.valid is not None:
        samples = np.where(planes.valid, samples, 0)
    return planes._replace(samples=samples)


def plane_names(bands: Sequence[Band]) -> tuple[str, ...]:
    """The polarisations of the planes: as the file names them, otherwise by their number."""
    named = tuple(band.polarisation for band in bands if band.polarisation is not None)
    return named if named else PLANE_NAMES[len(bands)]
