"""Rows kept as they come, and made an output when all are there.

While a run goes on its rows are JSON lines in `.NAME.partial` beside the output, a chunk of them at
a time, and `.NAME.job` says what run it is. Killed at any moment and opened again with
"resume", the run goes on after its last whole chunk and ends in the same bytes.

The order of steps carries this. Begin: lock the staging and empty it, then write the job, so that
rows never stand beside the job of another run. End: the output whole on disk, then its record,
then the staging goes, then the job; so a job without staging belongs to a finished run.
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
from serving.batch.outputs.locks import open_locked, write_locked
from serving.batch.outputs.place import Existing, check_place, job_path, output_errors
from serving.batch.rows import BatchRow, OutputError, partial_of, readable
from shipchip.atomic import sync_folder


class Staging:
    """The rows of one run; `open` makes it, `with` closes it, and closing loses nothing.

    out       where the output will be
    job       what run it is
    done      rows that are there; the run goes on with the entry job.span[done]
    finished  the output is there already, and there is nothing to do
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
        """Begin, or with "resume" go on; `names` are those of the entries of job.span, in order.

        With "resume", an output without staging is a finished one; its record must be that of this
        run. Raises OutputError for an output that cannot be, one that another run is writing now,
        with "refuse" for an output or rows of an unfinished run that exist, and with "resume" for
        those of another run.
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
        """The rows of the next chunk, all of them; they outlive the process from here on.

        Raises OutputError where they cannot be written: the rows before them are kept.
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
        """Make the output of the rows, whole and on disk, and remove what is not needed then."""
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
        """Let others write. Rows of an unfinished run stay where they are."""
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
        with output_errors(
            self.out, f"; {self.done} rows are kept, and --resume goes on after them"
        ):
            yield


def _begin(file: BinaryIO, out: Path, job: Job) -> None:
    """An empty staging, and its job; neither where the job cannot be written."""
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
    """Raises OutputError for rows of an unfinished run, and for an output that another run has
    finished between our first look and our lock."""
    if os.fstat(file.fileno()).st_size:
        raise OutputError(
            f"{partial_of(out)} holds rows of an unfinished run; --resume goes on with it, "
            "--overwrite begins anew, or give another --out"
        )
    try:
        check_place(out, "refuse")
    except OutputError:
        partial_of(out).unlink()
        raise


def _resumed(file: BinaryIO, out: Path, job: Job, names: Iterable[str]) -> int:
    """How many rows of the staging are good; what stands after them is cut away."""
    if os.fstat(file.fileno()).st_size == 0:
        return 0  # killed before its first chunk, perhaps before its job was written
    changed = differences(job, _read_job(job_path(out)))
    if changed:
        raise OutputError(
            f"cannot resume {out}: {'; '.join(changed)}; resume with the same options, {_ANEW}"
        )
    done, size = _whole_chunks(out, job, names)
    file.truncate(size)
    file.seek(size)
    return done


def _read_job(path: Path) -> Job:
    try:
        return Job.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError) as error:
        raise OutputError(
            f"cannot resume: no job of this version at {path}, so nobody can tell which run the "
            f"rows beside it are of; {_ANEW}"
        ) from error


def _whole_chunks(out: Path, job: Job, names: Iterable[str]) -> tuple[int, int]:
    """Rows and bytes of the staging, up to the last whole chunk before the first torn line.

    A process that was killed tears the last line only, a loss of power can tear others.
    """
    rows = size = 0
    whole = (0, 0)
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
                whole = (rows, size)
    return whole


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


_ANEW = "begin anew with --overwrite, or give another --out"
