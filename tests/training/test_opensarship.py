"""OpenSARShip 1 and 2 as users have it: zip and rar, GRD and SLC, with faults of the release."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from shipchip.opensarship import slc_spacing
from tests.training.archives import (
    GRD,
    SLC,
    SLC_OF_GRD,
    amplitude,
    ship_xml,
    tiff,
    write_folder,
    write_rar,
    write_zip,
)
from training.data.discover import discover
from training.data.opensarship import OpenSarShipSource
from training.errors import DataInvalid

CHIPS = {"Patch/Cargo_x10_y20.tif": amplitude(1), "Patch/Tanker_x30_y40.tif": amplitude(2)}


def scene(folder: Path, members: dict[str, bytes], name: str = GRD) -> Path:
    return write_zip(folder / f"{name}.zip", members)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("write", [write_zip, write_rar])
def test_zip_and_rar_of_both_versions_are_read(
    tmp_path: Path, version: int, write: Callable[..., Path]
) -> None:
    top = f"{GRD}/" if version == 1 else ""
    members = CHIPS | {
        "Patch/Tug_x50_y60.tif": amplitude(3),
        "Patch_RGB/Cargo_x10_y20_vv.tif": b"a plot",
        "Patch_Cal/Cargo_x10_y20.tif": amplitude(4),
        "Ship.xml": ship_xml({(10, 20): "413", (30, 40): "0"}),
    }
    ending = "zip" if write is write_zip else "rar"
    path = write(tmp_path / f"{GRD}.{ending}", {f"{top}{n}": c for n, c in members.items()})
    (source,) = discover([tmp_path])
    cargo, tanker = source.index()
    assert cargo.key == f"{path.name}!{top}Patch/Cargo_x10_y20.tif"
    assert (cargo.label, cargo.group) == ("Cargo", "mmsi:413")
    assert (tanker.label, tanker.group) == ("Tanker", "data-take:00E392")
    chip = source.read(cargo)
    assert chip.pixel_spacing_m == (10.0, 10.0)
    assert chip.polarisations == ("VH", "VV")


def test_slc_is_complex_with_range_on_the_ground(tmp_path: Path) -> None:
    members = {"Patch/Cargo_x10_y20.tif": amplitude(1), "Ship.xml": ship_xml({(10, 20): "413"})}
    source = OpenSarShipSource([scene(tmp_path, members, SLC)])
    chip = source.read(source.index()[0])
    assert chip.encoding == "complex"
    assert chip.pixel_spacing_m == pytest.approx((13.93, 4.66))  # 2.33 / sin 30
    assert slc_spacing(None) == pytest.approx((13.93, 3.87), abs=0.01)


@pytest.mark.parametrize("polarisation", ["vv", "vh", "hh", "hv"])
def test_polarisation_is_read_from_the_file_name(tmp_path: Path, polarisation: str) -> None:
    members = {f"Patch/Cargo_x10_y20_{polarisation}.tif": tiff(1, 1, "float32")}
    source = OpenSarShipSource([scene(tmp_path, members)])
    assert source.read(source.index()[0]).polarisations == (polarisation.upper(),)


@pytest.mark.parametrize(
    ("product", "planes"),
    [("SSV", ("VV",)), ("SSH", ("HH",)), ("SDV", ("VH", "VV")), ("SDH", ("HH", "HV"))],
)
def test_polarisations_come_from_the_scene_otherwise(
    tmp_path: Path, product: str, planes: tuple[str, ...]
) -> None:
    members = {"Patch/Cargo_x10_y20.tif": tiff(1, len(planes), "float32")}
    source = OpenSarShipSource([scene(tmp_path, members, GRD.replace("SDV", product))])
    assert source.read(source.index()[0]).polarisations == planes


def test_a_name_of_one_polarisation_does_not_name_two_planes(tmp_path: Path) -> None:
    source = OpenSarShipSource([scene(tmp_path, {"Patch/Cargo_x10_y20_vv.tif": amplitude(1)})])
    assert source.read(source.index()[0]).polarisations == ("VH", "VV")


@pytest.mark.parametrize("mmsi", ["413", "0"])
def test_files_of_one_chip_are_one_group(tmp_path: Path, mmsi: str) -> None:
    names = ("Patch/Cargo_x10_y20_vh.tif", "Patch/Cargo_x10_y20_vv.tif")
    chips = {name: tiff(k, 1, "float32") for k, name in enumerate(names)}
    members = chips | {"Ship.xml": ship_xml({(10, 20): mmsi})}
    one, other = OpenSarShipSource([scene(tmp_path, members)]).index()
    assert one.group == other.group


def test_grd_and_slc_of_a_data_take_share_the_group_of_unknown_ships(tmp_path: Path) -> None:
    empty = {"Ship.xml": ship_xml({(10, 20): "0"})}
    grd = scene(tmp_path, CHIPS | empty, GRD)
    slc = scene(tmp_path, {"Patch/Cargo_x9_y8.tif": tiff(3, 4, "float32")} | empty, SLC_OF_GRD)
    other = scene(tmp_path, {"Patch/Cargo_x9_y8.tif": tiff(4, 2, "float32")}, SLC)
    source = OpenSarShipSource([grd, slc, other])
    groups = {r.key.partition("!")[0]: r.group for r in source.index()}
    assert groups[grd.name] == groups[slc.name] != groups[other.name]
    assert "4 chips have no MMSI, so each data-take (2) counts as a ship" in source.notes()


FAULTS = {
    "the end tag of version 2": ship_xml({(10, 20): "413"}, "<\\ShipList>"),
    "an ampersand": ship_xml({(10, 20): "413"}, name="SALT & SONS"),
    "a control character": ship_xml({(10, 20): "413"}, name="SALT\x02"),
    "a byte that is no UTF-8": ship_xml({(10, 20): "413"}).replace(b">A<", b">H\xd8EGH<"),
    "an encoding of several bytes": ship_xml({(10, 20): "413"}).replace(b"UTF-8", b"GB2312"),
}


@pytest.mark.parametrize("xml", FAULTS.values(), ids=FAULTS.keys())
def test_a_ship_list_with_a_known_fault_is_mended_and_said(tmp_path: Path, xml: bytes) -> None:
    source = OpenSarShipSource([scene(tmp_path, CHIPS | {"Ship.xml": xml})])
    assert source.index()[0].group == "mmsi:413"
    assert source.notes()[0] == f"Ship.xml was not valid XML and was mended in {GRD}.zip"


def test_a_sound_ship_list_is_not_remarked_on(tmp_path: Path) -> None:
    xml = ship_xml({(10, 20): "413", (30, 40): "414"}, name="SALT &amp; SONS")
    assert OpenSarShipSource([scene(tmp_path, CHIPS | {"Ship.xml": xml})]).notes() == []


@pytest.mark.parametrize(
    ("xml", "said"),
    [({}, "is missing"), ({"Ship.xml": b"<ShipList><ship>"}, "cannot be parsed (")],
)
def test_without_a_ship_list_the_scene_stands_together_and_it_is_said(
    tmp_path: Path, xml: dict[str, bytes], said: str
) -> None:
    source = OpenSarShipSource([scene(tmp_path, CHIPS | xml)])
    assert {r.group for r in source.index()} == {"data-take:00E392"}
    first = source.notes()[0]
    assert first.startswith(f"Ship.xml of {GRD}.zip {said}")
    assert "its 2 chips stand together" in first


def test_a_ship_list_missing_beside_one_of_the_same_data_take_is_refused(tmp_path: Path) -> None:
    # Else one ship would stand in one archive by its MMSI and in the other by the data-take.
    without = scene(tmp_path, CHIPS, GRD)
    chip = {"Patch/Cargo_x9_y8.tif": tiff(3, 4, "float32")}
    with_list = scene(tmp_path, chip | {"Ship.xml": ship_xml({(9, 8): "413"})}, SLC_OF_GRD)
    with pytest.raises(DataInvalid, match="shows the same ships by their MMSI"):
        OpenSarShipSource([without, with_list]).index()


def test_a_ship_list_with_entities_is_refused(tmp_path: Path) -> None:
    xml = b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><ShipList>&b;</ShipList>'
    with pytest.raises(DataInvalid, match="declares a document type or entities"):
        OpenSarShipSource([scene(tmp_path, CHIPS | {"Ship.xml": xml})]).index()


def test_a_place_that_is_no_number_names_no_ship(tmp_path: Path) -> None:
    xml = ship_xml({(10, 20): "413"}).replace(b">10<", b">NaN<")
    records = OpenSarShipSource([scene(tmp_path, CHIPS | {"Ship.xml": xml})]).index()
    assert {r.group for r in records} == {"data-take:00E392"}


def test_scenes_of_one_name_in_two_folders_keep_apart(tmp_path: Path) -> None:
    one = scene(tmp_path / "OpenSARShip_1", {"Patch/Cargo_x1_y2.tif": amplitude(1)})
    two = scene(tmp_path / "OpenSARShip_2", {"Patch/Cargo_x1_y2.tif": amplitude(2)})
    source = OpenSarShipSource([one, two])
    first, second = source.index()
    assert first.key == f"OpenSARShip_1/{GRD}.zip!Patch/Cargo_x1_y2.tif"
    assert (source.read(first).amplitude != source.read(second).amplitude).any()


def test_the_sentinel_product_itself_is_refused(tmp_path: Path) -> None:
    write_folder(tmp_path / f"{GRD}.SAFE", {"measurement/a.tiff": tiff(1), "manifest.safe": b"a"})
    (source,) = discover([tmp_path])
    with pytest.raises(
        DataInvalid, match=r"expected a scene archive .* not the Sentinel-1 product"
    ):
        source.index()


def test_scenes_without_any_of_the_classes_are_refused(tmp_path: Path) -> None:
    path = scene(tmp_path, {"Patch/Tug_x1_y2.tif": amplitude(1)})
    with pytest.raises(DataInvalid, match="hold no chip of Cargo, Fishing, Tanker"):
        OpenSarShipSource([path]).index()


@pytest.mark.data
def test_the_real_scenes_name_every_ship(data: Path) -> None:
    (source,) = discover([data / "opensarship"])
    records = source.index()
    assert Counter(record.label for record in records) == {"Cargo": 157, "Tanker": 88}
    assert all(record.ship_known for record in records)
    assert len(source.notes()) == 1  # Ship.xml of version 2's GRD scenes, mended
