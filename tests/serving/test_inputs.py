"""Folders, chips and lists as a batch run's inputs: which entries they give, and in what order."""

import os
import pickle
from pathlib import Path

import pytest

from serving.batch.inputs import (
    ChipEntry,
    InputError,
    label_of,
    list_entries,
    read_entry,
    read_list,
    sort_key,
)
from shipchip import ChipError, DecodeLimits
from shipchip.errors import NotFound, TooLarge, Unreadable

LIMITS = DecodeLimits(max_bytes=1000)
CLASSES = ("Cargo", "Fishing", "Tanker")


def fill(folder: Path, *names: str) -> Path:
    """A folder with these files, each holding its own name."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(os.fsencode(name))
    return folder


def names(*sources: object, **options: object) -> list[str]:
    return [e.name for e in list_entries([str(s) for s in sources], **options)]  # type: ignore[arg-type]


def test_everything_below_a_folder_in_the_order_of_the_paths_bytes(tmp_path: Path) -> None:
    odd = [
        b"a b.png",
        b"a\nb.png",
        b"\xffno utf8.png",
        b"\xef\xbc\x81",
        b"\xf0\x9f\x9a\xa2",
        b".hid",
    ]
    odd += [b"a/z.png", b"a.png", b"B/x.png", b"x" * 255]
    fill(tmp_path / "c", *(os.fsdecode(name) for name in odd))
    folder = os.fsencode(tmp_path / "c")
    entries = list_entries([str(tmp_path / "c")])
    assert [os.fsencode(e.name) for e in entries] == sorted(folder + b"/" + name for name in odd)
    assert [read_entry(e, LIMITS) for e in entries] == [
        os.fsencode(e.name)[len(folder) + 1 :] for e in entries
    ]
    assert [sort_key(e.name) for e in entries] == [os.fsencode(e.name) for e in entries]


@pytest.mark.parametrize("given", ["c", "c/", "./c"])
def test_names_start_as_the_folder_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    fill(tmp_path / "c", "a.png")
    monkeypatch.chdir(tmp_path)
    assert names(given) == [f"{given.rstrip('/')}/a.png"]


def test_what_is_reached_twice_is_one_entry(tmp_path: Path) -> None:
    folder = fill(tmp_path / "c", "a.png", "b/c.png")
    expected = [f"{folder}/a.png", f"{folder}/b/c.png"]
    assert names(folder, folder / "b", folder / "a.png", folder / "a.png") == expected


def test_links_pipes_and_what_is_missing_are_entries_that_fail_on_reading(tmp_path: Path) -> None:
    folder = fill(tmp_path / "c", "a.png", "sub/b.png")
    os.mkfifo(folder / "pipe")
    os.mkfifo(folder / "pipe.zip")
    (folder / "loop").symlink_to(folder)
    (folder / "self").symlink_to("self")
    (folder / "gone.tar").symlink_to("nowhere")
    (folder / "link.png").symlink_to("a.png")
    found = {Path(e.path).name: e for e in list_entries([str(folder)])}
    assert sorted(found) == [
        *("a.png", "b.png", "gone.tar", "link.png", "loop", "pipe", "pipe.zip", "self")
    ]
    assert read_entry(found["link.png"], LIMITS) == b"a.png"
    for name, error in {
        "loop": Unreadable,
        "pipe": Unreadable,
        "pipe.zip": Unreadable,
        "gone.tar": NotFound,
        "self": ChipError,
    }.items():
        with pytest.raises(error):
            read_entry(found[name], LIMITS)


def test_a_chip_that_vanishes_or_grows_after_listing_fails_alone(tmp_path: Path) -> None:
    folder = fill(tmp_path / "c", "a.png", "b.png", "c.png")
    one, two, three = list_entries([str(folder)])
    Path(one.path).unlink()
    Path(two.path).write_bytes(bytes(1001))
    with pytest.raises(NotFound):
        read_entry(one, LIMITS)
    with pytest.raises(TooLarge):
        read_entry(two, LIMITS)
    assert read_entry(three, LIMITS) == b"c.png"


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.tif", {"a.tif", "Cargo/b.tif", "x/Cargo/y/c.tif"}),
        ("*.TIF", set()),
        ("Cargo/*", {"Cargo/b.tif"}),
        ("x/*.tif", set()),
        ("**/Cargo/**", {"Cargo/b.tif", "x/Cargo/y/c.tif"}),
        ("Cargo/", {"Cargo/b.tif"}),
        ("./x/**/*.tif", {"x/Cargo/y/c.tif"}),
        ("**", {"a.tif", "a[1].png", "Cargo/b.tif", "x/Cargo/y/c.tif"}),
        ("[!b].t?f", {"a.tif", "x/Cargo/y/c.tif"}),
        ("a[[]1].*", {"a[1].png"}),
        ("*.[pt]*", {"a.tif", "a[1].png", "Cargo/b.tif", "x/Cargo/y/c.tif"}),
    ],
)
def test_patterns_choose_by_the_path_below_the_folder(
    tmp_path: Path, pattern: str, expected: set[str]
) -> None:
    folder = fill(tmp_path / "c", "a.tif", "a[1].png", "Cargo/b.tif", "x/Cargo/y/c.tif")
    assert set(names(folder, patterns=[pattern])) == {f"{folder}/{name}" for name in expected}


def test_any_of_several_patterns_will_do_and_what_is_named_needs_none(tmp_path: Path) -> None:
    folder = fill(tmp_path / "c", "a.tif", "b.png", "c.txt")
    found = names(folder, folder / "c.txt", patterns=["*.tif", "*.png"])
    assert found == [f"{folder}/{name}" for name in ("a.tif", "b.png", "c.txt")]


@pytest.mark.parametrize("pattern", ["", "/abs/*.tif", "[z-a]", "[!]"])
def test_a_pattern_that_means_nothing_is_refused(tmp_path: Path, pattern: str) -> None:
    with pytest.raises(InputError, match="pattern"):
        list_entries([str(tmp_path)], patterns=[pattern])


def test_outputs_are_no_entries_wherever_they_lie(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = fill(tmp_path / "c", "a.png", "out.csv", "maps/m.png", "sub/out.csv")
    expected = [f"{folder}/a.png", f"{folder}/sub/out.csv"]
    assert names(folder, without=[folder / "out.csv", folder / "maps"]) == expected
    monkeypatch.chdir(folder)
    assert names(folder, without=[Path("out.csv"), Path("maps")]) == expected
    assert names("a.png", "out.csv", without=[folder / "out.csv"]) == ["a.png"]


def test_the_only_source_must_be_there_and_the_line_that_says_so_is_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing at .*expected a folder") as raised:
        list_entries([f"{tmp_path}/no\nsuch\udcff"])
    assert str(raised.value).isprintable()
    with pytest.raises(InputError, match="cannot look at"):
        list_entries([f"{tmp_path}/{'x' * 300}"])
    with pytest.raises(InputError, match="cannot look at"):
        list_entries(["nul\0byte"])
    file = fill(tmp_path, "a.png") / "a.png"
    with pytest.raises(InputError, match="nothing at"):
        list_entries([f"{file}/b.png"])


def test_one_bad_name_among_several_is_its_own_failure(tmp_path: Path) -> None:
    good = fill(tmp_path, "a.png") / "a.png"
    bad = [f"{tmp_path}/missing.png", "nul\0byte", f"{good}/inside", f"{tmp_path}/{'x' * 300}", ""]
    entries = list_entries([str(good), *bad])
    assert {e.name for e in entries} == {str(good), *bad}
    for entry in entries:
        if entry.path != str(good):
            with pytest.raises(ChipError):
                read_entry(entry, LIMITS)


def test_a_folder_that_cannot_be_listed_is_an_entry_unless_it_is_the_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = fill(tmp_path / "c", "a.png", "locked/b.png")
    scandir = os.scandir

    def refuse(path: str) -> object:  # root may list anything
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert names(folder, patterns=["*.png"]) == [f"{folder}/a.png", f"{folder}/locked"]
    with pytest.raises(Unreadable):
        read_entry(ChipEntry(f"{folder}/locked"), LIMITS)
    with pytest.raises(InputError, match=r"cannot list .*locked: Permission denied"):
        list_entries([f"{folder}/locked"])


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"a.png\n\n  \nb c.png\r\nlast", ["a.png", "b c.png", "last"]),
        (b"\xef\xbb\xbfa.png\n", ["a.png"]),
        (b"a\nb.png\0c\r\0\0d", ["a\nb.png", "c\r", "d"]),
        (b"no\xffutf8\n", ["no\udcffutf8"]),
        (b" lead.png \n", [" lead.png "]),
        (b"", []),
    ],
)
def test_a_list_has_a_name_a_line_or_a_name_before_each_nul(
    content: bytes, expected: list[str]
) -> None:
    assert read_list(content) == expected


def test_the_innermost_folder_named_as_a_class_gives_the_class() -> None:
    reported = {
        ChipEntry("data/Cargo/a.png"): "Cargo",
        ChipEntry("Tanker/x/cargo/y/a.png"): "Cargo",
        ChipEntry("FISHING/a.zip", "b/c.png"): "Fishing",
        ChipEntry("Cargo/a.zip", "Tanker\\c.png"): "Tanker",
        ChipEntry("data/Cargo"): None,
        ChipEntry("data/Cargo_x1_y2.tif"): None,
        ChipEntry("a.zip", "Tanker"): None,
    }
    assert {entry: label_of(entry, CLASSES) for entry in reported} == reported


def test_entries_are_small_and_can_be_pickled(tmp_path: Path) -> None:
    (entry,) = list_entries([str(fill(tmp_path, "a.png") / "a.png")])
    assert pickle.loads(pickle.dumps(entry)) == entry
    assert not hasattr(entry, "__dict__")
