"""A scene, and windows of it as GeoTIFF files in memory.

GDAL reads GeoTIFF here and nothing else: no other driver, no file beside the scene, no network.
"""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.control import GroundControlPoint
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import MemoryFile

from shipchip.chip import Chip, Quantity
from shipchip.decode import chip_of
from shipchip.decode.bands import Band
from shipchip.decode.geo import ground_place_at
from shipchip.decode.raster import Raster
from shipchip.decode.tiff import grey_raster
from shipchip.errors import Corrupt, NoData, TooManyPixels, Unreadable
from shipchip.scene.ground import Ground, ground_of
from shipchip.scene.header import Header, read_header
from shipchip.scene.product import Measurement, content_of, measurements, stamps_of

_GDAL = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",  # no overviews, masks or world files beside it
    "GDAL_PAM_ENABLED": "NO",
    "GDAL_CACHEMAX": 64,  # MiB
    "GDAL_TIFF_INTERNAL_MASK": "YES",
    "CPL_VSIL_CURL_ALLOWED_EXTENSIONS": "none",
    "GDAL_HTTP_MAX_RETRY": 0,
}
_NEAREST_POINTS = 25  # control points that a window takes along
_OPEN = 8  # scenes that a process keeps open


@contextmanager
def _gdal() -> Iterator[None]:
    """GDAL with these options; scenes without georeferencing are no reason for a warning."""
    with rasterio.Env(**_GDAL), warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield


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
        with _gdal():
            self._images = [_Image(measurement) for measurement in measurements(path)]
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
        with _gdal():
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
        with _gdal():
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
        return chip_of(replace(raster, place=ground), polarisation, pixel_spacing_m, quantity)

    def _raster(self, place: Place, size: tuple[int, int]) -> tuple[Raster, int, int]:
        """The samples of a window, and the row and column of its first one."""
        rows, columns = size
        top, left = round(place.row - rows / 2), round(place.column - columns / 2)
        with _gdal():
            try:
                whole = _joined([self._padded(one, top, left, size) for one in self._images])
            except (RasterioError, ValueError) as error:
                raise Corrupt(f"the scene cannot be read there: {error}") from error
        _check_data(whole)
        return whole, top, left

    def _padded(self, image: "_Image", top: int, left: int, size: tuple[int, int]) -> Raster:
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


class _Image:
    """One TIFF of a scene, open.

    header   what it says about its samples, by the code that reads chips
    dataset  rasterio's
    nodata   the no-data value of every band, if they all have the same
    masked   whether that does not say where there is data
    """

    def __init__(self, measurement: Measurement) -> None:
        with content_of(measurement) as (file, size):
            self.header = _with_name(read_header(file, size), measurement)
        try:
            self.dataset = rasterio.open(measurement.gdal_path, driver="GTiff")
        except RasterioError as error:
            raise Unreadable(f"{measurement} is no GeoTIFF that can be read: {error}") from error
        found = self.dataset.height, self.dataset.width, self.dataset.count
        header = self.header
        if found != (header.height, header.width, len(header.bands)):
            raise Corrupt(f"{measurement}: GDAL reads {found} (height, width, bands)")
        alpha = len(header.bands) > 1 and bool(header.layout.extrasamples)
        stated = {header.missing if one.nodata is None else one.nodata for one in header.bands}
        several = len(stated) > 1 or (header.missing is not None and header.missing not in stated)
        nodata = None if several else stated.pop()
        kind = self.dataset.dtypes[0]
        unsaid = several or (nodata is not None and kind.startswith("complex"))
        self.nodata = nodata if not unsaid and _can_hold(kind, nodata) else None
        self.masked = header.masked or alpha or unsaid

    def read(self, rows: tuple[int, int], columns: tuple[int, int]) -> Raster:
        """The samples between these rows and columns, as a chip's reader gives them."""
        header = self.header
        if rows[1] <= rows[0] or columns[1] <= columns[0]:
            raise NoData("the window is outside the scene")
        try:
            samples = self.dataset.read(window=(rows, columns))
            mask = None
            if header.masked:
                mask = self.dataset.read_masks(1, window=(rows, columns)) != 0
        except (RasterioError, ValueError) as error:
            raise Corrupt(f"the scene cannot be read there: {error}") from error
        return grey_raster(samples, header.bands, header.missing, mask, header.layout)


def _can_hold(kind: str, value: float | None) -> bool:
    """Whether samples of this type can be a no-data value; if not, it means nothing."""
    if value is None:
        return False
    if kind.startswith("float"):
        return bool(np.isnan(value) or abs(value) <= np.finfo(kind).max)
    limits = np.iinfo(kind)
    return value == value // 1 and limits.min <= value <= limits.max


def _with_name(header: Header, measurement: Measurement) -> Header:
    """The header with the polarisation of the file's name, if its only band has no name."""
    bands = header.bands
    if len(bands) == 1 and not bands[0].name and measurement.polarisation:
        return replace(header, bands=(replace(bands[0], name=measurement.polarisation),))
    return header


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
