"""How `python -m serving.batch` ends: always with a reliable exit status.

Status 1 means that some chips failed. Python's own status for an uncaught error is 1 as well, so
every error is caught here. Only the standard library is imported at the top, because the first
Ctrl-C may come while everything else is still being imported.
"""

import io
import os
import signal
import sys
from collections.abc import Callable, Sequence
from functools import partial
from types import FrameType
from typing import NoReturn

CANNOT_RUN = 2
PROG = "python -m serving.batch"
_STOPS = (signal.SIGINT, signal.SIGTERM)


def run_guarded(arguments: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Run a batch or a merge; returns its exit status.

    arguments  of the command line; default: sys.argv's
    prog       what usage lines call the command, and lines that say why it ended
    """
    say = partial(_say, name_of(prog or PROG))
    _open_closed_streams()
    sys.stderr = io.TextIOWrapper(_Messages(), errors="backslashreplace", line_buffering=True)
    signal.signal(signal.SIGINT, partial(_end_at_once, say))
    try:
        from serving.batch.command import main  # noqa: PLC0415 (see the module)

        for stop in _STOPS:
            signal.signal(stop, _interrupt)
        return main(arguments, prog)
    except KeyboardInterrupt as interrupt:
        say("interrupted")
        return status_of(interrupt)
    except Exception as error:  # noqa: BLE001 (the last resort)
        found = " ".join(f"{type(error).__name__}: {error}".split())
        say(f"a fault of the program: {found}")
        sys.excepthook(type(error), error, error.__traceback__)
        return CANNOT_RUN
    finally:
        for stop in _STOPS:
            signal.signal(stop, signal.SIG_DFL)


def name_of(prog: str) -> str:
    """What a line of the command starts with: serving.batch, or shipchip classify."""
    return prog.removeprefix("python -m ")


def status_of(interrupt: KeyboardInterrupt) -> int:
    """The exit status after an interrupt, as shells have it: 130 for Ctrl-C, 143 for SIGTERM."""
    return 128 + (interrupt.args[0] if interrupt.args else signal.SIGINT)


def _interrupt(number: int, _: FrameType | None) -> NoReturn:
    """End in order. A second signal is left to the kernel: it ends the process in any state."""
    for stop in _STOPS:
        signal.signal(stop, signal.SIG_DFL)
    raise KeyboardInterrupt(number)


def _end_at_once(say: Callable[[str], None], number: int, _: FrameType | None) -> NoReturn:
    """Exit at once: while modules are imported, an exception may be swallowed or replaced."""
    say("interrupted")
    os._exit(128 + number)


def _say(name: str, what: str) -> None:
    sys.stderr.write(f"{name}: {what}\n")


def _open_closed_streams() -> None:
    """Open descriptors 0, 1 and 2 if they are closed. Otherwise an output file may get number 2,
    and libraries write their messages into it."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)


class _Messages(io.RawIOBase):
    """Standard error that may be full or closed without changing how a run ends."""

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return 2

    def isatty(self) -> bool:
        return os.isatty(2)

    def write(self, content: bytes) -> int:  # type: ignore[override]
        left = memoryview(content)
        try:
            while left:
                left = left[os.write(2, left) :]
        except OSError:
            pass  # nowhere to report it
        return len(content)
