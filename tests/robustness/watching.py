"""What can be seen of a service from outside: its processes, their memory, who opens a file."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import psutil

_IN_OPEN, _IN_ACCESS = 0x20, 0x01
_WORKER = "_bentoml_impl.worker.service"


def supervisor_of(client: httpx.Client) -> psutil.Process:
    """The process that `bentoml serve` is, for the service that `client` asks."""
    port = str(client.base_url.port)
    for process in psutil.Process().children():
        if port in process.cmdline():
            return process
    raise AssertionError(f"no service on port {port} among the children of this process")


def workers_of(client: httpx.Client) -> list[psutil.Process]:
    """The processes that answer."""
    return [child for child in supervisor_of(client).children() if _WORKER in _command(child)]


def _command(process: psutil.Process) -> list[str]:
    """Empty for one that is dead, whether it was buried or not."""
    try:
        return process.cmdline()
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return []


def memory_of(process: psutil.Process) -> int:
    """Bytes that are its own: resident, without what it shares with others."""
    return int(process.memory_full_info().uss)


@contextmanager
def opened(path: Path) -> Iterator[list[str]]:
    """A list that holds a word for every opening or reading of `path`, by whomever, at the end."""
    libc = ctypes.CDLL(None, use_errno=True)
    watch = libc.inotify_init1(os.O_NONBLOCK)
    assert watch >= 0, os.strerror(ctypes.get_errno())
    seen: list[str] = []
    try:
        mask = _IN_OPEN | _IN_ACCESS
        assert libc.inotify_add_watch(watch, os.fsencode(path), mask) >= 0
        yield seen
        with suppress(BlockingIOError):  # raised where nothing was seen
            seen += ["opened or read"] * (len(os.read(watch, 65536)) // 16)
    finally:
        os.close(watch)
