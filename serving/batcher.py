"""Joins prepared chips across requests into one model run at a time, and says no in time.

There is no waiting for a fuller batch: chips that find the model idle run at once, and while a run
goes on, what arrives forms the next batch. So batches grow with the load and by nothing else.

A chip holds a place in the queue from before it is decoded until its run begins. A request that
finds too few free places is refused as a whole at once, so what waits has a bound in memory and
in time. All state is touched on the event loop alone; only the run itself is on the model thread.
"""

import asyncio
import logging
import math
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from serving.intake import Failure
from serving.refusals import Refused
from serving.telemetry import Telemetry
from shipchip import Prediction, ShipClassifier

Chip = NDArray[np.float32]
Result = Prediction | Failure

_RATE_MEMORY = 0.8  # weight of what was measured before in the running chips a second

log = logging.getLogger(__name__)


@dataclass(eq=False)
class _Ask:
    """Chips that one caller waits for; `taken` of them have been given to a run."""

    inputs: Sequence[Chip]
    explain: bool
    places: "Places"
    answer: asyncio.Future[list[Result]]
    since: float
    taken: int = 0
    missing: int = 0
    results: dict[int, Result] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class _Slice:
    """Chips `start` to `stop` of an ask, as they lie in one run."""

    ask: _Ask
    start: int
    stop: int


class Places:
    """The places that one request holds in the queue; leaving the block frees what is left."""

    def __init__(self, batcher: "MicroBatcher", count: int) -> None:
        self._batcher = batcher
        self._count = count

    def free(self, count: int) -> None:
        """Give `count` places back: chips that could not be decoded, or whose run begins."""
        self._count -= count
        self._batcher.moved(-count)

    def __enter__(self) -> "Places":
        self._batcher.open += 1
        self._batcher.moved(self._count)
        return self

    def __exit__(self, *_: object) -> None:
        self._batcher.open -= 1
        self.free(self._count)


class MicroBatcher:
    """One model, one thread, one queue.

    ships       the model that answers
    batch_size  most chips in one run
    max_queue   most chips that wait; a request that finds nobody waiting is taken at any size
    telemetry   is told of the queue and of every run

    `open` counts the requests that were admitted and are not over.
    """

    def __init__(
        self, ships: ShipClassifier, batch_size: int, max_queue: int, telemetry: Telemetry
    ) -> None:
        self._ships = ships
        self._batch_size = batch_size
        self._max_queue = max_queue
        self._telemetry = telemetry
        self._runner = ThreadPoolExecutor(1, "model")
        self._queue: deque[_Ask] = deque()
        self.open = 0
        self._waiting = 0
        self._rate = 0.0
        self._run: asyncio.Task[None] | None = None
        self._closing = False

    def admit(self, chips: int) -> Places:
        """Places for a request's chips, to be held by `with`.

        Refused: 429 `overloaded` where they do not fit, 503 `closing` at the end; both say when to
        come back.
        """
        if self._closing:
            raise _closing()
        if self._waiting and self._waiting + chips > self._max_queue:
            raise Refused(
                429,
                "overloaded",
                f"{self._waiting} chips wait and {chips} more do not fit, the limit is "
                f"{self._max_queue}: come back after the seconds in Retry-After",
                {"Retry-After": str(self._seconds_to_clear())},
            )
        return Places(self, chips)

    async def predict(
        self, inputs: Sequence[Chip], places: Places, *, explain: bool
    ) -> list[Result]:
        """Results of prepared inputs (1, S, S), in order; each takes one of `places` with it.

        Cancelled, it takes back the chips that no run has begun with.
        """
        if not inputs:
            return []
        loop = asyncio.get_running_loop()
        ask = _Ask(inputs, explain, places, loop.create_future(), time.monotonic())
        ask.missing = len(inputs)
        self._queue.append(ask)
        if self._run is None:
            self._run = loop.create_task(self._work())
        try:
            return await ask.answer
        finally:
            if ask.taken < len(inputs):
                self._queue.remove(ask)

    def moved(self, chips: int) -> None:
        """Places were taken (positive) or given back."""
        self._waiting += chips
        self._telemetry.queue(self._waiting)

    async def drain(self) -> None:
        """Refuse what is new, and wait until what was accepted is over."""
        self._closing = True
        while self.open or self._run:
            await asyncio.sleep(0.01)

    def close(self) -> None:
        """Stop the model thread after the run that goes on."""
        self._closing = True
        self._runner.shutdown(cancel_futures=True)

    def _seconds_to_clear(self) -> int:
        return max(1, math.ceil(self._waiting / self._rate)) if self._rate else 1

    async def _work(self) -> None:
        """Run after run until nothing waits."""
        loop = asyncio.get_running_loop()
        slices: list[_Slice] = []
        try:
            while slices := self._take():
                batch = [chip for s in slices for chip in s.ask.inputs[s.start : s.stop]]
                explain = any(s.ask.explain for s in slices)
                began = time.monotonic()
                results = await loop.run_in_executor(self._runner, self._predict, batch, explain)
                self._measure(len(batch), time.monotonic() - began)
                _hand_out(slices, results)
        finally:
            self._run = None
            # Only where the model thread was stopped with chips waiting: nobody may wait for ever.
            for ask in [*(s.ask for s in slices), *self._queue]:
                if not ask.answer.done():
                    ask.answer.set_exception(_closing())

    def _take(self) -> list[_Slice]:
        """The next batch: the oldest chips, of as many requests as fit."""
        slices: list[_Slice] = []
        room = self._batch_size
        now = time.monotonic()
        while room and self._queue:
            ask = self._queue[0]
            start, stop = ask.taken, min(ask.taken + room, len(ask.inputs))
            slices.append(_Slice(ask, start, stop))
            ask.taken = stop
            ask.places.free(stop - start)
            self._telemetry.waited(now - ask.since)
            room -= stop - start
            if stop == len(ask.inputs):
                self._queue.popleft()
        return slices

    def _measure(self, chips: int, seconds: float) -> None:
        self._telemetry.ran(chips, seconds)
        rate = chips / max(seconds, 1e-6)
        self._rate = self._rate * _RATE_MEMORY + rate * (1 - _RATE_MEMORY) if self._rate else rate

    def _predict(self, batch: Sequence[Chip], explain: bool) -> list[Result]:
        """On the model thread. Where a run fails, its chips are run alone, to find the culprit."""
        try:
            return list(self._ships.predict(np.stack(batch), explain=explain))
        # Whatever a run raises, ONNX Runtime's exceptions with no base of their own included, must
        # not cost other requests their answers. It is logged below, chip by chip.
        except Exception:
            if len(batch) == 1:
                log.exception("the model failed on a chip")
                return [Failure("internal_error", "the model failed on this chip; see its log")]
        log.warning("a run of %d chips failed; they are run one by one", len(batch))
        return [self._predict([chip], explain)[0] for chip in batch]


def _closing() -> Refused:
    return Refused(503, "closing", "the service is closing; send it again", {"Retry-After": "1"})


def _hand_out(slices: Sequence[_Slice], results: Sequence[Result]) -> None:
    """Every ask its results; answers the asks that have all of theirs."""
    at = 0
    for s in slices:
        for place in range(s.start, s.stop):
            s.ask.results[place] = _asked_for(results[at], s.ask.explain)
            at += 1
        s.ask.missing -= s.stop - s.start
        if not s.ask.missing and not s.ask.answer.done():
            s.ask.answer.set_result([s.ask.results[i] for i in range(len(s.ask.inputs))])


def _asked_for(result: Result, explain: bool) -> Result:
    """Without the map that a chip beside it in the run had asked for."""
    if explain or isinstance(result, Failure) or result.activation_map is None:
        return result
    return replace(result, activation_map=None)
