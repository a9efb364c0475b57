"""The matrix: every order of the sets, nothing run twice, nothing touched that is another's."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from training import identity as provenance
from training.card.schema import FeaturesRecord
from training.config import (
    DEFAULT_INPUT,
    AugmentConfig,
    ImbalanceConfig,
    ModelConfig,
    RunConfig,
    StageConfig,
)
from training.data.dataset import Dataset, Workspace, all_records, index, load_dataset
from training.data.simulated import SimulatedSource
from training.data.splits import Item
from training.errors import ConfigInvalid, DataInvalid, Leak, RunChanged, WeightsMissing
from training.fit.epoch import Bank, compute_bank
from training.fit.progress import Epoch
from training.fit.stage import StageResult, run_stage
from training.matrix import run as matrix
from training.matrix.config import Cell, MatrixConfig, Variant, simulated_matrix, with_sweep
from training.matrix.folder import MatrixFolder, MatrixResults, read_cell
from training.network.models import build
from training.network.weights import sar_file, save_features

SETS: dict[str, tuple[str, ...]] = {"fine": ("fine",), "coarse": ("coarse",), "mix": ("*",)}
RECORD = FeaturesRecord(source="other")
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
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, list[Item]]:
    sources = [
        SimulatedSource({"Cargo": 12, "Fishing": 12, "Tanker": 12}, 1, size=48, name="fine"),
        SimulatedSource({"Cargo": 12, "Tanker": 12}, 2, size=24, spacing_m=10.0, name="coarse"),
    ]
    items = index(all_records(list(sources)), CONFIG.run)
    store = tmp_path_factory.mktemp("store")
    return load_dataset(
        list(sources), items, CONFIG.run, Workspace(store, Console(quiet=True))
    ), items


def run(
    config: MatrixConfig, data: tuple[Dataset, list[Item]], folder: Path, epochs: list[Epoch]
) -> MatrixResults:
    sides, items = data
    place = MatrixFolder(
        folder, folder / "weights", "sar", Console(quiet=True), log_epoch=epochs.append
    )
    return matrix.run_matrix(config, sides, items, place)


@pytest.fixture(scope="module")
def whole(
    data: tuple[Dataset, list[Item]], tmp_path_factory: pytest.TempPathFactory
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
    data: tuple[Dataset, list[Item]], tmp_path: Path
) -> None:
    still = CONFIG.fine_tune.model_copy(update={"epochs": 1, "lr": 1e-12})
    results = run(CONFIG.model_copy(update={"fine_tune": still}), data, tmp_path, [])
    logits = {result.cell.path: result.logits for result in results.cells}
    for path, found in logits.items():
        np.testing.assert_allclose(found, logits[path[:1]], atol=1e-4, err_msg=str(path))
    assert not np.allclose(logits["mix",], logits["fine",], atol=0.1)


def test_frozen_features_are_computed_once_for_all_that_share_a_base(
    data: tuple[Dataset, list[Item]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    banks: list[Bank] = []

    def counted(*arguments: Any) -> Bank:
        banks.append(compute_bank(*arguments))
        return banks[-1]

    monkeypatch.setattr(matrix, "compute_bank", counted)
    run(CONFIG, data, tmp_path, [])
    assert len(banks) == len(SETS)


def test_a_fine_tuning_has_its_own_number_of_views_where_the_base_trains_a_head_too(
    data: tuple[Dataset, list[Item]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both stand on the same features, but the base's are of fewer views of a chip."""
    used: dict[str, int] = {}

    def noted(*arguments: Any) -> StageResult:
        stage, context = arguments[3], arguments[5]
        used[stage.name] = len(context.bank.views)
        return run_stage(*arguments)

    monkeypatch.setattr(matrix, "run_stage", noted)
    base = CONFIG.fine_tune.model_copy(update={"name": "base", "views": 1, "epochs": 1})
    config = CONFIG.model_copy(update={"base": base, "depth": 2})
    run(config, data, tmp_path, [])
    assert used["mix"] == 1
    assert used["mix.fine"] == CONFIG.fine_tune.views == 2


def test_a_sequential_cell_goes_on_from_the_independent_one(
    data: tuple[Dataset, list[Item]], whole: tuple[MatrixResults, Path], tmp_path: Path
) -> None:
    other = CONFIG.model_copy(update={"sets": {"mix": ("*",), "coarse": ("coarse",)}})
    found = hashes(run(other, data, tmp_path, []))
    for cell, digest in found.items():
        assert hashes(whole[0])[cell] == digest, cell


def test_a_cell_ends_alike_whatever_ran_before_it(
    data: tuple[Dataset, list[Item]], whole: tuple[MatrixResults, Path], tmp_path: Path
) -> None:
    focal = Variant(imbalance=ImbalanceConfig(loss="focal", sampling="natural"))
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
    data: tuple[Dataset, list[Item]], whole: tuple[MatrixResults, Path]
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
    after: int, data: tuple[Dataset, list[Item]], whole: tuple[MatrixResults, Path], tmp_path: Path
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
    data: tuple[Dataset, list[Item]], whole: tuple[MatrixResults, Path], tmp_path: Path
) -> None:
    config = CONFIG.model_copy(update={"depth": 1})
    run(config, data, tmp_path, [])
    (result,) = tmp_path.glob("cells/*/*/*/mix/result.json")
    result.rename(result.with_suffix(".half"))
    epochs: list[Epoch] = []
    again = run(config, data, tmp_path, epochs)
    assert {epoch.stage for epoch in epochs} == {"default/cnn/seed-0/mix"}
    assert hashes(again).items() <= hashes(whole[0]).items()


def test_a_cell_may_be_deleted_and_run_again(
    data: tuple[Dataset, list[Item]], whole: tuple[MatrixResults, Path], tmp_path: Path
) -> None:
    run(CONFIG, data, tmp_path, [])
    (result,) = tmp_path.glob("cells/*/*/*/mix.fine.coarse/result.json")
    result.unlink()
    epochs: list[Epoch] = []
    again = run(CONFIG, data, tmp_path, epochs)
    assert {epoch.stage for epoch in epochs} == {
        f"default/cnn/seed-0/{path}" for path in ("mix", "mix.fine", "mix.fine.coarse")
    }
    assert hashes(again) == hashes(whole[0])


@pytest.mark.parametrize("content", ["", "{", "[]", '{"identity": "x"}'])
def test_a_damaged_claim_is_reported(
    content: str, data: tuple[Dataset, list[Item]], tmp_path: Path
) -> None:
    (tmp_path / "matrix.json").write_text(content)
    with pytest.raises(ConfigInvalid, match=r"matrix\.json is not .*; name another --out"):
        run(CONFIG, data, tmp_path, [])


def test_seeds_and_models_may_be_added_and_nothing_else(
    data: tuple[Dataset, list[Item]], tmp_path: Path
) -> None:
    config = CONFIG.model_copy(update={"depth": 1})
    run(config, data, tmp_path, [])
    epochs: list[Epoch] = []
    run(config.model_copy(update={"seeds": (0, 5)}), data, tmp_path, epochs)
    assert len(epochs) == 3 * config.base.epochs
    longer = config.base.model_copy(update={"epochs": 3})
    with pytest.raises(ConfigInvalid, match="holds a matrix of another config"):
        run(config.model_copy(update={"base": longer}), data, tmp_path, [])


def test_cells_of_other_code_are_refused_unless_accepted(
    data: tuple[Dataset, list[Item]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = CONFIG.model_copy(update={"depth": 1})
    commits = ["a" * 40, "b" * 40]
    monkeypatch.setattr(provenance, "CODE", commits[0])
    run(config, data, tmp_path, [])
    monkeypatch.setattr(provenance, "CODE", commits[1])
    more = config.model_copy(update={"seeds": (1,)})
    epochs: list[Epoch] = []
    with pytest.raises(
        RunChanged, match=r"code aaaaaaaaaaaa \(now bbbbbbbbbbbb\).*--accept-changes"
    ):
        run(more, data, tmp_path, epochs)
    assert epochs == []
    sides, items = data
    place = MatrixFolder(tmp_path, tmp_path / "weights", "sar", Console(quiet=True), accept=True)
    results = matrix.run_matrix(more, sides, items, place)
    assert {result.cell.seed: result.commit for result in results.cells} == {
        0: commits[0],
        1: commits[1],
    }


def test_missing_weights_are_reported_before_anything_is_trained(
    data: tuple[Dataset, list[Item]], tmp_path: Path
) -> None:
    epochs: list[Epoch] = []
    models = ("cnn", "resnet50-pretrained")
    with pytest.raises(WeightsMissing, match="pretrain CHIPS --model resnet50"):
        run(CONFIG.model_copy(update={"models": models}), data, tmp_path, epochs)
    assert epochs == []


def test_the_pretrained_vgg16_is_the_published_one_and_the_other_has_batch_normalisation() -> None:
    config = MatrixConfig(vgg_width=0.25)
    named = {name: config.model_of(name) for name in config.models}
    assert {name: model.name for name, model in named.items()} == {
        "cnn": "cnn",
        "resnet50": "resnet50",
        "vgg16": "vgg16_bn",
        "resnet50-pretrained": "resnet50",
        "vgg16-pretrained": "vgg16",
    }
    assert (named["vgg16"].width, named["vgg16-pretrained"].width) == (0.25, 0.25)


def test_fine_tunings_go_on_from_a_network_that_takes_ones_beside_the_chip(tmp_path: Path) -> None:
    """As ImageNet's weights do."""
    spec = DEFAULT_INPUT.model_copy(update={"size": 32, "spacing_m": 9.0})
    config = CONFIG.model_copy(
        update={
            "models": ("vgg16-pretrained",),
            "sets": {"fine": ("fine",), "mix": ("*",)},
            "vgg_width": 0.05,
            "run": CONFIG.run.model_copy(update={"input": spec}),
        }
    )
    file = tmp_path / "two.safetensors"
    save_features(
        build(config.model_of("vgg16-pretrained"), 3, planes=2),
        file,
        RECORD,
        spec,
        (),
    )
    source = SimulatedSource({"Cargo": 12, "Fishing": 12, "Tanker": 12}, 1, size=48, name="fine")
    items = index(all_records([source]), config.run)
    sides = load_dataset(
        [source], items, config.run, Workspace(tmp_path / "store", Console(quiet=True))
    )
    place = MatrixFolder(tmp_path / "out", tmp_path, str(file), Console(quiet=True))
    by_cell = hashes(matrix.run_matrix(config, sides, items, place))
    assert {cell.path for cell in by_cell} == {
        ("fine",),
        ("mix",),
        ("fine", "mix"),
        ("mix", "fine"),
    }
    assert len(set(by_cell.values())) == 4


def test_weights_learnt_from_a_test_chip_are_refused_before_anything_is_trained(
    data: tuple[Dataset, list[Item]], tmp_path: Path
) -> None:
    spec = DEFAULT_INPUT.model_copy(update={"size": 48})
    config = CONFIG.model_copy(
        update={
            "models": ("vgg16-pretrained",),
            "vgg_width": 0.05,
            "run": CONFIG.run.model_copy(update={"input": spec}),
        }
    )
    model, folder = config.model_of("vgg16-pretrained"), tmp_path / "weights"
    tested = next(item.record for item in data[1] if item.split == "test")
    save_features(build(model, 3), sar_file(model, folder), RECORD, spec, {tested.sha256})
    with pytest.raises(Leak, match=f"chip {tested.key} of {tested.source} is in test"):
        run(config, data, tmp_path, [])
    assert not (tmp_path / "matrix.json").exists()


def test_a_set_without_two_classes_is_reported_before_anything_is_trained(
    data: tuple[Dataset, list[Item]], tmp_path: Path
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
    assert base == CONFIG.base.model_copy(update={"name": "mix", "sources": ("*",)})


def test_orders_are_run_with_the_trainings_that_they_continue_from() -> None:
    orders = (("fine", "mix", "coarse"), ("mix",))
    config = MatrixConfig.model_validate(CONFIG.model_dump() | {"orders": orders})
    assert config.paths() == [("fine",), ("fine", "mix"), ("fine", "mix", "coarse"), ("mix",)]
    assert with_sweep(config, "imbalance").paths() == [("fine",), ("mix",)]
    for wrong in ((), ("fine", "fine"), ("fien",)):
        with pytest.raises(ValueError, match="an order names sets, each once, found"):
            MatrixConfig.model_validate(CONFIG.model_dump() | {"orders": (wrong,)})


def test_a_smoke_matrix_is_few_trainings_that_answer_every_question_of_the_summary() -> None:
    config = simulated_matrix(smoke=True)
    assert len(config.cells()) == 12
    plain, pretrained = config.models
    assert pretrained == f"{plain}-pretrained"
    assert ("mix",) in config.paths()
    longest = [path for path in config.paths() if len(path) == 3]
    assert longest[0][0] == longest[1][0]
    assert longest[0][1:] == longest[1][:0:-1]
    assert len(simulated_matrix(smoke=False).cells()) == 225


def test_every_training_of_a_pretrained_network_is_a_fine_tuning() -> None:
    config = CONFIG.model_copy(update={"models": ("vgg16", "vgg16-pretrained")})
    for path in (("mix",), ("mix", "fine"), ("mix", "fine", "coarse")):
        (stage,) = config.run_of(Cell("default", "vgg16-pretrained", 0, path)).stages
        assert (stage.trains, stage.lr) == ("head", CONFIG.fine_tune.lr)
        for trains in ("head", "last_blocks", "gradual", "all"):
            sweep = with_sweep(config, "freezing")
            (stage,) = sweep.run_of(Cell(trains, "vgg16-pretrained", 0, path)).stages
            assert stage.trains == trains
            assert stage.lr <= CONFIG.fine_tune.lr


def test_a_config_says_what_cannot_be() -> None:
    with pytest.raises(ValueError, match=r"seeds are repeated in \(0, 0\)"):
        MatrixConfig(seeds=(0, 0))
    with pytest.raises(ValueError, match="such a name is letters, digits"):
        MatrixConfig(sets={"../up": ("*",)})
    with pytest.raises(ValueError, match="such a name is letters, digits"):
        MatrixConfig(variants={"../up": Variant()})
    with pytest.raises(ValueError, match="Extra inputs"):
        Variant.model_validate({"loss": "focal"})
