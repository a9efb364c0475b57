"""Folders, chips, archives and lists -> the sorted entries of a run; an entry -> its bytes.

A list of names may be written by `find`, text editors, PowerShell or this program.
"""

import codecs
import csv
import io
import os
import stat
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import groupby, islice
from operator import attrgetter
from pathlib import Path

from serving.batch.inputs.archives import (
    Keep,
    all_members,
    archive_entries,
    is_archive_name,
    read_member,
)
from serving.batch.inputs.entries import (
    ChipEntry,
    Fault,
    InputError,
    SceneWindow,
    sort_key,
    tidy,
)
from serving.batch.inputs.folders import OutputFilter, check_listable, matcher, slashed, walk
from serving.batch.inputs.scenes import read_window
from serving.batch.inputs.tars import TarStore
from serving.batch.rows import columns, unguarded
from shipchip.chip import DecodeLimits
from shipchip.errors import NotFound, Unreadable, UnsupportedFormat
from shipchip.files import read_chip_file

_EXPECTED = "expected a folder, a chip, or a zip or tar archive"


def list_entries(
    sources: Sequence[str],
    *,
    listed: Sequence[str] = (),
    patterns: Sequence[str] = (),
    without: Collection[Path] = (),
    left_out: Callable[[str], object] = lambda _: None,
    store: TarStore | None = None,
) -> list[ChipEntry]:
    """Entries of all sources, sorted by `sort_key` of their names, without repeats.

    sources   folders, chips, archives, members of archives (scenes.zip/Patch/a.tif)
    listed    chips and members of archives; a folder or an archive here is an entry that fails,
              because a list in the wrong encoding may name / or .
    patterns  globs (see folders.py), matched against paths below a folder or in an archive, where
              an archive in a folder counts as a folder; what is named itself needs no match
    without   outputs of this run, which are never entries
    left_out  is called with each output of another run that is met, which is no entry either: a
              file with its record, a folder of pictures
    store     where the chips of compressed tars go, for as long as entries are read

    What cannot be read is an entry that fails when it is read. InputError is raised where the only
    source is missing, cannot be listed or is no sound archive, for a pattern that cannot be
    understood, and for compressed tars that are bombs or without a store.
    """
    keep = matcher(patterns)
    outputs = OutputFilter(without, left_out)
    inside: dict[str, set[str]] = {}
    found: list[ChipEntry] = []
    everything = [*sources, *listed]
    if len(everything) == 1:
        _check_only(everything[0])
    for source in sources:
        if not _is_member(source, inside):
            found += _of_source(source, keep, outputs, store)
    for name in listed:
        if not _is_member(name, inside):
            found += _of_listed(name, outputs)
    for archive, names in inside.items():
        found += _named_members(archive, names, store)
    if len(found) == 1 and everything == [found[0].path]:
        _refuse_fault(found[0])
    return _in_order(found)


def _in_order(entries: list[ChipEntry]) -> list[ChipEntry]:
    """Sorted in place, then without repeats. ASCII names, the usual case, need no keys: a million
    keys would need as much memory as the entries."""
    if all(entry.name.isascii() for entry in entries):
        entries.sort(key=attrgetter("name"))
    else:
        entries.sort(key=lambda entry: sort_key(entry.name))
    return [next(same) for _, same in groupby(entries, key=attrgetter("name"))]


def _of_source(
    source: str, keep: Keep, outputs: OutputFilter, store: TarStore | None
) -> Iterator[ChipEntry]:
    folder, name = os.path.split(source)
    if _is(Path.is_dir, source):
        if not outputs.hold_folder(source):
            yield from _of_folder(source, keep, outputs, store)
    elif outputs.hold_folder(folder) or outputs.hold(folder, name):
        return
    elif is_archive_name(source):
        yield from archive_entries(source, keep, store, outputs.left_out)
    else:
        yield ChipEntry(source)


def _of_listed(name: str, outputs: OutputFilter) -> Iterator[ChipEntry]:
    folder, file = os.path.split(name)
    if _is(Path.is_dir, name) or (is_archive_name(name) and _is(Path.is_file, name)):
        message = f"{name} is a folder or an archive in a list; --expand-list reads what is in it"
        yield ChipEntry(name, None, Fault(Unreadable, message))
    elif not (outputs.hold_folder(folder) or outputs.hold(folder, file)):
        yield ChipEntry(name)


def _is(kind: Callable[[Path], bool], path: str) -> bool:
    try:
        return kind(Path(path))
    except OSError:  # reading it will say why
        return False


def _of_folder(
    folder: str, keep: Keep, outputs: OutputFilter, store: TarStore | None
) -> Iterator[ChipEntry]:
    start = len(slashed(folder))
    for path, listed in walk(folder, outputs):
        relative = path[start:]
        if not listed:
            yield ChipEntry(path)  # in spite of the patterns: it may contain chips
        elif is_archive_name(relative):
            yield from archive_entries(path, _below(relative, keep), store, outputs.left_out)
        elif keep(relative):
            yield ChipEntry(path)


def _below(folder: str, keep: Keep) -> Keep:
    return lambda member: keep(f"{folder}/{member}")


def _is_member(source: str, inside: dict[str, set[str]]) -> bool:
    """Whether a source is a member of an archive; if so, it is added to `inside`."""
    archive = _archive_before(source)
    if archive:
        inside.setdefault(archive, set()).add(source[len(archive) + 1 :])
    return bool(archive)


def _archive_before(source: str) -> str:
    """The archive that contains a source; "" if the source is not in an archive."""
    try:
        Path(source).lstat()
    except NotADirectoryError:
        end = source.find("/")
        while end >= 0:
            path = source[:end]
            if is_archive_name(path) and Path(path).is_file():
                return path
            end = source.find("/", end + 1)
    except (OSError, ValueError):
        pass  # reading it will say why
    return ""


def _named_members(archive: str, names: set[str], store: TarStore | None) -> Iterator[ChipEntry]:
    """The members of these names in any spelling, under the names that the archive uses.

    Members that do not exist, or cannot be read, are entries that fail.
    """
    wanted = {_spelling(name) for name in names}
    entries = all_members(archive, lambda member: _spelling(member) in wanted, store)
    members = {entry.member: entry for entry in entries}
    spelt = {_spelling(entry.member): entry for entry in entries if entry.member is not None}
    broken = members.get(None)
    missing = Fault(NotFound, f"no such member in {archive}")
    fault = broken.where if broken and isinstance(broken.where, Fault) else missing
    for name in names:
        yield members.get(name) or spelt.get(_spelling(name)) or ChipEntry(archive, name, fault)


def _spelling(member: str) -> bytes:
    """A key that is the same for every spelling of one member.

    Bytes, because in a locale that is not UTF-8 names from a list hold surrogate escapes where
    names from an archive hold characters.
    """
    return sort_key(tidy(member))


def _check_only(source: str) -> None:
    """InputError if the only source of a run is missing or cannot be listed."""
    try:
        if stat.S_ISDIR(Path(source).stat().st_mode):
            check_listable(source)
    except NotADirectoryError as error:
        if not _archive_before(source):
            raise InputError(f"nothing at {source}; {_EXPECTED}") from error
    except FileNotFoundError as error:
        raise InputError(f"nothing at {source}; {_EXPECTED}") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"cannot look at {source}: {reason}; {_EXPECTED}") from error


def _refuse_fault(entry: ChipEntry) -> None:
    """InputError if the only source of a run is a damaged archive."""
    fault = entry.where
    if entry.member is None and isinstance(fault, Fault) and fault.kind is not UnsupportedFormat:
        raise InputError(f"{entry.path}: {fault.message}")


def read_entry(entry: ChipEntry, limits: DecodeLimits) -> bytes:
    """The bytes of a chip. Raises ChipError (NotFound, Unreadable, TooLarge, Truncated, Corrupt,
    UnsupportedFormat, NoData), and nothing else."""
    if isinstance(entry.where, SceneWindow):
        return read_window(entry.path, entry.where, entry.stamp)
    if entry.member is not None:
        return read_member(entry, entry.member, limits)
    if isinstance(entry.where, Fault):
        raise entry.where.kind(entry.where.message)
    return read_chip_file(Path(entry.path), limits.max_bytes)


# How each CSV of a batch begins.
_OUTPUT = ",".join(columns(())[:3]).encode() + b","

# UTF-32 before UTF-16: its mark begins with the other's.
_MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}


def read_list(content: bytes) -> list[str]:
    """Names from a list: one per line, or separated by NUL if it contains a NUL.

    Blank lines and Windows carriage returns are ignored. A byte order mark decides the encoding
    (UTF-8, UTF-16 or UTF-32); otherwise bytes that are not UTF-8 are kept as os.fsdecode returns
    them. Of a CSV that a batch has written, the column `path` is read. Raises InputError if the
    content contradicts the beginning of the list, and for UTF-16 without a byte order mark.
    """
    data = unmarked(content)
    if data.startswith(_OUTPUT):
        return list(_paths(data, marked=data is not content))
    if b"\0" in data:
        return _between_nuls(data)
    lines = (line.removesuffix(b"\r") for line in _split(data, b"\n"))
    return [os.fsdecode(line) for line in lines if line.strip()]


def _between_nuls(data: bytes) -> list[str]:
    names = [os.fsdecode(name) for name in _split(data, b"\0") if name]
    if not {"\n", "\r"}.isdisjoint(names):  # every second byte of UTF-16 is NUL, and `/` a name
        raise InputError(
            "the list looks like UTF-16 or UTF-32 without a byte order mark: a line end stands "
            "alone between NULs; write it in UTF-8"
        )
    return names


def unmarked(data: bytes) -> bytes:
    """A list's content without its byte order mark, in UTF-8 if it has one."""
    mark = next((mark for mark in _MARKS if data.startswith(mark)), None)
    if mark is None:
        return data
    encoding = _MARKS[mark]
    try:
        return data[len(mark) :].decode(encoding).encode()
    except UnicodeDecodeError as error:
        raise InputError(
            f"the list begins with the byte order mark of {encoding}, but is not in it "
            f"({error.reason} at byte {len(mark) + error.start}); write it in UTF-8"
        ) from error


def _paths(data: bytes, *, marked: bool) -> Iterator[str]:
    """The first column of a CSV, without its header; `marked` as `csv_writer` marks it."""
    try:
        text = io.StringIO(data.decode(), newline="")
        for fields in islice(csv.reader(text, strict=True), 1, None):
            yield os.fsdecode((unguarded(fields[0]) if marked else fields[0]).encode())
    except (ValueError, csv.Error, IndexError) as error:
        raise InputError(f"the list begins as a CSV of a batch, but is damaged: {error}") from error


def _split(data: bytes, separator: bytes) -> Iterator[bytes]:
    """bytes.split as an iterator: a list of millions is in memory only once."""
    start = 0
    while (end := data.find(separator, start)) >= 0:
        yield data[start:end]
        start = end + 1
    yield data[start:]
