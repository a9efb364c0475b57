"""Chunks over a Ray cluster, in order. Ray Data distributes them, retries lost tasks and applies
back-pressure.

    manifest of chunks -> decode tasks -> a pool of actors with a warm model each -> rows

All machines must have the chips, the model and this package under the same paths.
"""

import logging
import os
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import ray
import ray.data
from ray.exceptions import RayError

from serving.batch.chunks import Chunk, Work, WorkerDied
from serving.batch.request import CannotRun
from serving.batch.rows import BatchRow
from shipchip.card import InputSpec

# A decode task and an actor share a core: an actor waits while its chunk is decoded.
_SHARE = 0.5


@contextmanager
def connected(address: str | None, workers: int) -> Iterator[None]:
    """Connect to Ray at `address`, or start it here with so many cores. CannotRun if that fails."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # no telemetry
    own: dict[str, Any] = {} if address else {"num_cpus": workers, "include_dashboard": False}
    terminate = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address or "local", log_to_driver=False, logging_level=logging.ERROR, **own)
    except (ConnectionError, RayError, RuntimeError, ValueError) as error:
        raise CannotRun(f"cannot reach Ray at {address or 'this machine'}: {error}") from error
    signal.signal(signal.SIGTERM, terminate)  # Ray's handler would exit with status 1
    context = ray.data.DataContext.get_current()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)  # it logs every execution
    try:
        yield
    finally:
        ray.shutdown()


def classify_on_cluster(
    chunks: Iterable[Chunk], work: Work, spec: InputSpec
) -> Iterator[list[BatchRow]]:
    """The rows of each chunk, in order. Raises WorkerDied."""
    manifest = ray.data.from_items([{"chunk": chunk} for chunk in chunks])
    cores = int(ray.cluster_resources().get("CPU", 1))  # type: ignore[no-untyped-call]

    def prepare(item: dict[str, Any]) -> dict[str, Any]:
        return {"chunk": item["chunk"], "prepared": work.prepare(item["chunk"], spec)}

    class Classifier:
        """An actor: a model, opened once."""

        def __init__(self) -> None:
            self._ships = work.open()

        def __call__(self, item: dict[str, Any]) -> dict[str, Any]:
            return {"rows": work.classify(item["chunk"], item["prepared"], self._ships)}

    rows = manifest.map(prepare, num_cpus=_SHARE).map(
        Classifier,  # type: ignore[arg-type]  # Ray takes classes, too
        num_cpus=_SHARE,
        compute=ray.data.ActorPoolStrategy(size=cores),
    )
    try:
        for item in rows.iter_rows():
            yield item["rows"]
    except RayError as error:
        reason = str(error).strip().splitlines()[-1]
        raise WorkerDied(f"the cluster could not go on: {reason}") from error
