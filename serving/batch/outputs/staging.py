"""Rows kept chunk by chunk during a run, and made an output at its end.

During a run its rows are JSON lines in `.NAME.partial` beside the output, and `.NAME.job` says
which run it is. A run that is killed at any moment and resumed continues after its last complete
chunk, and its output has the same bytes.

This depends on the order of steps. At the start: lock and empty the staging file, then write the
job, so that rows are never beside the job of another run. At the end: write the output to disk,
then its record, then remove the staging file, then the job; so a job without staging file belongs
to a finished run.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from pydantic import ValidationError

from serving.batch.outputs.formats import Renderer, format_of, parse_line
from serving.batch.outputs.job import (
    Job,
    check_content,
    differences,
    read_output_record,
    write_output_record,
)
from serving.batch.outputs.place import (
    Existing,
    check_place,
    job_path,
    open_locked,
    output_errors,
    write_locked,
)
from serving.batch.rows import BatchRow, OutputError, partial_of, readable
from shipchip.atomic import sync_folder


class Staging:
    """The rows of one run; `open` makes it, `with` closes it, and closing loses nothing.

    out       the output
    job       the run
    done      number of rows so far; the next entry is job.span[done]
    finished  the output exists already, and there is nothing to do
    """

    def __init__(self, out: Path, job: Job, file: BinaryIO | None, done: int) -> None:
        self.out, self.job, self.done = out, job, done
        self.finished = file is None
        self._file = file
        self._format = format_of(out, plain_csv=job.plain_csv)
        self._render = Renderer("jsonl", job.columns)

    @classmethod
    def open(
        cls, out: Path, job: Job, names: Iterable[str], *, existing: Existing = "refuse"
    ) -> Self:
        """Start, or with "resume" continue; `names` are those of the entries of job.span, in order.

        With "resume", an output without staging file is finished; its record must be of this run.
        Raises OutputError if the output cannot be written, if another run is writing it, with
        "refuse" if an output or rows of an unfinished run exist, and with "resume" if they are of
        another run.
        """
        check_place(out, existing)
        with output_errors(out):
            if existing == "resume" and out.exists() and not partial_of(out).exists():
                _check_finished(out, job)
                job_path(out).unlink(missing_ok=True)
                return cls(out, job, None, len(job.span))
            file = os.fdopen(open_locked(partial_of(out)), "r+b", buffering=0)
            try:
                if existing == "refuse":
                    _refuse_existing(file, out)
                done = _resumed(file, out, job, names) if existing == "resume" else 0
                if done == 0:
                    _begin(file, out, job)
            except BaseException:
                file.close()
                raise
        return cls(out, job, file, done)

    def write(self, rows: Sequence[BatchRow]) -> None:
        """Write all rows of the next chunk; from then on they survive the process.

        Raises OutputError if they cannot be written; earlier rows are kept.
        """
        left = len(self.job.span) - self.done
        if len(rows) != min(self.job.chunk, left) or self._file is None:
            raise ValueError(f"{len(rows)} rows; expected a chunk of {self.job.chunk}, {left} left")
        with self._keeping():
            content = memoryview(self._render(rows))
            while content:
                content = content[self._file.write(content) :]
        self.done += len(rows)

    def finish(self) -> None:
        """Write the output from the rows, synced to disk, and remove the staging files."""
        if self._file is None:
            return
        if self.done != len(self.job.span):
            raise ValueError(f"{self.done} rows; expected {len(self.job.span)} before the end")
        with self._keeping():
            digest = write_locked(
                self.out, lambda file: self._format.write(file, self.job.columns, self._rows())
            )
            write_output_record(self.out, self.job, digest)
            partial_of(self.out).unlink()
            job_path(self.out).unlink()
            sync_folder(self.out.parent)
        self.finished = True
        self.close()

    def close(self) -> None:
        """Release the lock. Rows of an unfinished run are kept."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _rows(self) -> Iterator[BatchRow]:
        with partial_of(self.out).open("rb") as file:
            for line in file:
                yield parse_line(line, self.job.columns)

    @contextmanager
    def _keeping(self) -> Iterator[None]:
        with output_errors(self.out, f"; {self.done} rows are kept; continue with --resume"):
            yield


def _begin(file: BinaryIO, out: Path, job: Job) -> None:
    """Create an empty staging file and its job, or neither if the job cannot be written."""
    file.truncate(0)
    file.seek(0)
    try:
        write_locked(
            job_path(out), lambda place: place.write(job.model_dump_json().encode() + b"\n")
        )
    except BaseException:
        partial_of(out).unlink(missing_ok=True)
        raise


def _refuse_existing(file: BinaryIO, out: Path) -> None:
    """Raises OutputError if there are rows of an unfinished run, or if another run has finished the
    output between our first check and our lock."""
    if os.fstat(file.fileno()).st_size:
        raise OutputError(
            f"{partial_of(out)} holds rows of an unfinished run; continue it with --resume, "
            "replace it with --overwrite, or give another --out"
        )
    try:
        check_place(out, "refuse")
    except OutputError:
        partial_of(out).unlink()
        raise


def _resumed(file: BinaryIO, out: Path, job: Job, names: Iterable[str]) -> int:
    """The number of valid rows in the staging file; the rest is cut off."""
    if os.fstat(file.fileno()).st_size == 0:
        return 0  # killed before its first chunk, perhaps before its job was written
    changed = differences(job, _read_job(job_path(out)))
    if changed:
        raise OutputError(
            f"cannot resume {out}: {'; '.join(changed)}; resume with the same options, {_ANEW}"
        )
    done, size = _complete_chunks(out, job, names)
    file.truncate(size)
    file.seek(size)
    return done


def _read_job(path: Path) -> Job:
    try:
        return Job.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError) as error:
        raise OutputError(
            f"cannot resume: no job of this version at {path}, so it is unknown which run the "
            f"rows beside it are of; {_ANEW}"
        ) from error


def _complete_chunks(out: Path, job: Job, names: Iterable[str]) -> tuple[int, int]:
    """Rows and bytes of the staging file up to the last complete chunk before a torn line.

    A killed process tears the last line only, a power failure can tear others.
    """
    rows = size = 0
    complete = (0, 0)
    with partial_of(out).open("rb") as file:
        for line, name in zip(file, names, strict=False):
            try:
                row = parse_line(line, job.columns)
            except ValueError:
                break
            if not line.endswith(b"\n"):
                break
            _check_name(out, rows, row, name)
            rows, size = rows + 1, size + len(line)
            if rows % job.chunk == 0 or rows == len(job.span):
                complete = (rows, size)
    return complete


def _check_finished(out: Path, job: Job) -> None:
    record = read_output_record(out)
    changed = differences(job, record.job)
    if changed:
        raise OutputError(f"cannot resume {out}, which is finished: {'; '.join(changed)}; {_ANEW}")
    check_content(out, record)


def _check_name(out: Path, number: int, row: BatchRow, name: str) -> None:
    if row["path"] != readable(name):
        raise OutputError(
            f"cannot resume {out}: row {number + 1} is {row['path']!r}, and the chip there is "
            f"{readable(name)!r}; {_ANEW}"
        )


_ANEW = "start again with --overwrite, or give another --out"
