"""What a user points at: folders, archives, the wrong thing, the same thing twice."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.training.archives import (
    GRD,
    SLC,
    amplitude,
    fusar,
    tiff,
    write_folder,
    write_rar,
    write_zip,
)
from training.data.class_folders import FolderSource
from training.data.discover import discover
from training.errors import DataInvalid, DataMissing

OWN = {"Cargo/1.tif": tiff(1), "Tanker/2.tif": tiff(2)}


def scene(folder: Path) -> Path:
    return write_zip(folder / f"{GRD}.zip", {"Patch/Cargo_x1_y2.tif": amplitude(1)})


def names(*paths: Path) -> list[str]:
    return [source.name for source in discover(list(paths))]


def test_every_kind_is_found_under_one_folder(tmp_path: Path) -> None:
    fusar(tmp_path / "a", [1])
    scene(tmp_path / "b" / "deeper")
    write_zip(tmp_path / "c.zip", OWN)
    write_rar(tmp_path / "d.RAR", OWN)
    assert names(tmp_path) == ["c", "d", "fusar", "opensarship"]


def test_an_archive_itself_may_be_given(tmp_path: Path) -> None:
    assert names(fusar(tmp_path / "a", [1]), scene(tmp_path)) == ["fusar", "opensarship"]
    assert names(write_zip(tmp_path / "c.zip", OWN)) == ["c"]


def test_what_is_reached_twice_is_one_source(tmp_path: Path) -> None:
    path = scene(tmp_path / "b")
    (tmp_path / "link").symlink_to(tmp_path / "b")
    fusar(tmp_path / "a", [1])
    (source, scenes) = discover([tmp_path, tmp_path, path, tmp_path / "a" / ".." / "a"])
    assert (source.name, scenes.name) == ("fusar", "opensarship")
    assert len(scenes.index()) == 1


def test_two_sources_of_one_name_are_refused(tmp_path: Path) -> None:
    # Records name their source, so the chips of one would be looked for in the other.
    fusar(tmp_path / "a", [1])
    fusar(tmp_path / "b", [2])
    with pytest.raises(DataInvalid, match=r"two sources are named fusar: .*/a/.* and .*/b/"):
        discover([tmp_path])


@pytest.mark.parametrize("ending", [".zip.part", ".rar.crdownload", ".zip.PARTIAL"])
def test_an_unfinished_download_is_named(tmp_path: Path, ending: str) -> None:
    scene(tmp_path)
    (tmp_path / f"b{ending}").write_bytes(b"PK")
    with pytest.raises(DataInvalid, match=r"b\..* is an unfinished download; let it finish, or"):
        discover([tmp_path])


def test_a_damaged_archive_beside_a_sound_one_is_named(tmp_path: Path) -> None:
    fusar(tmp_path, [1])
    (tmp_path / "own.zip").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(DataInvalid, match=r"own\.zip cannot be opened as a zip"):
        discover([tmp_path])


def test_an_archive_of_archives_says_to_unpack_the_outer_one(tmp_path: Path) -> None:
    inner = scene(tmp_path / "inner").read_bytes()
    outer = write_zip(tmp_path / "OpenSARShip_2.zip", {f"OpenSARShip_2/{GRD}.zip": inner})
    with pytest.raises(DataInvalid, match=r"holds 1 archives, .*; unpack the outer one"):
        discover([outer])


def test_a_folder_that_may_not_be_listed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> object:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(DataInvalid, match=r"cannot be listed .*; check its permissions"):
        discover([tmp_path])


def test_without_data_it_says_what_to_download_and_where_to_put_it(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(DataMissing, match=r"FUSAR_Ship1\.0\.zip(.|\n)*--simulated"):
            discover([folder])


def test_a_path_that_holds_nothing_is_reported_though_another_holds_something(
    tmp_path: Path,
) -> None:
    own = write_folder(tmp_path / "own", OWN)
    wrong = write_folder(tmp_path / "wrong", {"x/y.txt": b"1"})
    with pytest.raises(DataMissing, match="wrong holds the folders x, none of them a data set"):
        discover([own, wrong])
    assert names(own, own / "Cargo") == ["own"]


@pytest.mark.parametrize(
    ("members", "given", "said"),
    [
        ({"Cargo/a.tif": b"1"}, "", "holds the class folder Cargo only; at least two are needed"),
        ({"cargo/a.tif": b"1"}, "", "holds cargo; class folders are spelt Cargo, Fishing, Tanker"),
        (OWN, "Cargo", "is one class folder; give the folder above it"),
        ({"a.tif": b"1", "b.png": b"1"}, "", "holds 2 chips outside class folders"),
        ({"x/y.txt": b"1"}, "", "holds the folders x, none of them a data set"),
        ({"Patch/Cargo_x1_y2.tif": b"1"}, "", "holds Patch, but is not named as its scene"),
        ({"a.txt": b"1"}, "a.txt", r"is a file, expected a folder, \.zip or \.rar"),
        ({}, "", "holds nothing that is read"),
    ],
)
def test_the_wrong_thing_is_described_by_what_it_holds(
    tmp_path: Path, members: dict[str, bytes], given: str, said: str
) -> None:
    (tmp_path / "it").mkdir()
    write_folder(tmp_path / "it", members)
    with pytest.raises(DataMissing, match=said) as caught:
        discover([tmp_path / "it" / given])
    assert said.replace("\\", "") in str(caught.value).splitlines()[0]


def test_a_zip_of_one_class_is_reported_like_a_folder_of_it(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "it.zip", {"Cargo/a.tif": b"1"})
    with pytest.raises(DataMissing, match="holds the class folder Cargo only"):
        discover([path])


def chips_of(*paths: Path) -> dict[str, set[str]]:
    """Source -> names of its chips, without their folders; each chip is found exactly once."""
    found = {
        source.name: [r.key.replace("!", "/").rsplit("/", 1)[-1] for r in source.index()]
        for source in discover(list(paths))
    }
    assert all(len(set(chips)) == len(chips) for chips in found.values())
    return {name: set(chips) for name, chips in found.items()}


FUSAR = {
    f"{label}/{kind}/Ship_C0{c}S01N000{n}.tiff": tiff(10 * c + n)
    for c, (label, kind) in enumerate((("Cargo", "BulkCarrier"), ("Tanker", "Tanker")))
    for n in (1, 2)
}
FUSAR_CHIPS = {path.rsplit("/", 1)[-1] for path in FUSAR}
SCENE = {"Patch/Cargo_x1_y2.tif": amplitude(1), "Patch/Tanker_x3_y4.tif": amplitude(2)}
SCENE_CHIPS = {"Cargo_x1_y2.tif", "Tanker_x3_y4.tif"}


@pytest.mark.parametrize("write", [write_zip, write_folder])
@pytest.mark.parametrize("deeper", ["", "more/"])
def test_class_folders_and_the_releases_beside_them_are_all_found(
    tmp_path: Path, write: Callable[..., Path], deeper: str
) -> None:
    own, ending = write_folder(tmp_path / "own", OWN), ".zip" if write is write_zip else ""
    wrapped = {f"FUSAR_Ship1.0/{name}": chip for name, chip in FUSAR.items()}
    write(own / f"{deeper}FUSAR_Ship1.0{ending}", wrapped if ending else FUSAR)
    write(own / f"{deeper}{GRD}{ending}", SCENE)
    found = {"own": {"1.tif", "2.tif"}, "fusar": FUSAR_CHIPS, "opensarship": SCENE_CHIPS}
    assert chips_of(own) == found
    assert chips_of(own / deeper, own) == found


def test_what_lies_beside_the_categories_of_fusar_is_found(tmp_path: Path) -> None:
    release = write_folder(tmp_path / "release", FUSAR)
    write_zip(release / f"{GRD}.zip", SCENE)
    write_folder(release / "mine", OWN)
    assert chips_of(tmp_path) == {
        "mine": {"1.tif", "2.tif"},
        "fusar": FUSAR_CHIPS,
        "opensarship": SCENE_CHIPS,
    }


def test_class_folders_below_class_folders_are_one_source(tmp_path: Path) -> None:
    own = write_folder(tmp_path / "own", OWN)
    write_folder(own / "second", {"Cargo/3.tif": tiff(3), "Tanker/4.tif": tiff(4)})
    for paths in ([own], [own / "second", own]):
        assert chips_of(*paths) == {"own": {"1.tif", "2.tif", "3.tif", "4.tif"}}


def test_class_folders_deep_in_an_archive_are_found(tmp_path: Path) -> None:
    deep = {f"a/b/{name}": chip for name, chip in OWN.items()} | {"a/readme.txt": b"a"}
    write_zip(tmp_path / "own.zip", deep)
    fusar(tmp_path, [1])
    assert chips_of(tmp_path)["own"] == {"1.tif", "2.tif"}


def test_linked_class_folders_are_read(tmp_path: Path) -> None:
    cargo = write_folder(tmp_path / "elsewhere", {"x/1.tif": tiff(1)}) / "x"
    own = write_folder(tmp_path / "own", {"Tanker/2.tif": tiff(2)})
    (own / "Cargo").symlink_to(cargo)
    (own / "Tanker" / "circle").symlink_to(own)
    assert chips_of(own) == {"own": {"1.tif", "2.tif"}}


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({f"Cargo/FUSAR/{n}": c for n, c in FUSAR.items()}, "own/Cargo/FUSAR lies in .*own, so it"),
        ({f"Cargo/{GRD}/{n}": c for n, c in SCENE.items()}, f"Cargo/{GRD} lies in .*own, so it is"),
        ({"more/groups.csv": b"path,group\n"}, r"own: more/groups\.csv is not the one groups\.csv"),
    ],
)
def test_a_folder_that_could_be_of_two_sources_is_named(
    tmp_path: Path, members: dict[str, bytes], said: str
) -> None:
    own = write_folder(tmp_path / "own", OWN | members)
    with pytest.raises(DataInvalid, match=said):
        chips_of(own)


def test_a_scene_in_the_folder_of_another_is_named(tmp_path: Path) -> None:
    outer = write_folder(tmp_path / GRD, SCENE)
    write_folder(outer / GRD, {"Patch/Cargo_x5_y6.tif": amplitude(3)})  # as some programs unpack
    assert chips_of(tmp_path) == {"opensarship": SCENE_CHIPS | {"Cargo_x5_y6.tif"}}
    write_folder(outer / SLC, SCENE)
    with pytest.raises(DataInvalid, match=f"{SLC} lies in .*{GRD}, so it is not clear"):
        discover([tmp_path])


@pytest.mark.parametrize("write", [write_zip, write_folder])
@pytest.mark.parametrize("mine", ["Cargo/BulkCarrier/mine.png", "Cargo/mine.tif"])
def test_own_chips_in_fusars_folders_are_refused(
    tmp_path: Path, write: Callable[..., Path], mine: str
) -> None:
    write(tmp_path / ("a.zip" if write is write_zip else "a"), FUSAR | {mine: tiff(77)})
    with pytest.raises(DataInvalid, match=r"folder Cargo.* holds 1 chips .* the first is mine\."):
        chips_of(tmp_path)


def test_chips_of_fusar_outside_its_subcategories_are_refused(tmp_path: Path) -> None:
    misplaced = {"Cargo/Ship_C00S01N0009.tiff": tiff(9)}
    release = write_folder(tmp_path / "release", FUSAR | misplaced)
    with pytest.raises(DataInvalid, match=r"not named or placed as FUSAR-Ship's, .*N0009\.tiff"):
        chips_of(release)


@pytest.mark.parametrize("write", [write_zip, write_folder])
@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"Tanker/2.tif": tiff(2)}, "own.* holds the class folder Tanker only"),
        ({"cargo/1.tif": tiff(1), "tanker/2.tif": tiff(2)}, "class folders are spelt Cargo"),
    ],
)
def test_class_folders_that_would_not_be_read_beside_other_data_are_named(
    tmp_path: Path, write: Callable[..., Path], members: dict[str, bytes], said: str
) -> None:
    fusar(tmp_path, [1])
    write(tmp_path / ("own.zip" if write is write_zip else "own"), members)
    with pytest.raises(DataInvalid, match=f"{said}.*; beside the other data it would not be read"):
        discover([tmp_path])


@pytest.mark.parametrize("inside", [f"{GRD}/Patch/Cargo_x1_y2.tif", f"{GRD}.zip"])
def test_an_archive_of_class_folders_and_scenes_is_refused(tmp_path: Path, inside: str) -> None:
    path = write_zip(tmp_path / "own.zip", OWN | {inside: amplitude(1)})
    with pytest.raises(
        DataInvalid, match=f"holds 1 .*, the first is {GRD}.*; unpack the outer one"
    ):
        discover([path])


def test_however_a_folder_is_named_the_source_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = write_folder(tmp_path / "own", OWN)
    (tmp_path / "link").symlink_to(own)
    expected = discover([own])[0].index()
    for where, path in ((own, "."), (own / "Cargo", ".."), (tmp_path, "own"), (tmp_path, "./own/")):
        monkeypatch.chdir(where)
        assert discover([Path(path)])[0].index() == expected
    assert discover([tmp_path / "link"])[0].index() == expected
    monkeypatch.chdir(own / "Cargo")
    assert FolderSource(Path("..")).index() == expected


def test_scenes_have_the_same_keys_wherever_they_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for top in ("here/data", "there"):
        for name in ("a/x", "b/x"):
            write_zip(tmp_path / top / name / f"{GRD}.zip", SCENE)
    first, second = (discover([tmp_path / top])[0].index() for top in ("here", "there"))
    monkeypatch.chdir(tmp_path / "there" / "b" / "x")
    here = discover([Path(f"{GRD}.zip"), Path("../../a")])[0].index()
    assert [r.key for r in first] == [r.key for r in second] == [r.key for r in here]
    assert {r.key.split("!")[0] for r in first} == {f"a/x/{GRD}.zip", f"b/x/{GRD}.zip"}


def test_meta_csv_beside_the_release_is_found_from_inside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = write_folder(tmp_path / "FUSAR_Ship1.0", FUSAR)
    rows = "\n".join(f"{name.removesuffix('.tiff')},413" for name in FUSAR_CHIPS)
    (tmp_path / "meta.csv").write_text(f"id,mmsi\n{rows}\n")
    monkeypatch.chdir(release)
    (source,) = discover([Path()])
    assert {record.group for record in source.index()} == {"mmsi:413"}
