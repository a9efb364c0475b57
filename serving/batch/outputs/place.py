"""Where an output is, the files beside it, and the lock that keeps two runs from writing it."""

import fcntl
import hashlib
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Literal

from serving.batch.outputs.formats import ENDINGS, format_of
from serving.batch.rows import OutputError, partial_of
from shipchip.atomic import sync_folder, temporary_of

# What to do if an output, or the rows of an unfinished run, already exist.
Existing = Literal["refuse", "resume", "overwrite"]

_TAILS = (".partial", ".job", ".new", ".job.json")
_ENDING = "(?i:" + "|".join(re.escape(ending) for ending in ENDINGS) + ")"
_BESIDE = re.compile(
    rf"\..+{_ENDING}(\.job|\.job\.json)?\.(partial|job|new)|.+{_ENDING}\.job\.json"
)


def job_path(out: Path) -> Path:
    """The job of a run that is not finished."""
    return out.with_name(f".{out.name}.job")


def record_path(out: Path) -> Path:
    """The record of a finished output (serving.batch.outputs.job)."""
    return out.with_name(f"{out.name}.job.json")


def own_files(out: Path) -> tuple[Path, ...]:
    """All files that a run with this output may create; they are never listed as chips."""
    written_at_once = (out, job_path(out), record_path(out))
    return (*written_at_once, partial_of(out), *(temporary_of(path) for path in written_at_once))


def is_output(folder: str, name: str) -> bool:
    """Whether a run has written, or is writing, the file `name` in `folder` as its output."""
    if not name.lower().endswith(ENDINGS):
        return False
    out = Path(folder, name)
    # In this order: the record appears before the job goes.
    return os.path.lexists(job_path(out)) or os.path.lexists(record_path(out))


def is_beside_output(name: str) -> bool:
    """Whether `name` is that of a file beside an output: a record, or rows of an unfinished run."""
    return name.endswith(_TAILS) and _BESIDE.fullmatch(name) is not None


def check_place(out: Path, existing: Existing) -> None:
    """Check that an output can be written to `out`, before any work is done.

    Raises OutputError for an unknown format, for a name or path that is too long for one of
    `own_files`, and with "refuse" if the output exists.
    """
    format_of(out)
    if out.is_dir():
        raise OutputError(f"the output {out} is a folder; expected a file name")
    with output_errors(out):
        out.parent.stat()
    for path in own_files(out):
        with output_errors(path), suppress(FileNotFoundError):
            path.lstat()  # fails where the file system cannot hold such a name
    if existing == "refuse" and os.path.lexists(out):
        raise OutputError(f"{out} exists; give another --out, or --overwrite to replace it")


@contextmanager
def output_errors(out: Path, hint: str = "") -> Iterator[None]:
    """Turn an OSError into an OutputError that names the output."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"cannot write {out}: {error.strerror or error}{hint}") from error


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
