"""A light load generator: python -m benchmarks.load HOST PORT CONNECTIONS SECONDS FILE...

It shares the machine with the server that it measures, so it does as little as it can: requests are
built beforehand, and of an answer it reads the status and where it ends. Each connection sends its
next request when the last is answered. It prints a JSON object, see `Load`.
"""

import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Load:
    """What a load test found.

    answers    requests answered with 200
    statuses   how often each status was answered
    seconds    from the first request to the last answer
    cpu_s      processor seconds that the generator itself took
    p50_ms     middle of the answer times, in milliseconds
    p95_ms     what 95 % of them keep below
    """

    answers: int
    statuses: dict[str, int]
    seconds: float
    cpu_s: float
    p50_ms: float
    p95_ms: float


class _Connection(asyncio.Protocol):
    """One connection: request, answer, request, until the time is over."""

    def __init__(self, requests: Sequence[bytes], first: int, until: float) -> None:
        self.ended = asyncio.get_running_loop().create_future()
        self.times: list[float] = []
        self.statuses: Counter[str] = Counter()
        self._requests = requests
        self._next = first
        self._until = until
        self._read = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first request."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        """Collect an answer; at its end, ask again."""
        self._read += data
        end = self._read.find(b"\r\n\r\n")
        if end < 0:
            return
        at = self._read.lower().find(b"content-length:", 0, end)
        length = int(self._read[at + 15 : self._read.find(b"\r\n", at)])
        if len(self._read) < end + 4 + length:
            return
        self.times.append(time.perf_counter() - self._sent)
        self.statuses[self._read[9:12].decode()] += 1
        self._read = b""
        if time.monotonic() < self._until:
            self._send()
        else:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """The end, or the server's."""
        if not self.ended.done():
            self.ended.set_result(exc)

    def _send(self) -> None:
        self._sent = time.perf_counter()
        self._transport.write(self._requests[self._next % len(self._requests)])
        self._next += 1


async def load(
    host: str, port: int, requests: Sequence[bytes], connections: int, seconds: float
) -> Load:
    """Keep `connections` busy with `requests`, in turn, for some seconds."""
    loop = asyncio.get_running_loop()
    began, cpu = time.monotonic(), time.process_time()
    made = [
        await loop.create_connection(
            lambda i=i: _Connection(requests, i, began + seconds),  # type: ignore[misc]
            host,
            port,
        )
        for i in range(connections)
    ]
    await asyncio.gather(*(connection.ended for _, connection in made))
    took = time.monotonic() - began
    times = sorted(t for _, connection in made for t in connection.times)
    statuses = sum((connection.statuses for _, connection in made), Counter())
    return Load(
        answers=statuses["200"],
        statuses=dict(statuses),
        seconds=took,
        cpu_s=time.process_time() - cpu,
        p50_ms=times[len(times) // 2] * 1e3,
        p95_ms=times[len(times) * 95 // 100] * 1e3,
    )


def main() -> int:
    """HOST PORT CONNECTIONS SECONDS FILE...: each file is one request as it goes over the wire."""
    host, port, connections, seconds, *files = sys.argv[1:]
    requests = [Path(file).read_bytes() for file in files]
    reported = asyncio.run(load(host, int(port), requests, int(connections), float(seconds)))
    sys.stdout.write(json.dumps(asdict(reported)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
