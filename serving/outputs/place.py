"""Where an output is, which files are beside it, and whether it may be there."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

from serving.outputs.formats import ENDINGS, format_of
from serving.outputs.whole import unfinished
from serving.rows import OutputError, partial_of

# What to do where an output, or the rows of an unfinished run, already exist.
Existing = Literal["refuse", "resume", "overwrite"]

_TAILS = (".partial", ".job", ".whole", ".job.json")
_ENDING = "(?i:" + "|".join(re.escape(ending) for ending in ENDINGS) + ")"
_BESIDE = re.compile(
    rf"\..+{_ENDING}(\.job|\.job\.json)?\.(partial|job|whole)|.+{_ENDING}\.job\.json"
)


def job_of(out: Path) -> Path:
    """The job of a run that is not finished."""
    return out.with_name(f".{out.name}.job")


def record_path(out: Path) -> Path:
    """The record of a finished output (serving.outputs.record)."""
    return out.with_name(f"{out.name}.job.json")


def own_files(out: Path) -> tuple[Path, ...]:
    """All files that a run with this output may make: no listing may take them for chips."""
    written_at_once = (out, job_of(out), record_path(out))
    return (*written_at_once, partial_of(out), *(unfinished(path) for path in written_at_once))


def is_output(folder: str, name: str) -> bool:
    """Whether some run has written, or is writing, the file `name` in `folder` as its output."""
    if not name.lower().endswith(ENDINGS):
        return False
    out = Path(folder, name)
    # In this order: the record appears before the job goes.
    return os.path.lexists(job_of(out)) or os.path.lexists(record_path(out))


def is_beside_output(name: str) -> bool:
    """Whether the files beside outputs have such names: records, and rows of unfinished runs."""
    return name.endswith(_TAILS) and _BESIDE.fullmatch(name) is not None


def check_place(out: Path, existing: Existing) -> None:
    """Whether an output can be at `out`, before any work is done for it.

    Raises OutputError for an unknown format, for a name or path that is too long for one of
    `own_files`, and with "refuse" for an output that exists.
    """
    format_of(out)
    if out.is_dir():
        raise OutputError(f"the output {out} is a folder; expected a file name")
    with explained(out):
        out.parent.stat()
    for path in own_files(out):
        with explained(path), suppress(FileNotFoundError):
            path.lstat()  # fails where the file system cannot hold such a name
    if existing == "refuse" and os.path.lexists(out):
        raise OutputError(f"{out} exists; give another --out, or --overwrite to replace it")


@contextmanager
def explained(out: Path, hint: str = "") -> Iterator[None]:
    """An OSError becomes an OutputError that names the output."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"cannot write {out}: {error.strerror or error}{hint}") from error
