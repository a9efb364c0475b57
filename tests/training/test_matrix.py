"""The matrix: every order of the sets, nothing run twice, nothing touched that is another's."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from training import matrix
from training.config import (
    DEFAULT_INPUT,
    AugmentConfig,
    ImbalanceConfig,
    ModelConfig,
    RunConfig,
    StageConfig,
)
from training.errors import ConfigInvalid, DataInvalid, WeightsMissing
from training.frozen import Bank, compute_bank
from training.matrix_config import MatrixConfig, Variant, with_sweep
from training.matrix_place import Place
from training.results import Cell, Epoch, MatrixResults, read_cell
from training.sides import Sides, all_records, index, load
from training.sources.simulated import SimulatedSource
from training.splits import Item

SETS: dict[str, tuple[str, ...]] = {"fine": ("fine",), "coarse": ("coarse",), "mix": ("*",)}
CONFIG = MatrixConfig(
    models=("cnn",),
    seeds=(0,),
    sets=SETS,
    base=StageConfig(name="base", epochs=2, lr=2e-3),
    fine_tune=StageConfig(name="fine-tune", trains="head", views=2, epochs=3, lr=2e-3),
    run=RunConfig(
        input=DEFAULT_INPUT.model_copy(update={"size": 16, "spacing_m": 18.0}),
        augment=AugmentConfig(mixup=0),
        model=ModelConfig(name="cnn", width=1.0),
        batch_size=16,
    ),
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[Sides, list[Item]]:
    sources = [
        SimulatedSource({"Cargo": 12, "Fishing": 12, "Tanker": 12}, 1, size=48, name="fine"),
        SimulatedSource({"Cargo": 12, "Tanker": 12}, 2, size=24, spacing_m=10.0, name="coarse"),
    ]
    items = index(all_records(list(sources)), CONFIG.run)
    store = tmp_path_factory.mktemp("store")
    return load(list(sources), items, CONFIG.run, store, Console(quiet=True)), items


def run(
    config: MatrixConfig, data: tuple[Sides, list[Item]], folder: Path, epochs: list[Epoch]
) -> MatrixResults:
    sides, items = data
    place = Place(folder, folder / "weights", "sar", Console(quiet=True), scribe=epochs.append)
    return matrix.run(config, sides, items, place)


@pytest.fixture(scope="module")
def whole(
    data: tuple[Sides, list[Item]], tmp_path_factory: pytest.TempPathFactory
) -> tuple[MatrixResults, Path]:
    folder = tmp_path_factory.mktemp("matrix")
    return run(CONFIG, data, folder, []), folder


def hashes(results: MatrixResults) -> dict[Cell, str]:
    return {result.cell: result.weights_sha256 for result in results.cells}


def test_every_order_of_the_sets_is_a_cell(whole: tuple[MatrixResults, Path]) -> None:
    paths = {result.cell.path for result in whole[0].cells}
    assert len(paths) == 3 + 6 + 6
    assert {("coarse",), ("coarse", "mix"), ("coarse", "mix", "fine")} <= paths


def test_every_cell_answers_every_test_chip(whole: tuple[MatrixResults, Path]) -> None:
    results = whole[0]
    assert results.test.sets["mix"].all()
    assert results.test.sets["fine"].sum() + results.test.sets["coarse"].sum() == len(
        results.test.labels
    )
    for cell in results.cells:
        assert cell.logits.shape == (len(results.test.labels), 3)
        assert np.isfinite(cell.logits).all()


def test_fine_tuning_moves_something_every_time(whole: tuple[MatrixResults, Path]) -> None:
    by_cell = hashes(whole[0])
    for cell, digest in by_cell.items():
        if cell.parent is not None:
            assert digest != by_cell[cell.parent], cell


def test_fine_tuning_begins_with_the_weights_of_the_training_before(
    data: tuple[Sides, list[Item]], tmp_path: Path
) -> None:
    still = CONFIG.fine_tune.model_copy(update={"epochs": 1, "lr": 1e-12})
    results = run(CONFIG.model_copy(update={"fine_tune": still}), data, tmp_path, [])
    logits = {result.cell.path: result.logits for result in results.cells}
    for path, found in logits.items():
        np.testing.assert_allclose(found, logits[path[:1]], atol=1e-4, err_msg=str(path))
    assert not np.allclose(logits["mix",], logits["fine",], atol=0.1)


def test_frozen_features_are_computed_once_for_all_that_share_a_base(
    data: tuple[Sides, list[Item]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    banks: list[Bank] = []

    def counted(*arguments: Any) -> Bank:
        banks.append(compute_bank(*arguments))
        return banks[-1]

    monkeypatch.setattr(matrix, "compute_bank", counted)
    run(CONFIG, data, tmp_path, [])
    assert len(banks) == len(SETS)


def test_a_sequential_cell_goes_on_from_the_independent_one(
    data: tuple[Sides, list[Item]], whole: tuple[MatrixResults, Path], tmp_path: Path
) -> None:
    other = CONFIG.model_copy(update={"sets": {"mix": ("*",), "coarse": ("coarse",)}})
    found = hashes(run(other, data, tmp_path, []))
    for cell, digest in found.items():
        assert hashes(whole[0])[cell] == digest, cell


def test_a_cell_ends_alike_whatever_ran_before_it(
    data: tuple[Sides, list[Item]], whole: tuple[MatrixResults, Path], tmp_path: Path
) -> None:
    focal = Variant(imbalance=ImbalanceConfig(loss="focal"))
    more = CONFIG.model_copy(
        update={
            "seeds": (1, 0),
            "variants": {"focal": focal, "default": Variant()},
            "depth": 1,
        }
    )
    found = hashes(run(more, data, tmp_path, []))
    for cell in (Cell("default", "cnn", 0, (name,)) for name in SETS):
        assert found[cell] == hashes(whole[0])[cell]
    assert len(set(found.values())) == len(found)


def test_a_finished_cell_is_never_run_again(
    data: tuple[Sides, list[Item]], whole: tuple[MatrixResults, Path]
) -> None:
    epochs: list[Epoch] = []
    again = run(CONFIG, data, whole[1], epochs)
    assert epochs == []
    assert hashes(again) == hashes(whole[0])


def test_no_weights_are_left_when_all_is_done(whole: tuple[MatrixResults, Path]) -> None:
    files = {path.name for path in (whole[1] / "cells").rglob("*") if path.is_file()}
    assert files == {"result.json"}


class Killed(Exception):
    pass


@pytest.mark.parametrize("after", [1, 4, 7, 20])
def test_a_killed_matrix_goes_on_and_ends_the_same(
    after: int, data: tuple[Sides, list[Item]], whole: tuple[MatrixResults, Path], tmp_path: Path
) -> None:
    class Kills(list[Epoch]):
        def append(self, epoch: Epoch) -> None:
            super().append(epoch)
            if len(self) == after:
                raise Killed

    with pytest.raises(Killed):
        run(CONFIG, data, tmp_path, Kills())
    assert hashes(run(CONFIG, data, tmp_path, [])) == hashes(whole[0])


def test_a_half_written_cell_is_not_finished(
    data: tuple[Sides, list[Item]], whole: tuple[MatrixResults, Path], tmp_path: Path
) -> None:
    config = CONFIG.model_copy(update={"depth": 1})
    run(config, data, tmp_path, [])
    (result,) = tmp_path.glob("cells/*/*/*/mix/result.json")
    result.rename(result.with_suffix(".half"))
    epochs: list[Epoch] = []
    again = run(config, data, tmp_path, epochs)
    assert {epoch.stage for epoch in epochs} == {"mix"}
    assert hashes(again).items() <= hashes(whole[0]).items()


def test_a_cell_may_be_deleted_and_run_again(
    data: tuple[Sides, list[Item]], whole: tuple[MatrixResults, Path], tmp_path: Path
) -> None:
    run(CONFIG, data, tmp_path, [])
    (result,) = tmp_path.glob("cells/*/*/*/mix.fine.coarse/result.json")
    result.unlink()
    epochs: list[Epoch] = []
    again = run(CONFIG, data, tmp_path, epochs)
    assert {epoch.stage for epoch in epochs} == {"mix", "mix.fine", "mix.fine.coarse"}
    assert hashes(again) == hashes(whole[0])


@pytest.mark.parametrize("content", ["", "{", "[]", '{"identity": "x"}'])
def test_a_damaged_claim_is_told(
    content: str, data: tuple[Sides, list[Item]], tmp_path: Path
) -> None:
    (tmp_path / "matrix.json").write_text(content)
    with pytest.raises(ConfigInvalid, match=r"matrix\.json is not .*; name another --out"):
        run(CONFIG, data, tmp_path, [])


def test_seeds_and_models_may_be_added_and_nothing_else(
    data: tuple[Sides, list[Item]], tmp_path: Path
) -> None:
    config = CONFIG.model_copy(update={"depth": 1})
    run(config, data, tmp_path, [])
    epochs: list[Epoch] = []
    run(config.model_copy(update={"seeds": (0, 5)}), data, tmp_path, epochs)
    assert len(epochs) == 3 * config.base.epochs
    longer = config.base.model_copy(update={"epochs": 3})
    with pytest.raises(ConfigInvalid, match="holds a matrix of another config"):
        run(config.model_copy(update={"base": longer}), data, tmp_path, [])


def test_missing_weights_are_told_before_anything_is_trained(
    data: tuple[Sides, list[Item]], tmp_path: Path
) -> None:
    epochs: list[Epoch] = []
    models = ("cnn", "resnet50-pretrained")
    with pytest.raises(WeightsMissing, match="pretrain CHIPS --model resnet50"):
        run(CONFIG.model_copy(update={"models": models}), data, tmp_path, epochs)
    assert epochs == []


def test_a_set_without_two_classes_is_told_before_anything_is_trained(
    data: tuple[Sides, list[Item]], tmp_path: Path
) -> None:
    wrong = CONFIG.model_copy(update={"sets": {"fine": ("fien",), "mix": ("*",)}})
    with pytest.raises(DataInvalid, match=r"data set fine \(fien\) has 0 classes in train"):
        run(wrong, data, tmp_path, [])


def test_a_cell_file_of_another_version_is_refused(
    whole: tuple[MatrixResults, Path], tmp_path: Path
) -> None:
    file = next(whole[1].glob("cells/*/*/*/mix/result.json"))
    content = json.loads(file.read_text())
    other = tmp_path / "result.json"
    other.write_text(json.dumps(content | {"schema": "shipchip.cell/0"}))
    with pytest.raises(DataInvalid, match=r"has schema 'shipchip\.cell/0', expected"):
        read_cell(other)
    other.write_text(json.dumps(content)[:-40])
    with pytest.raises(DataInvalid, match=r"is not JSON .* delete it to run it again"):
        read_cell(other)


def test_a_sweep_changes_what_it_says_and_nothing_else() -> None:
    imbalance = with_sweep(CONFIG, "imbalance")
    words = {
        name: imbalance.run_of(Cell(name, "cnn", 0, ("mix",))).imbalance
        for name in imbalance.variants
    }
    assert words["focal"].loss == "focal"
    assert words["focal"].sampling == "natural"
    assert words["balanced_sampling"].sampling == "balanced"
    freezing = with_sweep(CONFIG, "freezing")
    (stage,) = freezing.run_of(Cell("gradual", "cnn", 0, ("mix", "fine"))).stages
    assert stage.trains == "gradual"
    (base,) = freezing.run_of(Cell("gradual", "cnn", 0, ("mix",))).stages
    assert base.trains == "all"


def test_a_config_says_what_cannot_be() -> None:
    with pytest.raises(ValueError, match=r"seeds stand twice in \(0, 0\)"):
        MatrixConfig(seeds=(0, 0))
    with pytest.raises(ValueError, match="such a name is letters, digits"):
        MatrixConfig(sets={"../up": ("*",)})
    with pytest.raises(ValueError, match="such a name is letters, digits"):
        MatrixConfig(variants={"../up": Variant()})
    with pytest.raises(ValueError, match="Extra inputs"):
        Variant.model_validate({"loss": "focal"})
