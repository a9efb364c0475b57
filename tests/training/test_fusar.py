"""FUSAR-Ship 1.0 as users have it: with and without meta.csv, zipped, unpacked and renamed."""

import zipfile
from collections import Counter
from pathlib import Path

import pytest

from tests.training.archives import (
    META_HEADER,
    fusar,
    tankers,
    tiff,
    write_folder,
    write_rar,
    write_zip,
)
from training.data.discover import discover
from training.data.fusar import NOMINAL_SPACING_M, FusarSource, index_blocks
from training.data.record import drop_repeats
from training.errors import DataInvalid


def row(number: int, mmsi: str, mode: str = "DH", look: str = "30.0") -> str:
    """A line of meta.csv as in the release: the id is the chip, the path its folder."""
    return f"Ship_C12S09N{number:04d},{mmsi},100,20,{mode},{look},1.7,1.1,Tanker\\Tanker\r\n"


def test_without_meta_blocks_of_index_numbers_stand_for_ships(tmp_path: Path) -> None:
    source = FusarSource(fusar(tmp_path, [1, 2, 3, 40, 41]))
    records = source.index()
    assert [r.label for r in records] == ["Tanker"] * 5
    assert [r.group for r in records] == ["fusar:Tanker:1-3"] * 3 + ["fusar:Tanker:40-41"] * 2
    assert source.notes() == [
        "there is no meta.csv: 5 chips name no ship, and 2 blocks of consecutive numbers are used "
        "as ships"
    ]


def test_index_blocks_end_at_gaps_and_long_runs_are_cut_evenly() -> None:
    assert index_blocks([1, 9, 18]) == [[1, 9], [18]]
    parts = index_blocks(list(range(1, 144)))
    assert [len(p) for p in parts] == [48, 48, 47]


def test_blocks_that_share_a_byte_identical_chip_are_one_group(tmp_path: Path) -> None:
    numbers = {820: 7, 821: 8, 1040: 7, 1041: 9, 1500: 10}
    folder = "FUSAR_Ship1.0/Cargo/CargoShip/Ship_C01S07N"
    path = write_zip(
        tmp_path / "FUSAR_Ship1.0.zip",
        {f"{folder}{n:04d}.tiff": tiff(seed) for n, seed in numbers.items()},
    )
    first, second, fourth, other = (r.group for r in drop_repeats(FusarSource(path).index()))
    assert first == second == fourth != other


def test_meta_joins_by_id_and_gives_ship_and_pixel(tmp_path: Path) -> None:
    meta = row(1, "413000001") + row(40, "413000001") + row(77, "413000009")
    source = FusarSource(fusar(tmp_path, [1, 2, 40], meta))
    first, second, far = source.index()
    assert first.group == far.group == "mmsi:413000001"
    assert second.group == "fusar:Tanker:1-2"  # a gap in meta.csv: its block stands for it
    assert source.read(first).pixel_spacing_m == pytest.approx((1.7, 2.2))  # 1.1 / sin 30
    assert source.read(second).pixel_spacing_m == NOMINAL_SPACING_M
    assert source.notes() == [
        "1 of 3 chips have no MMSI in meta.csv (1 have no row there): "
        "1 blocks of consecutive numbers are used as ships"
    ]


def test_meta_may_hold_the_whole_path_with_backslashes(tmp_path: Path) -> None:
    line = "1,413000001,100,20,DH,30.0,1.7,1.1,Tanker\\Tanker\\Ship_C12S09N0001.tiff\r\n"
    assert FusarSource(fusar(tmp_path, [1], line)).index()[0].group == "mmsi:413000001"


@pytest.mark.parametrize("mmsi", ["0", "", " ", "000000000", "NaN"])
def test_an_mmsi_of_nothing_is_no_ship(tmp_path: Path, mmsi: str) -> None:
    source = FusarSource(fusar(tmp_path, [1, 2], row(1, mmsi) + row(2, mmsi)))
    assert {r.group for r in source.index()} == {"fusar:Tanker:1-2"}


def test_an_mmsi_is_one_ship_however_it_is_written(tmp_path: Path) -> None:
    source = FusarSource(fusar(tmp_path, [1, 40], row(1, " 413000001") + row(40, "413000001.0")))
    assert {r.group for r in source.index()} == {"mmsi:413000001"}


def test_polarisation_comes_from_meta_where_it_names_one(tmp_path: Path) -> None:
    meta = row(1, "413", "VV") + row(2, "413", "DH")
    source = FusarSource(fusar(tmp_path, [1, 2], meta))
    assert [source.read(r).polarisations for r in source.index()] == [("VV",), ("unknown",)]


def test_a_row_without_a_pixel_size_is_said(tmp_path: Path) -> None:
    source = FusarSource(fusar(tmp_path, [1], row(1, "413000001", look="")))
    assert source.read(source.index()[0]).pixel_spacing_m == NOMINAL_SPACING_M
    assert source.notes() == ["1 rows of meta.csv have no pixel size: the nominal one is taken"]


@pytest.mark.parametrize(
    ("meta", "said"),
    [
        ("name,ship\r\na,b\r\n", "needs the columns mmsi and id; its first line is 'name,ship'"),
        (f"{META_HEADER}\r\nShip_C99S09N0001,413,,,,,,,\r\n", "names none of the 1 chips"),
        (f"{META_HEADER}\r\n{'x' * 200_000},413\r\n", "cannot be read as a table"),
    ],
)
def test_a_meta_that_does_not_fit_is_refused(tmp_path: Path, meta: str, said: str) -> None:
    members = tankers([1]) | {"FUSAR_Ship1.0/meta.csv": meta.encode()}
    with pytest.raises(DataInvalid, match=said):
        FusarSource(write_zip(tmp_path / "FUSAR_Ship1.0.zip", members)).index()


def test_meta_may_stand_beside_the_zip(tmp_path: Path) -> None:
    source = FusarSource(fusar(tmp_path, [1]))
    (tmp_path / "meta.csv").write_text(f"{META_HEADER}\n{row(1, '413000001')}")
    assert source.index()[0].group == "mmsi:413000001"


def test_an_excel_table_alone_is_named(tmp_path: Path) -> None:
    members = tankers([1]) | {"FUSAR_Ship1.0/meta.xls": b"excel"}
    source = FusarSource(write_zip(tmp_path / "FUSAR_Ship1.0.zip", members))
    assert source.notes()[0].startswith("meta.xls is not read, save it as meta.csv: 1 chips")


def test_zip_rar_and_folder_are_read_alike(tmp_path: Path) -> None:
    zipped = fusar(tmp_path, [1, 2, 30])
    with zipfile.ZipFile(zipped) as archive:
        archive.extractall(tmp_path / "out")
    rar = write_rar(tmp_path / "rar" / "FUSAR_Ship1.0.rar", tankers([1, 2, 30]))
    reported = [
        [(r.label, r.group, r.sha256) for r in FusarSource(path).index()]
        for path in (zipped, rar, tmp_path / "out" / "FUSAR_Ship1.0")
    ]
    assert reported[0] == reported[1] == reported[2]


@pytest.mark.parametrize("given", [".", "renamed", "renamed/Tanker/.."])
def test_the_release_is_known_by_its_layout_whatever_it_is_named(
    tmp_path: Path, given: str
) -> None:
    write_folder(tmp_path / "renamed", {"Tanker/Tanker/Ship_C12S09N0001.tiff": tiff(1)})
    (source,) = discover([tmp_path / given])
    assert source.name == "fusar"
    assert [r.key for r in source.index()] == ["Tanker/Tanker/Ship_C12S09N0001.tiff"]
    assert [r.label for r in source.index()] == ["Tanker"]


def test_chips_without_subcategories_are_still_grouped_by_blocks(tmp_path: Path) -> None:
    # Two subcategories in one folder: the numbers of each count anew.
    names = ("Cargo/Ship_C01S02N0001", "Cargo/Ship_C01S02N0002", "Cargo/Ship_C01S03N0001")
    write_folder(tmp_path / "own", {f"{n}.tiff": tiff(k) for k, n in enumerate(names)})
    (source,) = discover([tmp_path])
    groups = [r.group for r in source.index()]
    assert groups == ["fusar:C01S02:1-2"] * 2 + ["fusar:C01S03:1-1"]


def test_an_archive_without_the_layout_says_what_was_expected(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "FUSAR_Ship1.0.zip", {"a/b.txt": b"c"})
    with pytest.raises(DataInvalid, match=r"holds no Category/SubCategory/Ship_CxxSyyNzzzz\.tiff"):
        discover([path])[0].index()


@pytest.mark.data
def test_the_real_release_holds_what_its_readme_says(data: Path) -> None:
    (source,) = discover([data / "fusar"])
    labels = Counter(record.label for record in source.index())
    assert labels == {"Cargo": 587, "Fishing": 226, "Tanker": 62}
    assert len(drop_repeats(source.index())) == 870
