"""Chips of several requests in one model run: who shares a run, who waits, and who is refused."""

import asyncio
import logging
import math
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from serving.batching import MicroBatcher
from serving.chips import Outcome
from serving.metrics import ModelMetrics
from serving.refusals import Refused
from serving.sessions import ModelSessions
from shipchip import Prediction, PreparedChip
from tests.serving.gated import BRIGHTNESS, BROKEN, Gated, ask, begun, chip, labels


@pytest.fixture
def gated(model: Path) -> Gated:
    return Gated(model)


@pytest.fixture
def batcher(gated: Gated) -> Iterator[MicroBatcher]:
    batcher = one_lane(gated)
    yield batcher
    gated.gate.set()
    batcher.close()


def one_lane(gated: Gated, max_wait_s: float = math.inf) -> MicroBatcher:
    lanes = ModelSessions(gated, gated, count=1, batch_size=4)
    return MicroBatcher(lanes, 10, ModelMetrics(gated.card, "sha", "provider"), max_wait_s)


Asks = Callable[[], Coroutine[Any, Any, list[list[Outcome]]]]


def while_a_chip_runs(batcher: MicroBatcher, gated: Gated, *asks: Asks) -> list[list[Outcome]]:
    """The answers of `asks`, all asked while the model is busy with one other chip."""

    async def play() -> list[list[Outcome]]:
        first = asyncio.create_task(ask(batcher, chip(0)))
        await begun(gated)
        rest = [asyncio.create_task(a()) for a in asks]
        await asyncio.sleep(0)
        gated.gate.set()
        await first
        return [answer for answers in await asyncio.gather(*rest) for answer in answers]

    return asyncio.run(play())


def one(batcher: MicroBatcher, *chips: PreparedChip, explain: bool = False) -> Asks:
    async def go() -> list[list[Outcome]]:
        return [await ask(batcher, *chips, explain=explain)]

    return go


def test_an_idle_model_runs_a_chip_at_once_and_what_comes_meanwhile_is_the_next_run(
    batcher: MicroBatcher, gated: Gated
) -> None:
    answers = while_a_chip_runs(
        batcher, gated, *(one(batcher, chip(b)) for b in BRIGHTNESS.values())
    )
    assert gated.runs == [1, 3]
    assert [labels(a) for a in answers] == [[label] for label in BRIGHTNESS]


def test_nothing_waits_for_a_fuller_batch(
    batcher: MicroBatcher, gated: Gated, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def play() -> list[float]:
        loop, timers = asyncio.get_running_loop(), []
        kept = loop.call_at

        def call_at(when: float, *rest: Any, **more: Any) -> asyncio.TimerHandle:
            timers.append(when)
            return kept(when, *rest, **more)

        monkeypatch.setattr(loop, "call_at", call_at)  # all timers are set by it
        await ask(batcher, chip(0))
        await asyncio.gather(*(ask(batcher, chip(0)) for _ in range(5)))
        return timers

    gated.gate.set()
    assert asyncio.run(play()) == []


def test_a_run_has_at_most_batch_size_chips_of_long_and_short_requests(
    batcher: MicroBatcher, gated: Gated
) -> None:
    shades = [chip(b) for b in BRIGHTNESS.values()]
    answers = while_a_chip_runs(
        batcher, gated, one(batcher, *shades, *shades), one(batcher, *shades)
    )
    assert gated.runs == [1, 4, 4, 1]
    assert [labels(a) for a in answers] == [list(BRIGHTNESS) * 2, list(BRIGHTNESS)]


def test_chips_with_and_without_explain_share_a_run_and_get_what_each_asked_for(
    batcher: MicroBatcher, gated: Gated
) -> None:
    answers = while_a_chip_runs(
        batcher, gated, one(batcher, chip(0.5), explain=True), one(batcher, chip(0.5))
    )
    assert gated.runs == [1, 2]
    maps = [r.activation_map is None for a in answers for r in a if isinstance(r, Prediction)]
    assert maps == [False, True]


def test_a_chip_that_the_model_fails_on_fails_alone_and_is_logged(
    batcher: MicroBatcher, gated: Gated, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR, "serving.chips"):
        answers = while_a_chip_runs(
            batcher, gated, one(batcher, chip(0.5), BROKEN), one(batcher, chip(0.1))
        )
    assert [labels(a) for a in answers] == [["Cargo", "internal_error"], ["Tanker"]]
    assert [r.getMessage() for r in caplog.records] == ["the model failed on a chip"]
    assert caplog.text.count("RuntimeError: a chip that the model fails on") == 1


def test_the_batcher_works_on_after_a_failure(batcher: MicroBatcher, gated: Gated) -> None:
    gated.gate.set()
    assert labels(asyncio.run(ask(batcher, BROKEN))) == ["internal_error"]
    assert labels(asyncio.run(ask(batcher, chip(0.5)))) == ["Cargo"]


@pytest.mark.parametrize(("max_wait_s", "fits"), [(10, True), (0.5, False)])
def test_the_queue_is_bounded_in_seconds_of_work(
    gated: Gated, max_wait_s: float, fits: bool
) -> None:
    batcher = one_lane(gated, max_wait_s)
    gated.seconds = 0.25  # a chip, alone in its run: so eight chips are two seconds

    async def play() -> None:
        gated.gate.set()
        await ask(batcher, chip(0))
        gated.gate.clear()
        gated.began.clear()
        first = asyncio.create_task(ask(batcher, chip(0)))
        await begun(gated)
        with batcher.admit(1):
            if fits:
                batcher.check_capacity(8)
            else:
                with pytest.raises(Refused, match=r"1 chips wait and 8 more .* the limit is [12]:"):
                    batcher.check_capacity(8)
        gated.gate.set()
        await first

    asyncio.run(play())
    batcher.close()


def test_a_request_that_does_not_fit_is_refused_as_a_whole_with_a_time_to_come_back(
    batcher: MicroBatcher, gated: Gated
) -> None:
    async def play() -> Refused:
        first = asyncio.create_task(ask(batcher, chip(0)))
        await begun(gated)
        nine = asyncio.create_task(ask(batcher, *[chip(0)] * 9))
        await asyncio.sleep(0)
        with pytest.raises(Refused, match="9 chips wait and 2 more do not fit") as refused:
            await ask(batcher, chip(0), chip(0))
        last = asyncio.create_task(ask(batcher, chip(0)))
        gated.gate.set()
        await asyncio.gather(first, nine, last)
        return refused.value

    refused = asyncio.run(play())
    assert (refused.status, refused.code) == (429, "overloaded")
    assert refused.headers == {"Retry-After": "1"}
    assert sum(gated.runs) == 11


def test_retry_after_is_the_queue_s_length_over_the_measured_rate(
    batcher: MicroBatcher, gated: Gated
) -> None:
    async def play() -> int:
        gated.gate.set()
        gated.seconds = 0.5
        await ask(batcher, chip(0))  # two chips a second, a little less
        gated.gate.clear()
        gated.began.clear()
        first = asyncio.create_task(ask(batcher, chip(0)))
        await begun(gated)
        ten = asyncio.create_task(ask(batcher, *[chip(0)] * 10))
        await asyncio.sleep(0)
        with pytest.raises(Refused) as refused:
            batcher.admit(1)
        gated.seconds = 0
        gated.gate.set()
        await asyncio.gather(first, ten)
        return int(refused.value.headers["Retry-After"])

    assert asyncio.run(play()) in (6, 7, 8)


def test_a_request_longer_than_the_queue_is_taken_where_nobody_waits(
    batcher: MicroBatcher, gated: Gated
) -> None:
    gated.gate.set()
    assert len(asyncio.run(ask(batcher, *[chip(0)] * 25))) == 25


def test_chips_whose_request_is_over_are_not_run_and_free_their_places(
    batcher: MicroBatcher, gated: Gated
) -> None:
    async def play() -> None:
        first = asyncio.create_task(ask(batcher, chip(0)))
        await begun(gated)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await ask(batcher, *[chip(0.1)] * 10)
        with batcher.admit(10):  # they fit: the queue is empty
            pass
        other = asyncio.create_task(ask(batcher, chip(0.5)))
        await asyncio.sleep(0)
        gated.gate.set()
        await asyncio.gather(first, other)

    asyncio.run(play())
    assert gated.runs == [1, 1]


def test_a_request_that_ends_with_chips_in_a_run_harms_nobody(
    batcher: MicroBatcher, gated: Gated
) -> None:
    async def play() -> list[Outcome]:
        first = asyncio.create_task(ask(batcher, *[chip(0)] * 6))
        await begun(gated)
        first.cancel()
        await asyncio.sleep(0)
        second = asyncio.create_task(ask(batcher, chip(0.5)))
        await asyncio.sleep(0)
        gated.gate.set()
        return await second

    assert labels(asyncio.run(play())) == ["Cargo"]
    assert gated.runs == [4, 1]


def test_places_of_chips_that_are_never_asked_for_come_back(batcher: MicroBatcher) -> None:
    with batcher.admit(10) as places:
        with pytest.raises(Refused):
            batcher.admit(1)
        places.free(4)  # could not be decoded
        with batcher.admit(4), pytest.raises(Refused):
            batcher.admit(1)
    with batcher.admit(10):
        pass


def test_while_closing_the_accepted_are_answered_and_the_new_refused(
    batcher: MicroBatcher, gated: Gated
) -> None:
    async def play() -> list[Outcome]:
        accepted = [asyncio.create_task(ask(batcher, chip(0.5))) for _ in range(3)]
        await begun(gated)
        closing = asyncio.create_task(batcher.drain())
        await asyncio.sleep(0)
        with pytest.raises(Refused) as refused:
            batcher.admit(1)
        assert (refused.value.status, refused.value.code) == (503, "closing")
        assert int(refused.value.headers["Retry-After"]) >= 1
        assert not closing.done()
        gated.gate.set()
        await closing
        assert all(task.done() for task in accepted)
        return [result for task in accepted for result in await task]

    assert labels(asyncio.run(play())) == ["Cargo"] * 3


def test_a_model_thread_that_was_stopped_leaves_nobody_waiting(
    batcher: MicroBatcher, gated: Gated
) -> None:
    async def play() -> None:
        with batcher.admit(1) as places:
            batcher.close()
            with pytest.raises(Refused, match="closing"):
                await batcher.predict([chip(0)], places, explain=False)

    asyncio.run(play())
    assert gated.runs == []
