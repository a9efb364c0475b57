"""What a finished output says of itself, in `NAME.job.json` beside it.

Resuming and merging trust no file name: a record tells what run, or which shard of what run, the
rows are of, and by the SHA-256 of the output that they are all there, as they were written.
"""

import hashlib
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from serving.outputs.job import Job
from serving.outputs.place import record_path
from serving.outputs.whole import write_whole
from serving.rows import OutputError


class Record(BaseModel):
    """One output.

    job     what run it is, with its shard
    first   number of its first entry in the whole run
    rows    how many it has
    sha256  of the output
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["shipchip.job/1"] = "shipchip.job/1"
    job: Job
    first: int
    rows: int
    sha256: str


def write_record(out: Path, job: Job, digest: str) -> None:
    """Put the record of a finished output, whose SHA-256 is `digest`, beside it."""
    record = Record(job=job, first=job.span.start, rows=len(job.span), sha256=digest)
    content = record.model_dump_json(indent=1).encode() + b"\n"
    write_whole(record_path(out), lambda file: file.write(content))


def read_record(out: Path) -> Record:
    """The record of an output; OutputError where there is none, or none that can be read."""
    path = record_path(out)
    try:
        return Record.model_validate_json(path.read_bytes())
    except OSError as error:
        raise OutputError(
            f"{out} is no finished output of a known run: {path.name} beside it: {error.strerror}; "
            "make it anew"
        ) from error
    except ValidationError as error:
        raise OutputError(
            f"{path} is no record of a run by this version; make the output anew"
        ) from error


def check_content(out: Path, record: Record) -> None:
    """Raises OutputError where the output is not the one that its record was written for."""
    try:
        with out.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise OutputError(f"cannot read {out}: {error.strerror}") from error
    if digest != record.sha256:
        raise OutputError(
            f"{out} is not what its run has written: its sha256 is not the one in "
            f"{record_path(out).name}; make it anew"
        )
