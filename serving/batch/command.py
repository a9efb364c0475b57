"""python -m serving.batch SOURCE... --out FILE

Every file gives one row, in the order of its path, whatever it is. Exit status: 0 every chip was
classified, 1 some were not (their rows say why), 2 could not run (one line says why), 130
interrupted (143 by SIGTERM).
"""

import argparse
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from importlib import import_module
from itertools import islice
from pathlib import Path

from rich.console import Console

from serving.batch.chunks import Chunk, Work
from serving.batch.ending import CANNOT_RUN, status_of
from serving.batch.inputs import (
    ChipEntry,
    InputError,
    TarStore,
    label_of,
    list_entries,
    read_list,
    stamp_of,
)
from serving.batch.outputs.formats import format_of
from serving.batch.outputs.job import Job, hash_names, hash_stamps
from serving.batch.outputs.merge import add_merge_arguments, run_merge
from serving.batch.outputs.pipe import PipeClosed, to_stdout
from serving.batch.outputs.place import Existing, check_folder, check_place, make_folder, own_files
from serving.batch.outputs.scores import Scores
from serving.batch.outputs.staging import Staging
from serving.batch.processes import WorkerDied, classify_in_processes
from serving.batch.progress import Tally, progress
from serving.batch.request import CannotRun, existing_of, make_parser, picture_folders, settings_of
from serving.batch.rows import BatchRow, OutputError, columns, readable
from serving.chips import ChipOptions
from shipchip import ModelError, ShipClassifier, __version__

ClassifyChunks = Callable[[Iterable[Chunk]], Iterator[list[BatchRow]]]


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    given = list(sys.argv[1:] if argv is None else argv)
    if given[:1] == ["merge"]:
        return _merge(given[1:])
    args = make_parser().parse_args(given)
    console = Console(stderr=True, soft_wrap=True, markup=False, highlight=False)
    try:
        return run_batch(args, console)
    except (CannotRun, InputError, ModelError, OutputError, WorkerDied) as error:
        console.print(f"serving.batch: {' '.join(str(error).split())}")  # one line, always
        return CANNOT_RUN
    except PipeClosed:
        return 0
    except KeyboardInterrupt as interrupt:
        hint = "" if args.out == "-" else "; --resume goes on with it"
        console.print(f"serving.batch: interrupted; {args.out} is not finished{hint}")
        return status_of(interrupt)


def run_batch(args: argparse.Namespace, console: Console) -> int:
    """Classify what `args` name; the exit status."""
    out = None if args.out == "-" else Path(args.out)
    _check(args, out)
    settings = settings_of(args)
    work = Work(
        settings.model,
        settings.device,
        ChipOptions(args.polarisation, args.pixel_spacing, args.quantity),
        settings.decode_limits(),
        maps=args.maps,
        crops=args.crops_by_label,
        copy=args.copy,
    )
    ships = work.open()
    work = replace(work, sha256=ships.sha256)
    told = _Told(ships.classes if args.labelled else None)
    with ExitStack() as stack:
        store = stack.enter_context(TarStore(work.limits, named=args.engine == "ray"))
        entries = _entries(args, out, store, console)
        job = make_job(args, work, ships, entries, settings.batch_size)
        engine = _engine(args, work, ships, stack)
        if out is None:
            _stream(args, job, entries, engine, told, console)
        else:
            _stage(out, job, entries, engine, console, existing=existing_of(args))
            told.add(format_of(out).read(out, job.columns), _of(job, entries))
    console.print(f"{told.tally} -> {'standard output' if out is None else out}")
    if told.scores is not None:
        console.print(told.scores.table())
    return 1 if told.tally.failed else 0


class _Told:
    """What is said at the end."""

    def __init__(self, classes: Sequence[str] | None) -> None:
        self.tally = Tally()
        self.scores = None if classes is None else Scores(classes)

    def add(self, rows: Iterable[BatchRow], entries: Iterable[ChipEntry]) -> None:
        for row, entry in zip(rows, entries, strict=True):
            self.tally.add(row)
            if self.scores is not None:
                self.scores.add(label_of(entry, self.scores.classes), row)


def _stream(
    args: argparse.Namespace,
    job: Job,
    entries: Sequence[ChipEntry],
    engine: ClassifyChunks,
    told: _Told,
    console: Console,
) -> None:
    write = to_stdout(job.columns, "plain-csv" if args.plain_csv else args.format)
    remaining = _of(job, entries)
    with progress(console, len(job.span), 0) as advance:
        for rows in engine(_chunks(job, entries, 0)):
            write(rows)
            told.add(rows, islice(remaining, len(rows)))
            advance(rows)


def _stage(
    out: Path,
    job: Job,
    entries: Sequence[ChipEntry],
    engine: ClassifyChunks,
    console: Console,
    *,
    existing: Existing,
) -> None:
    names = (entry.name for entry in _of(job, entries))
    with Staging.open(out, job, names, existing=existing) as staging:
        if not staging.finished:
            with progress(console, len(job.span), staging.done) as advance:
                for rows in engine(_chunks(job, entries, staging.done)):
                    staging.write(rows)
                    advance(rows)
        staging.finish()


def make_job(
    args: argparse.Namespace,
    work: Work,
    ships: ShipClassifier,
    entries: Sequence[ChipEntry],
    chunk: int,
) -> Job:
    """The job of the run that the command line asks for, or of one shard of it."""
    options = {
        "pixel_spacing": args.pixel_spacing,
        "polarisation": args.polarisation,
        "quantity": args.quantity,
        "maps": args.maps and readable(str(args.maps)),
        "crops_by_label": args.crops_by_label and readable(str(args.crops_by_label)),
        "copy": args.copy,
        "plain_csv": args.plain_csv,
        "max_bytes": work.limits.max_bytes,
        "max_pixels": work.limits.max_pixels,
        "provider": ships.provider,
    }
    job = Job(
        model_sha256=ships.sha256,
        model_version=ships.card.version,
        options=options,
        chunk=chunk,
        shard=args.shard,
        entries=len(entries),
        entries_sha256=hash_names(entry.name for entry in entries),
        version=__version__,
        columns=columns(ships.classes),
    )
    if args.out == "-":
        return job  # standard output is never resumed: no need to look at every chip
    stamps = hash_stamps(stamp_of(entries[number]) for number in job.span)
    return job.model_copy(update={"chips_sha256": stamps})


def _engine(
    args: argparse.Namespace, work: Work, ships: ShipClassifier, stack: ExitStack
) -> ClassifyChunks:
    if args.engine == "local":
        return _with_folders(
            args, lambda chunks: classify_in_processes(chunks, work, ships, args.workers)
        )
    try:  # Ray is an extra, and takes a second to import
        cluster = import_module("serving.batch.ray_cluster")
    except ModuleNotFoundError as error:
        raise CannotRun(
            f"--engine ray needs Ray ({error}): pip install 'shipchip[scale]'"
        ) from error
    stack.enter_context(cluster.connected(args.ray_address, args.workers))
    return _with_folders(
        args, lambda chunks: cluster.classify_there(chunks, work, ships.card.input)
    )


def _with_folders(args: argparse.Namespace, engine: ClassifyChunks) -> ClassifyChunks:
    """The engine, with the folders for pictures made when it begins."""

    def classify(chunks: Iterable[Chunk]) -> Iterator[list[BatchRow]]:
        for folder in picture_folders(args):
            make_folder(folder)
        yield from engine(chunks)

    return classify


def _entries(
    args: argparse.Namespace, out: Path | None, store: TarStore, console: Console
) -> list[ChipEntry]:
    sources, listed = args.sources, _listed(args.list)
    if args.expand_list:
        sources, listed = [*sources, *listed], []
    without = [*picture_folders(args), *(() if out is None else own_files(out))]
    left_out: list[str] = []
    entries = list_entries(
        sources,
        listed=listed,
        patterns=args.glob,
        without=without,
        left_out=left_out.append,
        store=store,
    )
    outputs = _few(dict.fromkeys(left_out))
    if not entries:
        other = f" but what earlier runs wrote ({outputs})" if outputs else ""
        asked = _few([*sources, *listed])
        raise CannotRun(f"no files in {asked}{other}; expected chips (PNG, JPEG, TIFF or .npy)")
    if outputs:
        console.print(f"left out, because earlier runs wrote it: {outputs}")
    return entries


def _few(names: Collection[str]) -> str:
    """The first names in one line."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return readable(" ".join(f"{', '.join(islice(names, 3))}{more}".split()))


def _listed(place: str | None) -> list[str]:
    if place is None:
        return []
    if place == "-":
        if sys.stdin is None:
            raise CannotRun("cannot read the list: standard input is closed")
        return read_list(sys.stdin.buffer)
    try:
        with open(place, "rb") as file:  # noqa: PTH123 (a name that need not be UTF-8)
            return read_list(file)
    except OSError as error:
        raise CannotRun(f"cannot read the list {place}: {error.strerror}") from error


def _of(job: Job, entries: Sequence[ChipEntry]) -> Iterator[ChipEntry]:
    """The entries of this run, or of this shard of it."""
    return (entries[number] for number in job.span)


def _chunks(job: Job, entries: Sequence[ChipEntry], done: int) -> Iterator[Chunk]:
    for start in range(job.span.start + done, job.span.stop, job.chunk):
        yield Chunk(start, tuple(entries[start : min(start + job.chunk, job.span.stop)]))


def _check(args: argparse.Namespace, out: Path | None) -> None:
    """What does not go together, before anything is opened."""
    if not args.sources and args.list is None:
        raise CannotRun("no chips named; give a folder, an archive or --list")
    if out is None and (args.resume or args.overwrite or args.shard):
        raise CannotRun("--resume, --overwrite and --shard need a file as --out")
    if args.ray_address and args.engine != "ray":
        raise CannotRun("--ray-address needs --engine ray")
    if args.expand_list and args.list is None:
        raise CannotRun("--expand-list needs --list")
    if args.plain_csv and (args.format if out is None else out.suffix.lower()[1:]) != "csv":
        raise CannotRun("--plain-csv needs a CSV: --out with the ending .csv, or --out -")
    if args.copy and args.crops_by_label is None:
        raise CannotRun("--copy needs --crops-by-label")
    if out is not None:
        check_place(out, existing_of(args))
    for folder in picture_folders(args):
        check_folder(folder)


def _merge(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m serving.batch merge", description="Join the outputs of all shards."
    )
    add_merge_arguments(parser)
    return run_merge(parser.parse_args(argv))
