"""Stages that solve the final layer on frozen features, and the network that they need."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from training.config import (
    DEFAULT_INPUT,
    ExpertsConfig,
    ImbalanceConfig,
    ModelConfig,
    RunConfig,
    StageConfig,
)
from training.data.dataset import Dataset, SealedTest
from training.data.record import CLASSES, Record
from training.data.simulated import SimulatedSource
from training.data.store import PreparedChips, concatenated, prepare_all
from training.fit.cross_validation import cross_validate
from training.fit.epoch import predict
from training.fit.linear_head import frozen_features, head_logits, solve_head
from training.fit.progress import Epoch
from training.fit.stage import run_stage
from training.network.models import ChipNet, PooledNet, build

SPEC = DEFAULT_INPUT.model_copy(update={"size": 32})
MODEL = ModelConfig(name="vgg16", width=0.125, pooled=(3, 4), dropout=0)


def stage(strength: float, name: str = "base") -> StageConfig:
    return StageConfig(name=name, trains="linear", strength=strength, epochs=1)


def run_config(strength: float = 1.0) -> RunConfig:
    return RunConfig(
        model=MODEL,
        input=SPEC,
        stages=(stage(strength),),
        imbalance=ImbalanceConfig(sampling="natural"),
    )


def pooled_net() -> PooledNet:
    torch.manual_seed(0)
    network = build(MODEL, len(CLASSES), planes=1)
    assert isinstance(network, PooledNet)
    return network


def chips_with_features(n: int = 60, views: int = 2) -> PreparedChips:
    """Chips of noise whose frozen features tell their class a little."""
    rng = np.random.default_rng(0)
    labels = np.arange(n, dtype=np.int64) % 3
    records = tuple(
        Record("one", str(i), CLASSES[k], f"g{i}", f"{i:064x}") for i, k in enumerate(labels)
    )
    width = pooled_net().head.in_features
    frozen = rng.normal(size=(1 + views, n, width)).astype(np.float32)
    frozen[:, np.arange(n), labels] += 1.0
    blank = np.zeros((n, 1, 32, 32), np.float32)
    return PreparedChips(blank, labels, records, CLASSES, (blank,) * views, frozen)


def test_the_map_of_a_pooled_network_has_the_logit_as_its_mean() -> None:
    network = pooled_net().eval()
    network.standardise(torch.rand(20, network.head.in_features))
    logits, embedding, maps = network(torch.rand(2, 1, 32, 32))
    assert embedding.shape == (2, 32 + 64)
    assert maps.shape == (2, 3, 4, 4)
    torch.testing.assert_close(maps.mean(dim=(2, 3)), logits, atol=1e-4, rtol=1e-4)


def test_a_pooled_network_ends_with_its_last_block() -> None:
    convolutions = [m for m in pooled_net().features if isinstance(m, torch.nn.Conv2d)]
    assert len(convolutions) == 10
    assert [m.out_channels for m in convolutions[-4:]] == [32, 64, 64, 64]


@pytest.mark.parametrize("pooled", [(4, 3), (2, 4), (3, 3)])
def test_pooled_blocks_follow_each_other(pooled: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="follow each other"):
        ModelConfig(name="vgg16", pooled=pooled)


def test_linear_stages_need_pooled_blocks_and_stand_alone() -> None:
    with pytest.raises(ValueError, match="pooled"):
        RunConfig(stages=(stage(1.0),))
    with pytest.raises(ValueError, match="all stages"):
        RunConfig(model=MODEL, stages=(stage(1.0), StageConfig(name="all", epochs=1)))


def test_the_solved_head_is_the_logistic_regression_of_all_views() -> None:
    chips, network = chips_with_features(), pooled_net()
    torch.nn.init.zeros_(network.head.weight)
    torch.nn.init.zeros_(network.head.bias)
    solve_head(network, chips, stage(0.1), run_config())
    every = chips.every_view()
    assert every.frozen is not None
    known = LogisticRegression(C=0.1 / len(every), max_iter=5000, tol=1e-8)
    known.fit(every.frozen[0], every.labels, sample_weight=np.ones(len(every)))
    found = head_logits(network, every.frozen[0])
    found -= found.mean(axis=1, keepdims=True)
    assert found == pytest.approx(known.decision_function(every.frozen[0]), abs=2e-2)


def test_a_fine_tuning_is_pulled_to_the_head_before_it() -> None:
    chips, network = chips_with_features(), pooled_net()
    before = network.head.weight.detach().clone()
    moved = []
    for strength in (1e-4, 1.0):
        with torch.no_grad():
            network.head.weight.copy_(before)
        solve_head(network, chips, stage(strength), run_config())
        moved.append(float((network.head.weight - before).norm().detach()))
    assert moved[0] < 0.01
    assert moved[1] > 0.1


def test_features_of_chips_and_views_are_what_the_network_pools(tmp_path: Path) -> None:
    source = SimulatedSource({"Cargo": 2, "Tanker": 2}, seed=1, size=40)
    chips = prepare_all([source], source.index(), SPEC, tmp_path, classes=CLASSES)
    view = prepare_all([source], source.index(), SPEC, tmp_path, classes=CLASSES, view=0)
    assert not np.array_equal(chips.inputs, view.inputs)
    network = pooled_net().eval()
    found = frozen_features(network, replace(chips, views=(view.inputs,)))
    with torch.inference_mode():
        expected = [network.pooled(torch.from_numpy(np.array(c.inputs))) for c in (chips, view)]
    assert found.shape == (2, len(chips), network.head.in_features)
    assert found == pytest.approx(torch.stack(expected).numpy(), rel=0.05, abs=0.02)


def test_a_view_depends_on_its_number_and_its_chip_alone(tmp_path: Path) -> None:
    source = SimulatedSource({"Cargo": 3, "Tanker": 2}, seed=1, size=40)
    records = source.index()
    prepare: Callable[..., PreparedChips] = prepare_all
    once = prepare([source], records, SPEC, tmp_path, classes=CLASSES, view=1).inputs
    fewer = prepare([source], records[2:], SPEC, tmp_path, classes=CLASSES, view=1).inputs
    other = prepare([source], records, SPEC, tmp_path, classes=CLASSES, view=2).inputs
    assert np.array_equal(once[2:], fewer)
    assert not np.array_equal(once, other)


def test_chips_are_chosen_and_joined_with_their_views_and_features() -> None:
    chips = chips_with_features(n=6)
    assert chips.frozen is not None
    odd = np.arange(6) % 2 == 1
    joined = concatenated(chips.where(~odd), chips.where(odd))
    assert joined.frozen is not None
    assert np.array_equal(joined.frozen, chips.frozen[:, [0, 2, 4, 1, 3, 5]])
    assert [len(view) for view in joined.views] == [6, 6]
    every = joined.every_view()
    assert len(every) == len(every.records) == 18
    assert every.labels.tolist() == [0, 2, 1, 1, 0, 2] * 3


def test_the_embedding_of_a_frozen_network_is_the_same_from_its_features(tmp_path: Path) -> None:
    source = SimulatedSource({"Cargo": 8, "Tanker": 8}, seed=1, size=40)
    chips = prepare_all([source], source.index(), SPEC, tmp_path, classes=CLASSES)
    config = run_config().model_copy(update={"experts": ExpertsConfig(share=0.5), "folds": 2})
    nothing = chips.where(np.zeros(len(chips), dtype=bool))
    dataset = Dataset(chips, nothing, SealedTest(nothing))

    def train_one(network: ChipNet, part: Dataset, own: RunConfig, _: str) -> list[Epoch]:
        result = run_stage(network, part.train, part.validation, own.stages[0], own)
        return list(result.history)

    trained, history = cross_validate(dataset, config, lambda _: pooled_net(), train_one)
    assert len(history) == 3
    _, embeddings = predict(trained.network, chips.inputs)
    assert trained.embeddings == pytest.approx(embeddings, abs=1e-2)
    assert [len(part.labels) for part in trained.held_out] == [len(chips) // 2] * 2
