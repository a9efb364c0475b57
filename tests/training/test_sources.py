"""Data sets in their real layouts, made tiny here: zips and folders, with their known faults."""

import io
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import tifffile

from training.errors import DataInvalid, DataMissing
from training.sources.discover import discover
from training.sources.folder import FolderSource
from training.sources.fusar import NOMINAL_SPACING_M, FusarSource, index_blocks
from training.sources.opensarship import OpenSarShipSource, slc_spacing
from training.sources.simulated import SimulatedSource, hull_of

SCENE = "S1A_IW_GRDH_1SDV_20160131T101646_20160131T101715_009737_00E392_36F7"
SLC = "S1A_IW_SLC__1SSV_20150217T204257_20150217T204324_004668_005C34_2DC9"


def tiff(seed: int, bands: int = 1, dtype: str = "uint8") -> bytes:
    rng = np.random.default_rng(seed)
    shape = (32, 32) if bands == 1 else (32, 32, bands)
    stream = io.BytesIO()
    tifffile.imwrite(
        stream,
        rng.integers(1, 99, shape).astype(dtype),
        photometric="minisblack",
        planarconfig="contig" if bands > 1 else None,
    )
    return stream.getvalue()


def write_zip(path: Path, members: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def fusar(path: Path, numbers: list[int], meta: str = "") -> Path:
    members = {
        f"FUSAR_Ship1.0/Tanker/Tanker/Ship_C12S09N{n:04d}.tiff": tiff(n) for n in numbers
    } | {"FUSAR_Ship1.0/Dredger/Dredger/Ship_C02S01N0001.tiff": tiff(999)}
    if meta:
        members["FUSAR_Ship1.0/meta.csv"] = meta.encode()
    return write_zip(path / "FUSAR_Ship1.0.zip", members)


def ship_xml(places: dict[tuple[int, int], str], end: str) -> bytes:
    ships = "".join(
        f"<ship><SARShipInformation><Center_x>{x}</Center_x><Center_y>{y}</Center_y>"
        f"<Incidence>30.0</Incidence></SARShipInformation><AISShipInformation><MMSI>{mmsi}</MMSI>"
        "</AISShipInformation></ship>"
        for (x, y), mmsi in places.items()
    )
    return f'<?xml version="1.0" encoding="UTF-8"?><ShipList>{ships}{end}'.encode()


def test_fusar_without_meta_groups_by_blocks_of_index_numbers(tmp_path: Path) -> None:
    records = FusarSource(fusar(tmp_path, [1, 2, 3, 40, 41])).index()
    assert [r.label for r in records] == ["Tanker"] * 5
    assert [r.group for r in records] == ["fusar:Tanker:1-3"] * 3 + ["fusar:Tanker:40-41"] * 2


def test_fusar_blocks_that_share_a_byte_identical_chip_are_one_group(tmp_path: Path) -> None:
    folder = "FUSAR_Ship1.0/Cargo/CargoShip/Ship_C01S07N"
    repeat = tiff(7)
    path = write_zip(
        tmp_path / "FUSAR_Ship1.0.zip",
        {
            f"{folder}0820.tiff": repeat,
            f"{folder}0821.tiff": tiff(8),
            f"{folder}1040.tiff": repeat,
            f"{folder}1041.tiff": tiff(9),
            f"{folder}1500.tiff": tiff(10),
        },
    )
    first, second, third, fourth, other = (r.group for r in FusarSource(path).index())
    assert first == second == third == fourth != other


@pytest.mark.data
def test_the_real_releases_hold_what_their_readme_says(data: Path) -> None:
    counts = {
        source.name: Counter(record.label for record in source.index())
        for source in discover([data])
    }
    assert counts["fusar"] == {"Cargo": 587, "Fishing": 226, "Tanker": 62}
    assert counts["opensarship_slc"] == {"Cargo": 563, "Tanker": 85}
    assert set(counts["opensarship"]) == {"Cargo", "Tanker"}


def test_index_blocks_end_at_gaps_and_long_runs_are_cut_evenly() -> None:
    assert index_blocks([1, 9, 18]) == [[1, 9], [18]]
    parts = index_blocks(list(range(1, 144)))
    assert [len(p) for p in parts] == [48, 48, 47]


def test_fusar_with_meta_groups_by_mmsi_and_knows_the_pixel(tmp_path: Path) -> None:
    meta = (
        "id,mmsi,length,width,polarMode,centerLookAngle,heightspace,widthspace,path\n"
        "1,413000001,100,20,HH,30.0,1.7,1.1,Tanker\\Tanker\\Ship_C12S09N0001.tiff\n"
        "2,413000001,100,20,HH,30.0,1.7,1.1,Tanker\\Tanker\\Ship_C12S09N0040.tiff\n"
    )
    source = FusarSource(fusar(tmp_path, [1, 2, 40], meta))
    first, second, far = source.index()
    assert first.group == far.group == "mmsi:413000001"
    assert second.group == "fusar:Tanker:1-2"  # a gap in meta.csv: its block stands for it
    assert source.read(first).pixel_spacing_m == pytest.approx((1.7, 2.2))  # 1.1 / sin 30
    assert source.read(second).pixel_spacing_m == NOMINAL_SPACING_M


def test_fusar_reads_a_zip_and_its_folder_alike(tmp_path: Path) -> None:
    path = fusar(tmp_path, [1, 2, 30])
    with zipfile.ZipFile(path) as archive:
        archive.extractall(tmp_path / "out")
    folder = FusarSource(tmp_path / "out" / "FUSAR_Ship1.0")
    strip = [(r.label, r.group, r.sha256) for r in folder.index()]
    assert strip == [(r.label, r.group, r.sha256) for r in FusarSource(path).index()]


@pytest.mark.parametrize("end", ["</ShipList>", "<\\ShipList>"])
def test_opensarship_joins_chips_to_mmsi_through_broken_xml(tmp_path: Path, end: str) -> None:
    path = write_zip(
        tmp_path / f"{SCENE}.zip",
        {
            "Patch/Cargo_x10_y20.tif": tiff(1, 2, "float32"),
            "Patch/Tanker_x30_y40.tif": tiff(2, 2, "float32"),
            "Patch/Tug_x50_y60.tif": tiff(3, 2, "float32"),
            "Patch_RGB/Cargo_x10_y20_vv.tif": b"a plot",
            "Ship.xml": ship_xml({(10, 20): "413", (30, 40): "0"}, end),
        },
    )
    source = OpenSarShipSource([path])
    cargo, tanker = source.index()
    assert (cargo.label, cargo.group) == ("Cargo", "mmsi:413")
    assert (tanker.label, tanker.group) == ("Tanker", "data-take:00E392")
    chip = source.read(cargo)
    assert chip.pixel_spacing_m == (10.0, 10.0)
    assert chip.polarisations == ("VH", "VV")


def test_opensarship_slc_is_complex_with_range_on_the_ground(tmp_path: Path) -> None:
    path = write_zip(
        tmp_path / f"{SLC}.zip",
        {
            "Patch/Cargo_x10_y20.tif": tiff(1, 2, "float32"),
            "Ship.xml": ship_xml({(10, 20): "413"}, "</ShipList>"),
        },
    )
    source = OpenSarShipSource([path])
    chip = source.read(source.index()[0])
    assert chip.encoding == "complex"
    assert chip.pixel_spacing_m == pytest.approx((13.93, 4.66))  # 2.33 / sin 30
    assert slc_spacing(None) == pytest.approx((13.93, 3.87), abs=0.01)


def test_class_folders_group_chips_by_place_in_the_scene(tmp_path: Path) -> None:
    for name in ("Cargo/Cargo_x100_y100", "Cargo/Cargo_x150_y120", "Tanker/Tanker_x900_y100"):
        (tmp_path / "own" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "own" / f"{name}.tif").write_bytes(tiff(len(name)))
    near, near_too, far = FolderSource(tmp_path / "own").index()
    assert near.group == near_too.group != far.group


def test_class_folders_take_groups_from_groups_csv(tmp_path: Path) -> None:
    own = tmp_path / "own"
    for name in ("Cargo/a.tif", "Cargo/b.tif", "Tanker/c.tif"):
        (own / name).parent.mkdir(parents=True, exist_ok=True)
        (own / name).write_bytes(tiff(ord(name[-5])))
    source = FolderSource(own)
    assert len({r.group for r in source.index()}) == 3
    assert source.ungrouped == 3
    (own / "groups.csv").write_text("path,group\nCargo/a.tif,x\nCargo/b.tif,x\nTanker/c.tif,y\n")
    assert [r.group for r in FolderSource(own).index()] == ["own:x", "own:x", "own:y"]
    (own / "groups.csv").write_text("path,group\nCargo/a.tif,x\n")
    with pytest.raises(DataInvalid, match=r"lacks 2 chips, the first is Cargo/b\.tif"):
        FolderSource(own).index()


def test_discovery_finds_every_kind_under_one_folder(tmp_path: Path) -> None:
    fusar(tmp_path / "a", [1])
    write_zip(tmp_path / "b" / f"{SCENE}.zip", {"Patch/Cargo_x1_y2.tif": tiff(1, 2, "float32")})
    write_zip(tmp_path / "c.zip", {"Cargo/1.tif": tiff(1), "Tanker/2.tif": tiff(2)})
    assert [s.name for s in discover([tmp_path])] == ["c", "fusar", "opensarship"]


def test_without_data_it_says_what_to_download_and_where_to_put_it(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(DataMissing, match=r"FUSAR_Ship1\.0\.zip(.|\n)*--simulated"):
            discover([folder])


def test_a_half_downloaded_archive_is_named(tmp_path: Path) -> None:
    path = fusar(tmp_path, [1, 2])
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataInvalid, match="is the download complete"):
        FusarSource(path).index()


def test_simulated_chips_are_repeatable_and_hulls_have_their_class_length() -> None:
    source = SimulatedSource({"Cargo": 3, "Fishing": 3}, seed=5)
    again = SimulatedSource({"Cargo": 3, "Fishing": 3}, seed=5)
    assert source.index() == again.index()
    assert source.index() != SimulatedSource({"Cargo": 3, "Fishing": 3}, seed=6).index()
    rng = np.random.default_rng(0)
    lengths = {
        c: np.median([hull_of(c, rng)[0] for _ in range(400)])
        for c in ("Cargo", "Fishing", "Tanker")
    }
    assert lengths["Cargo"] == pytest.approx(175, rel=0.05)
    assert lengths["Fishing"] == pytest.approx(45, rel=0.05)


def test_a_simulated_ship_stands_out_by_its_length() -> None:
    source = SimulatedSource({"Cargo": 1, "Fishing": 1}, seed=0)
    extent = {}
    for record in source.index():
        power = source.read(record).amplitude[0] ** 2
        extent[record.label] = (power > 8).sum()
    assert extent["Cargo"] > 3 * extent["Fishing"]
