"""A scene, and windows of it: as chips, or as GeoTIFF files in memory."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.control import GroundControlPoint
from rasterio.errors import RasterioError
from rasterio.io import MemoryFile

from shipchip.chip import Chip, Quantity
from shipchip.decode import to_chip
from shipchip.decode.bands import Band
from shipchip.decode.geo import ground_place_at
from shipchip.decode.raster import Raster
from shipchip.errors import Corrupt, NoData, TooManyPixels, Unreadable
from shipchip.scene.ground import Ground, ground_of
from shipchip.scene.image import SceneImage, gdal
from shipchip.scene.product import measurements, stamps_of

_NEAREST_POINTS = 25  # control points that a window takes along
_OPEN = 8  # scenes that a process keeps open


@dataclass(frozen=True)
class Place:
    """A place in a scene, in pixels: (0, 0) is the outer corner of the first sample."""

    column: float
    row: float


class Scene:
    """An open scene; see `open_scene`.

    height, width  samples
    ground         where they are; None if the scene does not say
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with gdal():
            self._images = [SceneImage(measurement) for measurement in measurements(path)]
            first = self._images[0].header
            self.height, self.width = first.height, first.width
            sizes = {(one.header.height, one.header.width) for one in self._images}
            if sizes != {(self.height, self.width)}:
                raise Unreadable(
                    f"{path} has measurements of several sizes, as an SLC product has; expected "
                    "one grid for all polarisations, as in a GRD product"
                )
            dataset = self._images[0].dataset
            self.ground: Ground | None = ground_of(dataset)
            self._points = dataset.gcps
            places = [(point.row, point.col) for point in self._points[0]]
            self._point_places = np.array(places, np.float64).reshape(-1, 2)
            self._crs, self._transform = dataset.crs, dataset.transform

    def holds(self, place: Place) -> bool:
        """Whether a place is inside the scene."""
        return 0 <= place.column < self.width and 0 <= place.row < self.height

    def sample(self, place: Place) -> float | None:
        """The sample of the first band at a place inside the scene; None if there is no data."""
        column, row = int(place.column), int(place.row)
        with gdal():
            raster = self._images[0].read((row, row + 1), (column, column + 1))
        sample = raster.planes[0, 0, 0]
        if (raster.valid is not None and not raster.valid[0, 0, 0]) or np.isnan(sample):
            return None
        return float(abs(sample))

    def window(self, place: Place, size: tuple[int, int]) -> bytes:
        """A GeoTIFF of (rows, columns) samples around a place, all bands of the scene.

        What is outside the scene has the scene's no-data value, otherwise 0. Raises NoData if that,
        or no-data of the scene, is half of the window or more; Corrupt if it cannot be read.
        """
        raster, top, left = self._raster(place, size)
        with gdal():
            try:
                return self._file(raster, top, left)
            except (RasterioError, ValueError) as error:
                raise Corrupt(f"the window cannot be written: {error}") from error

    def chip(
        self,
        place: Place,
        size: tuple[int, int],
        *,
        polarisation: str | None = None,
        pixel_spacing_m: tuple[float, float] | None = None,
        quantity: Quantity = "auto",
    ) -> Chip:
        """What `decode` gives for `window`, with the same options and errors, in half of the time.

        A position is given only if the scene names an EPSG code.
        """
        raster, top, left = self._raster(place, size)
        middle = left + size[1] / 2, top + size[0] / 2
        try:
            ground = ground_place_at(self._images[0].header.tags, *middle)
        except (TypeError, ValueError) as error:
            raise Corrupt(f"the scene's georeferencing cannot be read: {error}") from error
        return to_chip(replace(raster, place=ground), polarisation, pixel_spacing_m, quantity)

    def _raster(self, place: Place, size: tuple[int, int]) -> tuple[Raster, int, int]:
        """The samples of a window, and the row and column of its first one."""
        rows, columns = size
        top, left = round(place.row - rows / 2), round(place.column - columns / 2)
        with gdal():
            try:
                whole = _joined([self._padded(one, top, left, size) for one in self._images])
            except (RasterioError, ValueError) as error:
                raise Corrupt(f"the scene cannot be read there: {error}") from error
        _check_data(whole)
        return whole, top, left

    def _padded(self, image: SceneImage, top: int, left: int, size: tuple[int, int]) -> Raster:
        """The samples of a window; outside the scene they are no-data, or 0."""
        rows, columns = size
        inside = (
            (max(top, 0), min(top + rows, self.height)),
            (max(left, 0), min(left + columns, self.width)),
        )
        raster = image.read(*inside)
        if raster.planes.shape[1:] == size:
            return raster
        fill = image.nodata or 0
        around = [
            (start - edge, edge + whole - end)
            for (start, end), edge, whole in zip(inside, (top, left), size, strict=True)
        ]
        planes = np.pad(raster.planes, [(0, 0), *around], constant_values=fill)
        valid = None
        if raster.valid is not None and (image.masked or image.nodata is not None):
            valid = np.pad(raster.valid, [(0, 0), *around], constant_values=False)
        return replace(raster, planes=planes, valid=valid)

    def _file(self, raster: Raster, top: int, left: int) -> bytes:
        """A GeoTIFF of samples and of what the scene says about them."""
        bands = raster.bands or ()
        count, height, width = raster.planes.shape
        stated = {image.nodata for image in self._images}
        nodata = stated.pop() if len(stated) == 1 else None
        with MemoryFile() as memory:
            with memory.open(
                driver="GTiff",
                height=height,
                width=width,
                count=count,
                dtype=raster.planes.dtype,
                nodata=nodata,
                photometric="MINISBLACK",
                **self._georeference(top, left, height, width),
            ) as file:
                file.write(raster.planes)
                _describe(file, bands)
                if raster.valid is not None and any(image.masked for image in self._images):
                    # One mask for all bands. The no-data value says the rest of each band.
                    there = raster.valid.any(axis=0) if nodata is not None else raster.valid.all(0)
                    file.write_mask(there)
            return bytes(memory.getbuffer())

    def _georeference(self, top: int, left: int, height: int, width: int) -> dict[str, Any]:
        """What rasterio writes a window's place from."""
        points, crs = self._points
        if points and crs is not None:
            away = np.hypot(*(self._point_places - (top + height / 2, left + width / 2)).T)
            near = [points[k] for k in np.argsort(away, kind="stable")[:_NEAREST_POINTS]]
            moved = [GroundControlPoint(p.row - top, p.col - left, p.x, p.y, p.z) for p in near]
            return {"gcps": moved, "crs": crs}
        if self._crs is None or self._transform.is_identity:
            return {}
        shift = rasterio.Affine.translation(left, top)
        return {"crs": self._crs, "transform": self._transform * shift}


def _describe(file: Any, bands: Sequence[Band]) -> None:
    """Write what is said about bands, as far as anything is: each call of GDAL takes time."""
    for number, band in enumerate(bands, 1):
        unit = "dB" if band.logarithmic else band.unit
        if band.name:
            file.set_band_description(number, band.name)
        if unit:
            file.set_band_unit(number, unit)
    if any(band.scaled for band in bands):
        file.scales = [band.scale for band in bands]
        file.offsets = [band.offset for band in bands]


def _joined(rasters: Sequence[Raster]) -> Raster:
    """The planes of all images as one raster."""
    first = rasters[0]
    if len(rasters) == 1:
        return first
    bands: list[Band] = [band for raster in rasters for band in raster.bands or ()]
    valid = None
    if any(raster.valid is not None for raster in rasters):
        every = (
            np.ones(one.planes.shape, bool) if one.valid is None else one.valid for one in rasters
        )
        valid = np.concatenate(list(every))
    planes = np.concatenate([raster.planes for raster in rasters])
    return replace(first, planes=planes, valid=valid, bands=tuple(bands))


def _check_data(raster: Raster) -> None:
    """NoData if half of a window is: where the scene says so, or is 0 and does not say."""
    there = raster.planes != 0 if raster.valid is None else raster.valid
    missing = 1 - float(there.any(axis=0).mean())
    if missing >= 0.5:
        raise NoData(f"{missing:.0%} of the window is no-data; expected less than half")


def open_scene(path: str) -> Scene:
    """A GeoTIFF, or a folder or zip with the measurement files of a Sentinel-1 GRD product.

    Raises NotFound, Unreadable and other ChipErrors, which say what was found and expected. The
    last few stay open, as long as they are not written anew.
    """
    return _opened(path, stamps_of(Path(path)))


@lru_cache(maxsize=_OPEN)
def _opened(path: str, _: object) -> Scene:
    return Scene(Path(path))


def window_size(metres: float, spacing_m: tuple[float, float], max_pixels: int) -> tuple[int, int]:
    """(rows, columns) of a window of so many metres a side; TooManyPixels if these are too many."""
    rows, columns = (max(8, round(metres / spacing)) for spacing in spacing_m)
    if rows * columns > max_pixels:
        raise TooManyPixels(
            f"a window of {metres:g} m is {rows} x {columns} pixels, the limit is {max_pixels}: "
            "give a smaller --window"
        )
    return rows, columns
