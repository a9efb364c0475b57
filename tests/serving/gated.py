"""A model behind a gate, chips for it, and asks: for tests of who shares a run and who waits."""

import asyncio
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from serving.batching import MicroBatcher
from serving.chips import ChipFailure, Outcome
from shipchip import Prediction, PreparedChip, ShipClassifier
from tests.tiny_model import SIZE, prepared_of


class Gated(ShipClassifier):
    """The tiny model behind a gate, so that a test says how long a run goes on.

    `runs` are the sizes of the runs that it was asked for; a chip that holds NaN makes it fail.
    """

    def __init__(self, model: Path) -> None:
        super().__init__(model, device="cpu", threads=1)
        self.gate = threading.Event()
        self.began = threading.Event()
        self.seconds = 0.0
        self.runs: list[int] = []

    def predict(
        self, prepared: Sequence[PreparedChip], *, explain: bool = False
    ) -> list[Prediction]:
        self.runs.append(len(prepared))
        self.began.set()
        assert self.gate.wait(10)
        time.sleep(self.seconds)
        if any(np.isnan(chip.input).any() for chip in prepared):
            raise RuntimeError("a chip that the model fails on")
        return super().predict(prepared, explain=explain)


def chip(brightness: float) -> PreparedChip:
    return prepared_of(np.full((1, SIZE, SIZE), brightness, np.float32))


BRIGHTNESS = {"Fishing": 0.0, "Tanker": 0.1, "Cargo": 0.5}
BROKEN = chip(np.nan)


async def ask(batcher: MicroBatcher, *chips: PreparedChip, explain: bool = False) -> list[Outcome]:
    with batcher.admit(len(chips)) as places:
        return await batcher.predict(chips, places, explain=explain)


async def begun(gated: Gated) -> None:
    """Wait until a run goes on, which the gate holds up."""
    assert await asyncio.to_thread(gated.began.wait, 10)


def labels(results: list[Outcome]) -> list[str]:
    return [r.code if isinstance(r, ChipFailure) else r.label for r in results]
