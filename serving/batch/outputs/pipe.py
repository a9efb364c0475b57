"""Rows on standard output, for other programs: nothing is staged or resumed."""

import os
import sys
from collections.abc import Callable, Sequence

from serving.batch.outputs.formats import Renderer, TextFormat
from serving.batch.rows import BatchRow, OutputError


class PipeClosed(Exception):
    """The reader of standard output has closed it, as `head` does: no error, end quietly."""


def to_stdout(
    names: Sequence[str], kind: TextFormat = "csv"
) -> Callable[[Sequence[BatchRow]], None]:
    """Write the header now; returns a function that writes rows at once.

    Both raise PipeClosed if the reader is gone, and OutputError for any other error. After that,
    standard output leads to /dev/null, so that Python's own flush at exit cannot fail again.
    """
    render = Renderer(kind, names)
    _send(render(()))
    return lambda rows: _send(render(rows))


def _send(content: bytes) -> None:
    if sys.stdout is None:
        raise OutputError("cannot write to standard output: it is closed")
    try:
        left = memoryview(content)
        while left:  # with PYTHONUNBUFFERED, as in containers, a write may take a part only
            left = left[sys.stdout.buffer.write(left) :]
        sys.stdout.buffer.flush()
    except BrokenPipeError as error:
        _lead_nowhere()
        raise PipeClosed from error
    except OSError as error:
        _lead_nowhere()
        raise OutputError(f"cannot write to standard output: {error.strerror}") from error


def _lead_nowhere() -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
