"""Features learnt beforehand: from which chips, on which input, and read once in a run."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from rich.console import Console
from safetensors.torch import save_file

from tests.training.archives import own_chips, tiff, write_folder
from training import retrain as pipeline
from training import run
from training.config import RECIPE, RunConfig, read_config
from training.data.dataset import all_records, index
from training.data.discover import discover
from training.fit.stage import StageResult
from training.network.models import build, copy_state

CONFIG = """
folds = {folds}
members = 1
batch_size = 8
experts = {{ share = 0 }}
input = {{ size = {size} }}
model = {{ name = "cnn", width = 1.0 }}
pretrain = {{ name = "pretrain", epochs = 1, lr = 1e-3 }}
stages = [{{ name = "base", epochs = 1, lr = 1e-3 }}]
"""


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "console", Console(stderr=True, width=200))
    monkeypatch.setenv("COLUMNS", "200")


def other_chips(folder: Path) -> Path:
    chips = {f"kind-{k}/{n}.tif": tiff(1000 * (k + 1) + n) for k in range(2) for n in range(40)}
    return write_folder(folder / "other", chips)


def write_config(folder: Path, folds: int = 0, size: int = 32) -> Path:
    path = folder / f"{folds}-{size}.toml"
    path.write_text(CONFIG.format(folds=folds, size=size))
    return path


def chip_of(side: str, own: Path, config: Path) -> Path:
    """One of our own chips that stands on this side of the split."""
    items = index(all_records(discover([own])), read_config(config, RunConfig, RECIPE))
    return own / next(item.record.key for item in items if item.split == side)


def pretrain(other: Path, config: Path, runs: Path) -> int:
    words = ["pretrain", str(other), "--model", "cnn", "--config", str(config)]
    return run.main([*words, "--runs", str(runs)])


def train(own: Path, config: Path, runs: Path, pretrained: str = "sar") -> int:
    words = ["--data", str(own), "--config", str(config), "--pretrained", pretrained]
    return run.main([*words, "--runs", str(runs)])


@pytest.mark.parametrize(
    ("side", "folds", "refused"),
    [("test", 0, True), ("validation", 0, True), ("train", 0, False), ("train", 2, True)],
)
@pytest.mark.slow
def test_weights_learnt_from_chips_that_measure_a_network_are_refused(
    side: str,
    folds: int,
    refused: bool,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Also when another command made them; with folds every training chip measures one."""
    own, other, config = (
        own_chips(tmp_path, 12),
        other_chips(tmp_path),
        write_config(tmp_path, folds),
    )
    chip = chip_of(side, own, config)
    shutil.copy(chip, other / "kind-0" / "ship.tif")
    assert pretrain(other, config, tmp_path / "runs") == 0
    reported = f"leak: chip {chip.relative_to(own)} of own is in {side}"
    for which in ("sar", str(tmp_path / "runs" / "weights" / "cnn-width-1-sar.safetensors")):
        assert train(own, config, tmp_path / "runs", which) == (1 if refused else 0)
        assert (reported in capsys.readouterr().err) == refused
        assert bool(list(tmp_path.glob("runs/ship-*"))) == (not refused)


@pytest.mark.slow
@pytest.mark.parametrize("at_once", [True, False], ids=["--pretrain", "--pretrained"])
def test_a_test_chip_is_known_among_them_in_another_file_format(
    at_once: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own, other, config = own_chips(tmp_path, 12), other_chips(tmp_path), write_config(tmp_path)
    chip, runs = chip_of("test", own, config), tmp_path / "runs"
    np.save(other / "kind-0" / "ship.npy", tifffile.imread(chip))
    if at_once:
        words = ["--data", str(own), "--config", str(config), "--pretrain", str(other)]
        assert run.main([*words, "--runs", str(runs)]) == 1
    else:
        assert pretrain(other, config, runs) == 0
        assert train(own, config, runs) == 1
    reported = f"leak: chip {chip.relative_to(own)} of own is in test"
    assert reported in capsys.readouterr().err
    assert not list(runs.glob("ship-*"))


def test_chips_of_the_training_side_are_not_pretrained_on_where_there_are_folds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own, other, config = (
        own_chips(tmp_path, 12),
        other_chips(tmp_path),
        write_config(tmp_path, folds=2),
    )
    shutil.copy(chip_of("train", own, config), other / "kind-0" / "ship.tif")
    words = ["--data", str(own), "--config", str(config), "--pretrain", str(other)]
    assert run.main([*words, "--runs", str(tmp_path / "runs")]) == 1
    assert "each of 2 folds measures trust on training chips" in capsys.readouterr().err
    assert not list(tmp_path.glob("runs/weights/*"))


@pytest.mark.slow
def test_the_card_names_what_features_were_learnt_from_without_a_sum_of_every_chip(
    tmp_path: Path,
) -> None:
    own, other, config = own_chips(tmp_path, 12), other_chips(tmp_path), write_config(tmp_path)
    assert pretrain(other, config, tmp_path / "runs") == 0
    assert train(own, config, tmp_path / "runs") == 0
    (file,) = tmp_path.glob("runs/ship-*/ship.onnx")
    record = pipeline.ShipClassifier(file, device="cpu").card.training["pretraining"]
    assert (record["source"], record["chips"]) == ("other", 80)
    assert len(str(record)) < 1000


@pytest.mark.slow
def test_kinds_that_were_pretrained_on_are_known_by_their_chips_not_by_their_folders(
    tmp_path: Path,
) -> None:
    own, other, config = own_chips(tmp_path, 12), other_chips(tmp_path), write_config(tmp_path)
    assert pretrain(other, config, tmp_path / "runs") == 0
    others = write_folder(tmp_path / "ood", {f"kind-1/{n}.tif": tiff(9000 + n) for n in range(3)})
    (others / "another-name").mkdir()
    shutil.copy(other / "kind-0" / "5.tif", others / "another-name" / "renamed.tif")
    words = ["--data", str(own), "--config", str(config), "--pretrained", "sar"]
    words += ["--ood", str(others), "--runs", str(tmp_path / "runs")]
    assert run.main(words) == 0
    (file,) = tmp_path.glob("runs/ship-*/ship.onnx")
    training = pipeline.ShipClassifier(file, device="cpu").card.training
    assert training["ood_learnt"] == ["another-name"]


@pytest.mark.slow
def test_weights_learnt_on_another_input_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own, other = own_chips(tmp_path, 12), other_chips(tmp_path)
    assert pretrain(other, write_config(tmp_path, size=32), tmp_path / "runs") == 0
    assert train(own, write_config(tmp_path, size=48), tmp_path / "runs") == 1
    reported = capsys.readouterr().err
    assert "weights_invalid" in reported
    assert "another input: size 32, expected size 48; delete it and pretrain again" in reported


@pytest.mark.slow
def test_weights_learnt_with_another_clutter_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own, other, config = own_chips(tmp_path, 12), other_chips(tmp_path), write_config(tmp_path)
    assert pretrain(other, config, tmp_path / "runs") == 0
    config.write_text(config.read_text().replace("size = 32", "size = 32, clutter_window_m = 100"))
    assert train(own, config, tmp_path / "runs") == 1
    assert "clutter_window_m 384.0, expected clutter_window_m 100.0" in capsys.readouterr().err


def test_weights_of_an_older_format_are_refused_with_the_remedy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own, config = own_chips(tmp_path, 12), write_config(tmp_path)
    old = tmp_path / "old.safetensors"
    state = copy_state(build(read_config(config, RunConfig, RECIPE).model, 3))
    save_file({n: v.contiguous() for n, v in state.items()}, old, {"format": "shipchip.weights/1"})
    assert train(own, config, tmp_path / "runs", str(old)) == 1
    assert "has format 'shipchip.weights/1'" in capsys.readouterr().err


@pytest.mark.slow
def test_a_file_of_weights_that_is_replaced_during_a_run_changes_no_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, config, file = own_chips(tmp_path, 12), write_config(tmp_path, folds=2), tmp_path / "w.pth"
    like = read_config(config, RunConfig, RECIPE).model
    torch.save(build(like, 3).state_dict(), file)
    began: list[torch.Tensor] = []
    run_stage = pipeline.run_stage

    def replaced_meanwhile(model: Any, *given: Any) -> StageResult:
        began.append(model.features[0].weight.detach().clone())
        torch.save(build(like, 3).state_dict(), file)
        return run_stage(model, *given)

    monkeypatch.setattr(pipeline, "run_stage", replaced_meanwhile)
    assert train(own, config, tmp_path / "runs", str(file)) == 0
    assert len(began) == 3  # two folds, and the model
    assert all(torch.equal(weight, began[0]) for weight in began)
