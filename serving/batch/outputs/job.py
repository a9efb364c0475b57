"""What a run is, the record of a finished output, and the outputs of all shards -> one output.

Two runs with equal jobs give equal rows. The record is `NAME.job.json` beside the output. Resuming
and merging do not rely on file names: the record says which run, or which shard of a run, the rows
belong to, and the SHA-256 of the output shows that they are all there as they were written.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from serving.batch.outputs.formats import format_of
from serving.batch.outputs.place import (
    Existing,
    check_place,
    output_errors,
    record_path,
    write_locked,
)
from serving.batch.rows import BatchRow, OutputError, partial_of

Shard = tuple[int, int]

# Options that only say where pictures go, or how rows are written.
_NOT_OF_PICTURES = ("maps", "crops_by_label", "copy", "plain_csv")


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
    def picture_run(self) -> str:
        """What the pictures of a run depend on, as a digest: equal for its shards."""
        options = {k: v for k, v in self.options.items() if k not in _NOT_OF_PICTURES}
        content = json.dumps([self.model_sha256, self.entries_sha256, options], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()

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
        "entries_sha256": "the chips have other names, positions or columns",
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
            "write it again"
        ) from error
    except ValidationError as error:
        raise OutputError(
            f"{path} is no record of a run by this version; write the output again"
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
            f"{record_path(out).name}; write it again"
        )


class _Part(NamedTuple):
    path: Path
    record: OutputRecord


def merge(out: Path, shards: Sequence[Path], existing: Existing = "refuse") -> int:
    """Write `out` and its record from the outputs of all shards; returns the number of rows.

    Keeps a bounded number of rows in memory. Raises OutputError, and leaves `out` as it was, if the
    output exists and may not be overwritten, and if shards are missing, given twice, unfinished,
    damaged or of another run (another model, say); the message names them.
    """
    if out.resolve() in {path.resolve() for path in shards}:
        raise OutputError(f"the output {out} is one of the shards; give another --out")
    check_place(out, existing)
    parts = [_Part(path, read_output_record(path)) for path in shards]
    ordered = _in_order(parts)
    for part in ordered:
        _check_whole(part)
    job = _common(ordered[0])
    target = format_of(out, plain_csv=job.plain_csv)
    with output_errors(out):
        digest = write_locked(out, lambda file: target.write(file, job.columns, _rows(ordered)))
        write_output_record(out, job, digest)
    return sum(part.record.rows for part in ordered)


def _in_order(parts: Sequence[_Part]) -> list[_Part]:
    """The shards by number; OutputError unless each shard of one run is given once."""
    first = parts[0]
    of_number: defaultdict[int, list[_Part]] = defaultdict(list)
    total = _shard(first)[1]
    for part in parts:
        changed = differences(_common(part), _common(first))
        if changed:
            raise OutputError(
                f"{part.path} is of another run than {first.path}: {'; '.join(changed)}"
            )
        i, n = _shard(part)
        if n != total:
            raise OutputError(f"{part.path} is shard {i}/{n}, but {first.path} one of {total}")
        of_number[i].append(part)
    twice = [
        f"{i} ({' and '.join(str(p.path) for p in of_number[i])})"
        for i in sorted(of_number)
        if len(of_number[i]) > 1
    ]
    if twice:
        raise OutputError(f"more than once there: shard {', '.join(twice)}; give each once")
    missing = [str(i) for i in range(1, total + 1) if i not in of_number]
    if missing:
        raise OutputError(
            f"missing of {total} shards: {', '.join(missing)}; run them, or give them too"
        )
    return [of_number[i][0] for i in range(1, total + 1)]


def _check_whole(part: _Part) -> None:
    if partial_of(part.path).exists():
        raise OutputError(f"shard {part.path} is not finished; run it again with --resume")
    check_content(part.path, part.record)


def _rows(parts: Sequence[_Part]) -> Iterator[BatchRow]:
    for path, record in parts:
        count = 0
        for row in format_of(path).read(path, record.job.columns):
            count += 1
            yield row
        if count != record.rows:
            raise OutputError(f"shard {path} has {count} rows; expected {record.rows}")


def _common(part: _Part) -> Job:
    """The part of a job that all shards of a run share."""
    return part.record.job.model_copy(update={"shard": None, "chips_sha256": None})


def _shard(part: _Part) -> Shard:
    if part.record.job.shard is None:
        raise OutputError(f"{part.path} is the output of a whole run; expected one of --shard")
    return part.record.job.shard
