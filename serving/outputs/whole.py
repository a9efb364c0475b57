"""Files that are there whole or not at all, and the lock that keeps two runs apart."""

import errno
import fcntl
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from serving.rows import OutputError


def unfinished(path: Path) -> Path:
    """Where `write_whole` has a file before it is whole: beside it, so that a rename is atomic."""
    return path.with_name(f".{path.name}.whole")


def write_whole(path: Path, write: Callable[[BinaryIO], object]) -> str:
    """`write` a file that takes the place of `path` at once, on disk, and tell its SHA-256.

    Whatever was at `path` stays where `write` fails. Raises OutputError where another run writes
    the same file now, else OSError and what `write` raises.
    """
    temporary = unfinished(path)
    with open(open_locked(temporary), "r+b") as file:
        try:
            file.truncate(0)
            write(file)
            file.flush()
            os.fsync(file.fileno())
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    sync_folder(path.parent)
    return digest


def open_locked(path: Path) -> int:
    """A descriptor of the file at `path`, made if need be, that no other run has.

    Content that is there is kept. The lock lasts until the descriptor is closed, or its process
    ends, however it ends; but children made by `fork` while it is open keep it as well. Raises
    OutputError where another run has it, OSError where the file cannot be had.
    """
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(descriptor, path):
                return descriptor
        except BlockingIOError as error:
            os.close(descriptor)
            raise OutputError(
                f"another run is writing: {path} is locked; wait for its end, or give another --out"
            ) from error
        except BaseException:
            os.close(descriptor)
            raise
        # Its last owner has renamed or removed it between our opening and our locking.
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Renames in `folder` outlive a loss of power from here on, where its file system can do so."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # folders cannot be synced there
            raise
    finally:
        os.close(descriptor)


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat(follow_symlinks=False))
    except FileNotFoundError:
        return False
