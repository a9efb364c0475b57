"""Rows kept as they come, and made an output when all are there.

While a run goes on its rows are JSON lines in `.NAME.partial` beside the output, a chunk of them at
a time, and `.NAME.job` says what run it is. Killed at any moment and opened again with
`resume=True`, the run goes on after its last whole chunk and ends in the same bytes.

The order of steps carries this. Begin: lock the staging and empty it, then write the job, so that
rows never stand beside the job of another run. End: the output whole on disk, then the record of
a shard, then the staging goes, then the job; so a job without staging belongs to a finished run.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import zip_longest
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from pydantic import ValidationError

from serving.outputs.formats import Renderer, format_of, parse_line
from serving.outputs.job import Job, differences
from serving.outputs.record import read_record, record_of, record_path, write_record
from serving.outputs.whole import open_locked, sync_folder, unfinished, write_whole
from serving.rows import OutputError, Row, partial_of, readable


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
    def open(cls, out: Path, job: Job, names: Iterable[str], *, resume: bool = False) -> Self:
        """Begin, or with `resume` go on; `names` are those of the entries of job.span, in order.

        Without `resume` what an unfinished run has left is replaced. With it, an output without
        staging is a finished one, if it has the columns, the names and the model's version of
        this run. Raises OutputError for an output that cannot be, one that another run is
        writing now, and for a resumed run that is not this one.
        """
        format_of(out)
        if out.is_dir():
            raise OutputError(f"the output {out} is a folder; expected a file name")
        with _explained(out):
            if resume and out.exists() and not partial_of(out).exists():
                _check_finished(out, job, names)
                job_of(out).unlink(missing_ok=True)
                return cls(out, job, None, len(job.span))
            file = os.fdopen(open_locked(partial_of(out)), "r+b", buffering=0)
            try:
                done = _resumed(file, out, job, names) if resume else 0
                if done == 0:
                    _begin(file, out, job)
            except BaseException:
                file.close()
                raise
        return cls(out, job, file, done)

    def write(self, rows: Sequence[Row]) -> None:
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
            digest = write_whole(
                self.out, lambda file: self._format.write(file, self.job.columns, self._rows())
            )
            write_record(self.out, record_of(self.job, digest))
            partial_of(self.out).unlink()
            job_of(self.out).unlink()
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

    def _rows(self) -> Iterator[Row]:
        with partial_of(self.out).open("rb") as file:
            for line in file:
                yield parse_line(line, self.job.columns)

    @contextmanager
    def _keeping(self) -> Iterator[None]:
        with _explained(self.out, f"; {self.done} rows are kept, and --resume goes on after them"):
            yield


def job_of(out: Path) -> Path:
    """Where it is said what run an unfinished one is."""
    return out.with_name(f".{out.name}.job")


def own_files(out: Path) -> tuple[Path, ...]:
    """All files that a run with this output may make: no listing may take them for chips."""
    whole = (out, job_of(out), record_path(out))
    return (*whole, partial_of(out), *(unfinished(path) for path in whole))


def _begin(file: BinaryIO, out: Path, job: Job) -> None:
    """An empty staging, and its job; neither where the job cannot be written."""
    file.truncate(0)
    file.seek(0)
    try:
        write_whole(job_of(out), lambda place: place.write(job.model_dump_json().encode() + b"\n"))
    except BaseException:
        partial_of(out).unlink(missing_ok=True)
        raise


def _resumed(file: BinaryIO, out: Path, job: Job, names: Iterable[str]) -> int:
    """How many rows of the staging are good; what stands after them is cut away."""
    if os.fstat(file.fileno()).st_size == 0:
        return 0  # killed before its first chunk, perhaps before its job was written
    changed = differences(job, _read_job(job_of(out)))
    if changed:
        raise OutputError(
            f"cannot resume {out}: {'; '.join(changed)}. Resume with the same options, or begin "
            "anew without --resume"
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
            f"cannot resume: no job at {path}, so that nobody knows of what run the rows beside "
            "it are; begin anew without --resume"
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


def _check_finished(out: Path, job: Job, names: Iterable[str]) -> None:
    if job.shard is not None:
        changed = differences(job, read_record(out).job)
        if changed:
            raise OutputError(f"{out} is finished, but {'; '.join(changed)}; {_ANEW}")
    pairs = zip_longest(format_of(out).read(out, job.columns), names)
    for number, (row, name) in enumerate(pairs):
        if row is None or name is None:
            fewer = "fewer" if row is None else "more"
            raise OutputError(f"{out} has {fewer} rows than there are chips; {_ANEW}")
        _check_name(out, number, row, name)
        if row["model_version"] != job.model_version:
            raise OutputError(
                f"{out} is of model version {row['model_version']}, not {job.model_version}; "
                f"{_ANEW}"
            )


def _check_name(out: Path, number: int, row: Row, name: str) -> None:
    if row["path"] != readable(name):
        raise OutputError(
            f"cannot resume {out}: row {number + 1} is {row['path']!r}, and the chip there is "
            f"{readable(name)!r}; {_ANEW}"
        )


@contextmanager
def _explained(out: Path, hint: str = "") -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(f"cannot write {out}: {error.strerror or error}{hint}") from error


_ANEW = "begin anew without --resume, or give another --out"
