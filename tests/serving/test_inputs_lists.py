"""Lists of names as people's programs write them, and what a list may name."""

import codecs
from pathlib import Path

import pytest

from serving.batch.inputs import ChipEntry, InputError, list_entries, read_entry, read_list
from serving.batch.outputs.formats import format_of
from shipchip import ChipError, DecodeLimits
from tests.serving.archives import write_tar, write_zip
from tests.serving.outputs import COLUMNS, rows_of

LIMITS = DecodeLimits(max_bytes=1000)
MARKS = {
    "utf-8": codecs.BOM_UTF8,
    "utf-16-le": codecs.BOM_UTF16_LE,
    "utf-16-be": codecs.BOM_UTF16_BE,
    "utf-32-le": codecs.BOM_UTF32_LE,
    "utf-32-be": codecs.BOM_UTF32_BE,
}


def code(entry: ChipEntry) -> str:
    with pytest.raises(ChipError) as raised:
        read_entry(entry, LIMITS)
    return raised.value.code


@pytest.mark.parametrize("encoding", MARKS)
@pytest.mark.parametrize(
    "text", ["a.png\r\nb\\c 船.png\r\n", "a.png\nb\\c 船.png", "a.png\0b\\c 船.png\0"]
)
def test_a_byte_order_mark_says_how_a_list_is_read(encoding: str, text: str) -> None:
    content = MARKS[encoding] + text.encode(encoding)
    assert read_list(content) == ["a.png", "b\\c 船.png"]


@pytest.mark.parametrize(
    "content",
    [
        codecs.BOM_UTF16_LE + b"a",  # half a character
        codecs.BOM_UTF16_LE + b"\x00\xd8a\x00",  # half a pair
        codecs.BOM_UTF8 + b"\xff",
    ],
)
def test_a_list_that_is_not_what_its_mark_says_is_refused(content: bytes) -> None:
    with pytest.raises(InputError, match=r"byte order mark of utf-.*write it in UTF-8"):
        read_list(content)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("text", ["/data/a.png\r\n/data/b.png\r\n", "/data/船.png\n"])
def test_utf_16_without_a_mark_is_refused_rather_than_cut_into_letters(
    encoding: str, text: str
) -> None:
    """One of the letters would be `/`, and --expand-list would walk the whole disk."""
    with pytest.raises(InputError, match=r"without a byte order mark.*write it in UTF-8"):
        read_list(text.encode(encoding))


def test_only_a_mark_is_a_list_of_nothing() -> None:
    assert read_list(codecs.BOM_UTF16_LE) == []


@pytest.mark.parametrize("plain", [False, True])
def test_the_csv_of_a_batch_is_a_list_of_its_paths(tmp_path: Path, plain: bool) -> None:
    names = ["=1.png", "'=1.png", "a\nb.png", 'c,"d".png', "船.png"]
    path = tmp_path / "answers.csv"
    with path.open("wb") as file:
        format_of(path, plain_csv=plain).write(file, COLUMNS, rows_of(names))
    with path.open("rb") as file:
        assert read_list(file.read()) == names
    with pytest.raises(InputError, match="is damaged"):
        read_list(path.read_bytes() + b'"no end')


def test_folders_and_archives_in_a_list_are_entries_that_fail(tmp_path: Path) -> None:
    chip = tmp_path / "a.png"
    chip.write_bytes(b"a")
    folder = tmp_path / "c"
    folder.mkdir()
    (folder / "inside.png").write_bytes(b"i")
    archive = write_zip(tmp_path / "z.zip", {"in/side.png": b"i"})
    names = [str(chip), str(folder), f"{archive}", f"{archive}/in/side.png", f"{tmp_path}/no.zip"]
    message = {
        entry.name: code(entry) if entry.name not in (names[0], names[3]) else "ok"
        for entry in list_entries([], listed=names)
    }
    assert message == dict(
        zip(names, ["ok", "unreadable", "unreadable", "ok", "not_found"], strict=True)
    )
    found = [entry.name for entry in list_entries(names)]  # as --expand-list has it
    assert found == [names[0], f"{folder}/inside.png", names[4], names[3]]
    with pytest.raises(InputError, match="--expand-list"):
        list_entries([], listed=[str(folder)])
    with pytest.raises(InputError, match="--expand-list"):
        list_entries([], listed=[str(archive)])


@pytest.mark.parametrize("name", ["/", ".", "..", "/proc", "/proc/kmsg", "/dev/zero", "/dev/stdin"])
def test_whatever_a_list_names_nothing_is_walked_or_waited_for(name: str) -> None:
    (entry, _) = list_entries([], listed=[name, f"{name}.not_there"])
    assert code(entry) in ("unreadable", "empty")


@pytest.mark.parametrize(
    "spelling", ["Patch/a.png", "/Patch/a.png", "./Patch//a.png", "Patch/./a.png"]
)
def test_a_member_is_found_however_it_is_spelt(tmp_path: Path, spelling: str) -> None:
    members = {"Patch/a.png": b"a"}
    archives = [
        write_zip(tmp_path / "z.zip", members),
        write_tar(tmp_path / "t.tar", members),
        write_tar(tmp_path / "dot.tar", {"./Patch/a.png": b"a"}),
        write_zip(tmp_path / "windows.zip", {"Patch\\a.png": b"a"}),
    ]
    for archive in archives:
        (entry,) = list_entries([f"{archive}/{spelling}"])
        assert read_entry(entry, LIMITS) == b"a"
        assert [entry] == list_entries([str(archive)])  # the name that the archive has


def test_a_member_of_just_this_spelling_comes_first(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "z.zip", {"a.png": b"1", "./a.png": b"2"})
    entries = list_entries([f"{archive}/a.png", f"{archive}/./a.png"])
    assert {entry.member: read_entry(entry, LIMITS) for entry in entries} == {
        "a.png": b"1",
        "./a.png": b"2",
    }


def test_sidecars_are_skipped_in_folders_and_archives_alike_but_not_where_named(
    tmp_path: Path,
) -> None:
    sidecars = [
        ".DS_Store",
        "._a.tif",
        "a.tif.ovr",
        "a.tif.aux.xml",
        "__MACOSX/a.tif",
        "b/Thumbs.db",
    ]
    members = dict.fromkeys(["a.tif", "b/c.tif", *sidecars], b"x")
    folder = tmp_path / "c"
    for name in members:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    sources = [
        folder,
        write_zip(tmp_path / "z.zip", members),
        write_tar(tmp_path / "t.tar", members),
    ]
    for source in sources:
        found = [entry.name for entry in list_entries([str(source)])]
        assert found == [f"{source}/a.tif", f"{source}/b/c.tif"]
    named = f"{folder}/a.tif.ovr"
    assert [entry.name for entry in list_entries([named])] == [named]
    assert [entry.name for entry in list_entries([], listed=[named])] == [named]


def test_an_empty_file_is_not_even_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [tmp_path / "a.png", tmp_path / "a.zip"]
    for path in names:
        path.write_bytes(b"")

    def refuse(path: Path, *_: object, **__: object) -> None:
        raise AssertionError(f"{path} was opened")

    monkeypatch.setattr(Path, "open", refuse)
    assert [code(e) for e in list_entries([str(path) for path in names])] == ["empty", "truncated"]
    assert Path("/proc/version").stat().st_size == 0  # why: reading such a file may never end
