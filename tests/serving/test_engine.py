"""Chips to results off the event loop, and when the service calls itself ready."""

import asyncio
import gc
import io
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from serving import chips
from serving.chips import ChipFailure, ChipOptions, prepare_chip
from serving.engine import Engine
from serving.refusals import Refused
from serving.settings import Settings
from shipchip import DecodeLimits, Prediction, ShipClassifier
from shipchip.card import InputSpec
from shipchip.chip import Chip
from tests.serving.server import ROOT, environment
from tests.tiny_model import draw_chip


@pytest.fixture
def engine(model: Path) -> Iterator[Engine]:
    engine = Engine(Settings(model=model, device="cpu", batch_size=2))
    yield engine
    engine.close()


def test_an_engine_is_ready_between_its_warm_up_and_its_end(engine: Engine) -> None:
    states = [engine.ready]
    engine.warm_up()
    states.append(engine.ready)
    engine.close()
    states.append(engine.ready)
    assert states == [False, True, False]


def test_an_engine_that_is_closed_lets_garbage_be_collected_again(engine: Engine) -> None:
    """A process that ends with frozen objects frees none of them: triton then lists its own."""
    engine.warm_up()
    assert gc.get_freeze_count() > 0
    engine.close()
    assert gc.get_freeze_count() == 0


def test_the_service_is_not_ready_before_the_model_has_answered(model: Path) -> None:
    script = (
        "import asyncio; from serving.service import Shipchip; service = Shipchip.inner();"
        "print(asyncio.run(service.__is_ready__()));"
        "service.warm_up(); print(asyncio.run(service.__is_ready__()));"
        "asyncio.run(service.close())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env=environment(model),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["False", "True"]


def test_results_stand_where_their_files_stood(engine: Engine, png: dict[str, bytes]) -> None:
    files = [png["Cargo"], b"", png["Tanker"], png["Fishing"], b"?", png["Cargo"]]
    results = asyncio.run(engine.classify(files, ChipOptions(), explain=False))
    reported = [r.label if isinstance(r, Prediction) else r.code for r in results]
    assert reported == ["Cargo", "empty", "Tanker", "Fishing", "unsupported_format", "Cargo"]


def test_requests_side_by_side_get_their_own_answers(engine: Engine, png: dict[str, bytes]) -> None:
    labels = ["Cargo", "Tanker", "Fishing", "Tanker", "Cargo"]

    async def ask_all() -> list[list[Prediction | ChipFailure]]:
        asks = (engine.classify([png[k]] * 3, ChipOptions(), explain=False) for k in labels)
        return await asyncio.gather(*asks)

    answers = asyncio.run(ask_all())
    reported = [[r.label for r in answer if isinstance(r, Prediction)] for answer in answers]
    assert reported == [[label] * 3 for label in labels]


def test_a_fault_of_the_program_on_one_chip_is_logged_and_is_not_bad_input(
    ships: ShipClassifier, png: dict[str, bytes], caplog: pytest.LogCaptureFixture
) -> None:
    impossible = ChipOptions(quantity="decibels")  # type: ignore[arg-type]
    with caplog.at_level(logging.ERROR, "serving.chips"):
        result = prepare_chip(png["Cargo"], impossible, ships.card.input, DecodeLimits())
    assert isinstance(result, ChipFailure)
    assert result.code == "internal_error"
    assert "quantity is 'decibels'" in caplog.text


async def classify_one(engine: Engine, chip: bytes) -> list[str]:
    """Names of the threads that prepared a chip, and what came of it."""
    threads: list[str] = []
    kept = chips.prepare

    def prepare(decoded: Chip, spec: InputSpec) -> NDArray[np.float32]:
        threads.append(threading.current_thread().name.split("_")[0])
        return kept(decoded, spec)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chips, "prepare", prepare)
        results = await engine.classify([chip], ChipOptions(), explain=False)
    return [*threads, *(r.label if isinstance(r, Prediction) else r.code for r in results)]


@pytest.mark.parametrize("side", [16, 256])
def test_no_chip_however_small_is_decoded_on_the_event_loop(engine: Engine, side: int) -> None:
    file = io.BytesIO()
    Image.fromarray(draw_chip("Cargo", height=side, width=side)).save(file, "png")
    assert asyncio.run(classify_one(engine, file.getvalue()))[0] == "decode"


@pytest.mark.parametrize("chips", [1, 40])
def test_a_request_that_an_engine_s_end_cuts_off_is_refused_whatever_its_parts(
    engine: Engine, png: dict[str, bytes], chips: int
) -> None:
    """40 chips are decoded in two parts, each of which is refused."""

    async def play() -> None:
        asked = engine.classify([png["Cargo"]] * chips, ChipOptions(), explain=False)
        request = asyncio.create_task(asked)
        for _ in range(3):  # until its parts are being decoded
            await asyncio.sleep(0)
        engine.close()
        with pytest.raises(Refused) as refused:
            await request
        assert (refused.value.status, refused.value.code) == (503, "closing")

    asyncio.run(play())


def test_a_long_request_is_prepared_in_parts_and_answered_in_order(
    model: Path, png: dict[str, bytes]
) -> None:
    engine = Engine(Settings(model=model, device="cpu", max_queue=100))
    labels = ["Cargo", "Tanker", "Fishing"] * 30
    files = [png[label] for label in labels]
    files[40] = b""
    results = asyncio.run(engine.classify(files, ChipOptions(), explain=False))
    engine.close()
    reported = [r.label if isinstance(r, Prediction) else r.code for r in results]
    assert reported == [*labels[:40], "empty", *labels[41:]]


def test_what_the_queue_has_no_place_for_is_refused_before_it_is_decoded(
    model: Path, png: dict[str, bytes]
) -> None:
    engine = Engine(Settings(model=model, device="cpu", max_queue=4, decode_threads=1))

    async def play() -> None:
        long = asyncio.create_task(
            engine.classify([png["Cargo"]] * 8, ChipOptions(), explain=False)
        )
        await asyncio.sleep(0)
        with pytest.raises(Refused) as refused:
            await engine.classify([b"never looked at"], ChipOptions(), explain=False)
        assert (refused.value.status, refused.value.code) == (429, "overloaded")
        assert len(await long) == 8

    asyncio.run(play())
    engine.close()


def test_an_engine_that_drains_answers_what_it_accepted_and_is_not_ready(
    engine: Engine, png: dict[str, bytes]
) -> None:
    async def play() -> list[Prediction | ChipFailure]:
        engine.warm_up()
        accepted = asyncio.create_task(
            engine.classify([png["Cargo"]] * 3, ChipOptions(), explain=True)
        )
        await asyncio.sleep(0)
        await engine.drain()
        assert not engine.ready
        assert accepted.done()
        with pytest.raises(Refused, match="closing"):
            await engine.classify([png["Cargo"]], ChipOptions(), explain=False)
        return await accepted

    assert len(asyncio.run(play())) == 3
