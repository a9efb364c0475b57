"""Members of a zip, read in place: nothing is unpacked to disk."""

import os
import stat
import zipfile
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from serving.batch.inputs.entries import ChipEntry, Fault
from shipchip.chip import DecodeLimits
from shipchip.errors import NotFound, TooLarge, Truncated, Unreadable

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
                yield ChipEntry(path, info.filename, _fault(info), (info.file_size, info.CRC))


def _fault(info: zipfile.ZipInfo) -> Fault | None:
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
