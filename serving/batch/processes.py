"""Chunks over the processes of this machine, in order.

On CPUs each process decodes its chunks and runs its own copy of the model on one core: only names
and rows pass between processes. With a GPU the processes decode, and this process runs the model.
"""

import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import cache, partial
from itertools import chain, islice
from multiprocessing import active_children, connection, get_context, parent_process
from typing import TypeVar

from serving.batch.chunks import Chunk, PreparedOrFailure, Work
from serving.batch.rows import BatchRow
from shipchip import ShipClassifier
from shipchip.card import InputSpec

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
    if ships.provider == "CPUExecutionProvider":
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
            "a worker process has died, perhaps for want of memory: give fewer --workers"
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
