"""Chips -> results without ever blocking the event loop."""

import asyncio
import gc
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

from serving.batcher import MicroBatcher, Places
from serving.intake import ChipOptions, Failure, prepare_chip
from serving.lanes import Chip, Result, open_lanes
from serving.overlay import explain_chips
from serving.settings import Settings
from serving.telemetry import Telemetry
from shipchip import DecodeLimits, ShipClassifier
from shipchip.errors import TooLarge, TooManyPixels

# Files decoded in one visit to a thread: a visit costs as much as decoding a small chip does, and
# with more of them the first of a long request would wait for the last before the model has work.
_PART_FILES = 32
_PART_BYTES = 2**20
# A request of one chip within these is decoded on the event loop, in well under a millisecond: the
# visit to a thread costs more. Pixels are counted before they are decoded, in every format.
_AT_ONCE = DecodeLimits(max_bytes=32 * 2**10, max_pixels=128 * 128)
_NOT_AT_ONCE = frozenset({TooLarge.code, TooManyPixels.code})


class Engine:
    """A loaded model with the threads around it.

    Decoding runs on `decode_threads` threads, the model on those of its lanes.

    Raises a ModelError where the model file cannot be used.
    """

    def __init__(self, settings: Settings) -> None:
        self.ships = ShipClassifier(
            settings.model, device=settings.device, threads=settings.threads
        )
        self.telemetry = Telemetry(self.ships.card, self.ships.sha256, self.ships.provider)
        self.ready = False
        self._limits = settings.decode_limits()
        self._small = DecodeLimits(
            max_bytes=min(_AT_ONCE.max_bytes, self._limits.max_bytes),
            max_pixels=min(_AT_ONCE.max_pixels, self._limits.max_pixels),
        )
        self._decoders = ThreadPoolExecutor(settings.decode_threads, "decode")
        self._lanes = open_lanes(self.ships, settings)
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
    ) -> list[Result]:
        """One result a file, in order. A bad chip fails alone, before the batch.

        Refused, 429 or 503, before anything is decoded, as MicroBatcher.admit tells.
        """
        with self._batcher.admit(len(files)) as places:
            parts = list(_parts(files))
            if len(parts) == 1:  # most requests; a task would only cost time
                results = await self._part(files, options, places, explain=explain)
            else:
                async with asyncio.TaskGroup() as group:
                    asked = [self._part(part, options, places, explain=explain) for part in parts]
                    tasks = [group.create_task(ask) for ask in asked]
                results = [result for task in tasks for result in task.result()]
        self.telemetry.classified(results)
        return results

    async def _part(
        self, files: Sequence[bytes], options: ChipOptions, places: Places, *, explain: bool
    ) -> list[Result]:
        loop = asyncio.get_running_loop()
        prepared = self._at_once(files, options)
        if prepared is None:
            prepared = await loop.run_in_executor(
                # The context holds the request's id, for the log lines of that thread.
                self._decoders,
                copy_context().run,
                self._prepare,
                files,
                options,
                self._limits,
            )
        inputs = [item for item in prepared if not isinstance(item, Failure)]
        places.free(len(prepared) - len(inputs))
        answers = iter(await self._batcher.predict(inputs, places, explain=explain))
        results = [item if isinstance(item, Failure) else next(answers) for item in prepared]
        if not explain:
            return results
        scale = self.ships.card.input.db_scale
        return await loop.run_in_executor(self._decoders, explain_chips, prepared, results, scale)

    def _at_once(self, files: Sequence[bytes], options: ChipOptions) -> list[Chip | Failure] | None:
        """One small chip, prepared; None for what has to be decoded on a thread."""
        if len(files) > 1 or len(files[0]) > self._small.max_bytes:
            return None
        prepared = self._prepare(files, options, self._small)
        first = prepared[0]
        return None if isinstance(first, Failure) and first.code in _NOT_AT_ONCE else prepared

    def _prepare(
        self, files: Sequence[bytes], options: ChipOptions, limits: DecodeLimits
    ) -> list[Chip | Failure]:
        spec = self.ships.card.input
        return [prepare_chip(data, options, spec, limits) for data in files]

    async def drain(self) -> None:
        """Take nothing new, and finish what was accepted."""
        self.ready = False
        await self._batcher.drain()

    def close(self) -> None:
        """Finish what is running, drop what has not begun."""
        self.ready = False
        self._decoders.shutdown(cancel_futures=True)
        self._batcher.close()


def _parts(files: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """Runs of files, in order, each small enough for one visit to a decoding thread."""
    start, size = 0, 0
    for i, file in enumerate(files):
        if i > start and (i - start == _PART_FILES or size + len(file) > _PART_BYTES):
            yield files[start:i]
            start, size = i, 0
        size += len(file)
    yield files[start:]
