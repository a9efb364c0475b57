"""Atomic writes: a file appears under its name when it is complete, or not at all.

The content goes to a temporary file in the same folder, which then replaces the target. A process
that is killed leaves the old file, and perhaps the temporary one, which the next write replaces.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def temporary_of(path: Path) -> Path:
    """The temporary name of a file or folder: hidden, and in the same folder for the rename."""
    return path.with_name(f".{path.name}.new")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A free temporary path; what the block writes there replaces `path` when the block ends.

    If the block fails, or writes nothing, `path` stays as it was. The parent folder is created.
    """
    temporary = temporary_of(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary.unlink(missing_ok=True)
    try:
        yield temporary
        if os.path.lexists(temporary):
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """Write a UTF-8 text file atomically."""
    write_bytes(path, content.encode("utf-8"))


def sync_folder(folder: Path) -> None:
    """Make renames in `folder` survive a power failure, if its file system supports that."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # this file system cannot sync folders
            raise
    finally:
        os.close(descriptor)
