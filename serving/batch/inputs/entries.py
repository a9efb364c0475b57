"""One entry per chip to be read: a file, a member of an archive, or the reason why it fails."""

import os
import stat
from dataclasses import dataclass, field
from typing import NamedTuple

from shipchip.errors import ChipError


class InputError(Exception):
    """The inputs cannot be listed; the message is the one line that says why."""

    def __init__(self, message: str) -> None:
        # Paths may hold line breaks, and bytes that no terminal can show.
        shown = message.encode("utf-8", "backslashreplace").decode()
        super().__init__(" ".join(shown.split()))


class Span(NamedTuple):
    """Bytes of an uncompressed file that are a member's content.

    stamp  (mtime in ns, bytes) of the file when it was listed; None for this program's own file
    """

    file: str
    offset: int
    size: int
    stamp: tuple[int, int] | None = None


class Fault(NamedTuple):
    """Why an entry cannot be read, if that is known when it is listed."""

    kind: type[ChipError]
    message: str


Stamp = tuple[int, float]


@dataclass(frozen=True, slots=True)
class ChipEntry:
    """One chip to be read. It can be pickled, and read in any process of the same machine.

    path    of the file or archive, as given or found; bytes that are not UTF-8 are in it as
            os.fsdecode returns them
    member  name inside the archive; never used as a path
    where   where the content is, if the name is not enough to find it, or why it cannot be read
    stamp   of a member, see `stamp_of`
    """

    path: str
    member: str | None = None
    where: Span | Fault | None = field(default=None, compare=False)
    stamp: Stamp | None = field(default=None, compare=False)

    @property
    def name(self) -> str:
        """The `path` column: the path, followed by the member's name."""
        return self.path if self.member is None else f"{self.path}/{self.member}"


def stamp_of(entry: ChipEntry) -> Stamp | None:
    """Changes if an entry is replaced under its name: size and modification time of a file or tar
    member, size and checksum of a zip member. None if there is no regular file."""
    if entry.member is not None:
        return entry.stamp
    try:
        status = os.stat(entry.path)  # noqa: PTH116 (a million of them: Path is half as fast)
    except (OSError, ValueError):  # ValueError: a NUL byte in the path
        return None
    return (status.st_size, status.st_mtime_ns) if stat.S_ISREG(status.st_mode) else None


def tidy(member: str) -> str:
    """A member's name with single forward slashes and no `.` between them.

    `tar cf A.tar .` writes `./a.tif`, Windows programs write `Patch\\a.tif`, and a list may contain
    `A.zip//a.tif`.
    """
    return "/".join(part for part in member.replace("\\", "/").split("/") if part not in ("", "."))


def sort_key(name: str) -> bytes:
    """The sort key of entries: os.fsencode(name) on a UTF-8 file system, and defined for any name
    of a member on others."""
    return name.encode("utf-8", "surrogateescape")
