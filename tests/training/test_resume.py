"""A killed stage goes on from its checkpoint and ends with the same weights, bit for bit."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.training.test_stages import CONFIG, chips, network, stage
from training.errors import DataInvalid
from training.fit.checkpoint import Checkpoint
from training.fit.progress import Epoch
from training.fit.stage import StageContext, run_stage
from training.identity import weights_sha256
from training.network.models import ChipNet, copy_state


class Killed(Exception):
    """Stands for SIGKILL: nothing of the process is left but its files."""


def train(model: ChipNet, trains: str, context: StageContext) -> tuple[Epoch, ...]:
    return run_stage(model, chips(), chips(9), stage(trains, epochs=6), CONFIG, context).history


def killed_after(epoch: int, path: Path, trains: str, every_s: float = 0.0) -> None:
    def stop(message: Epoch) -> None:
        if message.epoch == epoch:
            raise Killed

    checkpoint = Checkpoint(path, "stage", every_s)
    with pytest.raises(Killed):
        train(network(), trains, StageContext(stop, checkpoint))


@pytest.mark.parametrize("trains", ["all", "head", "gradual"])
@pytest.mark.parametrize("epoch", [0, 3])
def test_a_killed_stage_ends_with_the_same_weights(trains: str, epoch: int, tmp_path: Path) -> None:
    whole = network()
    history = train(whole, trains, StageContext())
    killed_after(epoch, tmp_path / "checkpoint", trains)
    torch.manual_seed(99)  # another process begins with other global states
    resumed = network()
    again = train(
        resumed, trains, StageContext(checkpoint=Checkpoint(tmp_path / "checkpoint", "stage"))
    )
    assert again == history
    assert weights_sha256(copy_state(resumed)) == weights_sha256(copy_state(whole))


def test_what_was_done_before_the_kill_is_not_done_again(tmp_path: Path) -> None:
    killed_after(3, tmp_path / "checkpoint", "all")
    state = Checkpoint(tmp_path / "checkpoint", "stage").load()
    assert state is not None
    assert [epoch["epoch"] for epoch in state["history"]] == [0, 1, 2, 3]


def test_between_two_writes_a_checkpoint_waits(tmp_path: Path) -> None:
    killed_after(3, tmp_path / "checkpoint", "head", every_s=3600)
    assert not (tmp_path / "checkpoint").exists()


def test_a_checkpoint_of_another_stage_is_refused(tmp_path: Path) -> None:
    killed_after(1, tmp_path / "checkpoint", "head")
    other = StageContext(checkpoint=Checkpoint(tmp_path / "checkpoint", "another"))
    with pytest.raises(DataInvalid, match="is of stage, expected another"):
        train(network(), "head", other)


@pytest.mark.parametrize(
    "damage", [lambda whole: whole[: len(whole) // 2], lambda _: b"", lambda _: b"garbage"]
)
def test_a_damaged_checkpoint_says_what_to_delete(
    damage: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    killed_after(1, tmp_path / "checkpoint", "head")
    whole = (tmp_path / "checkpoint").read_bytes()
    (tmp_path / "checkpoint").write_bytes(damage(whole))
    with pytest.raises(DataInvalid, match="delete it to train this stage again"):
        train(
            network(), "head", StageContext(checkpoint=Checkpoint(tmp_path / "checkpoint", "stage"))
        )
