"""What a batch run reads, one entry a chip: a file, a member of an archive, or what went wrong."""

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

    stamp  (mtime in ns, bytes) of the file when it was listed; None where nobody else writes it
    """

    file: str
    offset: int
    size: int
    stamp: tuple[int, int] | None = None


class Fault(NamedTuple):
    """Why an entry cannot be read, known since it was listed."""

    kind: type[ChipError]
    message: str


Stamp = tuple[int, float]


@dataclass(frozen=True, slots=True)
class ChipEntry:
    """One chip to be. It can be pickled, and be read in any process of the same machine.

    path    of the file or of the archive, as it was given or found; bytes that are no UTF-8 stand
            in it as os.fsdecode gives them
    member  name inside the archive; only a name, whatever it contains
    where   the content's place, where a name is not enough to find it, or why it cannot be read
    stamp   of a member, see `stamp_of`
    """

    path: str
    member: str | None = None
    where: Span | Fault | None = field(default=None, compare=False)
    stamp: Stamp | None = field(default=None, compare=False)

    @property
    def name(self) -> str:
        """What stands in the row: the path, with the member's name after it."""
        return self.path if self.member is None else f"{self.path}/{self.member}"


def stamp_of(entry: ChipEntry) -> Stamp | None:
    """What shows that an entry was replaced under its name: size and modification time of a file or
    of a tar's member, size and checksum of a zip's member. None where there is no regular file."""
    if entry.member is not None:
        return entry.stamp
    try:
        status = os.stat(entry.path)  # noqa: PTH116 (a million of them: Path is half as fast)
    except (OSError, ValueError):  # ValueError: a NUL byte in the path
        return None
    return (status.st_size, status.st_mtime_ns) if stat.S_ISREG(status.st_mode) else None


def tidy(member: str) -> str:
    """A member's name with single forward slashes and no `.` between them.

    `tar cf A.tar .` writes `./a.tif`, Windows programs write `Patch\\a.tif`, and a list may name
    `A.zip//a.tif`.
    """
    return "/".join(part for part in member.replace("\\", "/").split("/") if part not in ("", "."))


def sort_key(name: str) -> bytes:
    """What entries are sorted by: os.fsencode(name) where the file system speaks UTF-8, as nearly
    all do, and defined for any member's name where it does not."""
    return name.encode("utf-8", "surrogateescape")
