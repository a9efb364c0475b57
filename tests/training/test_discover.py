"""What a user points at: folders, archives, the wrong thing, the same thing twice."""

from pathlib import Path

import pytest

from tests.training.archives import GRD, amplitude, fusar, tiff, write_folder, write_rar, write_zip
from training.errors import DataInvalid, DataMissing
from training.sources.discover import discover

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


def test_a_path_that_holds_nothing_is_told_though_another_holds_something(tmp_path: Path) -> None:
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
def test_the_wrong_thing_is_told_by_what_it_holds(
    tmp_path: Path, members: dict[str, bytes], given: str, said: str
) -> None:
    (tmp_path / "it").mkdir()
    write_folder(tmp_path / "it", members)
    with pytest.raises(DataMissing, match=said) as caught:
        discover([tmp_path / "it" / given])
    assert said.replace("\\", "") in str(caught.value).splitlines()[0]


def test_a_zip_of_one_class_is_told_like_a_folder_of_it(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "it.zip", {"Cargo/a.tif": b"1"})
    with pytest.raises(DataMissing, match="holds the class folder Cargo only"):
        discover([path])
