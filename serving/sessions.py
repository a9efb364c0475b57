"""The model's threads: one run on all cores, or runs beside each other on a core each.

Runs on a core each take less processor time a chip, because no thread waits for another within an
operation (docs/performance.md); a lone chip is answered sooner by all cores. So there are two
sessions of the same file, and whoever calls says which suits what waits.
"""

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from serving.chips import Outcome, PreparedChip, predict_each
from serving.settings import Settings
from shipchip import ShipClassifier

# A core gains nothing from more chips in a run (docs/performance.md), while memory grows with them.
_CHIPS_A_CORE = 16


@dataclass(frozen=True)
class ModelRun:
    """A run that is over: a result a chip, and when it began and how long it took (monotonic s)."""

    results: list[Outcome]
    began: float
    seconds: float


class ModelSessions:
    """`count` runs at a time at most, of `batch_size` chips at most.

    whole   the classifier that uses all cores, for a run that has no other beside it
    single  the classifier that uses one core a run; with one lane `whole` does instead
    """

    def __init__(
        self, whole: ShipClassifier, single: ShipClassifier, count: int, batch_size: int
    ) -> None:
        self.count = count
        self.batch_size = batch_size
        self._whole = whole
        self._single = single
        self._threads = ThreadPoolExecutor(count, "model")

    def warm_up(self) -> None:
        """Let both sessions answer once; blocks."""
        size = self._whole.card.input.size
        for ships in (self._whole, self._single):
            ships.predict(np.zeros((1, 1, size, size), np.float32), explain=True)

    async def predict(
        self,
        batch: Sequence[PreparedChip],
        wanted: Callable[[], bool],
        *,
        explain: bool,
        alone: bool,
    ) -> ModelRun | None:
        """Results of prepared inputs (1, S, S), in order; a chip that fails in a run fails alone.

        `alone` takes all cores. Calls beyond `count` wait for a lane, and are None if by then
        nobody wants them. RuntimeError or CancelledError after `close`.
        """
        ships = self._whole if alone else self._single
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, _run, ships, batch, wanted, explain)

    def close(self) -> None:
        """Stop after the runs that go on."""
        self._threads.shutdown(cancel_futures=True)


def open_sessions(ships: ShipClassifier, settings: Settings) -> ModelSessions:
    """A lane a core; one lane on a GPU, which shares out its cores itself.

    ModelCorrupt where the file is no longer the one that `ships` was made of.
    """
    count = settings.threads or len(os.sched_getaffinity(0))
    if count == 1 or ships.provider != "CPUExecutionProvider":
        return ModelSessions(ships, ships, 1, settings.batch_size)
    single = ShipClassifier(ships.path, device="cpu", threads=1, sha256=ships.sha256)
    return ModelSessions(ships, single, count, min(settings.batch_size, _CHIPS_A_CORE))


def _run(
    ships: ShipClassifier, batch: Sequence[PreparedChip], wanted: Callable[[], bool], explain: bool
) -> ModelRun | None:
    """On a model thread."""
    if not wanted():
        return None
    began = time.monotonic()
    results = predict_each(ships, batch, explain)
    return ModelRun(results, began, time.monotonic() - began)
