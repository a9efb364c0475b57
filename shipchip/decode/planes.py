"""The planes of backscatter of a Raster, by what its file says about bands."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from shipchip.chip import PLANE_NAMES
from shipchip.decode.bands import Band, named_planes
from shipchip.decode.raster import Raster
from shipchip.errors import Negative, NoData, NotBackscatter, UnsupportedBands


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
        names = ", ".join(repr(band.name or band.unit) for band in bands)
        if any(band.decibels for band in bands):
            raise Negative(f"the bands are {names}: decibels; expected amplitude or linear sigma0")
        raise NotBackscatter(
            f"the bands are {names}; expected backscatter, such as 'VV' or 'Sigma0_VH'"
        )
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


def scaled_planes(planes: Planes) -> Planes:
    """The samples with the file's scale and offset applied, in float64; missing ones stay 0."""
    if not any(band.scaled for band in planes.bands):
        return planes
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
