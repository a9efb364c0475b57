"""Runs beside each other on a core each, and one run on all cores."""

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from serving.batching import MicroBatcher
from serving.metrics import ModelMetrics
from serving.sessions import ModelSessions, open_sessions
from serving.settings import Settings
from shipchip import Prediction, ShipClassifier
from shipchip.errors import ModelCorrupt
from tests.serving.gated import BRIGHTNESS, Gated, ask, begun, chip, labels
from tests.tiny_model import write_tiny_model


@pytest.fixture
def whole(model: Path) -> Gated:
    return Gated(model)


@pytest.fixture
def single(model: Path) -> Gated:
    return Gated(model)


@pytest.fixture
def batcher(whole: Gated, single: Gated) -> Iterator[MicroBatcher]:
    """Three lanes, four chips a run."""
    lanes = ModelSessions(whole, single, count=3, batch_size=4)
    batcher = MicroBatcher(lanes, 100, ModelMetrics(whole.card, "sha", "provider"))
    yield batcher
    whole.gate.set()
    single.gate.set()
    batcher.close()


def test_fewer_chips_than_lanes_have_all_cores(
    batcher: MicroBatcher, whole: Gated, single: Gated
) -> None:
    whole.gate.set()
    reported = asyncio.run(ask(batcher, chip(0.5), chip(0.1)))
    assert labels(reported) == ["Cargo", "Tanker"]
    assert (whole.runs, single.runs) == ([2], [])


def test_as_many_chips_as_lanes_or_more_are_shared_evenly(
    batcher: MicroBatcher, whole: Gated, single: Gated
) -> None:
    single.gate.set()
    shades = [chip(b) for b in BRIGHTNESS.values()]
    assert labels(asyncio.run(ask(batcher, *shades, *shades, shades[0]))) == [
        *BRIGHTNESS,
        *BRIGHTNESS,
        next(iter(BRIGHTNESS)),
    ]
    assert (whole.runs, sorted(single.runs)) == ([], [2, 2, 3])


def test_a_chip_that_comes_while_a_lane_is_busy_takes_a_free_one(
    batcher: MicroBatcher, whole: Gated, single: Gated
) -> None:
    async def play() -> None:
        three = asyncio.create_task(ask(batcher, chip(0), chip(0), chip(0)))
        await begun(single)
        one = asyncio.create_task(ask(batcher, chip(0.5)))
        await asyncio.sleep(0)
        single.gate.set()
        await asyncio.gather(three, one)

    asyncio.run(play())
    assert (whole.runs, single.runs) == ([], [1, 1, 1, 1])


async def fill(batcher: MicroBatcher, single: Gated, waiting: int) -> tuple[int, list[int]]:
    """Runs that have begun, and sizes of all, where chips come while all lanes are busy."""
    first = asyncio.create_task(ask(batcher, chip(0), chip(0), chip(0)))
    await begun(single)
    more = [asyncio.create_task(ask(batcher, chip(0))) for _ in range(waiting)]
    for _ in range(3):
        await asyncio.sleep(0)
    asked = len(batcher._runs)
    single.gate.set()
    await asyncio.gather(first, *more)
    return asked, single.runs


@pytest.mark.parametrize(("waiting", "asked", "next_run"), [(3, 3, 3), (4, 4, 4), (9, 5, 4)])
def test_full_batches_are_handed_on_while_all_lanes_are_busy_and_no_smaller_ones(
    batcher: MicroBatcher, single: Gated, waiting: int, asked: int, next_run: int
) -> None:
    assert asyncio.run(fill(batcher, single, waiting)) == (asked, single.runs)
    assert single.runs[3] == next_run
    assert sum(single.runs) == 3 + waiting


def test_both_sessions_give_the_same_answers(model: Path) -> None:
    lanes = open_sessions(ShipClassifier(model, device="cpu"), Settings(model=model, threads=2))
    shades = [chip(b) for b in BRIGHTNESS.values()]

    async def play() -> list[list[Prediction]]:
        runs = [
            await lanes.predict(shades, lambda: True, explain=True, alone=alone)
            for alone in (True, False)
        ]
        return [[r for r in run.results if isinstance(r, Prediction)] for run in runs if run]

    for one, other in zip(*asyncio.run(play()), strict=True):
        assert one.label == other.label
        assert one.confidence == pytest.approx(other.confidence, abs=1e-5)
        assert one.activation_map == pytest.approx(np.asarray(other.activation_map), abs=1e-4)
    lanes.close()


@pytest.mark.parametrize(
    ("threads", "batch_size", "lanes"), [(1, 32, (1, 32)), (3, 32, (3, 16)), (3, 2, (3, 2))]
)
def test_a_lane_a_thread_that_the_settings_give_and_batches_that_suit_a_core(
    model: Path, threads: int, batch_size: int, lanes: tuple[int, int]
) -> None:
    settings = Settings(model=model, threads=threads, batch_size=batch_size)
    found = open_sessions(ShipClassifier(model, device="cpu", threads=threads), settings)
    assert (found.count, found.batch_size) == lanes
    found.close()


def test_a_file_that_changes_while_it_is_loaded_is_refused(model: Path, tmp_path: Path) -> None:
    path = shutil.copy(model, tmp_path / "ship.onnx")
    ships = ShipClassifier(path, device="cpu")
    write_tiny_model(path, ships.card.model_copy(update={"version": "2"}))
    with pytest.raises(ModelCorrupt, match="was replaced while it was being loaded"):
        open_sessions(ships, Settings(model=path, threads=2))
