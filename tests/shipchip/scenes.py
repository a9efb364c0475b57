"""Small scenes of every kind that is read, as GDAL, tifffile and SNAP write them."""

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import tifffile
from rasterio.control import GroundControlPoint
from rasterio.errors import NotGeoreferencedWarning
from rasterio.transform import Affine

from tests.shipchip.inputs import geo_tags

SHAPE = (300, 420)
UTM_32 = "EPSG:32632"
CORNER = Affine(10, 0, 400_000, 0, -10, 6_000_000)
# (column, row) of ships, in the middle of a sample. Borders without data reach into the first.
SHIPS = ((100.5, 90.5), (250.5, 200.5), (330.5, 60.5))
BORDER = 95
GEO_KEYS = geo_tags((10.0, 10.0), 1, (400_000.0, 6_000_000.0), k3072=32632)


def amplitude(seed: int = 3) -> np.ndarray:
    """Speckled sea around 20 with ships of about 200, float64 of SHAPE."""
    rng = np.random.default_rng(seed)
    sea = rng.rayleigh(16.0, SHAPE)
    for column, row in SHIPS:
        top, left = int(row) - 2, int(column) - 7
        sea[top : top + 4, left : left + 15] += rng.uniform(120, 210, (4, 15))
    return np.minimum(sea, 250.0)


def sigma0(seed: int = 3) -> np.ndarray:
    return (amplitude(seed) ** 2 / 9000).astype(np.float32)


def levels(seed: int = 3) -> np.ndarray:
    return np.rint(100 * amplitude(seed)).astype(np.uint16)


def write(
    path: Path,
    planes: np.ndarray,
    *,
    names: Sequence[str] = (),
    scale: float | None = None,
    mask: np.ndarray | None = None,
    **options: Any,
) -> Path:
    """A GeoTIFF of (H, W) or (P, H, W) samples; options are those of rasterio's profile."""
    planes = planes[None] if planes.ndim == 2 else planes
    count, height, width = planes.shape
    with warnings.catch_warnings(), rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        size = {"count": count, "height": height, "width": width, "dtype": planes.dtype}
        with rasterio.open(path, "w", driver="GTiff", **size, **options) as file:
            file.write(planes)
            for number, name in enumerate(names, 1):
                file.set_band_description(number, name)
            if scale is not None:
                file.scales = [scale] * count
            if mask is not None:
                file.write_mask(mask)
    return path


def control_points(turn: float = 0.02) -> list[GroundControlPoint]:
    """A grid of control points in degrees, turned as a product in radar geometry is."""
    return [
        GroundControlPoint(
            row,
            column,
            8 + column * 1.5e-4 + turn * row * 1e-4,
            54 - row * 9e-5 + turn * column * 1e-4,
            0,
        )
        for row in np.linspace(0, SHAPE[0], 7)
        for column in np.linspace(0, SHAPE[1], 9)
    ]


def _masked(path: Path) -> Path:
    mask = np.full(SHAPE, 255, np.uint8)
    mask[:, :BORDER] = 0
    return write(path, sigma0(), mask=mask, crs=UTM_32, transform=CORNER)


def _bordered(path: Path) -> Path:
    samples = sigma0()
    samples[:, :BORDER] = -9999
    return write(path, samples, crs=UTM_32, transform=CORNER, nodata=-9999)


def tiff(path: Path, samples: np.ndarray, **options: Any) -> Path:
    """A GeoTIFF that GDAL would not write; options are those of tifffile."""
    options = {"photometric": "minisblack", "extratags": GEO_KEYS} | options
    tifffile.imwrite(path, samples, metadata=None, **options)
    return path


def snap(path: Path, samples: np.ndarray, *fields: str) -> Path:
    """A GeoTIFF as SNAP writes it: what it says about each band is in a tag of its own."""
    bands = "".join(
        f"<Spectral_Band_Info><BAND_NAME>Sigma0_{name}</BAND_NAME>{field}</Spectral_Band_Info>"
        for name, field in zip(("VV", "VH"), fields, strict=False)
    )
    xml = f"<Dimap_Document>{bands}</Dimap_Document>"
    layout = {"planarconfig": "separate"} if len(fields) > 1 else {}
    return tiff(path, samples, extratags=[*GEO_KEYS, (65000, "s", 0, xml, True)], **layout)


def no_data(value: float) -> str:
    """What SNAP writes about a band's no-data value."""
    return f"<NO_DATA_VALUE_USED>true</NO_DATA_VALUE_USED><NO_DATA_VALUE>{value}</NO_DATA_VALUE>"


def holed(samples: np.ndarray, value: float = 0) -> np.ndarray:
    """The samples with a tenth of them without data, as noise removal leaves VH."""
    return np.where(np.random.default_rng(5).random(SHAPE) < 0.1, value, samples).astype(
        samples.dtype
    )


def _without_border(samples: np.ndarray, value: float) -> np.ndarray:
    samples = samples.copy()
    samples[:, :BORDER] = value
    return samples


def _alpha(path: Path) -> Path:
    opaque = _without_border(np.full(SHAPE, 65535, np.uint16), 0)
    return tiff(
        path,
        np.stack([levels(), opaque]),
        planarconfig="separate",
        extrasamples=["unassalpha"],
    )


# Each writes a scene of one kind.
KINDS: dict[str, Callable[[Path], Path]] = {
    "sigma0 of two polarisations": lambda path: write(
        path,
        np.stack([sigma0(4), sigma0()]),
        names=("Sigma0_VH", "Sigma0_VV"),
        crs=UTM_32,
        transform=CORNER,
    ),
    "digital numbers in tiles": lambda path: write(
        path, levels(), crs=UTM_32, transform=CORNER, tiled=True, blockxsize=64, blockysize=64
    ),
    "compressed, predicted, by pixel": lambda path: write(
        path,
        np.stack([levels(4), levels()]),
        crs=UTM_32,
        transform=CORNER,
        compress="deflate",
        predictor=2,
        interleave="pixel",
    ),
    "integers with a scale": lambda path: write(
        path, (sigma0() * 1e3).astype(np.uint16), scale=1e-3, crs=UTM_32, transform=CORNER
    ),
    "no-data value": _bordered,
    "mask": _masked,
    "turned grid": lambda path: write(
        path, sigma0(), crs=UTM_32, transform=CORNER * Affine.rotation(13)
    ),
    "degrees": lambda path: write(
        path, sigma0(), crs="EPSG:4326", transform=Affine(1.5e-4, 0, 8, 0, -9e-5, 54)
    ),
    "Web Mercator": lambda path: write(
        path, sigma0(), crs="EPSG:3857", transform=Affine(17, 0, 890_555, 0, -17, 7_170_156)
    ),
    "control points": lambda path: write(path, levels(), gcps=control_points(), crs="EPSG:4326"),
    "complex": lambda path: write(
        path,
        (amplitude() * np.exp(1j * np.random.default_rng(1).uniform(0, 6, SHAPE))).astype(
            np.complex64
        ),
        crs=UTM_32,
        transform=CORNER,
    ),
    "without georeferencing": lambda path: write(path, levels()),
    "the least value is white": lambda path: tiff(path, 65535 - levels(), photometric="miniswhite"),
    "alpha band": _alpha,
    "grey as RGB": lambda path: tiff(
        path, np.stack([levels() // 100] * 3, axis=-1).astype(np.uint8), photometric="rgb"
    ),
    "pixel is point": lambda path: tiff(
        path,
        levels(),
        extratags=geo_tags((10.0, 10.0), 1, (400_000.0, 6_000_000.0), k1025=2, k3072=32632),
    ),
    "SNAP's scale": lambda path: snap(
        path, (sigma0() * 1e3).astype(np.uint16), "<SCALING_FACTOR>0.001</SCALING_FACTOR>"
    ),
    "SNAP's no-data value": lambda path: snap(
        path, _without_border(sigma0(), -9999), no_data(-9999)
    ),
    "no-data value in one band": lambda path: snap(
        path, np.stack([sigma0(), holed(sigma0(4))]), no_data(0), no_data(0)
    ),
    "no-data value that no sample can be": lambda path: tiff(
        path, levels(), extratags=[*GEO_KEYS, (42113, "s", 0, "-9999", True)]
    ),
    "complex with a no-data value": lambda path: tiff(
        path,
        holed(levels().astype(np.complex64) * np.complex64(1j)),
        extratags=[*GEO_KEYS, (42113, "s", 0, "0", True)],
    ),
    "NaN as no-data value": lambda path: write(
        path, holed(sigma0(), np.nan), nodata=np.nan, crs=UTM_32, transform=CORNER
    ),
    "mask beside a no-data value": lambda path: write(
        path,
        np.stack([sigma0(), holed(sigma0(4), -1)]),
        mask=_without_border(np.full(SHAPE, 255, np.uint8), 0),
        nodata=-1,
        crs=UTM_32,
        transform=CORNER,
    ),
    "SNAP's logarithm": lambda path: snap(path, sigma0(), "<LOG10_SCALED>true</LOG10_SCALED>"),
}
