"""What a run is: two runs with equal jobs give equal rows. And the record of a finished output.

The record is `NAME.job.json` beside the output. Resuming and merging do not rely on file names: the
record says which run, or which shard of a run, the rows belong to, and the SHA-256 of the output
shows that they are all there as they were written.
"""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from serving.batch.outputs.locks import write_locked
from serving.batch.outputs.place import record_path
from serving.batch.rows import OutputError

Shard = tuple[int, int]


class Job(BaseModel):
    """Everything that the rows of a run depend on.

    model_sha256    of the model file
    model_version   as in the rows
    options         everything else that changes rows; JSON values
    chunk           entries in a chunk: rows are staged, and shards cut, in whole chunks
    shard           (i, n), i counts from 1; None for a whole run
    entries         how many the whole run has, all shards together
    entries_sha256  `hash_names` of them all
    chips_sha256    `hash_stamps` of the entries in `span`: it changes if a chip is replaced under
                    its name. Times differ between copies of a folder, and shards may run on
                    copies, so merging does not compare it. None if unknown
    version         shipchip's
    columns         of the output, in order
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    model_sha256: str
    model_version: str
    options: dict[str, Any]
    chunk: int = Field(gt=0)
    shard: Shard | None = None
    entries: int = Field(ge=0)
    entries_sha256: str
    chips_sha256: str | None = None
    version: str
    columns: tuple[str, ...]

    @property
    def plain_csv(self) -> bool:
        """Whether a CSV is not written for spreadsheets."""
        return bool(self.options.get("plain_csv"))

    @property
    def span(self) -> range:
        """The numbers of the entries of this run, or of this shard."""
        chunks = -(-self.entries // self.chunk)
        which = shard_range(*(self.shard or (1, 1)), chunks)
        first, end = which.start * self.chunk, which.stop * self.chunk
        return range(min(first, self.entries), min(end, self.entries))


def hash_names(names: Iterable[str]) -> str:
    """SHA-256 over names in order, each preceded by its length."""
    digest = hashlib.sha256()
    for name in names:
        content = name.encode("utf-8", "surrogateescape")  # as os.fsencode does, in any locale
        digest.update(len(content).to_bytes(8, "big") + content)
    return digest.hexdigest()


def hash_stamps(stamps: Iterable[object]) -> str:
    """SHA-256 over serving.batch.inputs.stamp_of of each chip, in order."""
    digest = hashlib.sha256()
    for stamp in stamps:
        digest.update(f"{stamp}\n".encode())
    return digest.hexdigest()


def differences(now: Job, before: Job) -> list[str]:
    """The differences between two jobs, in words; [] if there are none."""
    new, old = (json.loads(job.model_dump_json()) for job in (now, before))
    words = {
        "model_sha256": f"the model is {now.model_sha256[:12]}, was {before.model_sha256[:12]}",
        "model_version": f"the model's version is {now.model_version}, was {before.model_version}",
        "chunk": f"the chunk size is {now.chunk}, was {before.chunk}",
        "shard": f"the shard is {_shard_text(now.shard)}, was {_shard_text(before.shard)}",
        "entries": f"there are {now.entries} chips, were {before.entries}",
        "entries_sha256": "the chips have other names",
        "chips_sha256": _CHANGED if before.chips_sha256 else _UNKNOWN,
        "version": f"shipchip is {now.version}, was {before.version}",
        "columns": f"the columns are {', '.join(now.columns)}, were {', '.join(before.columns)}",
    }
    found = [text for name, text in words.items() if new[name] != old[name]]
    for option in sorted({*new["options"], *old["options"]}):
        pair = [options["options"].get(option) for options in (new, old)]
        if pair[0] != pair[1]:
            found.append(f"{option} is {json.dumps(pair[0])}, was {json.dumps(pair[1])}")
    return found


def shard_range(i: int, n: int, chunks: int) -> range:
    """The chunks of shard i (1 to n) of n: contiguous, with sizes that differ by at most one."""
    return range((i - 1) * chunks // n, i * chunks // n)


_CHANGED = "chips were replaced or changed (their size, time or checksum)"
_UNKNOWN = "sizes and times of its chips were not recorded, as in a merged output"


def _shard_text(shard: Shard | None) -> str:
    return "the whole" if shard is None else "{}/{}".format(*shard)


class OutputRecord(BaseModel):
    """One output.

    job     the run, with its shard
    first   number of its first entry in the whole run
    rows    the number of its rows
    sha256  of the output
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["shipchip.job/1"] = "shipchip.job/1"
    job: Job
    first: int
    rows: int
    sha256: str


def write_output_record(out: Path, job: Job, digest: str) -> None:
    """Write the record of a finished output with SHA-256 `digest` beside it."""
    record = OutputRecord(job=job, first=job.span.start, rows=len(job.span), sha256=digest)
    content = record.model_dump_json(indent=1).encode() + b"\n"
    write_locked(record_path(out), lambda file: file.write(content))


def read_output_record(out: Path) -> OutputRecord:
    """The record of an output; OutputError if it is missing or unreadable."""
    path = record_path(out)
    try:
        return OutputRecord.model_validate_json(path.read_bytes())
    except OSError as error:
        raise OutputError(
            f"{out} is no finished output of a known run: {path.name} beside it: {error.strerror}; "
            "make it anew"
        ) from error
    except ValidationError as error:
        raise OutputError(
            f"{path} is no record of a run by this version; make the output anew"
        ) from error


def check_content(out: Path, record: OutputRecord) -> None:
    """Raises OutputError if the output is not the one that the record was written for."""
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
