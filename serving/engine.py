"""Chips -> results without ever blocking the event loop.

Every chip is decoded on a thread: even a small file can be expensive to decode, and its sender
decides that.
"""

import asyncio
import gc
from collections.abc import Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

from serving.batching import MicroBatcher, Places
from serving.chips import ChipFailure, ChipOptions, Outcome, prepare_chip
from serving.metrics import ModelMetrics
from serving.pictures import explain_chips
from serving.refusals import Refused
from serving.sessions import open_sessions
from serving.settings import Settings
from shipchip import PreparedChip, ShipClassifier

# Files decoded in one call on a thread. The call costs as much as decoding a small chip; larger
# parts would keep the model idle until the last file of a long request is decoded.
_PART_FILES = 32
_PART_BYTES = 2**20


class Engine:
    """A loaded model with the threads around it.

    Decoding runs on `decode_threads` threads, the model on threads of its own.

    Raises a ModelError where the model file cannot be used.
    """

    def __init__(self, settings: Settings) -> None:
        self.ships = ShipClassifier(
            settings.model, device=settings.device, threads=settings.threads
        )
        self.metrics = ModelMetrics(self.ships.card, self.ships.sha256, self.ships.provider)
        self.ready = False
        self._limits = settings.decode_limits()
        self._decoders = ThreadPoolExecutor(settings.decode_threads, "decode")
        self._sessions = open_sessions(self.ships, settings)
        self._batcher = MicroBatcher(
            self._sessions, settings.max_queue, self.metrics, settings.max_wait_s
        )

    def warm_up(self) -> None:
        """Run the model once; only then is the engine `ready`."""
        self._sessions.warm_up()
        # Objects made at start stay: collecting among them took a sixth of the event loop's time.
        gc.collect()
        gc.freeze()
        self.ready = True

    def check_capacity(self) -> None:
        """Refused (429, 503) if a request of one chip would be refused."""
        self._batcher.check_capacity(1)

    async def classify(
        self, files: Sequence[bytes], options: ChipOptions, *, explain: bool
    ) -> list[Outcome]:
        """One result per file, in order. A bad chip fails alone, before the model run.

        Refused (429, 503) before anything is decoded, as by MicroBatcher.admit.
        """
        with self._batcher.admit(len(files)) as places:
            asks = [self._part(part, options, places, explain=explain) for part in _parts(files)]
            # Most requests are one part, for which a task would only cost time.
            parts = [await asks[0]] if len(asks) == 1 else await _side_by_side(asks)
        results = [result for part in parts for result in part]
        self.metrics.classified(results)
        return results

    async def _part(
        self, files: Sequence[bytes], options: ChipOptions, places: Places, *, explain: bool
    ) -> list[Outcome]:
        loop = asyncio.get_running_loop()
        prepared = await loop.run_in_executor(
            # The context holds the request's id, for the log lines of that thread.
            self._decoders,
            copy_context().run,
            self._prepare,
            files,
            options,
        )
        inputs = [item for item in prepared if not isinstance(item, ChipFailure)]
        places.free(len(prepared) - len(inputs))
        answers = iter(await self._batcher.predict(inputs, places, explain=explain))
        results = [item if isinstance(item, ChipFailure) else next(answers) for item in prepared]
        if not explain:
            return results
        spec = self.ships.card.input
        return await loop.run_in_executor(self._decoders, explain_chips, prepared, results, spec)

    def _prepare(
        self, files: Sequence[bytes], options: ChipOptions
    ) -> list[PreparedChip | ChipFailure]:
        spec = self.ships.card.input
        return [prepare_chip(data, options, spec, self._limits) for data in files]

    async def drain(self) -> None:
        """Refuse new requests, and finish accepted ones."""
        self.ready = False
        await self._batcher.drain()

    def close(self) -> None:
        """Finish the current runs; chips that still wait are refused."""
        self.ready = False
        self._decoders.shutdown()
        self._batcher.close()
        gc.unfreeze()  # else nothing is freed when the process ends, and nanobind complains of it


async def _side_by_side(asks: Sequence[Coroutine[Any, Any, list[Outcome]]]) -> list[list[Outcome]]:
    """The results of all parts of a request; Refused if one part is."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(ask) for ask in asks]
    except ExceptionGroup as failed:
        refused, faults = failed.split(Refused)
        if refused is None or faults is not None:
            raise
        raise refused.exceptions[0] from None
    return [task.result() for task in tasks]


def _parts(files: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """Consecutive files, in order, in parts small enough for one call on a decoding thread."""
    start, size = 0, 0
    for i, file in enumerate(files):
        if i > start and (i - start == _PART_FILES or size + len(file) > _PART_BYTES):
            yield files[start:i]
            start, size = i, 0
        size += len(file)
    yield files[start:]
