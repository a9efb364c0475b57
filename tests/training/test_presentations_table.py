"""Figures of chips presented otherwise: scores, equal labels, and sure answers that change."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from rich.table import Table

from shipchip.classifier import ShipClassifier
from training.data.presentation import CHANGES, NONE
from training.data.record import CLASSES
from training.data.simulated import simulated_sources
from training.data.store import prepare_all
from training.evaluation.figures import ModelPredictions
from training.evaluation.presentations import (
    change_figures,
    measure_presentations,
    presentations_table,
    worst_change,
)


def answers(
    predicted: list[int], member: list[list[int]], known: list[bool] | None = None
) -> ModelPredictions:
    labels: NDArray[np.int64] = np.array(predicted)
    return ModelPredictions(
        np.eye(3)[labels],
        labels,
        np.array(member, dtype=bool),
        np.zeros(len(labels)),
        np.array(known or [True] * len(labels)),
    )


CARGO, TANKER, BOTH = [1, 0, 0], [0, 0, 1], [1, 0, 1]


def test_a_sure_answer_that_changes_is_counted() -> None:
    plain = answers([0, 0, 2, 2], [CARGO, BOTH, TANKER, TANKER], [True, True, True, False])
    changed = answers([2, 2, 2, 0], [TANKER, TANKER, TANKER, BOTH])
    found = change_figures(plain, changed, np.array([0, 0, 2, 2]), CLASSES)
    assert (found.sure, found.sure_changed) == (2, 1)
    assert found.same_label == 0.25
    assert found.recall == {"Cargo": 0.0, "Tanker": 0.5}
    assert found.coverage == {"Cargo": 0.0, "Tanker": 1.0}
    assert found.set_size == 1.25
    assert found.macro_f1 == pytest.approx(0.2)


def test_every_change_of_every_source_is_measured(tmp_path: Path, tiny_model_file: Path) -> None:
    ships = ShipClassifier(tiny_model_file, device="cpu")
    sources = simulated_sources(smoke=True)
    records = [record for source in sources for record in source.index()[:6]]
    chips = prepare_all(sources, records, ships.card.input, tmp_path, classes=CLASSES)
    found = measure_presentations(ships, chips, sources)
    assert list(found) == sorted(source.name for source in sources)
    for lines in found.values():
        assert list(lines) == [NONE, *CHANGES]
        assert lines[NONE].same_label == 1.0
        assert lines[worst_change(lines)].macro_f1 == min(one.macro_f1 for one in lines.values())
    tables = [part for part in presentations_table(found).renderables if isinstance(part, Table)]
    assert [table.row_count for table in tables] == [len(CHANGES) + 1] * len(sources)
