"""OpenSARShip's scenes and the FUSAR archive, as they are downloaded and as they unpack."""

import io
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import tifffile

from serving.batch.inputs import ChipEntry, TarStore, label_of, list_entries, options_of, read_entry
from serving.chips import ChipOptions
from shipchip import DecodeLimits, decode
from shipchip.opensarship import parse_chip_name, scene_of, slc_spacing
from tests.serving.archives import write_tar, write_zip

GRD = "S1A_IW_GRDH_1SDV_20160131T101646_20160131T101715_009737_00E392_36F7"
SLC = "S1A_IW_SLC__1SSV_20150217T204257_20150217T204324_004668_005C34_2DC9"
CLASSES = ("Cargo", "Fishing", "Tanker")
BESIDE = (
    *("Patch_Cal/Cargo_x1_y2.tif", "Patch_Uint8/Visual_Cargo_x1_y2_vv.tif"),
    *("Patch_RGB/Cargo_x1_y2_vv.tif", "Ship.xml", "Metedata.xml", "ReadMe.pdf"),
)
CHIPS = ("Patch/Cargo_x1_y2.tif", "Patch/Other Type_x3_y4_vv.tif")


def members(top: str = "") -> dict[str, bytes]:
    return {f"{top}{name}": name.encode() for name in (*BESIDE, *CHIPS)}


@pytest.mark.parametrize("top", ["", f"{GRD}/"], ids=["version 2", "version 1"])
@pytest.mark.parametrize("form", ["zip", "tar", "tgz", "folder"])
def test_a_scene_gives_its_patches_alone(tmp_path: Path, top: str, form: str) -> None:
    scenes = tmp_path / "scenes"
    zipped = write_zip(scenes / f"{GRD}.zip", members(top))
    if form == "folder":
        shutil.unpack_archive(zipped, scenes / GRD)
    elif form != "zip":
        write_tar(scenes / f"{GRD}.{form}", members(top), "w:gz" if form == "tgz" else "w")
    if form != "zip":
        zipped.unlink()
    (source,) = scenes.iterdir()
    with TarStore(DecodeLimits()) as store:
        for given, patterns in ((scenes, ()), (source, ()), (source, ("*.tif",))):
            found = list_entries([str(given)], patterns=patterns, store=store)
            assert [e.name for e in found] == [f"{source}/{top}{name}" for name in CHIPS]


def test_the_folder_of_a_scene_need_not_be_named_by_the_caller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.unpack_archive(write_zip(tmp_path / "z.zip", members()), tmp_path / SLC)
    monkeypatch.chdir(tmp_path / SLC)
    found = list_entries(["."])
    assert [e.name for e in found] == [f"./{name}" for name in CHIPS]
    assert options_of(found[0], ChipOptions()).quantity == "complex_pairs"


def test_scenes_inside_one_archive_are_known_too(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "all.zip", members(f"x/{GRD}/") | {"x/b.png": b"b"})
    found = {e.member for e in list_entries([str(path)])}
    assert found == {f"x/{GRD}/{name}" for name in CHIPS} | {"x/b.png"}


def test_a_product_of_sentinel_1_has_no_patches_and_loses_nothing(tmp_path: Path) -> None:
    path = write_zip(tmp_path / f"{GRD}.SAFE.zip", {"measurement/a.tiff": b"a", "m.safe": b"b"})
    assert [e.member for e in list_entries([str(path)])] == ["m.safe", "measurement/a.tiff"]


def test_what_is_named_itself_is_taken_even_beside_the_patches(tmp_path: Path) -> None:
    path = write_zip(tmp_path / f"{GRD}.zip", members())
    (entry,) = list_entries([f"{path}/{BESIDE[0]}"])
    assert read_entry(entry, DecodeLimits()) == BESIDE[0].encode()
    assert options_of(entry, ChipOptions()) == ChipOptions()  # Patch_Cal is sigma0


@pytest.mark.parametrize(
    ("scene", "quantity", "spacing"),
    [(GRD, "amplitude", (10.0, 10.0)), (SLC, "complex_pairs", (13.93, 3.8717))],
)
def test_a_chip_of_a_scene_has_its_quantity_and_spacing_where_none_are_given(
    scene: str, quantity: str, spacing: tuple[float, float]
) -> None:
    for entry in (
        ChipEntry(f"a/{scene}.zip", CHIPS[0]),
        ChipEntry(f"a/{scene}.zip", f"{scene}/{CHIPS[0]}"),
        ChipEntry(f"a/{scene}/{CHIPS[0]}"),
        ChipEntry(f"a/{scene}.zip", CHIPS[0].replace("/", "\\")),
    ):
        reported = options_of(entry, ChipOptions(polarisation="VV"))
        assert (reported.quantity, reported.polarisation) == (quantity, "VV")
        assert reported.pixel_spacing_m == pytest.approx(spacing, abs=1e-4)
        given = ChipOptions(None, (5.0, 5.0), "sigma0")
        assert options_of(entry, given) == given
    for other in (
        ChipEntry(f"a/{scene}/b.tif"),
        ChipEntry("a/Patch/b.tif"),
        ChipEntry(f"Patch/{scene}.tif"),
    ):
        assert options_of(other, ChipOptions()) == ChipOptions()


def test_options_reach_decode_as_training_has_them(tmp_path: Path) -> None:
    stream = io.BytesIO()
    pairs = np.full((2, 16, 16), 3, np.float32)
    pairs[1, :8] = 4
    tifffile.imwrite(stream, pairs, photometric="minisblack", planarconfig="separate")
    path = write_zip(tmp_path / f"{SLC}.zip", {CHIPS[0]: stream.getvalue()})
    (entry,) = list_entries([str(path)])
    reported = options_of(entry, ChipOptions())
    chip = decode(
        read_entry(entry, DecodeLimits()),
        pixel_spacing_m=reported.pixel_spacing_m,
        quantity=reported.quantity,
    )
    assert chip.amplitude.shape == (1, 16, 16)
    assert chip.amplitude[0, 0, 0] == 5  # |3 + 4i|, though no sample is negative
    assert chip.pixel_spacing_m == slc_spacing(None)


def test_the_class_of_a_scene_s_chip_is_in_its_name_unless_a_folder_says_it() -> None:
    scene = ChipEntry(f"{GRD}.zip", CHIPS[0])
    assert label_of(scene, CLASSES) == "Cargo"
    assert label_of(scene, ("CARGO",)) == "CARGO"
    assert label_of(ChipEntry(f"{GRD}.zip", CHIPS[1]), CLASSES) is None
    assert label_of(ChipEntry(f"Tanker/{GRD}.zip", CHIPS[0]), CLASSES) == "Tanker"
    assert label_of(ChipEntry(f"{GRD}.zip", BESIDE[0]), CLASSES) is None


def test_names_of_scenes_and_chips_are_recognised() -> None:
    grd, slc = scene_of(f"{GRD}.zip"), scene_of(SLC)
    assert grd is not None
    assert slc is not None
    assert (grd.product, grd.planes, grd.data_take) == ("GRD", ("VH", "VV"), "00E392")
    assert (slc.product, slc.planes, slc.data_take) == ("SLC", ("VV",), "005C34")
    assert slc.spacing_m(30.0) == pytest.approx((13.93, 4.66))
    assert scene_of("S1A_IW_OCN__2SDV_20160131T101646") is None
    chip = parse_chip_name(f"{GRD}/Patch/Law Enforcement_x17_y4_vh.tif")
    assert chip is not None
    assert (chip.ship_type, chip.place) == ("Law Enforcement", (17, 4))
    assert parse_chip_name("Patch_Cal/Cargo_x17_y4.tif") is None
    assert parse_chip_name(f"Patch/Cargo_x{'9' * 5000}_y4.tif") is None


def test_long_hostile_names_are_refused_at_once() -> None:
    assert scene_of("S1A_IW_GRDH_1SDV_" + "a_" * 200_000) is None
    assert parse_chip_name("Patch/" * 50_000 + "_x1" * 50_000) is None


@pytest.mark.data
def test_the_real_downloads_are_listed_whole(data: Path) -> None:
    scenes = list_entries([str(data / "opensarship")])
    labels = [label_of(entry, CLASSES) for entry in scenes]
    assert (labels.count("Cargo"), labels.count("Tanker")) == (157, 88)
    fusar = list_entries([str(data / "fusar" / "FUSAR_Ship1.0.zip")])
    labels = [label_of(entry, CLASSES) for entry in fusar]
    assert [labels.count(name) for name in (*CLASSES, None)] == [587, 226, 62, 0]
    for entry in (*scenes[::20], *fusar[::100]):
        options = options_of(entry, ChipOptions())
        decode(read_entry(entry, DecodeLimits()), quantity=options.quantity)


@pytest.mark.data
def test_real_scenes_hold_nothing_but_chips_under_patch(data: Path) -> None:
    for path in sorted((data / "opensarship").rglob("*.zip")):
        with zipfile.ZipFile(path) as archive:
            patches = {n for n in archive.namelist() if "Patch/" in n and not n.endswith("/")}
        assert {e.member for e in list_entries([str(path)])} == patches
