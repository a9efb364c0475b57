"""Model sessions and their threads: one run on all cores, or parallel runs on one core each.

Runs on one core each take less processor time per chip, because no thread waits for another within
an operation (docs/performance.md); a single chip is answered sooner on all cores. So there are two
sessions of the same file, and the caller chooses.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from serving.chips import Outcome, predict_each
from serving.settings import Settings
from shipchip import PreparedChip, ShipClassifier
from shipchip.runtime import Device

# On one core a larger run is no faster per chip (docs/performance.md) and needs more memory.
_CHIPS_A_CORE = 16


@dataclass(frozen=True)
class ModelRun:
    """A finished run: a result per chip, when it began and how long it took (monotonic seconds)."""

    results: list[Outcome]
    began: float
    seconds: float


class ModelSessions:
    """At most `count` runs at a time, of at most `batch_size` chips.

    all_cores  the classifier for a run that has no other beside it
    one_core   the classifier for parallel runs; the same as `all_cores` if `count` is 1
    """

    def __init__(
        self, all_cores: ShipClassifier, one_core: ShipClassifier, count: int, batch_size: int
    ) -> None:
        self.count = count
        self.batch_size = batch_size
        self._all_cores = all_cores
        self._one_core = one_core
        self._threads = ThreadPoolExecutor(count, "model")

    def warm_up(self) -> None:
        """Run both sessions once; blocks."""
        size = self._all_cores.card.input.size
        for ships in (self._all_cores, self._one_core):
            ships.run(np.zeros((1, 1, size, size), np.float32), maps=True)

    async def predict(
        self,
        batch: Sequence[PreparedChip],
        wanted: Callable[[], bool],
        *,
        explain: bool,
        alone: bool,
    ) -> ModelRun | None:
        """Results of prepared chips, in order; a chip that fails in a run fails alone.

        `alone` uses all cores. Calls beyond `count` wait for a free slot, and return None if their
        chips are no longer `wanted` by then. RuntimeError or CancelledError after `close`.
        """
        ships = self._all_cores if alone else self._one_core
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, _run, ships, batch, wanted, explain)

    def close(self) -> None:
        """Stop after the current runs."""
        self._threads.shutdown(cancel_futures=True)


def open_sessions(ships: ShipClassifier, settings: Settings) -> ModelSessions:
    """One run per core; one run at a time on a GPU, which schedules its cores itself.

    Raises ModelCorrupt if the file is no longer the one that `ships` was loaded from.
    """
    count = settings.threads
    if count == 1 or ships.runtime.on_gpu:
        return ModelSessions(ships, ships, 1, settings.batch_size)
    device: Device = "openvino" if settings.device == "openvino" else "cpu"
    one_core = ShipClassifier(
        ships.path, device=device, threads=1, sha256=ships.sha256, parallel=count
    )
    return ModelSessions(ships, one_core, count, min(settings.batch_size, _CHIPS_A_CORE))


def _run(
    ships: ShipClassifier, batch: Sequence[PreparedChip], wanted: Callable[[], bool], explain: bool
) -> ModelRun | None:
    """On a model thread."""
    if not wanted():
        return None
    began = time.monotonic()
    results = predict_each(ships, batch, explain)
    return ModelRun(results, began, time.monotonic() - began)
