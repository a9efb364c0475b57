"""python -m serving.batch SOURCE... --out FILE

Every file becomes one row, sorted by path. Exit status: 0 all chips were classified, 1 some were
not (their rows say why), 2 could not run (one line says why), 130 interrupted (143 by SIGTERM).
"""

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from importlib import import_module
from itertools import islice
from pathlib import Path

from rich.console import Console

from serving.batch.chunks import Chunk, Work, WorkerDied, classify_in_processes
from serving.batch.ending import CANNOT_RUN, PROG, name_of, status_of
from serving.batch.inputs import (
    ChipEntry,
    InputError,
    TarStore,
    identity_of,
    stamp_of,
)
from serving.batch.outputs.formats import PipeClosed, format_of, to_stdout
from serving.batch.outputs.job import Job, hash_names, hash_stamps, merge
from serving.batch.outputs.pictures import check_folder, make_folder
from serving.batch.outputs.place import check_place
from serving.batch.outputs.staging import Staging
from serving.batch.request import BatchRequest, CannotRun, parse_merge, parse_request
from serving.batch.rows import BatchRow, OutputError, columns, readable
from serving.batch.sources import entries_of
from serving.batch.summary import Summary, pace, progress
from serving.settings import misspelt_variables
from shipchip import ModelError, ShipClassifier, __version__

ClassifyChunks = Callable[[Iterable[Chunk]], Iterator[list[BatchRow]]]


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """The command line, called `prog` in what it prints; returns the exit status."""
    given = list(sys.argv[1:] if argv is None else argv)
    console = Console(stderr=True, soft_wrap=True, markup=False, highlight=False)
    if given[:1] == ["merge"]:
        return _merge(given[1:], prog or f"{PROG} merge", console)
    name = name_of(prog or PROG)
    try:
        return _run_until_interrupted(parse_request(given, prog or PROG), name, console)
    except (CannotRun, InputError, ModelError, OutputError, WorkerDied) as error:
        console.print(f"{name}: {' '.join(str(error).split())}")  # always one line
        return CANNOT_RUN
    except PipeClosed:
        return 0


def _run_until_interrupted(request: BatchRequest, name: str, console: Console) -> int:
    try:
        return run_batch(request, console)
    except KeyboardInterrupt as interrupt:
        hint = "" if request.out is None else "; continue with --resume"
        console.print(f"{name}: interrupted; {request.out or '-'} is not finished{hint}")
        return status_of(interrupt)


def run_batch(request: BatchRequest, console: Console) -> int:
    """Classify what the request names; returns the exit status."""
    for hint in misspelt_variables():
        console.print(hint)
    if request.out is not None:
        check_place(request.out, request.existing)
    for folder in request.picture_folders:
        check_folder(folder)
    work, ships = open_work(request)
    summary = Summary(ships.classes if request.labelled else None)
    with ExitStack() as stack:
        store = stack.enter_context(TarStore(work.limits, named=request.engine == "ray"))
        entries, carried = entries_of(request, store, console)
        job = make_job(request, ships, entries, carried)
        work = replace(work, carried=carried, scenes=request.scene is not None)
        for folder in request.picture_folders:
            check_folder(folder, job.picture_run)
        engine = _engine(request, work, ships, stack)
        classify = _with_folders(request.picture_folders, job.picture_run, engine)
        began = time.perf_counter()
        if request.out is None:
            computed = _stream(request, job, entries, classify, summary, console)
            took = time.perf_counter() - began
        else:
            computed = _stage(request, request.out, job, entries, classify, console)
            took = time.perf_counter() - began
            summary.add(format_of(request.out).read(request.out, job.columns), _of(job, entries))
    out = request.out or "standard output"
    console.print(f"{summary.tally}; {pace(computed, took)} -> {out}")
    if summary.scores is not None:
        console.print(summary.scores.table())
    return 1 if summary.tally.failed else 0


def _stream(
    request: BatchRequest,
    job: Job,
    entries: Sequence[ChipEntry],
    classify: ClassifyChunks,
    summary: Summary,
    console: Console,
) -> int:
    """Classify and write to standard output; returns the chips that were classified or failed."""
    write = to_stdout(job.columns, request.text_format)
    remaining = _of(job, entries)
    with progress(console, len(job.span), 0) as advance:
        for rows in classify(_chunks(job, entries, 0)):
            write(rows)
            summary.add(rows, islice(remaining, len(rows)))
            advance(rows)
    return len(job.span)


def _stage(
    request: BatchRequest,
    out: Path,
    job: Job,
    entries: Sequence[ChipEntry],
    classify: ClassifyChunks,
    console: Console,
) -> int:
    """Classify what no earlier run did, and finish the output; returns how many chips these are."""
    names = (entry.name for entry in _of(job, entries))
    with Staging.open(out, job, names, existing=request.existing) as staging:
        computed = 0 if staging.finished else len(job.span) - staging.done
        if computed:
            with progress(console, len(job.span), staging.done) as advance:
                for rows in classify(_chunks(job, entries, staging.done)):
                    staging.write(rows)
                    advance(rows)
        staging.finish()
    return computed


def open_work(request: BatchRequest) -> tuple[Work, ShipClassifier]:
    """What is done with each chunk, and the opened model. Raises a ModelError."""
    work = Work(
        request.model,
        request.device,
        request.options,
        request.limits,
        maps=request.maps,
        crops=request.crops,
        copy=request.copy,
    )
    ships = work.open()
    return replace(work, sha256=ships.sha256), ships


def make_job(
    request: BatchRequest,
    ships: ShipClassifier,
    entries: Sequence[ChipEntry],
    carried: Sequence[str] = (),
) -> Job:
    """The job of the run, or of one shard: everything that its rows depend on."""
    options = {
        "pixel_spacing": request.options.pixel_spacing_m,
        "polarisation": request.options.polarisation,
        "quantity": request.options.quantity,
        "maps": request.maps and readable(str(request.maps)),
        "crops_by_label": request.crops and readable(str(request.crops)),
        "copy": request.copy,
        "plain_csv": request.text_format == "plain-csv",
        "max_bytes": request.limits.max_bytes,
        "max_pixels": request.limits.max_pixels,
        "provider": ships.provider,
    }
    job = Job(
        model_sha256=ships.sha256,
        model_version=ships.card.version,
        options=options,
        chunk=request.batch_size,
        shard=request.shard,
        entries=len(entries),
        entries_sha256=hash_names(identity_of(entry) for entry in entries),
        version=__version__,
        columns=columns(ships.classes, carried, scenes=request.scene is not None),
    )
    if request.out is None:
        return job  # standard output is never resumed: no need to look at every chip
    stamps = hash_stamps(stamp_of(entries[number]) for number in job.span)
    return job.model_copy(update={"chips_sha256": stamps})


def _engine(
    request: BatchRequest, work: Work, ships: ShipClassifier, stack: ExitStack
) -> ClassifyChunks:
    if request.engine == "local":
        return lambda chunks: classify_in_processes(chunks, work, ships, request.workers)
    try:  # Ray is an extra, and takes a second to import
        cluster = import_module("serving.batch.ray_cluster")
    except ModuleNotFoundError as error:
        raise CannotRun(
            f"--engine ray needs Ray ({error}); to install: "
            f"{sys.executable} -m pip install 'shipchip[scale]'"
        ) from error
    stack.enter_context(cluster.connected(request.ray_address, request.workers))
    return lambda chunks: cluster.classify_on_cluster(chunks, work, ships.card.input)


def _with_folders(folders: Sequence[Path], run: str, classify: ClassifyChunks) -> ClassifyChunks:
    """The same, after making the folders for pictures."""

    def classify_with_folders(chunks: Iterable[Chunk]) -> Iterator[list[BatchRow]]:
        for folder in folders:
            make_folder(folder, run)
        yield from classify(chunks)

    return classify_with_folders


def _of(job: Job, entries: Sequence[ChipEntry]) -> Iterator[ChipEntry]:
    """The entries of this run, or of this shard."""
    return (entries[number] for number in job.span)


def _chunks(job: Job, entries: Sequence[ChipEntry], done: int) -> Iterator[Chunk]:
    for start in range(job.span.start + done, job.span.stop, job.chunk):
        yield Chunk(start, tuple(entries[start : min(start + job.chunk, job.span.stop)]))


def _merge(argv: Sequence[str], prog: str, console: Console) -> int:
    request = parse_merge(argv, prog)
    try:
        rows = merge(request.out, request.shards, request.existing)
    except OutputError as error:
        console.print(f"{name_of(prog)}: {' '.join(str(error).split())}")
        return CANNOT_RUN
    console.print(f"{rows} rows of {len(request.shards)} shards -> {request.out}")
    return 0
