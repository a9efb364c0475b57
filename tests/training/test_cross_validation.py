"""Folds hold back whole ships; what is held out was never trained on; all of it ships."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.training.test_stages import CONFIG, chips, network
from training.config import ExpertsConfig, RunConfig
from training.data.dataset import Dataset, SealedTest
from training.data.store import PreparedChips
from training.errors import DataInvalid
from training.fit.cross_validation import cross_validate, folds_of
from training.fit.progress import Epoch
from training.network.models import ChipNet, Ensemble


def fleet(n: int = 24, views: int = 2) -> PreparedChips:
    """n chips, `views` of each ship."""
    whole = chips(n)
    records = tuple(
        replace(record, group=f"ship {i // views}", key=f"{n}-{i}")
        for i, record in enumerate(whole.records)
    )
    return PreparedChips(whole.inputs, whole.labels, records, whole.classes)


def configured(**changes: object) -> RunConfig:
    return CONFIG.model_copy(update={"folds": 3, **changes})


class Trainer:
    """Notes what each network is trained on, and moves its head so that networks differ."""

    def __init__(self) -> None:
        self.trained: dict[str, Dataset] = {}

    def __call__(
        self, network: ChipNet, sides: Dataset, config: RunConfig, name: str
    ) -> list[Epoch]:
        self.trained[name] = sides
        with torch.no_grad():
            network.head.bias += config.seed
        return [Epoch("all", 0, 1.0, float("nan"), float("nan"))]


def keys(chips: PreparedChips) -> set[str]:
    return {record.key for record in chips.records}


def sides() -> Dataset:
    return Dataset(fleet(24), fleet(12), SealedTest(fleet(6)))


def test_no_ship_is_in_two_folds_and_every_chip_in_one() -> None:
    whole = fleet()
    held = list(folds_of(whole, configured()))
    assert (np.sum(held, axis=0) == 1).all()
    for rows in held:
        inside = {r.group for r, row in zip(whole.records, rows, strict=True) if row}
        outside = {r.group for r, row in zip(whole.records, rows, strict=True) if not row}
        assert inside
        assert not inside & outside


def test_folds_are_dealt_alike_again_and_otherwise_by_another_split() -> None:
    first, again = (list(folds_of(fleet(), configured())) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    other = configured(split=CONFIG.split.model_copy(update={"seed": 5}))
    assert not np.array_equal(first, list(folds_of(fleet(), other)))


def test_more_folds_than_ships_are_refused() -> None:
    with pytest.raises(DataInvalid, match="2 ships cannot be dealt into 3 folds"):
        list(folds_of(fleet(4), configured()))


def test_what_is_held_out_was_not_trained_on_and_everything_ships() -> None:
    trainer = Trainer()
    trained, _ = cross_validate(sides(), configured(), lambda config: network(config.seed), trainer)
    everything = keys(fleet(24)) | keys(fleet(12))
    assert set(trainer.trained) == {
        f"{n}/member-0" for n in ("fold-0", "fold-1", "fold-2", "model")
    }
    for name, part in trainer.trained.items():
        assert not keys(part.train) & keys(part.validation), name
        assert keys(part.train) | keys(part.validation) == everything, name
    assert keys(trainer.trained["model/member-0"].train) == everything
    assert sum(len(part.labels) for part in trained.held_out) == len(everything)
    assert {ship for part in trained.held_out for ship in part.ships} == {
        record.group for record in fleet(24).records + fleet(12).records
    }
    assert trained.embeddings.shape[0] == len(everything)


def test_without_folds_the_validation_side_is_what_is_held_out() -> None:
    trainer = Trainer()
    trained, history = cross_validate(
        sides(), configured(folds=0), lambda config: network(config.seed), trainer
    )
    assert keys(trainer.trained["model/member-0"].train) == keys(fleet(24))
    (held,) = trained.held_out
    np.testing.assert_array_equal(held.labels, fleet(12).labels)
    assert held.ships.tolist() == [record.group for record in fleet(12).records]
    assert isinstance(trained.network, ChipNet)
    assert [epoch.stage for epoch in history] == ["all"]  # one network needs no name


def test_members_have_seeds_of_their_own_and_experts_stand_beside_them() -> None:
    config = configured(folds=0, members=2, experts=ExpertsConfig(share=0.75))
    seeds: list[int] = []

    def start(own: RunConfig) -> ChipNet:
        seeds.append(own.seed)
        return network(own.seed)

    config = config.model_copy(update={"input": config.input.model_copy(update={"size": 32})})
    trained, history = cross_validate(sides(), config, start, Trainer())
    assert seeds == [0, 1]
    assert isinstance(trained.network, Ensemble)
    assert trained.network.experts is not None
    assert [epoch.stage for epoch in history] == ["model/member-0/all", "model/member-1/all"]
