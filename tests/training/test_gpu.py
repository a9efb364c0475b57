"""Training on a GPU: the CPU's answers, a killed stage that goes on, and torchrun with NCCL."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.training.test_processes import ROOT, TINY
from tests.training.test_stages import CONFIG, chips, network, stage
from training.fit.checkpoint import Checkpoint
from training.fit.epoch import predict
from training.fit.progress import Epoch
from training.fit.stage import StageContext, StageResult, run_stage
from training.network.models import ChipNet, copy_state

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no NVIDIA GPU"),
]


@pytest.fixture(autouse=True)
def deterministic() -> Iterator[None]:
    """cuDNN's deterministic kernels: the others add up gradients in any order."""
    before = torch.backends.cudnn.deterministic
    torch.backends.cudnn.deterministic = True
    yield
    torch.backends.cudnn.deterministic = before


def on_gpu() -> ChipNet:
    return network().cuda()


def train(model: ChipNet, trains: str, context: StageContext | None = None) -> StageResult:
    context = context or StageContext()
    return run_stage(model, chips(), chips(9), stage(trains, epochs=6), CONFIG, context)


def test_a_network_answers_on_the_gpu_as_on_the_cpu() -> None:
    inputs = chips().inputs
    there, here = predict(on_gpu(), inputs)[0], predict(network(), inputs)[0]
    # Convolutions run in TF32 there, which keeps ten bits of a factor.
    np.testing.assert_allclose(there, here, rtol=0.02, atol=0.02)


@pytest.mark.parametrize("trains", ["all", "head"])
def test_a_stage_learns_on_the_gpu(trains: str) -> None:
    history = train(on_gpu(), trains).history
    assert history[-1].loss < history[0].loss


@pytest.mark.parametrize("trains", ["all", "head"])
def test_a_killed_stage_ends_with_the_same_weights_on_the_gpu(trains: str, tmp_path: Path) -> None:
    class Killed(Exception):
        pass

    def stop(epoch: Epoch) -> None:
        if epoch.epoch == 3:
            raise Killed

    uninterrupted = on_gpu()
    train(uninterrupted, trains)
    killed = StageContext(stop, Checkpoint(tmp_path / "checkpoint", "stage", every_s=0))
    with pytest.raises(Killed):
        train(on_gpu(), trains, killed)
    resumed = on_gpu()
    train(resumed, trains, StageContext(checkpoint=Checkpoint(tmp_path / "checkpoint", "stage")))
    other = copy_state(uninterrupted)
    assert all(torch.equal(value, other[name]) for name, value in copy_state(resumed).items())


def test_torchrun_trains_on_the_gpu(tmp_path: Path) -> None:
    config = tmp_path / "tiny.toml"
    config.write_text(TINY)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", "1", "-m", "training.run", "matrix", "--simulated", "--smoke"]
    command += ["--config", str(config), "--runs", str(tmp_path), "--out", str(tmp_path / "out")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path[1:]])}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=110, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert len(list(tmp_path.glob("out/cells/*/*/*/*/result.json"))) == 4
