"""Joins prepared chips of several requests into model runs, and refuses requests in time.

It never waits for a fuller batch: while the model has a free slot, chips run at once; while all
slots are busy, arriving chips form the next batches. So batch size grows with load alone.

A chip holds a place in the queue from before it is decoded until its run begins. A request for
which too few places are free is refused at once and as a whole (429), so the queue is bounded in
memory and in time. All state changes on the event loop; runs are on the model threads.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from serving.chips import ChipFailure, Outcome
from serving.metrics import ModelMetrics
from serving.refusals import Refused
from serving.sessions import ModelRun, ModelSessions
from shipchip import PreparedChip

# Full batches that are submitted while all slots are busy, so that the model has work while the
# event loop is busy with refusals, for seconds at worst.
_AHEAD = 32
_MEMORY = 0.9  # weight of earlier measurements in the running average of seconds per chip


@dataclass(eq=False)
class _Waiting:
    """Chips of one caller; `taken` of them are in a run already."""

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
    """Chips `start` to `stop` of one caller, as part of one run."""

    caller: _Waiting
    start: int
    stop: int


class Places:
    """The places that one request holds in the queue; leaving the block frees the rest."""

    def __init__(self, batcher: "MicroBatcher", count: int) -> None:
        self._batcher = batcher
        self._count = count

    def free(self, count: int) -> None:
        """Free `count` places: of chips that could not be decoded, or whose run begins."""
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

    sessions    the model
    max_queue   most waiting chips; while none wait, a request of any size is accepted
    max_wait_s  most seconds of work that may wait, by the pace of recent runs
    metrics     records the queue and every run

    `open` counts admitted requests that are not finished.
    """

    def __init__(
        self,
        sessions: ModelSessions,
        max_queue: int,
        metrics: ModelMetrics,
        max_wait_s: float = math.inf,
    ) -> None:
        self._sessions = sessions
        self._free = sessions.count
        self._max_queue = max_queue
        self._max_wait_s = max_wait_s
        self._metrics = metrics
        self._queue: deque[_Waiting] = deque()
        self.open = 0
        self._waiting = 0
        self._seconds_a_chip = 0.0  # a running average; 0 before the first run
        self._ended: float | None = None  # when the last run ended, if all slots stayed busy
        self._runs: set[asyncio.Task[None]] = set()
        self._closing = False

    def admit(self, chips: int) -> Places:
        """Places for a request's chips, to be used with `with`. Refused as by check_capacity."""
        self.check_capacity(chips)
        return Places(self, chips)

    def check_capacity(self, chips: int) -> None:
        """Refused if a request of so many chips would not be accepted.

        429 `overloaded` if they do not fit, 503 `closing` during shutdown; both with Retry-After.
        """
        if self._closing:
            raise _closing()
        if not self._waiting or self._waiting + chips <= self._most_waiting():
            return
        raise Refused(
            429,
            "overloaded",
            f"{self._waiting} chips wait and {chips} more do not fit, the limit is "
            f"{self._most_waiting()}: come back after the seconds in Retry-After",
            {"Retry-After": str(self._seconds_to_clear())},
        )

    async def predict(
        self, inputs: Sequence[PreparedChip], places: Places, *, explain: bool
    ) -> list[Outcome]:
        """Results of prepared chips, in order; each uses one of `places`.

        If cancelled, chips that are not in a run yet leave the queue.
        """
        if not inputs:
            return []
        loop = asyncio.get_running_loop()
        caller = _Waiting(inputs, explain, places, loop.create_future(), time.monotonic())
        caller.missing = len(inputs)
        self._queue.append(caller)
        if self._free > -_AHEAD:
            # Later in this loop turn, so that other requests that are ready now can join.
            loop.call_soon(self._start_runs)
        try:
            return await caller.answer
        finally:
            if caller.taken < len(inputs):
                self._queue.remove(caller)

    def moved(self, chips: int) -> None:
        """Places were taken (positive) or given back."""
        self._waiting += chips
        self._metrics.queue(self._waiting)

    async def drain(self) -> None:
        """Refuse new requests, and wait until accepted ones are finished."""
        self._closing = True
        while self.open or self._runs:
            await asyncio.sleep(0.01)

    def close(self) -> None:
        """Stop the model after the current runs."""
        self._closing = True
        self._sessions.close()

    @property
    def _pace(self) -> float:
        """Chips per second of all slots together; 0 before the first run."""
        return 1 / self._seconds_a_chip if self._seconds_a_chip else 0.0

    def _most_waiting(self) -> int:
        """The most chips that may wait now; before the first run the pace is unknown."""
        if not self._pace or math.isinf(self._max_wait_s):
            return self._max_queue
        ahead = max(0, -self._free) * self._sessions.batch_size  # these wait, but hold no places
        return max(0, min(self._max_queue, math.ceil(self._pace * self._max_wait_s) - ahead))

    def _seconds_to_clear(self) -> int:
        return max(1, math.ceil(self._waiting / self._pace)) if self._pace else 1

    def _start_runs(self) -> None:
        """Start as many runs as there are free slots and chips, dividing the chips evenly.

        Fewer chips than slots would leave cores idle, so one run then uses all cores. If no slot is
        free, full batches are submitted ahead: a slot that becomes free starts one at once, without
        waiting for an event loop that is busy with requests.
        """
        while self._queue and self._free > -_AHEAD:
            ready = sum(len(caller.inputs) - caller.taken for caller in self._queue)
            if self._free <= 0 and ready < self._sessions.batch_size:
                return
            alone = self._free == self._sessions.count and ready < self._free
            slices = self._take(ready if alone else math.ceil(ready / max(self._free, 1)))
            slots = self._free if alone else 1
            self._free -= slots
            task = asyncio.get_running_loop().create_task(self._run(slices, slots))
            self._runs.add(task)
            task.add_done_callback(self._runs.discard)

    async def _run(self, slices: list[_Slice], slots: int) -> None:
        """One run that occupies so many slots; afterwards, the runs that it made room for."""
        batch = [chip for s in slices for chip in s.caller.inputs[s.start : s.stop]]
        explain = any(s.caller.explain for s in slices)
        alone = slots > 1
        try:
            run = await self._sessions.predict(
                batch, partial(_wanted, slices), explain=explain, alone=alone
            )
        # Only if the model's threads were stopped while chips waited: no caller may wait for ever.
        except (RuntimeError, asyncio.CancelledError):
            _give_up(slices)
        else:
            if run is not None:
                self._measure(slices, run, slots)
                _hand_out(slices, run.results)
        finally:
            self._free += slots
            self._start_runs()

    def _take(self, chips: int) -> list[_Slice]:
        """The next batch: the oldest chips, at most so many and at most one run."""
        slices: list[_Slice] = []
        room = min(chips, self._sessions.batch_size)
        while room and self._queue:
            caller = self._queue[0]
            start, stop = caller.taken, min(caller.taken + room, len(caller.inputs))
            slices.append(_Slice(caller, start, stop))
            caller.taken = stop
            caller.places.free(stop - start)
            room -= stop - start
            if stop == len(caller.inputs):
                self._queue.popleft()
        return slices

    def _measure(self, slices: Sequence[_Slice], run: ModelRun, slots: int) -> None:
        self._metrics.ran(len(run.results), run.seconds)
        for s in slices:
            self._metrics.waited(run.began - s.caller.since)
        # While all slots are busy, the time between the ends of two runs counts: it includes what
        # the rest of the service takes from the model. Otherwise only the run itself is known.
        ended = run.began + run.seconds
        taken = run.seconds * slots / self._sessions.count
        if self._ended is not None:
            taken = max(ended - self._ended, 0)
        each = taken / len(run.results)
        before = self._seconds_a_chip
        self._seconds_a_chip = before * _MEMORY + each * (1 - _MEMORY) if before else each
        self._ended = ended if self._free < 0 else None


def _closing() -> Refused:
    return Refused(503, "closing", "the service is closing; send it again", {"Retry-After": "1"})


def _wanted(slices: Sequence[_Slice]) -> bool:
    """Whether any of these chips is still wanted; called on a model thread."""
    return any(not s.caller.answer.done() for s in slices)


def _give_up(slices: Sequence[_Slice]) -> None:
    for s in slices:
        if not s.caller.answer.done():
            s.caller.answer.set_exception(_closing())


def _hand_out(slices: Sequence[_Slice], results: Sequence[Outcome]) -> None:
    """Give callers their results; a caller that has all of its results is answered."""
    at = 0
    for s in slices:
        for place in range(s.start, s.stop):
            s.caller.results[place] = _asked_for(results[at], s.caller.explain)
            at += 1
        s.caller.missing -= s.stop - s.start
        if not s.caller.missing and not s.caller.answer.done():
            s.caller.answer.set_result([s.caller.results[i] for i in range(len(s.caller.inputs))])


def _asked_for(result: Outcome, explain: bool) -> Outcome:
    """The result without an activation map that only another request in the run asked for."""
    if explain or isinstance(result, ChipFailure) or result.activation_map is None:
        return result
    return replace(result, activation_map=None)
