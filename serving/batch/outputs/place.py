"""Where outputs are: the file itself, the files beside it, and marked folders of pictures."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

from serving.batch.outputs.formats import ENDINGS, format_of
from serving.batch.rows import OutputError, partial_of
from shipchip.atomic import temporary_of

# What to do if an output, or the rows of an unfinished run, already exist.
Existing = Literal["refuse", "resume", "overwrite"]

_TAILS = (".partial", ".job", ".new", ".job.json")
_ENDING = "(?i:" + "|".join(re.escape(ending) for ending in ENDINGS) + ")"
_BESIDE = re.compile(
    rf"\..+{_ENDING}(\.job|\.job\.json)?\.(partial|job|new)|.+{_ENDING}\.job\.json"
)

# The mark of folders that a batch made for its pictures (--maps, --crops-by-label). Files in a
# marked folder are not chips, even if a later run reads the folder. Only a new or an empty folder
# is marked, so a mark never hides chips that were there before.
MARKER = ".shipchip-pictures"

LONGEST_NAME = 134  # of the temporary files of serving.batch.outputs.pictures, in bytes

_MARKER_TEXT = b"Made by python -m serving.batch for pictures. Later runs leave this folder out.\n"


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


def check_folder(folder: Path) -> None:
    """Raises OutputError if `folder` cannot hold pictures, or holds files and is not marked."""
    with output_errors(folder), suppress(FileNotFoundError):
        (folder / ("x" * LONGEST_NAME)).lstat()  # fails where the file system cannot hold it
    with output_errors(folder), suppress(FileNotFoundError):
        content = os.listdir(folder)  # noqa: PTH208 (names, not paths)
        if content and not (folder / MARKER).exists():
            raise OutputError(
                f"{folder} holds files that no batch wrote, such as {sorted(content)[0]}; give a "
                "new or an empty folder for pictures"
            )


def make_folder(folder: Path) -> None:
    """Create a folder for pictures, or reuse a marked one. Raises OutputError."""
    check_folder(folder)
    with output_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError), (folder / MARKER).open("xb") as file:
            file.write(_MARKER_TEXT)
