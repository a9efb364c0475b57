"""Chips to results off the event loop, and when the service calls itself ready."""

import asyncio
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.engine import Engine
from serving.intake import ChipOptions, Failure, prepare_chip
from serving.settings import Settings
from shipchip import DecodeLimits, Prediction, ShipClassifier
from tests.serving.server import ROOT, environment


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


def test_the_service_is_not_ready_before_the_model_has_answered(model: Path) -> None:
    script = (
        "import asyncio; from serving.service import Shipchip; service = Shipchip.inner();"
        "print(asyncio.run(service.__is_ready__()));"
        "service.warm_up(); print(asyncio.run(service.__is_ready__())); service.close()"
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
    told = [r.label if isinstance(r, Prediction) else r.code for r in results]
    assert told == ["Cargo", "empty", "Tanker", "Fishing", "unsupported_format", "Cargo"]


def test_requests_side_by_side_get_their_own_answers(engine: Engine, png: dict[str, bytes]) -> None:
    labels = ["Cargo", "Tanker", "Fishing", "Tanker", "Cargo"]

    async def ask_all() -> list[list[Prediction | Failure]]:
        asks = (engine.classify([png[k]] * 3, ChipOptions(), explain=False) for k in labels)
        return await asyncio.gather(*asks)

    answers = asyncio.run(ask_all())
    told = [[r.label for r in answer if isinstance(r, Prediction)] for answer in answers]
    assert told == [[label] * 3 for label in labels]


def test_a_fault_of_the_program_on_one_chip_is_logged_and_told_apart_from_bad_input(
    ships: ShipClassifier, png: dict[str, bytes], caplog: pytest.LogCaptureFixture
) -> None:
    impossible = ChipOptions(quantity="decibels")  # type: ignore[arg-type]
    with caplog.at_level(logging.ERROR, "serving.intake"):
        result = prepare_chip(png["Cargo"], impossible, ships, DecodeLimits())
    assert isinstance(result, Failure)
    assert result.code == "internal_error"
    assert "quantity is 'decibels'" in caplog.text
