"""Scores over several seeds, reliability and paired differences: what a matrix's report takes.

The answers are those of test_metrics, worked by hand there.
"""

import numpy as np
import pytest

from tests.training.test_metrics import CLASSES, SAID, TRUE, certain, some_answers
from training.card.schema import Interval
from training.evaluation.metrics import macro_f1, paired_difference, reliability, scores

ALL_CARGO = np.zeros(10, dtype=np.int64)
EACH_ITS_OWN = [str(i) for i in range(10)]


def test_the_value_over_several_seeds_is_their_mean_and_confusions_add_up() -> None:
    runs = np.stack([certain(SAID), certain(ALL_CARGO)])
    score = scores(runs, TRUE, EACH_ITS_OWN, CLASSES).plain()
    # "Everything is Cargo" is right for 6 of 10, macro-F1 12/16 over three classes.
    assert score["seeds"] == 2
    assert score["headline"]["accuracy"]["value"] == pytest.approx((0.7 + 0.6) / 2)
    exact = (macro_f1(TRUE, SAID) + 0.25) / 2
    assert score["headline"]["macro_f1"]["value"] == pytest.approx(exact)
    assert score["by_class"]["Cargo"]["recall"] == pytest.approx((4 / 6 + 1) / 2)
    assert score["confusion"] == [[10, 1, 1], [3, 1, 0], [2, 0, 2]]


def test_the_spread_is_over_seeds() -> None:
    runs = np.stack([certain(SAID), certain(ALL_CARGO)])
    spread = scores(runs, TRUE, EACH_ITS_OWN, CLASSES).spread.accuracy.plain()
    assert spread == pytest.approx({"low": 0.6, "high": 0.7, "sd": 0.1 / np.sqrt(2)})
    alone = scores(certain(SAID), TRUE, EACH_ITS_OWN, CLASSES).spread.accuracy.plain()
    assert alone == pytest.approx({"low": 0.7, "high": 0.7, "sd": 0.0})


def test_seeds_that_differ_widen_the_interval() -> None:
    def width(second: np.ndarray) -> float:
        runs = np.stack([certain(TRUE), second])
        figure = scores(runs, TRUE, EACH_ITS_OWN, CLASSES).headline.accuracy
        return figure.high - figure.low

    assert width(certain(TRUE)) == 0
    assert width(certain(ALL_CARGO)) > 0.3


def test_each_class_has_intervals_around_its_figures() -> None:
    score = scores(
        certain(np.tile(SAID, 5)), np.tile(TRUE, 5), [str(i) for i in range(50)], CLASSES
    ).plain()
    for label, row in score["by_class"].items():
        for name, interval in score["by_class_intervals"][label].items():
            assert interval["value"] == row[name]
            assert interval["low"] <= row[name] <= interval["high"]
    assert score["by_class_intervals"]["Tanker"]["recall"]["low"] == 1
    assert score["by_class_intervals"]["Cargo"]["recall"]["low"] < 4 / 6


def test_a_draw_that_lost_a_class_is_left_out() -> None:
    # Half of all draws of two ships lack one class, whose F1 would be 0 there.
    truth = np.array([0, 0, 2, 2])
    figure = scores(certain(truth), truth, ["a", "a", "b", "b"], CLASSES).headline.macro_f1
    assert figure == Interval(value=1, low=1, high=1)


def test_reliability_is_confidence_against_accuracy_by_bin() -> None:
    probs = np.array([[0.9, 0.1], [0.8, 0.2], [0.55, 0.45], [1.0, 0.0]])
    table = reliability(probs, np.array([0, 1, 0, 0]), bins=4)
    assert table.answers.tolist() == [0, 0, 1, 3]  # 0.55 is in 0.5..0.75, 1.0 in the last bin
    assert np.isnan(table.confidence[:2]).all()
    assert table.confidence[2:] == pytest.approx([0.55, 0.9])
    assert table.accuracy[2:] == pytest.approx([1, 2 / 3])


def test_reliability_pools_the_answers_of_seeds() -> None:
    probs, labels, _ = some_answers(seeds=3)
    pooled = reliability(probs.reshape(-1, 3), np.tile(labels, 3))
    for ours, expected in zip(reliability(probs, labels), pooled, strict=True):
        np.testing.assert_array_equal(ours, expected)


def test_a_paired_difference_is_after_less_before() -> None:
    figure = paired_difference(certain(ALL_CARGO), certain(SAID), TRUE, EACH_ITS_OWN)
    exact = macro_f1(TRUE, SAID) - 0.25
    assert figure.value == pytest.approx(exact)
    back = paired_difference(certain(SAID), certain(ALL_CARGO), TRUE, EACH_ITS_OWN)
    assert back.value == pytest.approx(-exact)
    assert (back.low, back.high) == pytest.approx((-figure.high, -figure.low))


def test_a_paired_difference_of_one_class_is_of_its_f1() -> None:
    figure = paired_difference(
        certain(ALL_CARGO), certain(SAID), TRUE, EACH_ITS_OWN, of_class=CLASSES.index("Cargo")
    )
    assert figure.value == pytest.approx(8 / 11 - 12 / 16)


def test_what_is_hard_for_both_is_not_in_a_paired_difference() -> None:
    probs, labels, ships = some_answers(seeds=2)
    assert paired_difference(probs, probs, labels, ships) == Interval(value=0, low=0, high=0)


def test_a_paired_difference_needs_the_same_seeds() -> None:
    probs, labels, ships = some_answers(seeds=3)
    with pytest.raises(ValueError, match="not the same chips and seeds"):
        paired_difference(probs, probs[:2], labels, ships)
