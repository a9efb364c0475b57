"""The score table: counts worked out by hand, and the same figures as in training."""

import io

import numpy as np
import pytest
from rich.console import Console

from serving.batch.rows import BatchRow
from serving.batch.summary import Scores
from tests.serving.outputs import CLASSES
from training.evaluation import metrics

OK: dict[str, BatchRow] = {name: {"status": "ok", "label": name} for name in CLASSES}
FAILED: BatchRow = {"status": "error", "label": None}


def scores_of(pairs: dict[tuple[str | None, str | None], int]) -> Scores:
    scores = Scores(CLASSES)
    for (true_label, answer), count in pairs.items():
        for _ in range(count):
            scores.add(true_label, FAILED if answer is None else OK[answer])
    return scores


@pytest.fixture
def scores() -> Scores:
    return scores_of(
        {
            ("Cargo", "Cargo"): 6,
            ("Cargo", "Tanker"): 2,
            ("Cargo", None): 3,
            ("Tanker", "Cargo"): 1,
            ("Tanker", "Tanker"): 1,
            (None, "Fishing"): 4,
            (None, None): 1,
        }
    )


def shown(scores: Scores, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(scores.table())
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_figures_worked_out_by_hand(scores: Scores) -> None:
    cargo, tanker = scores.by_class().values()
    assert list(scores.by_class()) == ["Cargo", "Tanker"], "no Fishing occurs"
    assert cargo == pytest.approx((6 / 7, 6 / 8, 12 / 15, 8))
    assert tanker == pytest.approx((1 / 3, 1 / 2, 2 / 5, 2))
    assert scores.headline() == pytest.approx(
        {"macro_f1": (0.8 + 0.4) / 2, "balanced_accuracy": (0.75 + 0.5) / 2, "accuracy": 7 / 10}
    )


def test_failed_and_unlabelled_chips_are_counted_and_in_no_figure(scores: Scores) -> None:
    assert scores.count("Cargo", None) == 3
    assert scores.unlabelled == 5
    assert sum(score.support for score in scores.by_class().values()) == 10


def test_a_class_never_answered_has_precision_0_and_is_in_the_mean() -> None:
    scores = scores_of({("Cargo", "Cargo"): 2, ("Fishing", "Cargo"): 2})
    assert scores.by_class()["Fishing"] == (0, 0, 0, 2)
    assert scores.headline()["macro_f1"] == pytest.approx((2 / 3) / 2)


def test_an_answer_that_is_no_true_class_still_costs() -> None:
    """Fishing occurs nowhere, so it is no part of the mean; the Cargo chip called so is wrong."""
    scores = scores_of({("Cargo", "Cargo"): 1, ("Cargo", "Fishing"): 1, ("Tanker", "Tanker"): 1})
    assert scores.headline() == pytest.approx(
        {"macro_f1": (2 / 3 + 1) / 2, "balanced_accuracy": 0.75, "accuracy": 2 / 3}
    )


@pytest.mark.parametrize("seed", range(20))
def test_the_figures_are_those_of_training(seed: int) -> None:
    rng = np.random.default_rng(seed)
    here = rng.choice(3, size=rng.integers(1, 4), replace=False)
    labels = rng.choice(here, 40).astype(np.int64)
    answers = rng.choice(3, 40, p=rng.dirichlet([1, 1, 1])).astype(np.int64)
    scores = Scores(CLASSES)
    for label, answer in zip(labels, answers, strict=True):
        scores.add(CLASSES[label], OK[CLASSES[answer]])
    headline = scores.headline()
    assert headline["macro_f1"] == pytest.approx(metrics.macro_f1(labels, answers))
    assert headline["balanced_accuracy"] == pytest.approx(
        metrics.balanced_accuracy(labels, answers)
    )
    assert headline["accuracy"] == pytest.approx((labels == answers).mean())
    confusion = np.zeros((3, 3))
    np.add.at(confusion, (labels, answers), 1)
    whole = metrics.figures(confusion, metrics.present(labels))
    by_class = list(scores.by_class().values())
    for i, name in enumerate(("precision", "recall", "f1")):
        assert [score[i] for score in by_class] == pytest.approx(list(whole[name]))


def test_the_table_is_readable_at_80_columns(scores: Scores) -> None:
    text = shown(scores)
    assert max(map(len, text.splitlines())) <= 80
    cells = [line.replace("│", " ").replace("┃", " ").split() for line in text.splitlines()]
    assert ["class", "Cargo", "Fishing", "Tanker", "failed"] in cells
    assert ["Cargo", "6", "0", "2", "3"] in cells
    assert ["Cargo", "0.857", "0.750", "0.800", "8"] in cells
    assert ["Fishing", "-", "-", "-", "0"] in cells
    assert text.splitlines()[-1] == (
        "macro-F1 0.600, balanced accuracy 0.625, accuracy 0.700, 5 chips without a class"
    )


def test_without_any_labelled_chip_the_table_says_so() -> None:
    assert "no labelled chip was classified, 1 chips without a class" in shown(
        scores_of({(None, "Cargo"): 1})
    )
    assert scores_of({("Cargo", None): 1}).headline() == {}


def test_class_names_are_shown_as_they_are() -> None:
    scores = Scores(["[red]a[/red]", "b"])
    scores.add("b", {"status": "ok", "label": "b"})
    assert shown(scores).count("[red]a[/red]") == 3


def test_a_class_that_is_none_is_a_fault_of_the_program() -> None:
    with pytest.raises(ValueError, match="class 'Tug'; expected one of Cargo, Fishing, Tanker"):
        Scores(CLASSES).add("Tug", FAILED)
