"""A TCP switch, as a proxy or load balancer is: it sends each new connection to the service of the
moment, and those that are open stay where they are."""

import asyncio
from collections import Counter
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from threading import Thread
from typing import Any


class Switch:
    """Listens on a port of the loopback address, `port`, until `close`."""

    def __init__(self) -> None:
        self.open: Counter[int] = Counter()  # connections to each service, by its port
        self._to = 0
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever)
        self._thread.start()
        self._server: asyncio.Server = self._run(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port: int = self._server.sockets[0].getsockname()[1]

    def turn_to(self, port: int) -> None:
        """New connections go to this port from now on."""
        self._to = port

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._server.close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        port = self._to
        self.open[port] += 1
        try:
            there = await asyncio.open_connection("127.0.0.1", port)
            await asyncio.gather(_pass_on(reader, there[1]), _pass_on(there[0], writer))
        finally:
            self.open[port] -= 1


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while piece := await reader.read(2**16):
            writer.write(piece)
            await writer.drain()
    writer.close()


@contextmanager
def switch() -> Iterator[Switch]:
    made = Switch()
    try:
        yield made
    finally:
        made.close()
