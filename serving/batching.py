"""Joins prepared chips across requests into model runs, and says no in time.

There is no waiting for a fuller batch: chips that find a lane of the model free run at once, and
while all are busy, what arrives forms the next batches. So batches grow with the load and by
nothing else.

A chip holds a place in the queue from before it is decoded until its run begins. A request that
finds too few free places is refused as a whole at once, so what waits has a bound in memory and
in time. All state is touched on the event loop alone; only the runs are on the model's threads.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from serving.chips import ChipFailure, Outcome, PreparedChip
from serving.metrics import ModelMetrics
from serving.refusals import Refused
from serving.sessions import ModelRun, ModelSessions

_AHEAD = 32  # full batches handed on while all lanes are busy: about a second of work
_RATE_MEMORY = 0.8  # weight of what was measured before in the running chips a second


@dataclass(eq=False)
class _Ask:
    """Chips that one caller waits for; `taken` of them have been given to a run."""

    inputs: Sequence[PreparedChip]
    explain: bool
    places: "Places"
    answer: asyncio.Future[list[Outcome]]
    since: float
    taken: int = 0
    missing: int = 0
    results: dict[int, Outcome] = field(default_factory=dict)


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
    """One model, one queue.

    lanes      the model that answers
    max_queue  most chips that wait; a request that finds nobody waiting is taken at any size
    telemetry  is told of the queue and of every run

    `open` counts the requests that were admitted and are not over.
    """

    def __init__(self, lanes: ModelSessions, max_queue: int, telemetry: ModelMetrics) -> None:
        self._lanes = lanes
        self._free = lanes.count
        self._max_queue = max_queue
        self._telemetry = telemetry
        self._queue: deque[_Ask] = deque()
        self.open = 0
        self._waiting = 0
        self._rate = 0.0
        self._runs: set[asyncio.Task[None]] = set()
        self._closing = False

    def admit(self, chips: int) -> Places:
        """Places for a request's chips, to be held by `with`. Refused as check_place tells."""
        self.check_place(chips)
        return Places(self, chips)

    def check_place(self, chips: int) -> None:
        """Refused where a request would not be taken.

        429 `overloaded` where they do not fit, 503 `closing` at the end; both say when to
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

    async def predict(
        self, inputs: Sequence[PreparedChip], places: Places, *, explain: bool
    ) -> list[Outcome]:
        """Results of prepared inputs (1, S, S), in order; each takes one of `places` with it.

        Cancelled, it takes back the chips that are in no run yet.
        """
        if not inputs:
            return []
        loop = asyncio.get_running_loop()
        ask = _Ask(inputs, explain, places, loop.create_future(), time.monotonic())
        ask.missing = len(inputs)
        self._queue.append(ask)
        if (
            self._free > -_AHEAD
        ):  # not before others that are ready at this moment, too, have joined
            loop.call_soon(self._start_runs)
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
        while self.open or self._runs:
            await asyncio.sleep(0.01)

    def close(self) -> None:
        """Stop the model after the runs that go on."""
        self._closing = True
        self._lanes.close()

    def _seconds_to_clear(self) -> int:
        return max(1, math.ceil(self._waiting / self._rate)) if self._rate else 1

    def _start_runs(self) -> None:
        """As many as there are free lanes and chips for them, who share the chips evenly.

        Fewer chips than lanes leave cores idle: then one run has all the cores. Where no lane is
        free, full batches are handed on ahead: a lane that ends goes on with one at once, without
        waiting for its turn on an event loop that is busy with requests.
        """
        while self._queue and self._free > -_AHEAD:
            ready = sum(len(ask.inputs) - ask.taken for ask in self._queue)
            if self._free <= 0 and ready < self._lanes.batch_size:
                return
            alone = self._free == self._lanes.count and ready < self._free
            slices = self._take(ready if alone else math.ceil(ready / max(self._free, 1)))
            lanes = self._free if alone else 1
            self._free -= lanes
            task = asyncio.get_running_loop().create_task(self._run(slices, lanes))
            self._runs.add(task)
            task.add_done_callback(self._runs.discard)

    async def _run(self, slices: list[_Slice], lanes: int) -> None:
        """One run, which holds so many lanes, and the runs that it made room for."""
        batch = [chip for s in slices for chip in s.ask.inputs[s.start : s.stop]]
        explain = any(s.ask.explain for s in slices)
        alone = lanes > 1
        try:
            run = await self._lanes.predict(
                batch, partial(_wanted, slices), explain=explain, alone=alone
            )
        # Only where the model's threads were stopped with chips waiting: nobody may wait for ever.
        except (RuntimeError, asyncio.CancelledError):
            _give_up(slices)
        else:
            if run is not None:
                self._measure(slices, run, lanes)
                _hand_out(slices, run.results)
        finally:
            self._free += lanes
            self._start_runs()

    def _take(self, chips: int) -> list[_Slice]:
        """The next batch: so many of the oldest chips, as far as one run takes them."""
        slices: list[_Slice] = []
        room = min(chips, self._lanes.batch_size)
        while room and self._queue:
            ask = self._queue[0]
            start, stop = ask.taken, min(ask.taken + room, len(ask.inputs))
            slices.append(_Slice(ask, start, stop))
            ask.taken = stop
            ask.places.free(stop - start)
            room -= stop - start
            if stop == len(ask.inputs):
                self._queue.popleft()
        return slices

    def _measure(self, slices: Sequence[_Slice], run: ModelRun, lanes: int) -> None:
        self._telemetry.ran(len(run.results), run.seconds)
        for s in slices:
            self._telemetry.waited(run.began - s.ask.since)
        rate = len(run.results) / max(run.seconds, 1e-6) * self._lanes.count / lanes
        self._rate = self._rate * _RATE_MEMORY + rate * (1 - _RATE_MEMORY) if self._rate else rate


def _closing() -> Refused:
    return Refused(503, "closing", "the service is closing; send it again", {"Retry-After": "1"})


def _wanted(slices: Sequence[_Slice]) -> bool:
    """Whether any of these chips' requests is not over; asked on a model thread."""
    return any(not s.ask.answer.done() for s in slices)


def _give_up(slices: Sequence[_Slice]) -> None:
    for s in slices:
        if not s.ask.answer.done():
            s.ask.answer.set_exception(_closing())


def _hand_out(slices: Sequence[_Slice], results: Sequence[Outcome]) -> None:
    """Every ask its results; answers the asks that have all of theirs."""
    at = 0
    for s in slices:
        for place in range(s.start, s.stop):
            s.ask.results[place] = _asked_for(results[at], s.ask.explain)
            at += 1
        s.ask.missing -= s.stop - s.start
        if not s.ask.missing and not s.ask.answer.done():
            s.ask.answer.set_result([s.ask.results[i] for i in range(len(s.ask.inputs))])


def _asked_for(result: Outcome, explain: bool) -> Outcome:
    """Without the map that a chip beside it in the run had asked for."""
    if explain or isinstance(result, ChipFailure) or result.activation_map is None:
        return result
    return replace(result, activation_map=None)
