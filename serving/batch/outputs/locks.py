"""The lock that keeps two runs from writing one output, and atomic writes under it."""

import fcntl
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from serving.batch.rows import OutputError
from shipchip.atomic import sync_folder, temporary_of


def write_locked(path: Path, write: Callable[[BinaryIO], object]) -> str:
    """Write `path` atomically and synced to disk; returns its SHA-256.

    If `write` fails, whatever was at `path` stays. Raises OutputError if another run is writing the
    same file, OSError, and what `write` raises.
    """
    temporary = temporary_of(path)
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
    """A locked descriptor of the file at `path`, which is created if it does not exist.

    Existing content is kept. The lock lasts until the descriptor is closed or its process ends; but
    children created by `fork` while it is open keep it as well. Raises OutputError if another run
    holds the lock, OSError if the file cannot be opened.
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
        # The previous owner renamed or removed the file between opening and locking.
        os.close(descriptor)


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat(follow_symlinks=False))
    except FileNotFoundError:
        return False
