"""One torch thread, since the networks are tiny and tests share the machine; one run for all."""

import fcntl
import os
from pathlib import Path

import pytest
import torch

from training import run


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def smoke_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished `--simulated --smoke` run, for reading only.

    Trained once, by whichever of the test processes asks first.
    """
    place = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        place = place.parent  # the folder that all processes of this session have in common
    runs = place / "smoke-run"
    with (place / "smoke-run.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not runs.exists():
            assert run.main(["--simulated", "--smoke", "--runs", str(runs)]) == 0
    return next(path.parent for path in runs.glob("*/ship.onnx"))
