"""Ten times what the service can do, for half a minute: python -m benchmarks.overload --help

Requests are sent at their times whatever became of those before (an open loop), over connections
that are kept. Capacity is measured before with the same requests, each connection waiting for its
answer. Goodput is chips classified a second against it, over the time of the overload. Every answer
of 200 is read, and its labels are held against those of the model without a service.
"""

import argparse
import asyncio
import json
import math
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import quantiles

from rich.console import Console
from rich.table import Table

from benchmarks.load import load
from benchmarks.server import ROOT, bentoml, serving
from benchmarks.serving import draw_chips, machine, requests_of
from serving.settings import Settings
from shipchip import ShipClassifier

_TICK_S = 0.005
_MAX_CONNECTIONS = 4000
_LONGEST_S = 60  # to wait for the last answers
_GOODPUT = {32: 0.92, 8: 0.90, 1: 0.85}  # bars by chips in a request
# Bars of the 99th percentile by status; a 200 may wait as long as the queue, and 2 s.
_P99 = {200: f"<= {Settings.model_fields['max_wait_s'].default + 2:g}", 429: "<= 0.1"}


@dataclass
class Found:
    """What came back: statuses, seconds to each answer by status, and what must not be."""

    statuses: Counter[int] = field(default_factory=Counter)
    seconds: dict[int, list[float]] = field(default_factory=dict)
    wrong: int = 0
    without_retry_after: int = 0
    lost: int = 0
    unsent: int = 0
    in_time: int = 0


class _Connection(asyncio.Protocol):
    """Sends one request at a time and reads its answer."""

    def __init__(self, flood: "_Flood") -> None:
        self._flood = flood
        self._read = bytearray()
        self._which: int | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def ask(self, which: int) -> None:
        self._which, self._sent = which, time.perf_counter()
        self.transport.write(self._flood.requests[which])

    def data_received(self, data: bytes) -> None:
        self._read += data
        end = self._read.find(b"\r\n\r\n")
        if end < 0:
            return
        head = bytes(self._read[:end]).lower()
        length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(self._read) < end + 4 + length or self._which is None:
            return
        seconds = time.perf_counter() - self._sent
        self._flood.answered(head, bytes(self._read[end + 4 :]), self._which, seconds)
        self._read.clear()
        self._which = None
        self._flood.idle.append(self)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._flood.gone(self, busy=self._which is not None)


class _Flood:
    """Requests at a steady rate."""

    def __init__(self, requests: Sequence[bytes], labels: Sequence[Sequence[str]]) -> None:
        self.requests = requests
        self.idle: list[_Connection] = []
        self.found = Found()
        self._labels = labels
        self._connections = 0
        self._opening: set[asyncio.Task[None]] = set()
        self._waiting = 0
        self._ends = math.inf

    async def run(self, port: int, rate: float, seconds: float) -> Found:
        began = time.monotonic()
        self._ends = began + seconds
        sent = 0
        while (now := time.monotonic()) < self._ends:
            for number in range(sent, due := int((now - began) * rate)):
                self._send(port, number % len(self.requests))
            sent = due
            await asyncio.sleep(_TICK_S)
        while self._waiting and time.monotonic() < self._ends + _LONGEST_S:
            await asyncio.sleep(_TICK_S)
        self.found.lost += self._waiting
        for connection in self.idle:
            connection.transport.close()
        return self.found

    def _send(self, port: int, which: int) -> None:
        if self.idle:
            self._waiting += 1
            self.idle.pop().ask(which)
        elif self._connections == _MAX_CONNECTIONS:
            self.found.unsent += 1
        else:
            self._waiting += 1
            self._connections += 1
            task = asyncio.get_running_loop().create_task(self._open(port, which))
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)

    async def _open(self, port: int, which: int) -> None:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(lambda: _Connection(self), "127.0.0.1", port)
        connection.ask(which)

    def answered(self, head: bytes, body: bytes, which: int, seconds: float) -> None:
        self._waiting -= 1
        status = int(head[9:12])
        self.found.statuses[status] += 1
        self.found.seconds.setdefault(status, []).append(seconds)
        if status == 200:
            reported = [result.get("label") for result in json.loads(body)["results"]]
            self.found.wrong += reported != self._labels[which]
            self.found.in_time += time.monotonic() <= self._ends
        elif b"\r\nretry-after:" not in head:
            self.found.without_retry_after += 1

    def gone(self, connection: _Connection, *, busy: bool) -> None:
        self._connections -= 1
        if busy:
            self._waiting -= 1
            self.found.lost += 1
        elif connection in self.idle:
            self.idle.remove(connection)


def main() -> int:
    """Measure, print a table, and give 0."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", type=Path, default=ROOT / "models" / "ship.onnx")
    parser.add_argument("--times", type=float, default=10, help="capacity, in load")
    parser.add_argument("--seconds", type=float, default=30, help="of the overload")
    parser.add_argument("--chips", type=int, default=8, help="in a request")
    parser.add_argument("--device", default="auto", help="of the service")
    options = parser.parse_args()
    ships = ShipClassifier(options.model)
    files = draw_chips(256)
    labels = [ships.classify_file(file).label for file in files]
    requests = requests_of(files, options.chips, "/v1/classify", "files")
    expected = [labels[i : i + options.chips] for i in range(0, len(files), options.chips)]
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(
            bentoml("."), options.model.absolute(), Path(folder), device=options.device
        ) as server,
    ):
        connections = max(4, 64 // options.chips)
        asyncio.run(load("127.0.0.1", server.port, requests, connections, 2))
        before = asyncio.run(load("127.0.0.1", server.port, requests, connections, 8))
        capacity = before.answers / before.seconds
        flood, cpu = _Flood(requests, expected), time.process_time()
        rate = options.times * capacity
        found = asyncio.run(flood.run(server.port, rate, options.seconds))
        cpu = (time.process_time() - cpu) / options.seconds
        after = asyncio.run(load("127.0.0.1", server.port, requests, connections, 8))
    Console(width=100).print(_table(found, options, capacity, after.answers / after.seconds, cpu))
    Console(width=100).print(f"{machine()}, model {ships.sha256[:12]}")
    return 0


def _table(
    found: Found, options: argparse.Namespace, capacity: float, after: float, cpu: float
) -> Table:
    chips, seconds = options.chips, options.seconds
    title = f"{options.times:g} times capacity for {seconds:g} s, {chips} chips a request"
    table = Table("figure", "value", "bar", title=title)
    goodput = found.in_time / seconds / capacity
    both = f"{capacity * chips:.0f}, {after * chips:.0f} chips/s"
    table.add_row("capacity before and after", both, "")
    bar = f">= {_GOODPUT[chips]}" if chips in _GOODPUT else ""
    table.add_row("goodput, of capacity before", f"{goodput:.2f}", bar)
    sent = sum(found.statuses.values())
    statuses = ", ".join(f"{k}: {n}" for k, n in found.statuses.items())
    table.add_row("answers by status", statuses, "")
    table.add_row("load that was sent, of capacity", f"{sent / seconds / capacity:.1f} times", "")
    for status, times in sorted(found.seconds.items()):
        cuts = quantiles(times, n=100)
        value = f"{cuts[49]:.2f}, {cuts[98]:.2f}"
        table.add_row(f"seconds to a {status}, p50 and p99", value, _P99.get(status, ""))
    table.add_row("wrong answers", str(found.wrong), "0")
    table.add_row("refusals without Retry-After", str(found.without_retry_after), "0")
    table.add_row("requests lost, not sent", f"{found.lost}, {found.unsent}", "0 lost")
    table.add_row("load generator", f"{cpu:.0%} of one core", "")
    return table


if __name__ == "__main__":
    sys.exit(main())
