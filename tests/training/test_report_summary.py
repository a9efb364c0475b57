"""The summary of a matrix: its ten lines, on cells made by hand."""

from collections.abc import Sequence

import numpy as np
import pytest

from tests.training.test_report import SEEDS, SIDE, made_up_cell, made_up_matrix
from training.evaluation.tables import interval_text
from training.matrix.config import Cell
from training.matrix.folder import CellResult
from training.matrix.report.scores import Line, MatrixScores
from training.matrix.report.summary import summary

FUSAR = SIDE.sets["fusar"]
RIGHT, WRONG = SIDE.labels, (SIDE.labels + 1) % 3
NO_TANKER = np.where(SIDE.labels == 2, 0, SIDE.labels)


def cells(
    model: str, path: Sequence[str], said: np.ndarray, nll: float = 0.5, variant: str = "default"
) -> list[CellResult]:
    return [
        made_up_cell(Cell(variant, model, seed, tuple(path)), said, nll, sure=99) for seed in SEEDS
    ]


def reported(*changed: CellResult, **of_matrix: tuple[tuple[str, ...], ...]) -> dict[str, str]:
    return dict(summary(MatrixScores.of(made_up_matrix(*changed, **of_matrix))))


def test_two_sets_and_their_union_make_ten_lines() -> None:
    pretrained = cells("vgg16-pretrained", ("fusar",), RIGHT)
    assert list(reported(*pretrained)) == [
        "trainings",
        "left out",
        "best on fusar",
        "best on opensarship",
        "best on mix",
        "pre-training",
        "pre-training on fusar",
        "pre-training on opensarship",
        "order of the two fine-tunings",
        "no better than the majority",
    ]


def test_trainings_and_cells_are_counted() -> None:
    found = reported()["trainings"]
    assert found.startswith("60 (models: 2, paths: 15, seeds: 2); 90 cells")
    swept = MatrixScores.of(made_up_matrix(variants=("plain", "focal"), paths=(("fusar",),)))
    assert dict(summary(swept))["trainings"].startswith("4 of the variant plain (models: 2, paths")


def test_the_best_model_on_a_set_is_chosen_by_validation_and_scored_on_the_test_side() -> None:
    answers = MatrixScores.of(made_up_matrix(*cells("cnn", ("mix", "fusar"), WRONG, nll=0.1)))
    score = answers.score(Line("default", "cnn", ("mix", "fusar")), "fusar")
    expected = (
        f"cnn, mix → fusar: macro-F1 {interval_text(score.headline.macro_f1)}, majority 0.22 "
        "(chosen by validation loss)"
    )
    assert dict(summary(answers))["best on fusar"] == expected
    assert reported(paths=(("fusar",),))["best on mix"] == "no path ends on it"


def test_pretraining_is_reported_by_source_and_class() -> None:
    found = reported(
        *cells("vgg16", ("fusar",), NO_TANKER),
        *cells("vgg16-pretrained", ("fusar",), RIGHT),
        *cells("vgg16", ("mix", "opensarship"), RIGHT),
        *cells("vgg16-pretrained", ("mix", "opensarship"), RIGHT),
    )
    assert "clearly higher in 1 and clearly lower in 0 of 2 pairs" in found["pre-training"]
    assert "Tanker +1.00 (+1.00 to +1.00)" in found["pre-training on fusar"]
    assert "Fishing" not in found["pre-training on fusar"]
    assert found["pre-training on opensarship"] == (
        "vgg16 after mix → opensarship +0.00 (+0.00 to +0.00), clear for no class"
    )


def test_pretraining_that_hurts_is_reported() -> None:
    found = reported(
        *cells("vgg16", ("fusar",), RIGHT), *cells("vgg16-pretrained", ("fusar",), WRONG)
    )
    assert "clearly higher in 0 and clearly lower in 1 of 1 pairs" in found["pre-training"]
    assert found["pre-training on fusar"].startswith("vgg16 -1.00 (-1.00 to -1.00), clear for")


def test_a_matrix_without_such_a_pair_does_not_measure_pretraining() -> None:
    assert reported()["pre-training"] == "not measured: no model was run with and without it"


@pytest.mark.parametrize(("other", "clear"), [(WRONG, 2), (RIGHT, 0)])
def test_the_order_of_fine_tunings_is_compared_pair_by_pair(other: np.ndarray, clear: int) -> None:
    """Each order is right on the set that it ends on, and `other` on the rest."""
    paths = (("mix", "fusar", "opensarship"), ("mix", "opensarship", "fusar"))
    ends = {path: SIDE.sets[path[-1]] for path in paths}
    changed = [
        result
        for path in paths
        for result in cells("cnn", path, np.where(ends[path], RIGHT, other))
    ]
    # The other model gives the same answers whatever the order.
    changed += [result for path in paths for result in cells("vgg16", path, RIGHT)]
    found = reported(*changed, paths=paths)["order of the two fine-tunings"]
    # On the union both orders of cnn are partly right: the difference is not clear.
    assert found.startswith(f"matters clearly in {clear} of 6 comparisons")
    assert found.endswith(f"clearly better in {clear} of 4")


def test_an_order_without_its_counterpart_is_not_compared() -> None:
    found = reported(paths=(("mix", "fusar", "opensarship"),))
    assert found["order of the two fine-tunings"].startswith("not measured: no base was")


def test_cells_no_better_than_the_majority_are_those_of_the_comparison() -> None:
    all_cargo = np.zeros(28, dtype=np.int64)
    found = reported(
        *cells("cnn", ("fusar",), all_cargo),
        *cells("vgg16", ("fusar",), np.where(FUSAR, RIGHT, all_cargo)),
        paths=(("fusar",),),
    )
    # cnn on all three sets, vgg16 on opensarship, which it was not trained on.
    assert found["no better than the majority"].startswith("4 of 6 cells; 3 of these are tested on")
