"""Tars made to hang, to fill memory or disk, or to lose members without a word; and noise."""

import gzip
import os
import random
import tarfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from serving.batch.inputs import ChipEntry, InputError, TarStore, list_entries, read_entry
from shipchip import ChipError, DecodeLimits
from tests.serving.archives import write_tar, write_zip

LIMITS = DecodeLimits(max_bytes=10_000)
BLOCK = tarfile.BLOCKSIZE
END = bytes(2 * BLOCK)


def header(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info.tobuf(tarfile.GNU_FORMAT)


def member(name: str, content: bytes) -> bytes:
    return header(name, len(content)) + content + bytes(-len(content) % BLOCK)


def sparse_back(size: int) -> bytes:
    """A sparse member whose true size is positive, while the next header is `size` bytes away."""
    head = bytearray(header("sparse", size, tarfile.GNUTYPE_SPARSE))
    head[483:495] = b"00000000010\0"
    head[148:156] = b" " * 8
    head[148:156] = f"{sum(head):06o}\0 ".encode()
    return bytes(head)


def message(entries: list[ChipEntry]) -> dict[str | None, str]:
    """By member, what it holds or the code of its failure."""
    result = {}
    for entry in entries:
        try:
            result[entry.member] = read_entry(entry, LIMITS).decode("latin-1")
        except ChipError as error:
            result[entry.member] = error.code
    return result


def both(tmp_path: Path, data: bytes) -> list[dict[str | None, str]]:
    """What a tar of these bytes gives, plain and compressed, beside a file in a folder."""
    results = []
    (tmp_path / "c").mkdir()
    (tmp_path / "store").mkdir()
    (tmp_path / "c" / "beside.png").write_bytes(b"beside")
    for name, content in (("t.tar", data), ("t.tgz", gzip.compress(data))):
        path = tmp_path / "c" / name
        path.write_bytes(content)
        with TarStore(LIMITS, tmp_path / "store") as store:
            found = list_entries([str(path.parent)], store=store)
            assert found[0].name.endswith("beside.png")
            results.append(message(found[1:]))
        path.unlink()
    assert list((tmp_path / "store").iterdir()) == []
    return results


GOOD = member("good.png", b"good")

UNSOUND: dict[str, tuple[bytes, dict[str | None, str]]] = {
    "only the end mark": (END, {}),
    "noise": (random.Random(1).randbytes(5000), {None: "corrupt"}),
    "no end mark": (GOOD, {"good.png": "good", None: "truncated"}),
    "a header of noise": (GOOD + b"x" * BLOCK + END, {"good.png": "good", None: "corrupt"}),
    "a header that is cut": (GOOD + GOOD[:100], {"good.png": "good", None: "truncated"}),
    "a size below nothing": (
        GOOD + header("a.png", -5000) + END,
        {"good.png": "good", None: "corrupt"},
    ),
    "a long name below nothing": (
        GOOD + header("a", -5000, tarfile.GNUTYPE_LONGNAME) + END,
        {"good.png": "good", None: "corrupt"},
    ),
    "a long name of a terabyte": (
        GOOD + header("a", 2**40, tarfile.GNUTYPE_LONGNAME) + END,
        {"good.png": "good", None: "corrupt"},
    ),
    "an extended header of a terabyte": (
        GOOD + header("a", 2**40, tarfile.XHDTYPE) + END,
        {"good.png": "good", None: "corrupt"},
    ),
    "a sparse member that points back": (
        GOOD + header("b.png", 0) + sparse_back(-2 * BLOCK) + END,
        {"good.png": "good", "b.png": "", "sparse": "unreadable", None: "corrupt"},
    ),
    "long names without end": (
        GOOD + (header("a", 1, tarfile.GNUTYPE_LONGNAME) + bytes(BLOCK)) * 5000,
        {"good.png": "good", None: "corrupt"},
    ),
}


@pytest.mark.parametrize(("data", "expected"), UNSOUND.values(), ids=UNSOUND.keys())
def test_an_unsound_tar_keeps_what_was_found_and_says_that_there_may_be_more(
    tmp_path: Path, data: bytes, expected: dict[str | None, str]
) -> None:
    assert both(tmp_path, data) == [expected, expected]


def test_a_tar_cut_in_a_member_fails_there(tmp_path: Path) -> None:
    data = GOOD + member("last.png", b"x" * 3000)[:2000]
    expected = {"good.png": "good", "last.png": "truncated", None: "corrupt"}
    assert both(tmp_path, data) == [expected, expected]


def test_a_cut_gzip_keeps_what_came_before(tmp_path: Path) -> None:
    noise = random.Random(2).randbytes(9000)
    data = gzip.compress(member("a.png", b"a" * 100) + member("b.png", noise) + END)
    (tmp_path / "t.tgz").write_bytes(data[:4000])
    with TarStore(LIMITS, tmp_path) as store:
        found = message(list_entries([str(tmp_path / "t.tgz")], store=store))
    assert found == {"a.png": "a" * 100, None: "truncated"}


def test_links_devices_and_holes_in_a_tar_are_failures(tmp_path: Path) -> None:
    kinds = {
        "link": tarfile.SYMTYPE,
        "hard": tarfile.LNKTYPE,
        "pipe": tarfile.FIFOTYPE,
        "disk": tarfile.BLKTYPE,
        "sparse": tarfile.GNUTYPE_SPARSE,
    }
    data = b"".join(header(name, 0, kind) for name, kind in kinds.items()) + GOOD + END
    expected = dict.fromkeys(kinds, "unreadable") | {"good.png": "good"}
    assert both(tmp_path, header("folder", 0, tarfile.DIRTYPE) + data) == [expected, expected]


def test_a_member_over_the_limit_is_passed_by(tmp_path: Path) -> None:
    expected = {"big.png": "too_large", "good.png": "good"}
    assert both(tmp_path, member("big.png", bytes(10_001)) + GOOD + END) == [expected, expected]


def test_a_bomb_of_zeros_is_refused_before_it_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TarStore, "always_bytes", 5 * 2**20)
    size = 100 * 2**20
    with gzip.open(tmp_path / "t.tgz", "wb") as file:
        file.write(header("zeros.png", size))
        for _ in range(100):
            file.write(bytes(2**20))
        file.write(END)
    with (
        pytest.raises(InputError, match="unpacks to more than"),
        TarStore(LIMITS, tmp_path) as store,
    ):
        list_entries([str(tmp_path / "t.tgz")], store=store)
    (tmp_path / "z.tar.gz").write_bytes(gzip.compress(bytes(10 * 2**20)))
    with TarStore(LIMITS, tmp_path) as store:
        assert list_entries([str(tmp_path / "z.tar.gz")], store=store) == []


def test_what_compressed_tars_hold_together_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TarStore, "most_bytes", 10_000)
    for name in ("a.tgz", "b.tgz"):
        write_tar(tmp_path / name, {"c.png": b"x" * 6000}, "w:gz")
    with (
        pytest.raises(InputError, match="more than 10000 bytes of chips"),
        TarStore(LIMITS, tmp_path) as store,
    ):
        list_entries([str(tmp_path)], store=store)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.tgz", "b.tgz"]


def test_only_what_is_wanted_is_copied(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "t.tgz", {"a.png": b"a" * 5000, "b.tif": b"b"}, "w:gz")
    (tmp_path / "store").mkdir()
    with TarStore(LIMITS, tmp_path / "store", named=True) as store:
        (entry,) = list_entries([str(path)], patterns=["*.tif"], store=store)
        assert read_entry(entry, LIMITS) == b"b"
        (copy,) = (tmp_path / "store").iterdir()
        assert copy.stat().st_size == 1


def test_no_room_for_the_copy_is_one_line(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "t.tgz", {"a.png": b"a"}, "w:gz")
    with (
        pytest.raises(InputError, match=r"cannot copy chips .* set TMPDIR"),
        TarStore(LIMITS, tmp_path / "missing") as store,
    ):
        list_entries([str(path)], store=store)
    with pytest.raises(InputError, match="there is no place to copy its chips to"):
        list_entries([str(path)])


@pytest.mark.parametrize("make", [write_zip, write_tar])
def test_any_damage_gives_entries_that_fail_and_nothing_else(
    tmp_path: Path, make: Callable[..., Path]
) -> None:
    """Three hundred copies of an archive, each with some bytes changed, cut out or repeated."""
    members = {"a.png": b"a" * 300, "folder/b.png": b"b" * 900, "c": b""}
    good = make(tmp_path / "good.bin", members).read_bytes()
    draw = random.Random(3)
    folder = tmp_path / "c"
    folder.mkdir()
    for k in range(300):
        data = bytearray(good)
        for _ in range(draw.randint(1, 8)):
            at = draw.randrange(len(data))
            if k % 3 == 0:
                data[at : at + draw.randint(1, 50)] = b""
            elif k % 3 == 1:
                data[at] = draw.randrange(256)
            else:
                data[at:at] = data[at // 2 : at // 2 + draw.randint(1, 600)]
        (folder / f"{k}.{'zip' if make is write_zip else 'tar'}").write_bytes(data)
    before = sorted(tmp_path.rglob("*"))
    entries = list_entries([str(folder)])
    assert len({entry.path for entry in entries}) >= 290
    message(entries)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_large_header_is_not_read(tmp_path: Path) -> None:
    """Half a gigabyte would fit into memory; in a file of holes it costs nothing to send."""
    path = tmp_path / "c" / "t.tar"
    path.parent.mkdir()
    path.write_bytes(header("a", 2**29, tarfile.XHDTYPE))
    os.truncate(path, 2**40)
    tracemalloc.start()
    try:
        assert message(list_entries([str(path.parent)])) == {None: "corrupt"}
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()
