"""A chunk of entries -> its rows, wherever that is computed; and all chunks, over local processes.

The chips of a chunk are one model run on one core (or one GPU). So a chip gets the same digits in
one process or many, when resumed, in a shard and on a cluster.

On CPUs each process decodes its chunks and runs its own copy of the model on one core: only names
and rows pass between processes. With a GPU the processes decode, and this process runs the model.
"""

import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from itertools import chain, islice
from multiprocessing import active_children, connection, get_context, parent_process
from pathlib import Path
from typing import TypeVar

from serving.batch.inputs import ChipEntry, SceneWindow, options_of, read_chip, read_entry
from serving.batch.outputs.pictures import draw_map, sort_crop, write_map
from serving.batch.rows import BatchRow, readable, to_row
from serving.chips import (
    ChipFailure,
    ChipOptions,
    Outcome,
    predict_each,
    prepare_chip,
    prepare_read,
)
from shipchip import DecodeLimits, PreparedChip, ShipClassifier
from shipchip.card import InputSpec
from shipchip.errors import ChipError
from shipchip.runtime import Device

PreparedOrFailure = PreparedChip | ChipFailure


@dataclass(frozen=True)
class Chunk:
    """Consecutive entries; `start` is the number of the first among all entries."""

    start: int
    entries: tuple[ChipEntry, ...]


@dataclass(frozen=True)
class Work:
    """The work on every entry.

    model    the model file
    device   where ONNX Runtime runs it
    options  what the caller knows about the chips
    limits   the limits of their files
    maps     the folder for activation maps, if they are wanted
    crops    the folder for chips sorted by label, if they are wanted
    copy     whether chips are copied there rather than linked
    sha256   of the model file, once it was opened: all other processes must find the same
    carried  names of the columns that entries carry from a list
    scenes   whether chips are windows of scenes
    """

    model: Path
    device: Device
    options: ChipOptions
    limits: DecodeLimits
    maps: Path | None = None
    crops: Path | None = None
    copy: bool = False
    sha256: str | None = None
    carried: tuple[str, ...] = ()
    scenes: bool = False

    def open(self) -> ShipClassifier:
        """Open the model on one core, or on a GPU; raises a ModelError."""
        return ShipClassifier(self.model, device=self.device, threads=1, sha256=self.sha256)

    def prepare(self, chunk: Chunk, spec: InputSpec) -> list[PreparedOrFailure]:
        """Each chip as the model takes it, or why it cannot be. Raises nothing."""
        return [self._prepare(entry, spec) for entry in chunk.entries]

    def classify(
        self, chunk: Chunk, prepared: Sequence[PreparedOrFailure], ships: ShipClassifier
    ) -> list[BatchRow]:
        """One row per entry, in order, and its pictures. OutputError if they cannot be written."""
        inputs = [item for item in prepared if not isinstance(item, ChipFailure)]
        explain = self.maps is not None
        found = iter(predict_each(ships, inputs, explain) if inputs else ())
        rows = []
        for place, (entry, item) in enumerate(zip(chunk.entries, prepared, strict=True)):
            result = item if isinstance(item, ChipFailure) else next(found)
            drawn = self._write_map(chunk.start + place, entry, item, result, ships)
            row = to_row(entry.name, result, ships.card) | {"map_file": drawn}
            rows.append(row | self._beside(entry, row))
            self._sort_crop(chunk.start + place, entry, result)
        return rows

    def _prepare(self, entry: ChipEntry, spec: InputSpec) -> PreparedOrFailure:
        where = entry.where
        if isinstance(where, SceneWindow):
            read = partial(read_chip, entry.path, where, entry.stamp, self.options)
            return prepare_read(read, self.options, spec)
        try:
            content = read_entry(entry, self.limits)
        except ChipError as error:
            return ChipFailure(error.code, str(error))
        return prepare_chip(content, options_of(entry, self.options), spec, self.limits)

    def _beside(self, entry: ChipEntry, row: BatchRow) -> BatchRow:
        """The columns that only lists and scenes have."""
        cells = entry.carried or (None,) * len(self.carried)
        beside: BatchRow = dict(zip(self.carried, cells, strict=True))
        if row["lon"] is None and entry.position is not None:
            beside |= {"lon": entry.position[0], "lat": entry.position[1]}
        if self.scenes:
            near = entry.where.nearest_m if isinstance(entry.where, SceneWindow) else None
            length = row["length_m"]
            beside["nearest_m"] = near if near is None else round(near, 1)
            near_another = near is not None and length is not None and near <= length
            beside["near_another"] = None if length is None else near_another
        return beside

    def _write_map(
        self,
        index: int,
        entry: ChipEntry,
        item: PreparedOrFailure,
        result: Outcome,
        ships: ShipClassifier,
    ) -> str | None:
        """The name of the picture that was written, if one was."""
        if self.maps is None or isinstance(item, ChipFailure) or isinstance(result, ChipFailure):
            return None
        png = draw_map(item.input, result, ships.card.input)
        return None if png is None else readable(write_map(self.maps, index, entry.name, png).name)

    def _sort_crop(self, index: int, entry: ChipEntry, result: Outcome) -> None:
        if self.crops is None:
            return
        label = None if isinstance(result, ChipFailure) else result.label
        chip: bytes | Path = Path(entry.path)
        if entry.member is not None:
            try:
                chip = read_entry(entry, self.limits)
            except ChipError:
                return  # its row says why
        sort_crop(self.crops, label, index, entry.name, chip, copy=self.copy)


Done = TypeVar("Done")


class WorkerDied(Exception):
    """A worker process died, most likely because memory ran out."""


def classify_in_processes(
    chunks: Iterable[Chunk], work: Work, ships: ShipClassifier, workers: int
) -> Iterator[list[BatchRow]]:
    """The rows of each chunk, in order; memory is bounded for any number of chunks.

    work     with the SHA-256 of the model, which the processes open as well
    ships    the model of `work`, open
    workers  processes; with one, or with one chunk, this process does everything

    Raises WorkerDied, and ModelError if the model file was replaced since `ships` was opened.
    """
    remaining = iter(chunks)
    first = list(islice(remaining, 2))
    spec = ships.card.input
    if workers == 1 or len(first) < 2:
        for chunk in (*first, *remaining):
            yield work.classify(chunk, work.prepare(chunk, spec), ships)
        return
    todo = chain(first, remaining)
    if not ships.runtime.on_gpu:
        for _, rows in _spread(_classify, todo, workers, partial(_hold, work, spec)):
            yield rows
    else:
        for chunk, prepared in _spread(_prepare, todo, workers, partial(_hold, work, spec)):
            yield work.classify(chunk, prepared, ships)


def _spread(
    task: Callable[[Chunk], Done],
    chunks: Iterator[Chunk],
    workers: int,
    begin: Callable[[], None],
) -> Iterator[tuple[Chunk, Done]]:
    """`task` of each chunk, in order; at most two chunks per worker are in flight."""
    # Forked processes would share ONNX Runtime's threads and locks.
    context = get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, initializer=_begin, initargs=(begin,))
    ahead: deque[tuple[Chunk, Future[Done]]] = deque()
    try:
        for chunk in chunks:
            with _signals_held():
                ahead.append((chunk, pool.submit(task, chunk)))
            if len(ahead) > 2 * workers:
                yield _first(ahead)
        while ahead:
            yield _first(ahead)
    except BrokenProcessPool as error:
        raise WorkerDied(
            "a worker process died, perhaps because memory ran out: use fewer --workers"
        ) from error
    except BaseException:
        # Their rows are not needed any more: do not wait for them.
        for worker in active_children():
            worker.kill()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _signals_held() -> Iterator[None]:
    """Hold back interrupts until the block ends, while worker processes are created.

    The workers inherit the blocked signals. Ctrl-C goes to all processes of a terminal, but only
    this process may act on it.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})


def _first(ahead: deque[tuple[Chunk, Future[Done]]]) -> tuple[Chunk, Done]:
    chunk, future = ahead.popleft()
    return chunk, future.result()


# State of a worker process.
_work: Work
_spec: InputSpec


def _begin(begin: Callable[[], None]) -> None:
    """First call in a worker process: it can be terminated, and does not outlive its parent."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    threading.Thread(target=_end_with_parent, daemon=True).start()
    begin()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)


def _hold(work: Work, spec: InputSpec) -> None:
    global _work, _spec
    _work, _spec = work, spec


@cache
def _ships() -> ShipClassifier:
    """The model of this process, opened with the first chunk: then an error reaches the parent,
    which can report it; an error at process start would not."""
    return _work.open()


def _classify(chunk: Chunk) -> list[BatchRow]:
    return _work.classify(chunk, _work.prepare(chunk, _spec), _ships())


def _prepare(chunk: Chunk) -> list[PreparedOrFailure]:
    return _work.prepare(chunk, _spec)
