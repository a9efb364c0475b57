"""Scenes: a window is the chip that is cut by hand, at the place that the scene says."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import tifffile
from numpy.typing import NDArray
from pyproj import Transformer
from rasterio.control import GroundControlPoint
from rasterio.windows import Window

from shipchip import Chip, decode
from shipchip.errors import (
    NoData,
    NotFound,
    ShipchipError,
    TooManyPixels,
    Truncated,
    Unreadable,
    UnsupportedFormat,
)
from shipchip.scene import Place, open_scene, window_size

CORNER = (400_000.0, 5_000_000.0)
UTM = rasterio.crs.CRS.from_epsg(32632)
GEO = rasterio.crs.CRS.from_epsg(4326)


def sea(seed: int = 0, bands: int = 1, size: int = 300) -> NDArray[np.float32]:
    power = np.random.default_rng(seed).gamma(4, 0.005, (bands, size, size + 20))
    return power.astype(np.float32)


def write(path: Path, samples: NDArray[Any], names: tuple[str, ...] = (), **more: Any) -> Path:
    settings: dict[str, Any] = {
        "crs": UTM,
        "transform": rasterio.Affine(10, 0, CORNER[0], 0, -10, CORNER[1]),
    }
    count, height, width = samples.shape
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        count=count,
        height=height,
        width=width,
        dtype=samples.dtype,
        **{name: value for name, value in {**settings, **more}.items() if value is not None},
    ) as file:
        file.write(samples)
        for number, name in enumerate(names, 1):
            file.set_band_description(number, name)
    return path


def cut_by_hand(scene: Path, column: int, row: int, side: int, out: Path) -> Path:
    """What gdal_translate -srcwin does."""
    with rasterio.open(scene) as file:
        window = Window(column - side // 2, row - side // 2, side, side)
        profile = file.profile | {
            "height": side,
            "width": side,
            "transform": file.window_transform(window),
        }
        with rasterio.open(out, "w", **profile) as chip:
            chip.write(file.read(window=window))
            chip.descriptions = file.descriptions
            chip.scales, chip.offsets = file.scales, file.offsets
    return out


def assert_same(one: Chip, other: Chip) -> None:
    np.testing.assert_array_equal(one.amplitude, other.amplitude)
    for name in ("polarisations", "pixel_spacing_m", "encoding", "quantity", "position"):
        assert getattr(one, name) == getattr(other, name), name


KINDS = {
    "sigma0": (sea(), ("",), {}),
    "two named bands": (sea(bands=2), ("Sigma0_VH", "Sigma0_VV"), {}),
    "16-bit amplitude": ((500 * np.sqrt(sea())).astype(np.uint16), ("",), {}),
    "tiled and compressed": (sea(), ("VV",), {"tiled": True, "compress": "deflate"}),
    "with a no-data value": (sea(), ("VV",), {"nodata": -9999.0}),
    "degrees": (
        sea(),
        ("VV",),
        {"crs": GEO, "transform": rasterio.Affine(1e-4, 0, 8.0, 0, -1e-4, 45.0)},
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_window_is_the_chip_that_is_cut_by_hand(kind: str, tmp_path: Path) -> None:
    samples, names, more = KINDS[kind]
    path = write(tmp_path / "scene.tif", samples, names, **more)
    by_hand = cut_by_hand(path, 150, 120, 50, tmp_path / "chip.tif")
    window = open_scene(str(path)).window(Place(150, 120), (50, 50))
    assert_same(decode(window), decode(by_hand))


def test_scales_and_offsets_travel_with_the_window(tmp_path: Path) -> None:
    path = write(tmp_path / "scene.tif", (sea() * 1e5).astype(np.uint16), ("Sigma0_VV",))
    with rasterio.open(path, "r+") as file:
        file.scales = (1e-5,)
    by_hand = cut_by_hand(path, 150, 120, 50, tmp_path / "chip.tif")
    window = open_scene(str(path)).window(Place(150, 120), (50, 50))
    assert_same(decode(window), decode(by_hand))


@pytest.mark.parametrize(("lon", "lat"), [(7.735, 45.145), (7.75, 45.13)])
def test_degrees_are_found_within_a_hundredth_of_a_pixel(
    lon: float, lat: float, tmp_path: Path
) -> None:
    ground = open_scene(str(write(tmp_path / "scene.tif", sea()))).ground
    assert ground is not None
    x, y = Transformer.from_crs(4326, 32632, always_xy=True).transform(lon, lat)
    assert ground.pixel_of(lon, lat) == pytest.approx(
        ((x - CORNER[0]) / 10, (CORNER[1] - y) / 10), abs=0.01
    )
    back = ground.place(*(ground.pixel_of(lon, lat) or (0, 0)))
    assert back is not None
    assert back.position == pytest.approx((lon, lat), abs=1e-7)
    assert back.spacing_m == pytest.approx((10, 10), rel=0.01)


def points(size: int = 300, step: int = 10) -> list[GroundControlPoint]:
    """A grid that is turned and bent, as a product in radar geometry."""
    return [
        GroundControlPoint(row, column, *_bent(column, row), 0)
        for row in range(0, size + 1, step)
        for column in range(0, size + 21, step)
    ]


def _bent(column: float, row: float) -> tuple[float, float]:
    return (
        8 + 1.2e-4 * column + 2e-5 * row + 3e-8 * column * row,
        45 - 9e-5 * row + 1e-5 * column + 4e-8 * row**2,
    )


def test_control_points_are_followed_where_they_bend(tmp_path: Path) -> None:
    more = {"transform": None, "gcps": points(), "crs": GEO}
    path = write(tmp_path / "scene.tif", sea(), **more)
    scene = open_scene(str(path))
    assert scene.ground is not None
    for column, row in ((20.5, 30.5), (204.6, 145.3), (310, 290)):
        found = scene.ground.pixel_of(*_bent(column, row))
        assert found == pytest.approx((column, row), abs=0.05)
        assert found is not None
        place = scene.ground.place(*found)
        assert place is not None
        assert place.position == pytest.approx(_bent(column, row), abs=1e-9)
    chip = decode(scene.window(Place(200, 140), (40, 40)))
    assert chip.position == pytest.approx(_bent(200, 140), abs=1e-5)


def test_a_sentinel_1_product_gives_all_its_polarisations(tmp_path: Path) -> None:
    product = tmp_path / "S1A_IW_GRDH_1SDV.SAFE"
    (product / "measurement").mkdir(parents=True)
    more = {"transform": None, "gcps": points(), "crs": GEO}
    planes = {}
    for seed, polarisation in enumerate(("vv", "vh")):
        planes[polarisation] = (500 * np.sqrt(sea(seed))).astype(np.uint16)
        name = f"s1a-iw-grd-{polarisation}-20260101t000000-001.tiff"
        write(product / "measurement" / name, planes[polarisation], **more)
    packed = tmp_path / "product.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for path in product.rglob("*.tiff"):
            archive.write(path, path.relative_to(tmp_path).as_posix())
    for source in (product, packed):
        chip = decode(open_scene(str(source)).window(Place(150, 150), (40, 40)))
        assert chip.polarisations == ("VV", "VH")
        assert chip.quantity == "amplitude"
        for plane, name in zip(chip.amplitude, ("vv", "vh"), strict=True):
            np.testing.assert_array_equal(plane, planes[name][0, 130:170, 130:170])


def test_a_window_over_the_edge_has_no_data_there(tmp_path: Path) -> None:
    scene = open_scene(str(write(tmp_path / "scene.tif", sea(), ("VV",))))
    chip = decode(scene.window(Place(5, 150), (40, 40)))
    assert (chip.amplitude[0, :, :15] == 0).all()
    assert (chip.amplitude[0, :, 15:] > 0).all()
    with pytest.raises(NoData, match=r"50% of the window is no-data; expected less than half"):
        scene.window(Place(0, 150), (40, 40))


def test_a_scene_that_ends_early_is_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "scene.tif"  # tifffile writes the directory first
    tifffile.imwrite(path, sea()[0], tile=(64, 64), photometric="minisblack", metadata=None)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(Truncated, match="pixel data ends at byte"):
        open_scene(str(path))


def test_a_system_that_cannot_be_transformed_is_refused(tmp_path: Path) -> None:
    local = rasterio.crs.CRS.from_wkt('LOCAL_CS["a harbour",UNIT["metre",1]]')
    path = write(tmp_path / "scene.tif", sea(), crs=local)
    with pytest.raises(Unreadable, match="cannot be transformed to degrees"):
        open_scene(str(path))


def test_no_data_of_the_scene_counts_too(tmp_path: Path) -> None:
    samples = sea()
    samples[:, :, 140:] = -9999
    scene = open_scene(str(write(tmp_path / "scene.tif", samples, ("VV",), nodata=-9999.0)))
    with pytest.raises(NoData):
        scene.window(Place(150, 150), (40, 40))
    scene.window(Place(120, 150), (40, 40))


def _bad(folder: Path) -> dict[str, tuple[str, type[ShipchipError], str]]:
    (folder / "text.tif").write_text("no TIFF")
    whole = write(folder / "whole.tif", sea()).read_bytes()
    (folder / "cut.tif").write_bytes(whole[:100])
    (folder / "empty.SAFE").mkdir()
    with zipfile.ZipFile(folder / "other.zip", "w") as archive:
        archive.writestr("a.txt", "text")
    virtual = (
        '<VRTDataset rasterXSize="320" rasterYSize="300">'
        '<VRTRasterBand dataType="Float32" band="1">'
        f"<SimpleSource><SourceFilename>{folder}/whole.tif</SourceFilename></SimpleSource>"
        "</VRTRasterBand></VRTDataset>"
    )
    (folder / "virtual.tif").write_text(virtual)
    return {
        "missing": (str(folder / "none.tif"), NotFound, "no scene at"),
        "a link elsewhere": ("/vsicurl/http://127.0.0.1:9/a.tif", NotFound, "on this machine"),
        "an address": ("http://127.0.0.1:9/a.tif", NotFound, "on this machine"),
        "text": (str(folder / "text.tif"), UnsupportedFormat, "expected a TIFF"),
        "a VRT": (str(folder / "virtual.tif"), UnsupportedFormat, "expected a TIFF"),
        "a cut file": (str(folder / "cut.tif"), Truncated, "ends within"),
        "an empty product": (str(folder / "empty.SAFE"), Unreadable, "measurement"),
        "a zip of text": (str(folder / "other.zip"), Unreadable, "measurement"),
        "a device": ("/dev/null", Unreadable, "no regular file"),
    }


@pytest.mark.parametrize(
    "kind",
    [
        "missing",
        "a link elsewhere",
        "an address",
        "text",
        "a VRT",
        "a cut file",
        "an empty product",
        "a zip of text",
        "a device",
    ],
)
def test_what_is_no_scene_on_this_machine_is_refused(kind: str, tmp_path: Path) -> None:
    path, error, message = _bad(tmp_path)[kind]
    with pytest.raises(error, match=message):
        open_scene(path)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("missing", ["crs", "transform"])
def test_nothing_beside_the_scene_is_read(missing: str, tmp_path: Path) -> None:
    """A world file and an .aux.xml would say what the scene does not."""
    path = write(tmp_path / "scene.tif", sea(), **{missing: None})
    (tmp_path / "scene.tfw").write_text("10\n0\n0\n-10\n400000\n5000000\n")
    (tmp_path / "scene.tif.aux.xml").write_text(
        f"<PAMDataset><SRS>{UTM.to_wkt().replace('<', '')}</SRS></PAMDataset>"
    )
    before = {item.name for item in tmp_path.iterdir()}
    assert open_scene(str(path)).ground is None
    assert {item.name for item in tmp_path.iterdir()} == before


def test_a_window_is_so_many_metres_a_side_and_bounded() -> None:
    assert window_size(500, (10.0, 5.0), 10_000) == (50, 100)
    with pytest.raises(TooManyPixels, match="give a smaller --window"):
        window_size(100_000, (10.0, 10.0), 2048**2)


@pytest.mark.parametrize("west", [359.99, 179.99])
def test_a_grid_in_degrees_may_begin_at_0_or_reach_over_180(west: float, tmp_path: Path) -> None:
    grid = {"crs": GEO, "transform": rasterio.Affine(1e-4, 0, west, 0, -1e-4, 45)}
    ground = open_scene(str(write(tmp_path / "scene.tif", sea(), **grid))).ground
    assert ground is not None
    for lon in (west + 0.02, west + 0.02 - 360):
        assert ground.pixel_of(lon, 44.99) == pytest.approx((200, 100), abs=1e-6)
    assert (ground.pixel_of(west - 0.001, 44.99) or (0, 0))[0] == pytest.approx(-10, abs=1e-6)
