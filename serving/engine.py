"""Chips -> results without ever blocking the event loop.

Every chip is decoded on a thread: however small the file, what it costs to read is for its sender
to choose.
"""

import asyncio
import gc
from collections.abc import Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

from serving.batching import MicroBatcher, Places
from serving.chips import ChipFailure, ChipOptions, Outcome, PreparedChip, prepare_chip
from serving.metrics import ModelMetrics
from serving.pictures import explain_chips
from serving.refusals import Refused
from serving.sessions import open_sessions
from serving.settings import Settings
from shipchip import ShipClassifier

# Files decoded in one visit to a thread: a visit costs as much as decoding a small chip does, and
# with more of them the first of a long request would wait for the last before the model has work.
_PART_FILES = 32
_PART_BYTES = 2**20


class Engine:
    """A loaded model with the threads around it.

    Decoding runs on `decode_threads` threads, the model on those of its lanes.

    Raises a ModelError where the model file cannot be used.
    """

    def __init__(self, settings: Settings) -> None:
        self.ships = ShipClassifier(
            settings.model, device=settings.device, threads=settings.threads
        )
        self.telemetry = ModelMetrics(self.ships.card, self.ships.sha256, self.ships.provider)
        self.ready = False
        self._limits = settings.decode_limits()
        self._decoders = ThreadPoolExecutor(settings.decode_threads, "decode")
        self._lanes = open_sessions(self.ships, settings)
        self._batcher = MicroBatcher(self._lanes, settings.max_queue, self.telemetry)

    def warm_up(self) -> None:
        """Let the model answer on every lane; only then is the engine `ready`."""
        self._lanes.warm_up()
        # What start has made stays: looking through it for garbage took a sixth of the event loop.
        gc.collect()
        gc.freeze()
        self.ready = True

    def look_in(self) -> None:
        """Refused, 429 or 503, where a request of one chip would be."""
        self._batcher.check_place(1)

    async def classify(
        self, files: Sequence[bytes], options: ChipOptions, *, explain: bool
    ) -> list[Outcome]:
        """One result a file, in order. A bad chip fails alone, before the batch.

        Refused, 429 or 503, before anything is decoded, as MicroBatcher.admit tells.
        """
        with self._batcher.admit(len(files)) as places:
            asks = [self._part(part, options, places, explain=explain) for part in _parts(files)]
            # A task would only cost time where there is one part, as in most requests.
            parts = [await asks[0]] if len(asks) == 1 else await _side_by_side(asks)
        results = [result for part in parts for result in part]
        self.telemetry.classified(results)
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
        scale = self.ships.card.input.db_scale
        return await loop.run_in_executor(self._decoders, explain_chips, prepared, results, scale)

    def _prepare(
        self, files: Sequence[bytes], options: ChipOptions
    ) -> list[PreparedChip | ChipFailure]:
        spec = self.ships.card.input
        return [prepare_chip(data, options, spec, self._limits) for data in files]

    async def drain(self) -> None:
        """Take nothing new, and finish what was accepted."""
        self.ready = False
        await self._batcher.drain()

    def close(self) -> None:
        """Finish the runs that go on; what still waits for one is refused."""
        self.ready = False
        self._decoders.shutdown()
        self._batcher.close()


async def _side_by_side(asks: Sequence[Coroutine[Any, Any, list[Outcome]]]) -> list[list[Outcome]]:
    """The results of all parts of a request; Refused where one of them is."""
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
    """Runs of files, in order, each small enough for one visit to a decoding thread."""
    start, size = 0, 0
    for i, file in enumerate(files):
        if i > start and (i - start == _PART_FILES or size + len(file) > _PART_BYTES):
            yield files[start:i]
            start, size = i, 0
        size += len(file)
    yield files[start:]
