"""A scene, and windows of it as GeoTIFF files in memory.

GDAL reads GeoTIFF here and nothing else: no other driver, no file beside the scene, no network.
"""

import re
import stat
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import tifffile
from numpy.typing import NDArray
from rasterio.control import GroundControlPoint
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import MemoryFile
from rasterio.windows import Window

from shipchip.decode.metadata import SNAP_METADATA, read_bands
from shipchip.errors import ChipError, Corrupt, NoData, NotFound, TooManyPixels, Unreadable
from shipchip.scene.ground import Ground, ground_of

_GDAL = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",  # no overviews, masks or world files beside it
    "GDAL_PAM_ENABLED": "NO",
    "GDAL_CACHEMAX": 64,  # MiB
    "CPL_VSIL_CURL_ALLOWED_EXTENSIONS": "none",
    "GDAL_HTTP_MAX_RETRY": 0,
}
_MEASUREMENT = re.compile(r"(?:^|/)measurement/[^/]+\.tiff?$", re.IGNORECASE)
_POLARISATION = re.compile(r"(?:^|[-_.])(vv|vh|hh|hv)(?=[-_.])", re.IGNORECASE)
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
            self._datasets = [_open(name) for name in _files(path)]
            first = self._datasets[0]
            self.height, self.width = int(first.height), int(first.width)
            if {(one.height, one.width) for one in self._datasets} != {(self.height, self.width)}:
                raise Unreadable(
                    f"{path} has measurements of several sizes, as an SLC product has; expected "
                    "one grid for all polarisations, as in a GRD product"
                )
            self.ground: Ground | None = ground_of(first)
            self._names = [_band_names(one) for one in self._datasets]

    def holds(self, place: Place) -> bool:
        """Whether a place is inside the scene."""
        return 0 <= place.column < self.width and 0 <= place.row < self.height

    def sample(self, place: Place) -> float:
        """The sample of the first band at a place inside the scene."""
        at = Window(int(place.column), int(place.row), 1, 1)
        with _gdal():
            try:
                return float(self._datasets[0].read(1, window=at)[0, 0])
            except RasterioError as error:
                raise Corrupt(f"{self.path} cannot be read there: {error}") from error

    def window(self, place: Place, size: tuple[int, int]) -> bytes:
        """A GeoTIFF of (rows, columns) samples around a place, all bands of the scene.

        What is outside the scene has the scene's no-data value, otherwise 0. Raises NoData if that,
        or no-data of the scene, is half of the window or more; Corrupt if it cannot be read.
        """
        rows, columns = size
        top, left = round(place.row - rows / 2), round(place.column - columns / 2)
        with _gdal():
            try:
                bands = [self._read(one, top, left, size) for one in self._datasets]
                samples = np.concatenate(bands)
                return self._file(samples, top, left)
            except ChipError:
                raise
            except (RasterioError, ValueError) as error:
                raise Corrupt(f"the scene cannot be read there: {error}") from error

    def _read(self, dataset: Any, top: int, left: int, size: tuple[int, int]) -> NDArray[Any]:
        rows, columns = size
        inside = (
            slice(max(top, 0), min(top + rows, self.height)),
            slice(max(left, 0), min(left + columns, self.width)),
        )
        height, width = (max(part.stop - part.start, 0) for part in inside)
        missing = rows * columns - height * width
        nodata = dataset.nodata
        read = dataset.read(window=Window(inside[1].start, inside[0].start, width, height))
        whole = np.full((len(read), rows, columns), 0 if nodata is None else nodata, read.dtype)
        start = inside[0].start - top, inside[1].start - left
        whole[:, start[0] : start[0] + height, start[1] : start[1] + width] = read
        none = np.isnan(read) if nodata is not None and np.isnan(nodata) else read == (nodata or 0)
        missing += int(none.all(axis=0).sum())
        if 2 * missing >= rows * columns:
            share = missing / rows / columns
            raise NoData(f"{share:.0%} of the window is no-data; expected less than half")
        return whole

    def _file(self, samples: NDArray[Any], top: int, left: int) -> bytes:
        first = self._datasets[0]
        count, height, width = samples.shape
        with MemoryFile() as memory:
            with memory.open(
                driver="GTiff",
                height=height,
                width=width,
                count=count,
                dtype=samples.dtype,
                nodata=first.nodata,
                photometric="MINISBLACK",
                **self._georeference(top, left, height, width),
            ) as file:
                file.write(samples)
                band = 0
                for dataset, names in zip(self._datasets, self._names, strict=True):
                    for number, name in enumerate(names):
                        band += 1
                        if name:
                            file.set_band_description(band, name)
                        if dataset.units[number]:
                            file.set_band_unit(band, dataset.units[number])
                file.scales = [scale for one in self._datasets for scale in one.scales]
                file.offsets = [offset for one in self._datasets for offset in one.offsets]
            return bytes(memory.getbuffer())

    def _georeference(self, top: int, left: int, height: int, width: int) -> dict[str, Any]:
        """What rasterio writes a window's place from."""
        first = self._datasets[0]
        points, crs = first.gcps
        if points and crs is not None:
            middle = top + height / 2, left + width / 2
            near = sorted(points, key=lambda p: np.hypot(p.row - middle[0], p.col - middle[1]))
            moved = [
                GroundControlPoint(p.row - top, p.col - left, p.x, p.y, p.z)
                for p in near[:_NEAREST_POINTS]
            ]
            return {"gcps": moved, "crs": crs}
        if first.crs is None or first.transform.is_identity:
            return {}
        shift = rasterio.Affine.translation(left, top)
        return {"crs": first.crs, "transform": first.transform * shift}


@lru_cache(maxsize=_OPEN)
def open_scene(path: str) -> Scene:
    """A GeoTIFF, or a folder or zip with the measurement files of a Sentinel-1 GRD product.

    Raises NotFound or Unreadable, which say what was found and expected. The last few stay open.
    """
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


def _files(path: Path) -> list[str]:
    """What GDAL opens: the scene itself, or a product's measurements, VV before VH."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        raise NotFound(
            f"no scene at {path}; expected a GeoTIFF, or a SAFE folder or zip, on this machine"
        ) from error
    if stat.S_ISDIR(mode):
        found = [str(one) for one in path.rglob("*") if _MEASUREMENT.search(one.as_posix())]
    elif not stat.S_ISREG(mode):
        raise Unreadable(f"{path} is no regular file; expected a GeoTIFF")
    elif zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if _MEASUREMENT.search(name)]
        found = [f"/vsizip/{{{path.resolve()}}}/{name}" for name in names]
    else:
        return [str(path.resolve())]
    if not found:
        raise Unreadable(f"{path} has no measurement/*.tiff; expected a Sentinel-1 GRD product")
    return sorted(found, key=lambda name: (_polarisation(name) or "") + name, reverse=True)


def _open(name: str) -> Any:
    try:
        dataset = rasterio.open(name, driver="GTiff")
    except RasterioError as error:
        raise Unreadable(f"{name} is no GeoTIFF that can be read: {error}") from error
    if len(set(dataset.dtypes)) > 1:
        raise Unreadable(f"{name} has bands of several types; expected one")
    return dataset


def _band_names(dataset: Any) -> list[str]:
    """The bands' names: GDAL's descriptions, those of SNAP, or of a measurement file's name."""
    names = [name or "" for name in dataset.descriptions]
    if not any(names) and not dataset.name.startswith("/vsi"):
        with tifffile.TiffFile(dataset.name) as file:
            tag = file.pages.first.tags.get(SNAP_METADATA)
            if tag is not None:
                bands = read_bands({SNAP_METADATA: tag.value}, len(names))
                return [band.name for band in bands]
    if len(names) == 1 and not names[0]:
        return [_polarisation(dataset.name) or ""]
    return names


def _polarisation(name: str) -> str | None:
    found = _POLARISATION.search(name.rpartition("/")[2])
    return found[1].upper() if found else None
