"""Small input files of every kind that shipchip reads, each made from a seeded generator."""

import io
import struct
from collections.abc import Callable, Sequence
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from PIL import Image

from shipchip import InputSpec
from shipchip.card import SpacingRule

POLARISATIONS = ("VV", "unknown", "HH", "VH", "HV")


def spec(**changes: Any) -> InputSpec:
    """A small input specification; `changes` replace fields of it."""
    fields: dict[str, Any] = {
        "size": 32,
        "spacing_m": 12.5,
        "polarisations": POLARISATIONS,
        "db_min": -10.0,
        "db_max": 25.0,
        "db_scale": 20.0,
        "spacing_rules": (
            SpacingRule(encoding="complex", spacing_m=(13.93, 3.9), why="single-look complex"),
            SpacingRule(encoding="any", spacing_m=(11.0, 9.0), why="ground range"),
        ),
    }
    return InputSpec(**fields | changes)


def scene(seed: int = 7, shape: tuple[int, int] = (40, 48)) -> np.ndarray:
    """Amplitude of speckled sea around 20, with a ship of about 200 across the middle."""
    rng = np.random.default_rng(seed)
    sea = rng.rayleigh(16.0, shape)
    row, column = shape[0] // 2, shape[1] // 2
    sea[row - 2 : row + 2, column - 9 : column + 8] += rng.uniform(120, 210, (4, 17))
    return np.minimum(sea, 250.0)


def grey8(seed: int = 7) -> np.ndarray:
    return scene(seed).round().astype(np.uint8)


def complex_scene(seed: int = 7) -> np.ndarray:
    phase = np.random.default_rng(seed + 100).uniform(0, 2 * np.pi, (40, 48))
    return (scene(seed) * np.exp(1j * phase)).astype(np.complex64)


def pairs(*planes: np.ndarray) -> np.ndarray:
    """(H, W, 2P): re, im of each plane, as OpenSARShip keeps its single-look complex patches."""
    parts = [part for plane in planes for part in (plane.real, plane.imag)]
    return np.stack(parts, axis=-1).round().astype(np.float32)


def picture(array: np.ndarray, kind: str = "PNG", **options: Any) -> bytes:
    out = io.BytesIO()
    Image.fromarray(array).save(out, kind, **options)
    return out.getvalue()


def tiff(array: np.ndarray, **options: Any) -> bytes:
    out = io.BytesIO()
    options.setdefault("photometric", "minisblack")
    tifffile.imwrite(out, array, metadata=None, **options)
    return out.getvalue()


def npy(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.save(out, array, allow_pickle=True)
    return out.getvalue()


def geo_tags(
    scale: tuple[float, float], model: int, tie: tuple[float, float] = (0, 0), **keys: int
) -> list[tuple[int, str, int, Any, bool]]:
    """GeoTIFF tags as tifffile takes them; scale is (column, row), tie the model's (x, y)."""
    entries = [(1024, model)] + [(int(name[1:]), value) for name, value in keys.items()]
    directory = [1, 1, 0, len(entries)]
    for key, value in entries:
        directory += [key, 0, 1, value]
    return [
        (33550, "d", 3, (*scale, 0.0), True),
        (33922, "d", 6, (0.0, 0.0, 0.0, *tie, 0.0), True),
        (34735, "H", len(directory), directory, True),
    ]


def gdal_tags(
    names: Sequence[str] = (),
    *,
    scale: tuple[float, float] | None = None,
    unit: str = "",
    nodata: str | None = None,
) -> list[tuple[int, str, int, Any, bool]]:
    """What GDAL writes about bands: names, (scale, offset), unit, and the no-data value."""
    items = [
        f'<Item name="DESCRIPTION" sample="{k}" role="description">{name}</Item>'
        for k, name in enumerate(names)
    ]
    for k in range(max(1, len(names))):
        if scale is not None:
            items.append(f'<Item name="SCALE" sample="{k}" role="scale">{scale[0]}</Item>')
            items.append(f'<Item name="OFFSET" sample="{k}" role="offset">{scale[1]}</Item>')
        if unit:
            items.append(f'<Item name="UNITTYPE" sample="{k}" role="unittype">{unit}</Item>')
    xml = "<GDALMetadata>\n  " + "\n  ".join(items) + "\n</GDALMetadata>\n"
    tags: list[tuple[int, str, int, Any, bool]] = [(42112, "s", 0, xml, True)] if items else []
    return tags if nodata is None else [*tags, (42113, "s", 0, nodata, True)]


def raw_tiff(tags: dict[int, tuple[str, tuple[int, ...]]], tail: bytes = b"") -> bytes:
    """A little-endian TIFF of exactly these tags ("H" or "L" values), then `tail`."""
    start = 8 + 2 + 12 * len(tags) + 4
    entries, values = b"", b""
    for tag, (kind, numbers) in sorted(tags.items()):
        packed = struct.pack(f"<{len(numbers)}{kind}", *numbers)
        entries += struct.pack("<HHL", tag, {"H": 3, "L": 4}[kind], len(numbers))
        if len(packed) <= 4:
            entries += packed.ljust(4, b"\0")
        else:
            entries += struct.pack("<L", start + len(values))
            values += packed
    head = struct.pack("<2sHLH", b"II", 42, 8, len(tags))
    return head + entries + b"\0\0\0\0" + values + tail


def sigma0(seed: int = 7) -> np.ndarray:
    """Linear sigma0 of the scene: its squared amplitude over a calibration constant."""
    return (scene(seed) ** 2 / 9000.0).astype(np.float32)


def _two(plane: Callable[[int], np.ndarray]) -> np.ndarray:
    """(H, W, 2): VH then VV, of different speckle."""
    return np.stack([plane(8), plane(7)], axis=-1)


def bordered(samples: np.ndarray, value: float = -9999) -> np.ndarray:
    """The samples with four columns of `value` on the left."""
    samples = samples.copy()
    samples[:, :4] = value
    return samples


def with_negatives(samples: np.ndarray) -> np.ndarray:
    """The samples with 1 % slightly below 0, as cubic resampling leaves them."""
    samples = samples.copy()
    dark = samples.ravel().argsort()[: samples.size // 100]
    samples.ravel()[dark] *= -1
    return samples


def control_points(
    lon: float, lat: float, spacing_m: float
) -> list[tuple[int, str, int, Any, bool]]:
    """Ground control points in degrees of a chip of 40 x 48 samples whose centre is at lon, lat."""
    # Metres a degree on the ellipsoid of WGS 84 at 60 degrees north, and on the equator.
    high, wide = {60.0: (111_412.2, 55_800.0), 0.0: (110_574.3, 111_319.5)}[lat]
    points: list[float] = []
    for row in range(0, 41, 10):
        for column in range(0, 49, 12):
            x = lon + (column - 24) * spacing_m / wide
            points += [column, row, 0, x, lat - (row - 20) * spacing_m / high, 0]
    directory = [1, 1, 0, 2, 1024, 0, 1, 2, 2048, 0, 1, 4326]
    return [
        (33922, "d", len(points), tuple(points), True),
        (34735, "H", len(directory), directory, True),
    ]


# One maker a kind: the name of the golden file is the key.
KINDS: dict[str, Callable[[], bytes]] = {
    "png_8bit": lambda: picture(grey8()),
    "png_rgb_of_equal_planes": lambda: picture(np.repeat(grey8()[..., None], 3, axis=-1)),
    "png_16bit": lambda: picture((scene() * 200).astype(np.uint16)),
    "jpeg_grey": lambda: picture(grey8(), "JPEG", quality=95),
    "tiff_8bit_packbits": lambda: tiff(grey8(), compression="packbits"),
    "tiff_8bit_lzw": lambda: tiff(grey8(), compression="lzw"),
    "tiff_8bit_deflate_predicted": lambda: tiff(grey8(), compression="zlib", predictor=True),
    "tiff_16bit": lambda: tiff((scene() * 200).astype(np.uint16)),
    "tiff_16bit_big_endian": lambda: tiff((scene() * 200).astype(np.uint16), byteorder=">"),
    "tiff_float32_sigma0": lambda: tiff(sigma0()),
    "tiff_float64_sigma0": lambda: tiff(sigma0().astype(np.float64)),
    "tiff_complex64": lambda: tiff(complex_scene()),
    "tiff_2band_sigma0": lambda: tiff(_two(sigma0), planarconfig="contig"),
    "tiff_2band_sigma0_planar": lambda: tiff(
        _two(sigma0).transpose(2, 0, 1), planarconfig="separate"
    ),
    "tiff_2band_amplitude": lambda: tiff(
        _two(scene).round().astype(np.float32), planarconfig="contig"
    ),
    "tiff_2band_pairs": lambda: tiff(pairs(complex_scene(7)), planarconfig="contig"),
    "tiff_4band_pairs": lambda: tiff(
        pairs(complex_scene(8), complex_scene(7)), planarconfig="contig"
    ),
    "tiff_big": lambda: tiff(grey8(), bigtiff=True),
    "tiff_tiled": lambda: tiff(grey8(), tile=(16, 16), compression="lzw"),
    "geotiff_projected": lambda: tiff(sigma0(), extratags=geo_tags((5.0, 8.0), model=1)),
    "geotiff_geographic": lambda: tiff(
        sigma0(), extratags=geo_tags((1e-4, 1e-4), model=2, tie=(10.0, 60.0))
    ),
    "tiff_bands_named_vv_vh": lambda: tiff(
        _two(sigma0)[..., ::-1], planarconfig="contig", extratags=gdal_tags(["VV", "VH"])
    ),
    "tiff_band_beside_an_angle": lambda: tiff(
        np.stack([sigma0(), np.full((40, 48), 38.5, np.float32)], axis=-1),
        planarconfig="contig",
        extratags=gdal_tags(["Sigma0_VV", "angle"]),
    ),
    "tiff_16bit_scaled_sigma0": lambda: tiff(
        (sigma0() * 1e4).round().astype(np.uint16), extratags=gdal_tags(scale=(1e-4, 0.0))
    ),
    "tiff_no_data_border": lambda: tiff(bordered(sigma0()), extratags=gdal_tags(nodata="-9999")),
    "tiff_alpha": lambda: tiff(
        np.stack([grey8(), bordered(np.full((40, 48), 255, np.uint8), 0)], axis=-1),
        planarconfig="contig",
        extrasamples=["unassalpha"],
    ),
    "tiff_few_negatives": lambda: tiff(with_negatives(sigma0())),
    "tiff_min_is_white": lambda: tiff(255 - grey8(), photometric="miniswhite"),
    "geotiff_web_mercator": lambda: tiff(
        sigma0(),
        extratags=geo_tags((20.0, 20.0), model=1, tie=(1113194.0, 8399737.0), k3072=3857),
    ),
    "geotiff_control_points": lambda: tiff(sigma0(), extratags=control_points(10.0, 60.0, 11.0)),
    "png_16bit_rgb": lambda: bytes(
        imagecodecs.png_encode(np.repeat((scene() * 200).astype(np.uint16)[..., None], 3, axis=-1))
    ),
    "npy_uint8": lambda: npy(grey8()),
    "npy_float32": lambda: npy(scene().astype(np.float32)),
    "npy_complex64": lambda: npy(complex_scene()),
    "npy_planes_first": lambda: npy(_two(scene).transpose(2, 0, 1).astype(np.float32)),
    "npy_planes_last": lambda: npy(_two(scene).astype(np.float32)),
    "npy_fortran_order": lambda: npy(np.asfortranarray(scene())),
}
