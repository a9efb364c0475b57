"""What a finished shard says of itself, in `NAME.shard.json` beside it.

Merging trusts no file name: a record tells which shard of what run the rows are, and by the
SHA-256 of the output that they are all there.
"""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from serving.outputs.job import Job
from serving.outputs.whole import write_whole
from serving.rows import OutputError


class ShardRecord(BaseModel):
    """One shard.

    job     with its shard
    first   number of its first entry in the whole run
    rows    how many it has
    sha256  of its output
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["shipchip.shard/1"] = "shipchip.shard/1"
    job: Job
    first: int
    rows: int
    sha256: str


def record_path(out: Path) -> Path:
    """Where the record of the output `out` is."""
    return out.with_name(f"{out.name}.shard.json")


def record_of(job: Job, digest: str) -> ShardRecord | None:
    """The record of a finished output; None of a whole run."""
    if job.shard is None:
        return None
    return ShardRecord(job=job, first=job.span.start, rows=len(job.span), sha256=digest)


def write_record(out: Path, record: ShardRecord | None) -> None:
    """Put the record beside `out`; without one, take away what another run has left there."""
    if record is None:
        record_path(out).unlink(missing_ok=True)
        return
    content = record.model_dump_json(indent=1).encode() + b"\n"
    write_whole(record_path(out), lambda file: file.write(content))


def read_record(out: Path) -> ShardRecord:
    """The record of a shard's output; OutputError where there is none that can be read."""
    path = record_path(out)
    try:
        return ShardRecord.model_validate_json(path.read_bytes())
    except OSError as error:
        raise OutputError(
            f"{out} is no finished shard: {path.name} beside it: {error.strerror}; expected "
            "outputs of runs with --shard, each with its record"
        ) from error
    except ValidationError as error:
        raise OutputError(f"{path} is no record of a shard; make the shard anew") from error
