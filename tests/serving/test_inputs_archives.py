"""Zip and tar archives, read in place: sound ones, and every way in which one can be unsound."""

import io
import multiprocessing
import os
import tarfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.batch.inputs import ChipEntry, InputError, TarStore, list_entries, read_entry
from shipchip import DecodeLimits
from shipchip.errors import (
    ChipError,
    Corrupt,
    NotFound,
    TooLarge,
    Truncated,
    Unreadable,
    UnsupportedFormat,
)
from tests.serving.archives import write_tar, write_zip

LIMITS = DecodeLimits(max_bytes=10_000)
CHIPS = {"Cargo/a.png": b"one" * 100, "Tanker/b c.tif": b"two" * 700, "c.npy": b"3"}
TARS = {"t.tar": "w", "t.tar.gz": "w:gz", "t.tgz": "w:gz", "t.tar.bz2": "w:bz2", "t.tar.xz": "w:xz"}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[TarStore]:
    (tmp_path / "store").mkdir()
    with TarStore(LIMITS, tmp_path / "store") as store:
        yield store
    assert list((tmp_path / "store").iterdir()) == []


def contents(entries: list[ChipEntry]) -> dict[str, bytes]:
    return {str(e.member): read_entry(e, LIMITS) for e in entries}


def code(entry: ChipEntry) -> str:
    with pytest.raises(ChipError) as raised:
        read_entry(entry, LIMITS)
    return raised.value.code


@pytest.mark.parametrize(
    "method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
)
def test_a_zip_gives_its_members_in_order_by_whatever_it_is_packed(
    tmp_path: Path, method: int
) -> None:
    path = write_zip(tmp_path / "z.zip", CHIPS, method)
    entries = list_entries([str(path)])
    assert [e.name for e in entries] == [f"{path}/{name}" for name in sorted(CHIPS)]
    assert contents(entries) == CHIPS


@pytest.mark.parametrize(("name", "mode"), TARS.items())
def test_a_tar_gives_the_same_compressed_or_not(
    tmp_path: Path, store: TarStore, name: str, mode: str
) -> None:
    path = write_tar(tmp_path / name, CHIPS, mode)
    entries = list_entries([str(path)], store=store)
    assert [e.name for e in entries] == [f"{path}/{name}" for name in sorted(CHIPS)]
    assert contents(entries) == CHIPS
    assert list((tmp_path / "store").iterdir()) == []  # a copy has no name that could be left


def test_a_copy_for_other_machines_has_a_name_until_the_store_is_closed(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "t.tgz", CHIPS, "w:gz")
    (tmp_path / "store").mkdir()
    with TarStore(LIMITS, tmp_path / "store", named=True) as store:
        entries = list_entries([str(path)], store=store)
        (copy,) = (tmp_path / "store").iterdir()
        assert copy.stat().st_mode & 0o077 == 0
        assert contents(entries) == CHIPS
    assert list((tmp_path / "store").iterdir()) == []


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_other_processes_read_the_same(tmp_path: Path, store: TarStore, start: str) -> None:
    write_tar(tmp_path / "t.tar", CHIPS)
    write_tar(tmp_path / "t.tgz", CHIPS, "w:gz")
    # Larger than a file object buffers, so that a place in the file shared by processes shows.
    large = {f"{k}.png": bytes([k]) * 9000 for k in range(60)}
    write_zip(tmp_path / "z.zip", large, zipfile.ZIP_STORED)
    entries = [e for e in list_entries([str(tmp_path)], store=store) if e.member]
    here = [read_entry(entry, LIMITS) for entry in entries]
    assert len(here) == 66
    with multiprocessing.get_context(start).Pool(2) as pool:
        there = pool.starmap(read_entry, [(entry, LIMITS) for entry in entries] * 20, chunksize=1)
    assert there == here * 20


def test_archives_in_a_folder_are_entered_one_level_deep(tmp_path: Path) -> None:
    inner = write_zip(tmp_path / "inner.zip", CHIPS).read_bytes()
    (tmp_path / "inner.zip").unlink()
    write_zip(tmp_path / "c" / "z.zip", {"a.png": b"a", "inner.zip": inner})
    (tmp_path / "c" / "plain.png").write_bytes(b"p")
    entries = list_entries([str(tmp_path / "c")])
    assert [e.name.removeprefix(f"{tmp_path}/c/") for e in entries] == [
        *("plain.png", "z.zip/a.png", "z.zip/inner.zip")
    ]
    assert read_entry(entries[2], LIMITS) == inner  # which decode will not take for a chip


def test_patterns_take_an_archive_in_a_folder_for_a_folder(tmp_path: Path) -> None:
    write_zip(tmp_path / "c" / "z.zip", CHIPS | {"./Cargo/d.png": b"d"})
    found = list_entries([f"{tmp_path}/c"], patterns=["z.zip/Cargo/*"])
    assert [e.member for e in found] == ["./Cargo/d.png", "Cargo/a.png"]
    found = list_entries([f"{tmp_path}/c/z.zip"], patterns=["Cargo/*"])
    assert [e.member for e in found] == ["./Cargo/d.png", "Cargo/a.png"]


def test_names_of_members_are_only_names(tmp_path: Path) -> None:
    names = ["../../up.png", "/etc/abs.png", "a\\b.png", "new\nline.png", "x" * 300, "船.png"]
    members = {name: name.encode() for name in names}
    before = sorted(tmp_path.rglob("*"))
    zipped = write_zip(tmp_path / "z.zip", members)
    tarred = write_tar(tmp_path / "t.tar", members | {"no\udcffutf8": b"n"})
    assert contents(list_entries([str(zipped)])) == members
    assert contents(list_entries([str(tarred)])) == members | {"no\udcffutf8": b"n"}
    assert sorted(tmp_path.rglob("*")) == sorted([*before, zipped, tarred])


def test_what_macos_adds_and_folders_are_left_out(tmp_path: Path, store: TarStore) -> None:
    added = ["__MACOSX/Cargo/._a.png", "Cargo/.DS_Store", "Cargo/._a.png", "folder/"]
    members = CHIPS | dict.fromkeys(added, b"")
    path = write_zip(tmp_path / "z.zip", members)
    assert contents(list_entries([str(path)])) == CHIPS
    del members["folder/"]
    path = write_tar(tmp_path / "t.tgz", members, "w:gz")
    assert contents(list_entries([str(path)], store=store)) == CHIPS


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_of_two_members_of_one_name_the_last_counts_as_when_unpacked(tmp_path: Path) -> None:
    for path, opened in (
        (tmp_path / "z.zip", zipfile.ZipFile(tmp_path / "z.zip", "w")),
        (tmp_path / "t.tar", tarfile.open(tmp_path / "t.tar", "w")),  # noqa: SIM115
    ):
        with opened as archive:
            for content in (b"old", b"new!"):
                if isinstance(archive, zipfile.ZipFile):
                    archive.writestr("a.png", content)
                else:
                    info = tarfile.TarInfo("a.png")
                    info.size = len(content)
                    archive.addfile(info, io.BytesIO(content))
        assert contents(list_entries([str(path)])) == {"a.png": b"new!"}


def test_a_list_may_name_members_of_archives(tmp_path: Path, store: TarStore) -> None:
    write_zip(tmp_path / "z.zip", CHIPS | {"../up.png": b"up"})
    write_tar(tmp_path / "t.tgz", CHIPS, "w:gz")
    (tmp_path / "bad.zip").write_bytes(b"PK no zip")
    members = ["z.zip/c.npy", "z.zip/../up.png", "z.zip/none", "t.tgz/Cargo/a.png", "t.tgz/none"]
    names = [f"{tmp_path}/{name}" for name in [*members, "bad.zip/a.png"]]
    entries = {e.name: e for e in list_entries(names, store=store)}
    assert sorted(entries) == sorted(names)
    assert read_entry(entries[names[0]], LIMITS) == b"3"
    assert read_entry(entries[names[1]], LIMITS) == b"up"
    assert read_entry(entries[names[3]], LIMITS) == CHIPS["Cargo/a.png"]
    assert [code(entries[names[k]]) for k in (2, 4, 5)] == ["not_found", "not_found", "corrupt"]
    assert list_entries(names[:1])[0].name == names[0]


def test_a_zip_that_is_locked_linked_or_damaged_fails_member_by_member(tmp_path: Path) -> None:
    path = tmp_path / "z.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("bit.png", "good.png", "lock.png", "method.png"):
            archive.writestr(name, name.encode())
        link = zipfile.ZipInfo("link.png")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, b"good.png")
    data = bytearray(path.read_bytes())
    data[data.index(b"bit.png", 31)] ^= 1  # its content, after its name
    for name, offset, value in ((b"lock.png", 8, 1), (b"method.png", 10, 99)):
        data[data.rindex(name) - 46 + offset] = value
    path.write_bytes(data)
    entries = {e.member: e for e in list_entries([str(path)])}
    assert read_entry(entries["good.png"], LIMITS) == b"good.png"
    reported = {name: code(entry) for name, entry in entries.items() if name != "good.png"}
    assert reported == {
        "bit.png": "corrupt",
        "link.png": "unreadable",
        "lock.png": "unreadable",
        "method.png": "unreadable",
    }


def test_what_a_member_announces_and_what_it_holds_are_both_bounded(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "z.zip", {"big.png": bytes(10_001), "lies.png": bytes(5_000_000)})
    data = bytearray(path.read_bytes())
    place = data.rindex(b"lies.png") - 46 + 24  # the size in the directory
    data[place : place + 4] = (100).to_bytes(4, "little")
    path.write_bytes(data)
    big, lies = list_entries([str(path)])
    with pytest.raises(TooLarge, match="10001 bytes, the limit is 10000"):
        read_entry(big, LIMITS)
    with pytest.raises((TooLarge, Corrupt)):
        read_entry(lies, LIMITS)


@pytest.mark.parametrize("keep", [0, 1, 10, 200, 0.5, -1])
def test_a_cut_zip_is_one_failure_or_refused_when_it_is_all_there_is(
    tmp_path: Path, keep: float
) -> None:
    data = write_zip(tmp_path / "whole.zip", CHIPS).read_bytes()
    (tmp_path / "c").mkdir()
    cut = tmp_path / "c" / "z.zip"
    cut.write_bytes(data[: int(keep * len(data)) if keep == 0.5 else int(keep)])
    (entry,) = list_entries([str(tmp_path / "c")], patterns=["*.png"])
    assert entry.name == str(cut)
    with pytest.raises((Corrupt, Truncated), match="is it complete"):
        read_entry(entry, LIMITS)
    with pytest.raises(InputError, match="is it complete"):
        list_entries([str(cut)])


def test_a_zip_that_changes_or_goes_after_listing_is_noticed(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "z.zip", {"a.png": b"a", "b.png": b"b"})
    one, two = list_entries([str(path)])
    assert read_entry(one, LIMITS) == b"a"
    write_zip(path, {"b.png": b"longer than before"})
    assert code(one) == "not_found"
    assert read_entry(two, LIMITS) == b"longer than before"
    path.unlink()
    assert code(two) == "not_found"
    os.mkfifo(path)
    assert code(two) == "unreadable"


def test_a_tar_that_changes_after_listing_is_not_read_at_the_old_places(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "t.tar", {"a.png": b"a"})
    (entry,) = list_entries([str(path)])
    write_tar(path, {"other.png": b"b" * 20_000})
    with pytest.raises(Unreadable, match="has changed since it was listed"):
        read_entry(entry, LIMITS)
    path.unlink()
    with pytest.raises(NotFound):
        read_entry(entry, LIMITS)


def test_a_rar_says_to_unpack_it(tmp_path: Path) -> None:
    (tmp_path / "s.rar").write_bytes(b"Rar!\x1a\x07\x01\x00")
    (entry,) = list_entries([str(tmp_path / "s.rar")])
    with pytest.raises(UnsupportedFormat, match="unpack it and give the folder"):
        read_entry(entry, LIMITS)


def test_ten_thousand_members_are_listed_and_read_in_seconds(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "z.zip", {f"{k}.png": b"%d" % k for k in range(10_000)})
    started = time.monotonic()
    entries = list_entries([str(path)])
    assert all(read_entry(e, LIMITS) == str(e.member)[:-4].encode() for e in entries)
    assert len(entries) == 10_000
    assert time.monotonic() - started < 20  # opened anew for each, it would be many minutes
