"""One TIFF of a scene, open: its samples as a chip's reader gives them.

GDAL reads GeoTIFF here and nothing else: no other driver, no file beside the scene, no network.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import rasterio
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from shipchip.decode.raster import Raster
from shipchip.decode.tiff import grey_raster
from shipchip.errors import Corrupt, NoData, Unreadable
from shipchip.scene.header import Header, read_header
from shipchip.scene.product import Measurement, content_of

_GDAL = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",  # no overviews, masks or world files beside it
    "GDAL_PAM_ENABLED": "NO",
    "GDAL_CACHEMAX": 64,  # MiB
    "GDAL_TIFF_INTERNAL_MASK": "YES",
    "CPL_VSIL_CURL_ALLOWED_EXTENSIONS": "none",
    "GDAL_HTTP_MAX_RETRY": 0,
}


@contextmanager
def gdal() -> Iterator[None]:
    """GDAL with these options; scenes without georeferencing are no reason for a warning."""
    with rasterio.Env(**_GDAL), warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield


class SceneImage:
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
