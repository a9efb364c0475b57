"""Chunks over the processes of this machine, in order.

On processors each process decodes its chunks and runs them through a model of its own, a core
each: nothing but names and rows goes between processes. A GPU is one: there the processes decode,
and this one runs the model.
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
    """A worker process has ended by itself, most likely for want of memory."""


def classify_in_processes(
    chunks: Iterable[Chunk], work: Work, ships: ShipClassifier, workers: int
) -> Iterator[list[BatchRow]]:
    """The rows of each chunk, in order; memory is bounded, however many chunks there are.

    work     with the sum of the model, which the processes open as well
    ships    the model of `work`, opened
    workers  processes; with one, or with one chunk, this process does everything

    Raises WorkerDied, and ModelError where the model file was replaced since `ships` was opened.
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
    """What `task` makes of each chunk, in order; twice as many as workers are ahead at most."""
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
        # Nobody wants their rows any more: do not wait until they have started, or are done.
        for worker in active_children():
            worker.kill()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _signals_held() -> Iterator[None]:
    """No interrupt while worker processes are made; it comes after the block.

    The workers inherit this. Ctrl-C goes to all processes of a terminal, and they never see it:
    what it means is for this process to decide.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})


def _first(ahead: deque[tuple[Chunk, Future[Done]]]) -> tuple[Chunk, Done]:
    chunk, future = ahead.popleft()
    return chunk, future.result()


# What a worker process holds.
_work: Work
_spec: InputSpec


def _begin(begin: Callable[[], None]) -> None:
    """In a worker process, first: it can be terminated, and does not outlive its parent."""
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
    """The model of this process. It is opened with the first chunk, not when the process starts:
    from there an error reaches the parent, which can tell what is wrong."""
    return _work.open()


def _classify(chunk: Chunk) -> list[BatchRow]:
    return _work.classify(chunk, _work.prepare(chunk, _spec), _ships())


def _prepare(chunk: Chunk) -> list[PreparedOrFailure]:
    return _work.prepare(chunk, _spec)
