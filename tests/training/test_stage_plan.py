"""What a run will train: the card names the stages that ran, and no class is lost to a fold."""

from dataclasses import replace
from functools import reduce

import numpy as np
import pytest

from tests.training.test_stages import CONFIG, chips
from training.config import RunConfig, StageConfig
from training.data.dataset import Dataset, SealedTest
from training.data.store import PreparedChips, concatenated
from training.errors import DataInvalid
from training.fit.stage_plan import plan_stages

STAGES = (
    StageConfig(name="base", sources=("fusar*",), epochs=1, lr=1e-3),
    StageConfig(name="fine-tune-1", sources=("opensarship*",), epochs=1, lr=1e-3),
    StageConfig(name="fine-tune-2", epochs=1, lr=1e-3),
)


def configured(folds: int = 0) -> RunConfig:
    return CONFIG.model_copy(update={"folds": folds, "stages": STAGES})


def fleet(n: int, source: str = "fusar", ships: int = 0) -> PreparedChips:
    """n chips of `ships` ships, or each of a ship of its own."""
    found = chips(n, source)
    records = tuple(
        replace(record, group=f"{source} {n} {i % (ships or n)}")
        for i, record in enumerate(found.records)
    )
    return PreparedChips(found.inputs, found.labels, records, found.classes)


def of_classes(data: PreparedChips, *labels: str) -> PreparedChips:
    return data.where(np.array([record.label in labels for record in data.records]))


def sides(train: PreparedChips, validation: PreparedChips) -> Dataset:
    return Dataset(train, validation, SealedTest(fleet(3)))


def names(stages: tuple[StageConfig, ...]) -> list[str]:
    return [stage.name for stage in stages]


def test_a_stage_without_chips_is_skipped_and_the_card_says_so() -> None:
    found = plan_stages(sides(fleet(24), fleet(9)), configured())
    assert names(found.stages) == ["base", "fine-tune-2"]
    assert found.protocol(configured()) == (
        "base then fine-tune-2; epochs chosen and trust fitted on validation; test read once; "
        "fine-tune-1 skipped: no training chip of opensarship*"
    )


def test_without_folds_a_stage_needs_validation_chips_of_its_own() -> None:
    both = concatenated(fleet(24), fleet(12, "opensarship"))
    found = plan_stages(sides(both, fleet(9)), configured())
    assert found.skipped == {"fine-tune-1": "no validation chip of opensarship*"}


def test_with_folds_a_stage_needs_no_validation_chips() -> None:
    both = concatenated(fleet(24), fleet(12, "opensarship"))
    found = plan_stages(sides(both, fleet(9)), configured(folds=3))
    assert names(found.stages) == ["base", "fine-tune-1", "fine-tune-2"]
    assert "skipped" not in found.protocol(configured(folds=3))


def test_a_stage_that_one_fold_has_no_chips_for_is_skipped_in_all() -> None:
    """All chips of that source show one ship, and some fold holds it back."""
    both = concatenated(fleet(24), fleet(6, "opensarship", ships=1))
    found = plan_stages(sides(both, fleet(9)), configured(folds=3))
    assert names(found.stages) == ["base", "fine-tune-2"]
    assert found.skipped["fine-tune-1"].startswith("no training chip of opensarship* in fold ")


def test_no_stage_at_all_is_refused() -> None:
    config = configured().model_copy(update={"stages": STAGES[1:2]})
    with pytest.raises(DataInvalid, match="no stage of the config matches any source"):
        plan_stages(sides(fleet(24), fleet(9)), config)


@pytest.mark.parametrize("folds", [0, 3])
def test_two_classes_and_two_ships_of_each_are_needed(folds: int) -> None:
    held = of_classes(fleet(9), "Cargo")
    with pytest.raises(DataInvalid, match=r"of 1 class \(Cargo\); at least two classes"):
        plan_stages(sides(of_classes(fleet(24), "Cargo"), held), configured(folds))
    alone = of_classes(fleet(3), "Tanker")
    with pytest.raises(DataInvalid, match="show one Tanker ship; at least two are needed"):
        plan_stages(
            sides(concatenated(of_classes(fleet(24), "Cargo"), alone), held), configured(folds)
        )


def one_ship(label: str, name: str, chips_of_it: int, source: str = "fusar") -> PreparedChips:
    found = of_classes(fleet(3 * chips_of_it, source), label)
    records = tuple(replace(record, group=name) for record in found.records)
    return PreparedChips(found.inputs, found.labels, records, found.classes)


def test_a_fold_that_leaves_one_class_is_refused() -> None:
    """Three large Cargo ships are dealt two and one, and both Tankers beside the one."""
    ships = [one_ship("Cargo", name, 12) for name in ("c1", "c2", "c3")]
    ships += [one_ship("Tanker", "t1", 4), one_ship("Tanker", "t2", 4, "opensarship")]
    everything = reduce(concatenated, ships)
    nothing = everything.where(np.zeros(len(everything), dtype=bool))
    with pytest.raises(DataInvalid, match=r"fold \d would be trained on Cargo alone"):
        plan_stages(sides(everything, nothing), configured(folds=2))
