"""A user's own class folders: which chips show one ship, and what is left out."""

import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.training.archives import tiff, write_folder, write_rar, write_zip
from tests.training.test_figures import npy
from training.data.class_folders import FolderSource
from training.data.discover import discover
from training.errors import DataInvalid

OWN = {"Cargo/a.tif": tiff(1), "Cargo/b.tif": tiff(2), "Tanker/c.tif": tiff(3)}


def test_chips_near_each_other_in_the_scene_are_one_group(tmp_path: Path) -> None:
    names = ("Cargo/Cargo_x100_y100", "Cargo/Cargo_x150_y120", "Tanker/Tanker_x900_y100")
    own = write_folder(tmp_path / "own", {f"{n}.tif": tiff(k) for k, n in enumerate(names)})
    near, near_too, far = FolderSource(own).index()
    assert near.group == near_too.group != far.group
    assert FolderSource(own).notes() == [
        "3 chips name no ship, so chips near each other in the scene stand for one"
    ]


@pytest.mark.parametrize("stem", ["Cargo/a", "Cargo/Cargo_x100_y100"])
@pytest.mark.parametrize("other", ["_VH.tif", "_vh.png", "_vh.npy", ".png"])
def test_files_of_one_chip_are_one_group(tmp_path: Path, stem: str, other: str) -> None:
    chips = {f"{stem}_vv.tif": tiff(1), f"{stem}{other}": tiff(2), "Tanker/c.tif": tiff(3)}
    source = FolderSource(write_folder(tmp_path / "own", chips))
    groups = {r.key: r.group for r in source.index()}
    assert groups[f"{stem}_vv.tif"] == groups[f"{stem}{other}"] != groups["Tanker/c.tif"]


def test_the_polarisation_is_read_from_the_file_name(tmp_path: Path) -> None:
    source = FolderSource(write_folder(tmp_path / "own", OWN | {"Cargo/d_VH.tif": tiff(4)}))
    planes = {r.key: source.read(r).polarisations for r in source.index()}
    assert planes["Cargo/d_VH.tif"] == ("VH",)
    assert planes["Tanker/c.tif"] == ("unknown",)


def test_a_chip_nearer_to_an_old_one_does_not_rename_its_group(tmp_path: Path) -> None:
    names = ["Cargo_x100_y100", "Cargo_x900_y100", "Tanker_x130_y100"]
    chips = {f"{name[:6].strip('_')}/{name}.tif": tiff(k) for k, name in enumerate(names)}
    own = write_folder(tmp_path / "own", dict(list(chips.items())[:2]))
    before = {r.key: r.group for r in FolderSource(own).index()}
    write_folder(own, chips)
    assert {r.key: r.group for r in FolderSource(own).index()}.items() >= before.items()


@pytest.mark.parametrize("place", ["Cargo_x100_y100", "Cargo_x9000_y9000_vv"])
def test_slc_and_grd_chips_named_by_their_place_need_groups_csv(tmp_path: Path, place: str) -> None:
    # One ship has other coordinates in the two products, so its chips would count as two ships.
    amplitudes = np.random.default_rng(0).random((16, 16), np.float32)
    chips = {
        f"Cargo/{place}.npy": npy(amplitudes.astype(np.complex64)),
        "Cargo/Cargo_x400_y80.npy": npy(amplitudes),
        "Tanker/c.tif": tiff(3),
    }
    own = write_folder(tmp_path / "own", chips)
    with pytest.raises(
        DataInvalid, match=rf"complex chips \(Cargo/{place}.* amplitudes .*x400_y80"
    ):
        FolderSource(own).index()
    table = "".join(f"{name},1\n" for name in chips)
    (own / "groups.csv").write_text(f"path,group\n{table}")
    assert {r.group for r in FolderSource(own).index()} == {"own:1"}


def test_chips_that_name_no_ship_stand_for_themselves_and_it_is_said(tmp_path: Path) -> None:
    source = FolderSource(write_folder(tmp_path / "own", OWN))
    assert len({r.group for r in source.index()}) == 3
    assert source.ungrouped == 3
    assert source.notes() == [
        "3 chips name no ship, so each counts as a ship; add groups.csv (path,group) if some "
        "show the same one"
    ]


def test_groups_csv_says_which_chips_show_one_ship(tmp_path: Path) -> None:
    own = write_folder(tmp_path / "own", OWN)
    (own / "groups.csv").write_text("path,group\nCargo\\a.tif,x\nCargo/b.tif,x\nTanker/c.tif,y\n")
    assert [r.group for r in FolderSource(own).index()] == ["own:x", "own:x", "own:y"]
    assert FolderSource(own).notes() == []


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("path,group\nCargo/a.tif,x\n", r"lacks 2 chips, the first is Cargo/b\.tif"),
        ("path,group\nCargo/a.tif,\n", r"gives Cargo/a\.tif no group"),
        ("file,ship\nCargo/a.tif,x\n", "needs the columns path,group"),
        (f"path,group\n{'x' * 200_000},x\n", "is no table"),
        (
            "path,group\nCargo/a.tif,x\nCargo/b.tif,x\nCargo\\a.tif,y\n",
            r"one chip into two groups: line 2 says that Cargo/a\.tif is of x, line 4 that .* of y",
        ),
        (
            "path,group\nCargo/b.tif,x\n./Cargo/b.tif,y\n",
            r"line 2 says that Cargo/b\.tif is of x, line 3 that \./Cargo/b\.tif is of y",
        ),
    ],
)
def test_a_groups_csv_that_does_not_fit_is_refused(tmp_path: Path, table: str, said: str) -> None:
    own = write_folder(tmp_path / "own", OWN | {"groups.csv": table.encode()})
    with pytest.raises(DataInvalid, match=said):
        FolderSource(own).index()


def test_a_groups_csv_that_splits_the_files_of_one_chip_is_refused(tmp_path: Path) -> None:
    chips = {"Cargo/a_vv.tif": tiff(1), "Tanker/c.tif": tiff(2), "Cargo/a_vh.png": tiff(3)}
    rows = "".join(f"{name},{number}\n" for number, name in enumerate(chips))
    own = write_folder(tmp_path / "own", chips | {"groups.csv": f"path,group\n{rows}".encode()})
    with pytest.raises(DataInvalid, match=r"line \d .* Cargo/a_v..* line \d that Cargo/a_v"):
        FolderSource(own).index()


@pytest.mark.parametrize("write", [write_zip, write_rar])
def test_an_archive_may_wrap_the_class_folders_in_one(
    tmp_path: Path, write: Callable[..., Path]
) -> None:
    groups = b"path,group\nCargo/a.tif,x\nCargo/b.tif,x\nTanker/c.tif,y\n"
    members = {f"chips/{n}": c for n, c in (OWN | {"groups.csv": groups}).items()}
    write(tmp_path / ("own.zip" if write is write_zip else "own.rar"), members)
    (source,) = discover([tmp_path])
    assert [(r.label, r.group) for r in source.index()] == [
        ("Cargo", "own:x"),
        ("Cargo", "own:x"),
        ("Tanker", "own:y"),
    ]


def test_what_is_left_out_is_said(tmp_path: Path) -> None:
    others = {"Cargo/notes.bmp": b"a", "tug/d.tif": tiff(4), "readme.txt": b"a"}
    source = FolderSource(write_folder(tmp_path / "own", OWN | others))
    assert source.notes()[1:] == [
        "left out: files ending in .bmp (1)",
        "left out: chips in folders named tug (1)",
    ]


@pytest.mark.parametrize("write", [write_zip, write_folder])
def test_sidecars_are_neither_chips_nor_left_out_chips(
    tmp_path: Path, write: Callable[..., Path]
) -> None:
    """As in batch runs: what `classify` skips is not learnt from."""
    forks = {"__MACOSX/Cargo/._a.tif": b"fork", "Tanker/._c.tif": b"fork"}
    others = {f"Cargo/{name}": b"x" for name in (".DS_Store", "Thumbs.db", "a.tif.ovr", "a.tfw")}
    path = write(tmp_path / ("own.zip" if write is write_zip else "own"), OWN | forks | others)
    source = FolderSource(path)
    assert [r.key for r in source.index()] == list(OWN)
    assert not [note for note in source.notes() if "left out" in note]


def test_backslashes_in_a_zip_are_slashes(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "own.zip", {n.replace("/", "\\"): c for n, c in OWN.items()})
    source = FolderSource(path)
    assert [r.key for r in source.index()] == list(OWN)
    assert source.read(source.index()[0]).amplitude.shape == (1, 32, 32)


def test_empty_class_folders_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "own.zip", "w") as archive:
        for name in ("Cargo/", "Tanker/"):
            archive.writestr(zipfile.ZipInfo(name), b"")
    (source,) = discover([tmp_path])
    with pytest.raises(DataInvalid, match=r"holds no chips .* in folders named Cargo, Fishing"):
        source.index()


@pytest.mark.data
def test_the_real_slc_folders_hold_what_their_readme_says(data: Path) -> None:
    (source,) = discover([data / "opensarship_slc"])
    assert Counter(r.label for r in source.index()) == {"Cargo": 563, "Tanker": 85}
