"""The outputs of all shards of a run -> the output of the whole run, byte for byte.

Shards may be given in any order, each in any format.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from serving.batch.outputs.formats import format_of
from serving.batch.outputs.job import (
    Job,
    OutputRecord,
    Shard,
    check_content,
    differences,
    read_output_record,
    write_output_record,
)
from serving.batch.outputs.locks import write_locked
from serving.batch.outputs.place import Existing, check_place, output_errors
from serving.batch.rows import BatchRow, OutputError, partial_of


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
