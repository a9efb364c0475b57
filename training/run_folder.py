"""A run folder belongs to one process at a time, and to the code that began it.

The epochs of a killed run are worth going on from only with the same code, the same torch and as
many processes on the same kind of device. What has run in a folder is recorded there, and whatever
differs is refused, unless the user accepts it; the card then names all of them.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from training.errors import RunBusy, RunChanged
from training.parallel import ALONE, Team
from training.provenance import Maker, short
from training.whole import write_text

_RECORD = "run.json"


@contextmanager
def locked(folder: Path, team: Team = ALONE) -> Iterator[None]:
    """Hold `folder`, which is made where it is missing; RunBusy where another process holds it.

    The lock is on the folder itself, follows it when it is renamed, and ends with the process.
    """
    with ExitStack() as stack:
        team.agree(lambda: _lock(folder, stack))
        yield


def _lock(folder: Path, stack: ExitStack) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    stack.callback(os.close, descriptor)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise RunBusy(
            f"another process is at work in {folder}; wait until it has ended, or end it"
        ) from error


def makers_of(folder: Path) -> list[Maker]:
    """What has trained in `folder`, in order; RunChanged where a run in it does not tell."""
    path = folder / _RECORD
    if not path.exists() and not (folder / "config.json").exists():
        return []
    try:
        makers: list[Maker] = json.loads(path.read_text(encoding="utf-8"))["made_by"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunChanged(
            f"{folder} does not tell which code began it (no usable {_RECORD}); delete the folder "
            "to start anew"
        ) from error
    return makers


def write_makers(folder: Path, makers: list[Maker]) -> None:
    """Record what has trained in `folder`."""
    write_text(folder / _RECORD, json.dumps({"made_by": makers}, indent=2))


def admitted(known: list[Maker], now: Maker, folder: Path, accept: bool) -> list[Maker]:
    """`known` with `now` at the end, once.

    known   what has run in `folder` so far, in order
    accept  whether another code, torch, device or number of processes may go on
    Raises RunChanged, which names what differs, where it may not.
    """
    if now in known:
        return known
    if known and not accept:
        last = known[-1]
        differs = ", ".join(
            f"{key} {short(last.get(key, 'unknown'))} (now {short(value)})"
            for key, value in now.items()
            if last.get(key) != value
        )
        raise RunChanged(
            f"{folder} was made with {differs}; go back to that, delete the folder to start anew, "
            "or add --accept-changes, which the result will tell"
        )
    return [*known, now]
