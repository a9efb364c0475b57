"""Scores against counts worked by hand.

true      C C C C C C F F T T
said      C C C C F T F C T T

        precision   recall   F1
Cargo   4/5         4/6      8/11
Fishing 1/2         1/2      1/2
Tanker  2/3         2/2      4/5
"""

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from training.evaluation import metrics
from training.evaluation.metrics import (
    balanced_accuracy,
    balanced_nll,
    expected_calibration_error,
    figures,
    macro_f1,
    scores,
)

TRUE = np.array([0, 0, 0, 0, 0, 0, 1, 1, 2, 2])
SAID = np.array([0, 0, 0, 0, 1, 2, 1, 0, 2, 2])
CLASSES = ("Cargo", "Fishing", "Tanker")


def certain(said: np.ndarray, confidence: float = 1.0) -> np.ndarray:
    probs = np.full((len(said), 3), (1 - confidence) / 2)
    probs[np.arange(len(said)), said] = confidence
    return probs


def test_macro_f1_is_the_mean_of_the_f1_of_each_class() -> None:
    assert macro_f1(TRUE, SAID) == pytest.approx((8 / 11 + 1 / 2 + 4 / 5) / 3)


def test_balanced_accuracy_is_the_mean_recall() -> None:
    assert balanced_accuracy(TRUE, SAID) == pytest.approx((4 / 6 + 1 / 2 + 1) / 3)


def test_a_class_that_is_absent_does_not_count() -> None:
    true, said = np.array([0, 0, 0, 2]), np.array([0, 0, 0, 0])
    # Cargo: precision 3/4, recall 1, F1 6/7; Tanker: 0. Fishing is in neither.
    assert macro_f1(true, said) == pytest.approx((6 / 7 + 0) / 2)
    assert balanced_accuracy(true, said) == pytest.approx(0.5)


def test_a_class_said_but_absent_costs_through_recall_only() -> None:
    true, said = np.array([0, 0]), np.array([0, 1])
    assert macro_f1(true, said) == pytest.approx(2 / 3)


def test_ece_is_the_gap_between_confidence_and_accuracy() -> None:
    # Ten answers at confidence 0.85, seven of them right: a gap of 0.15.
    assert expected_calibration_error(certain(SAID, 0.85), TRUE) == pytest.approx(0.15)


def test_ece_weighs_bins_by_their_chips() -> None:
    probs = certain(np.array([0, 0, 0, 0]), 0.95)
    probs[3] = [0.5, 0.25, 0.25]
    # Three right at 0.95, one wrong at 0.5: 3/4 * 0.05 + 1/4 * 0.5.
    truth = np.array([0, 0, 0, 1])
    assert expected_calibration_error(probs, truth) == pytest.approx(0.75 * 0.05 + 0.25 * 0.5)


def test_balanced_nll_counts_a_rare_cell_as_much_as_a_common_one() -> None:
    probs = np.array([[0.5, 0.25, 0.25], [0.5, 0.25, 0.25], [0.5, 0.25, 0.25]])
    truth = np.array([0, 0, 1])
    expected = (np.log(2) + np.log(4)) / 2
    assert balanced_nll(probs, truth, ["a", "a", "b"]) == pytest.approx(expected)


def test_scores_hold_the_confusion_matrix_and_the_majority() -> None:
    score = scores(certain(SAID), TRUE, [str(i) for i in range(10)], CLASSES).plain()
    assert score["confusion"] == [[4, 1, 1], [1, 1, 0], [0, 0, 2]]
    # "Everything is Cargo": F1 of Cargo 12/16, of the others 0.
    assert score["majority_macro_f1"] == pytest.approx(0.25)
    assert score["by_class"]["Cargo"] == {
        "precision": pytest.approx(0.8),
        "recall": pytest.approx(4 / 6),
        "f1": pytest.approx(8 / 11),
        "chips": 6,
    }


def test_intervals_are_resampled_by_ship_not_by_chip() -> None:
    def width(groups: list[str]) -> float:
        true, said = np.tile(TRUE, 10), np.tile(SAID, 10)
        figure = scores(certain(said), true, groups, CLASSES).headline.accuracy
        return figure.high - figure.low

    each_its_own = [str(i) for i in range(100)]
    ten_chips_a_ship = [str(i % 10) for i in range(100)]
    assert width(ten_chips_a_ship) > 2 * width(each_its_own)


def test_a_class_that_a_source_lacks_is_named() -> None:
    score = scores(certain(np.array([0, 2])), np.array([0, 2]), ["a", "b"], CLASSES)
    assert score.classes == ("Cargo", "Tanker")
    assert score.absent == ("Fishing",)


def some_answers(seeds: int, chips: int = 60) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Probabilities (R, N, K), labels and ships that are neither all right nor all alike."""
    rng = np.random.default_rng(7)
    labels = rng.choice(3, chips, p=[0.6, 0.25, 0.15])
    probs = rng.dirichlet([1, 1, 1], (seeds, chips))
    probs[:, np.arange(chips), labels] += 0.4
    return probs / probs.sum(axis=2, keepdims=True), labels, [str(i // 3) for i in range(chips)]


def by_sklearn(probs: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    said, here = probs.argmax(axis=1), sorted(set(labels.tolist()))
    f1 = {
        average: sklearn_metrics.f1_score(labels, said, labels=here, average=average)
        for average in ("macro", "weighted")
    }
    return {
        "accuracy": sklearn_metrics.accuracy_score(labels, said),
        "weighted_f1": f1["weighted"],
        "macro_f1": f1["macro"],
        "balanced_accuracy": sklearn_metrics.balanced_accuracy_score(labels, said),
        "ece": expected_calibration_error(probs, labels),
    }


def test_figures_of_counts_are_those_worked_by_hand() -> None:
    found = figures(np.array([[4, 1, 1], [1, 1, 0], [0, 0, 2]]), [0, 1, 2])
    assert found["precision"] == pytest.approx([4 / 5, 1 / 2, 2 / 3])
    assert found["recall"] == pytest.approx([4 / 6, 1 / 2, 1])
    assert found["f1"] == pytest.approx([8 / 11, 1 / 2, 4 / 5])
    assert found["accuracy"] == pytest.approx(0.7)
    assert found["weighted_f1"] == pytest.approx((6 * 8 / 11 + 2 * 1 / 2 + 2 * 4 / 5) / 10)
    assert found["macro_f1"] == pytest.approx((8 / 11 + 1 / 2 + 4 / 5) / 3)
    assert found["balanced_accuracy"] == pytest.approx((4 / 6 + 1 / 2 + 1) / 3)


@pytest.mark.parametrize("absent", [None, 1])
def test_figures_of_counts_equal_those_of_scikit_learn(absent: int | None) -> None:
    probs, labels, _ = some_answers(1)
    kept = labels != absent
    said, truth = probs[0].argmax(axis=1)[kept], labels[kept]
    here = sorted(set(truth.tolist()))
    found = figures(sklearn_metrics.confusion_matrix(truth, said, labels=[0, 1, 2]), here)
    expected = sklearn_metrics.precision_recall_fscore_support(truth, said, labels=here)
    for name, values in zip(("precision", "recall", "f1"), expected[:3], strict=True):
        assert found[name] == pytest.approx(values)
    assert found["macro_f1"] == pytest.approx(macro_f1(truth, said))
    assert found["accuracy"] == pytest.approx((truth == said).mean())


def test_a_class_never_said_has_precision_and_f1_0() -> None:
    found = figures(np.array([[3, 0], [1, 0]]), [0, 1])
    assert found["precision"][1] == found["f1"][1] == 0


def test_intervals_are_quantiles_of_resampled_ships_and_seeds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(metrics, "DRAWS", 40)
    probs, labels, ships = some_answers(seeds=3)
    found = scores(probs, labels, ships, CLASSES, seed=5).headline.plain()

    names, rng = sorted(set(ships)), np.random.default_rng(5)
    drawn_ships = rng.choice(len(names), (40, len(names)))
    drawn_seeds = rng.choice(3, (40, 3))
    drawn: dict[str, list[float]] = {name: [] for name in found}
    for of_ships, of_seeds in zip(drawn_ships, drawn_seeds, strict=True):
        rows = [i for n in of_ships for i, ship in enumerate(ships) if ship == names[n]]
        each = [by_sklearn(probs[r][rows], labels[rows]) for r in of_seeds]
        for name, values in drawn.items():
            values.append(float(np.mean([one[name] for one in each])))
    for name, values in drawn.items():
        assert found[name]["low"] == pytest.approx(np.percentile(values, 2.5)), name
        assert found[name]["high"] == pytest.approx(np.percentile(values, 97.5)), name
