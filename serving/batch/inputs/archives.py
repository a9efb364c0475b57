"""Zip and tar archives: recognising them, their members as entries, and reading members.

An archive is recognised by its ending, and its format by its first bytes.
"""

import lzma
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from serving.batch.inputs.entries import ChipEntry, Fault, tidy
from serving.batch.inputs.scenes import without_copies
from serving.batch.inputs.tars import TarStore, read_span, tar_members
from serving.batch.inputs.zips import read_zip_member, zip_members
from serving.batch.outputs.place import MARKER
from shipchip.chip import DecodeLimits
from shipchip.errors import (
    ChipError,
    Corrupt,
    NotFound,
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
    place = entry.path if where is None else where.file
    try:
        if not stat.S_ISREG(Path(place).stat().st_mode):
            raise Unreadable(f"{place} is no regular file any more; expected an archive")
        if where is not None:
            return read_span(where, limits)
        return read_zip_member(place, member, limits)
    except _DAMAGED as error:
        fault = _fault(place, error, 0)
        raise fault.kind(f"{member}: {fault.message}") from error
