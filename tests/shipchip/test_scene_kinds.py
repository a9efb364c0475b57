"""A window of a scene of any kind is the part of the chip that the whole file would be."""

import zipfile
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.shutil import copy

from shipchip import Chip, decode
from shipchip.errors import ChipError, Corrupt, ShipchipError, TooLarge, UnsupportedFormat
from shipchip.scene import Place, open_scene
from tests.shipchip.scenes import (
    BORDER,
    CORNER,
    KINDS,
    SHIPS,
    UTM_32,
    control_points,
    levels,
    tiff,
    write,
)

SIDE = 45


def part(chip: Chip, column: float, row: float) -> Chip:
    """The samples around a place, without their position."""
    top, left = round(row - SIDE / 2), round(column - SIDE / 2)
    inside = np.s_[:, top : top + SIDE, left : left + SIDE]
    valid = None if chip.valid is None or chip.valid[inside].all() else chip.valid[inside]
    return replace(chip, amplitude=chip.amplitude[inside], valid=valid, position=None)


def of_file(path: Path, column: float, row: float) -> Chip:
    """The chip of a window that is a file."""
    return decode(open_scene(str(path)).window(Place(column, row), (SIDE, SIDE)))


def read(path: Path, column: float, row: float) -> Chip:
    return open_scene(str(path)).chip(Place(column, row), (SIDE, SIDE))


@pytest.mark.parametrize("read", [read, of_file])
@pytest.mark.parametrize("kind", KINDS)
def test_a_window_is_part_of_the_whole(
    kind: str, read: Callable[[Path, float, float], Chip], tmp_path: Path
) -> None:
    path = KINDS[kind](tmp_path / "scene.tif")
    try:
        whole = decode(path)
    except ChipError as error:
        with pytest.raises(type(error)):
            read(path, *SHIPS[0])
        return
    for place in SHIPS:
        chip, expected = read(path, *place), part(whole, *place)
        np.testing.assert_array_equal(chip.amplitude, expected.amplitude)
        assert (chip.valid is None) == (expected.valid is None)
        if chip.valid is not None:
            np.testing.assert_array_equal(chip.valid, expected.valid)
        for name in ("polarisations", "encoding", "quantity", "clipped", "pixel_spacing_from"):
            assert getattr(chip, name) == getattr(expected, name), name
        assert (chip.position is None) == (whole.position is None)
        if chip.pixel_spacing_m is not None:  # it changes across a scene
            assert chip.pixel_spacing_m == pytest.approx(expected.pixel_spacing_m, rel=0.01)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", [*SHIPS, (15.5, 290.5)])
def test_a_window_and_its_file_are_one_chip(
    kind: str, place: tuple[float, float], tmp_path: Path
) -> None:
    path = KINDS[kind](tmp_path / "scene.tif")
    found: list[Chip | type[Exception]] = []
    for reader in (read, of_file):
        try:
            found.append(reader(path, *place))
        except ChipError as error:
            found.append(type(error))
    one, other = found
    if not isinstance(one, Chip) or not isinstance(other, Chip):
        assert one == other
        return
    np.testing.assert_array_equal(one.amplitude, other.amplitude)
    np.testing.assert_array_equal(one.valid, other.valid)
    for name in ("polarisations", "encoding", "quantity", "clipped", "pixel_spacing_from"):
        assert getattr(one, name) == getattr(other, name), name
    for name, close in (("pixel_spacing_m", 1e-6), ("position", 1e-9)):
        numbers = getattr(one, name), getattr(other, name)
        assert numbers[0] == (numbers[1] and pytest.approx(numbers[1], rel=close)), name


@pytest.mark.parametrize(
    "options",
    [
        {"polarisation": "VH"},
        {"quantity": "amplitude"},
        {"pixel_spacing_m": (7.0, 8.0)},
        {"polarisation": "HH"},
    ],
)
def test_options_act_as_on_a_chip(options: dict[str, Any], tmp_path: Path) -> None:
    scene = open_scene(str(KINDS["sigma0 of two polarisations"](tmp_path / "scene.tif")))
    place, size = Place(*SHIPS[0]), (SIDE, SIDE)
    try:
        expected = decode(scene.window(place, size), **options)
    except ChipError as error:
        with pytest.raises(type(error)):
            scene.chip(place, size, **options)
        return
    chip = scene.chip(place, size, **options)
    np.testing.assert_array_equal(chip.amplitude, expected.amplitude)
    for name in ("polarisations", "quantity", "pixel_spacing_m", "pixel_spacing_from"):
        assert getattr(chip, name) == getattr(expected, name), name


def test_borders_without_data_are_in_windows(tmp_path: Path) -> None:
    """So the test above does compare them."""
    found = {}
    for kind in ("mask", "alpha band", "no-data value", "SNAP's no-data value"):
        chip = read(KINDS[kind](tmp_path / f"{kind}.tif"), *SHIPS[0])
        assert chip.valid is not None
        found[kind] = float(chip.valid.mean())
    assert set(found.values()) == {(SIDE - 17) / SIDE}


@pytest.mark.parametrize("masked", [False, True])
def test_a_cloud_optimised_geotiff_is_read_from_its_full_page(masked: bool, tmp_path: Path) -> None:
    """It has overviews, and with a mask overviews of that."""
    samples = np.tile(levels(), (4, 4))
    mask = np.full(samples.shape, 255, np.uint8)
    mask[:, :BORDER] = 0
    options = {"crs": UTM_32, "transform": CORNER, "mask": mask if masked else None}
    plain = write(tmp_path / "plain.tif", samples, **options)
    copy(plain, tmp_path / "cog.tif", driver="COG", compress="deflate", blocksize=256)
    with rasterio.open(tmp_path / "cog.tif") as file:
        assert file.overviews(1)
    chip, expected = (read(tmp_path / name, *SHIPS[0]) for name in ("cog.tif", "plain.tif"))
    np.testing.assert_array_equal(chip.amplitude, expected.amplitude)
    assert chip.position == expected.position
    assert (chip.valid is not None) is masked


@pytest.mark.parametrize("compression", ["jpeg", "lerc"])
def test_what_is_refused_in_a_chip_is_refused_in_a_scene(compression: str, tmp_path: Path) -> None:
    samples = (levels() // 100).astype(np.uint8)
    path = write(tmp_path / "a.tif", samples, compress=compression, crs=UTM_32, transform=CORNER)
    for reader in (decode, lambda path: open_scene(str(path))):
        with pytest.raises(UnsupportedFormat, match="compression"):
            reader(path)


def test_a_strip_that_would_fill_the_memory_is_refused(tmp_path: Path) -> None:
    """Of 150 MiB, compressed to some kilobytes: any window would inflate all of it."""
    samples = np.ones((7680, 10_240), np.uint16)
    path = tiff(tmp_path / "scene.tif", samples, compression="zlib", rowsperstrip=7680)
    with pytest.raises(TooLarge, match="gdal_translate -of COG"):
        open_scene(str(path))


def test_a_scene_that_is_written_anew_is_opened_anew(tmp_path: Path) -> None:
    path = write(tmp_path / "scene.tif", levels(), crs=UTM_32, transform=CORNER)
    before = read(path, *SHIPS[0])
    write(path, levels(8)[:, ::-1].copy(), crs=UTM_32, transform=CORNER, compress="lzw")
    assert not np.array_equal(read(path, *SHIPS[0]).amplitude, before.amplitude)


def test_damage_in_a_tile_costs_the_windows_on_it_alone(tmp_path: Path) -> None:
    tiled = {"tiled": True, "blockxsize": 64, "blockysize": 64, "compress": "deflate"}
    path = write(tmp_path / "scene.tif", levels(), **tiled)
    content = path.read_bytes()
    path.write_bytes(content[:-3000] + bytes(3000))
    read(path, *SHIPS[0])
    with pytest.raises(Corrupt, match="cannot be read there"):
        read(path, 390, 270)


def zipped(path: Path, damaged: slice) -> Path:
    """A product of one TIFF in a zip, some of which is overwritten."""
    packed = path.with_suffix(".zip")
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(path, "X.SAFE/measurement/s1a-iw-grd-vv-1.tiff")
    content = bytearray(packed.read_bytes())
    content[damaged] = b"\xff" * len(content[damaged])
    packed.write_bytes(content)
    return packed


def test_to_open_a_product_in_a_zip_does_not_inflate_it(tmp_path: Path) -> None:
    """Half of the megabytes in it cannot be inflated."""
    samples = np.tile(levels(), (8, 1))
    path = write(tmp_path / "m.tiff", samples, crs=UTM_32, transform=CORNER)
    packed = zipped(path, slice(500_000, 800_000))
    with zipfile.ZipFile(packed) as archive, pytest.raises(zlib.error):
        archive.testzip()
    assert read(packed, *SHIPS[0]).polarisations == ("VV",)


def test_a_zip_whose_header_cannot_be_inflated_is_corrupt(tmp_path: Path) -> None:
    path = write(tmp_path / "m.tiff", levels(), crs=UTM_32, transform=CORNER)
    with pytest.raises(Corrupt):
        open_scene(str(zipped(path, slice(100, 5000))))


def test_hostile_bytes_give_errors_of_shipchip_and_nothing_else(tmp_path: Path) -> None:
    """Each byte of the directory, and some of the samples, set to something else."""
    place = {"gcps": control_points()[:9], "crs": "EPSG:4326"}
    content = write(tmp_path / "a.tif", levels()[:64, :64], compress="lzw", **place).read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for number, at in enumerate([*range(1, 800), *rng.integers(800, len(content), 50)]):
        hostile = bytearray(content)
        hostile[at] = rng.choice([0, 1, 0x7F, 0xFF, rng.integers(256)])
        path = tmp_path / f"{number}.tif"
        path.write_bytes(hostile)
        try:
            scene = open_scene(str(path))
            scene.chip(Place(30, 30), (SIDE, SIDE))
            decode(scene.window(Place(30, 30), (SIDE, SIDE)))
            if scene.ground is not None:
                scene.ground.pixel_of(8.001, 53.999)
                scene.ground.place(30, 30)
        except ShipchipError:
            refused += 1
    assert refused > 100
