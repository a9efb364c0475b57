"""Zip and tar archives: recognising them, their members as entries, and reading members.

An archive is recognised by its ending, and its format by its first bytes. Members of a zip are read
in place: nothing is unpacked to disk.
"""

import lzma
import os
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from pathlib import Path

from serving.batch.inputs.entries import ChipEntry, Fault, Span, tidy, without_copies
from serving.batch.inputs.tars import TarStore, read_span, tar_members
from serving.batch.outputs.pictures import MARKER
from shipchip.chip import DecodeLimits
from shipchip.errors import (
    ChipError,
    Corrupt,
    NotFound,
    TooLarge,
    Truncated,
    Unreadable,
    UnsupportedFormat,
)
from shipchip.files import is_sidecar

ARCHIVE_SUFFIXES = (
    *(".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz"),
    ".rar",  # recognised only to say what to do with it
)

# What archive readers raise on archives that are cut, damaged or hostile.
_DAMAGED = (
    ArithmeticError,
    EOFError,
    LookupError,
    MemoryError,  # a header of xz may ask for more than there is
    OSError,
    RuntimeError,
    ValueError,
    lzma.LZMAError,
    struct.error,
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
)

Keep = Callable[[str], bool]


def is_archive_name(path: str) -> bool:
    """Whether the name has an archive's ending."""
    return path.lower().endswith(ARCHIVE_SUFFIXES)


def archive_entries(
    path: str, keep: Keep, store: TarStore | None, left_out: Callable[[str], object]
) -> list[ChipEntry]:
    """The chips of an archive that are to `keep`, without sidecars.

    Folders of pictures that a batch has written are left out, and `left_out` is called with each.
    Of an OpenSARShip scene, only chips under `Patch/`. If the archive cannot be read to its end, it
    is itself an entry that fails, after the members found before.
    """
    wanted = _wanted(keep)
    found = without_copies(all_members(path, wanted, store))
    pictures = _picture_folders(found)
    for folder in pictures:
        left_out(f"{path}/{folder}".rstrip("/"))
    return [
        entry
        for entry in found
        if entry.member is None or (wanted(entry.member) and not entry.member.startswith(pictures))
    ]


def _picture_folders(entries: Iterable[ChipEntry]) -> tuple[str, ...]:
    """Folders of pictures among the members, ending in a slash; "" for the whole archive."""
    names = (entry.member for entry in entries if entry.member is not None)
    return tuple(name.removesuffix(MARKER) for name in names if f"/{name}".endswith(f"/{MARKER}"))


def all_members(path: str, keep: Keep, store: TarStore | None) -> list[ChipEntry]:
    """All members except folders, and failures as above. Members of a compressed tar that are not
    to `keep` are listed, but cannot be read. Of members with one name, the last one counts."""
    if path.lower().endswith(".rar"):
        reason = "rar archives need tools that are not here; unpack it and give the folder"
        return [ChipEntry(path, None, Fault(UnsupportedFormat, reason))]
    found: dict[str | None, ChipEntry] = {}
    try:
        status = Path(path).stat()
        if not stat.S_ISREG(status.st_mode):  # reading a pipe would block
            return [ChipEntry(path)]
        if status.st_size == 0:  # so would some files in /proc
            raise EOFError("it is empty")
        for entry in _members(path, keep, store):
            found[entry.member] = entry
    except _DAMAGED as error:
        found[None] = ChipEntry(path, None, _fault(path, error, len(found)))
    return list(found.values())


def _members(path: str, keep: Keep, store: TarStore | None) -> Iterator[ChipEntry]:
    with Path(path).open("rb") as file:
        head = file.read(2)
    if head == b"PK" or path.lower().endswith(".zip"):
        return zip_members(path)
    return tar_members(path, keep, store)


def _fault(path: str, error: BaseException, found: int) -> Fault:
    """The fault for an archive whose reader failed after `found` members."""
    if isinstance(error, FileNotFoundError):
        return Fault(NotFound, f"no such file: {path}")
    if isinstance(error, OSError) and error.errno is not None:
        return Fault(Unreadable, f"cannot read {path}: {error.strerror}")
    kind: type[ChipError] = Truncated if isinstance(error, EOFError) else Corrupt
    after = f" after {found} members" if found else ""
    reason = str(error) or type(error).__name__
    return Fault(
        kind, f"the archive cannot be read{after} ({reason}); is it complete? Fetch it again"
    )


def _wanted(keep: Keep) -> Keep:
    """`keep` of tidy names, but no sidecars."""

    def wanted(member: str) -> bool:
        name = tidy(member)
        return not is_sidecar(name) and keep(name)

    return wanted


def read_member(entry: ChipEntry, member: str, limits: DecodeLimits) -> bytes:
    """The bytes of an archive's member; ChipError if they cannot be read."""
    where = entry.where
    if isinstance(where, Fault):
        raise where.kind(where.message)
    place = where.file if isinstance(where, Span) else entry.path
    try:
        if not stat.S_ISREG(Path(place).stat().st_mode):
            raise Unreadable(f"{place} is no regular file any more; expected an archive")
        if isinstance(where, Span):
            return read_span(where, limits)
        return read_zip_member(place, member, limits)
    except _DAMAGED as error:
        fault = _fault(place, error, 0)
        raise fault.kind(f"{member}: {fault.message}") from error


# Zips that a process keeps open: reading the directory of a large zip takes seconds, and sorted
# entries of one zip are consecutive.
_OPEN = 4

# Flag bit 0 of a member: its content is encrypted.
_ENCRYPTED = 0x1

# zipfile inflates these methods only as far as asked; of other methods, everything it has read.
_BOUNDED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_STEP = 4096


def zip_members(path: str) -> Iterator[ChipEntry]:
    """All members except folders; raises what zipfile raises on an unreadable directory."""
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            # Windows programs may end a folder's name in a backslash.
            if not info.is_dir() and (info.file_size or not info.filename.endswith("\\")):
                yield ChipEntry(path, info.filename, _link_fault(info), (info.file_size, info.CRC))


def _link_fault(info: zipfile.ZipInfo) -> Fault | None:
    mode = info.external_attr >> 16  # of Unix; nothing in zips of other systems
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        return Fault(Unreadable, f"{info.filename} is a link or a device; expected a chip")
    return None


def read_zip_member(path: str, member: str, limits: DecodeLimits) -> bytes:
    """Content of one member, checked against its checksum.

    Raises NotFound, Unreadable (locked, or packed in an unknown way), TooLarge, Truncated and
    Corrupt, and what zipfile raises on damaged content.
    """
    status = Path(path).stat()
    archive = _opened(path, status.st_mtime_ns, status.st_size)
    try:
        info = archive.getinfo(member)
    except KeyError as error:
        raise NotFound(f"no member {member} in {path}") from error
    if info.flag_bits & _ENCRYPTED:
        raise Unreadable(f"{member} is locked with a password; zip it without one")
    if info.file_size > limits.max_bytes:
        raise TooLarge(
            f"{info.file_size} bytes, the limit is {limits.max_bytes}: send a smaller chip"
        )
    try:
        content = _inflate(archive, info, limits.max_bytes)
    except NotImplementedError as error:
        raise Unreadable(f"{member} is packed in a way that is not read ({error})") from error
    if len(content) < info.file_size:
        raise Truncated(f"{member} holds {len(content)} of the {info.file_size} bytes it announces")
    return content


def _inflate(archive: zipfile.ZipFile, info: zipfile.ZipInfo, most: int) -> bytes:
    """Content of one member; TooLarge as soon as it is more than `most` bytes."""
    step = most + 1 if info.compress_type in _BOUNDED else _STEP
    content = bytearray()
    with archive.open(info) as file:
        while piece := file.read(step):
            content += piece
            if len(content) > most:
                raise TooLarge(f"inflates to more than {most} bytes, the limit: no chip")
    return bytes(content)


@lru_cache(maxsize=_OPEN)
def _opened(path: str, _mtime_ns: int, _size: int) -> zipfile.ZipFile:
    """The open zip; a changed zip is opened again. The oldest is closed when it is not in use."""
    return zipfile.ZipFile(path)


# A forked process would share the file position with its parent.
os.register_at_fork(after_in_child=_opened.cache_clear)
