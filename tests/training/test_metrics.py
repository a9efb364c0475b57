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

from training.metrics import (
    balanced_accuracy,
    balanced_nll,
    expected_calibration_error,
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
    score = scores(certain(SAID), TRUE, [str(i) for i in range(10)], CLASSES)
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
        figure = scores(certain(said), true, groups, CLASSES)["headline"]["accuracy"]
        return float(figure["high"] - figure["low"])

    each_its_own = [str(i) for i in range(100)]
    ten_chips_a_ship = [str(i % 10) for i in range(100)]
    assert width(ten_chips_a_ship) > 2 * width(each_its_own)


def test_a_class_that_a_source_lacks_is_named() -> None:
    score = scores(certain(np.array([0, 2])), np.array([0, 2]), ["a", "b"], CLASSES)
    assert score["classes"] == ["Cargo", "Tanker"]
    assert score["absent"] == ["Fishing"]
