"""BentoML's supervisor of the workers, made to notice a dead worker at once.

It looks after its workers every 10 seconds, and `bentoml serve` has no option for that: a worker
that was killed would be missed for as long. The kernel tells a parent of a dead child by SIGCHLD;
here that signal makes the supervisor (circus) look a second later. It then deletes what a dead
worker has left among the metrics: the gauges of live processes, as the number of waiting chips.
"""

import logging
import signal
from collections.abc import Set
from pathlib import Path
from types import FrameType
from typing import Any

from prometheus_client.multiprocess import mark_process_dead

from serving.instance import metrics_folder

# A worker that dies as soon as it starts is not started more often than once in so many seconds.
_PAUSE_S = 1

log = logging.getLogger(__name__)


def watch_workers() -> None:
    """To be called in the process that starts the workers, in its main thread."""
    signal.signal(signal.SIGCHLD, _child_changed)


def _child_changed(number: int, frame: FrameType | None) -> None:
    """Let circus look after its workers soon; before it runs there is nothing to look after."""
    del number, frame
    # circus hands out its controller nowhere; it is the one that waits for SIGTERM.
    waiting = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    controller = getattr(waiting, "controller", None)
    if controller is not None:
        controller.loop.add_callback_from_signal(_look_soon, controller)


def _look_soon(controller: Any) -> None:
    controller.loop.call_later(_PAUSE_S, _look, controller)


async def _look(controller: Any) -> None:
    # Imported here: only the process that watches workers needs it.
    from circus.exc import ConflictError  # type: ignore[import-untyped]  # noqa: PLC0415

    arbiter = controller.arbiter
    try:
        await arbiter.manage_watchers()
    except ConflictError:
        log.debug("the supervisor is starting or stopping workers already")
        _look_soon(controller)
        return
    forget_dead(
        metrics_folder(), {pid for watcher in arbiter.watchers for pid in watcher.processes}
    )


def forget_dead(folder: Path, alive: Set[int]) -> None:
    """Delete the gauges in `folder` of processes other than `alive`; counters are kept."""
    pids = {int(file.stem.rpartition("_")[2]) for file in folder.glob("gauge_live*_*.db")}
    for pid in pids - alive:
        mark_process_dead(pid, str(folder))  # type: ignore[no-untyped-call]
