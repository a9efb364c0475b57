"""Probabilities, prediction sets and strangeness, against values worked out by hand."""

import math

import numpy as np
import pytest

from shipchip.card import OodSpec
from shipchip.trust import (
    OodScorer,
    Trust,
    conformal_quantile,
    prediction_sets,
    probabilities,
    ships_needed,
)
from tests.tiny_model import tiny_card


def each_its_own(count: int) -> np.ndarray:
    """The ships of chips of which no two show the same one."""
    return np.arange(count).astype(str)


def test_probabilities_are_the_softmax() -> None:
    logits = np.log([[1.0, 2.0, 5.0], [1.0, 1.0, 2.0]])
    expected = [[0.125, 0.25, 0.625], [0.25, 0.25, 0.5]]
    np.testing.assert_allclose(probabilities(logits, 1.0), expected, rtol=1e-12)


def test_temperature_divides_the_logits() -> None:
    # At temperature 2 the odds are the roots: 9 to 1 becomes 3 to 1.
    given = probabilities(np.log([[9.0, 1.0]]), 2.0)
    np.testing.assert_allclose(given, [[0.75, 0.25]], rtol=1e-12)


def test_large_logits_do_not_overflow() -> None:
    given = probabilities(np.array([[1e4, 0.0, -1e4]], np.float32), 0.1)
    np.testing.assert_array_equal(given, [[1, 0, 0]])


@pytest.mark.parametrize(
    ("n", "coverage", "rank"),
    [
        (9, 0.9, 9),  # ceil(10 * 0.9) = 9
        (10, 0.9, 10),  # ceil(9.9)
        (19, 0.9, 18),
        (19, 0.5, 10),
        (99, 0.55, 55),  # 100 * 0.55 is 55.00000000000001 in floating point
        (99, 0.07, 7),
        (1, 0.5, 1),
    ],
)
def test_conformal_quantile_is_the_rank_by_hand(n: int, coverage: float, rank: int) -> None:
    scores = np.random.default_rng(1).permutation(np.arange(1, n + 1)) / 1000
    assert conformal_quantile(scores, each_its_own(n), coverage) == rank / 1000


@pytest.mark.parametrize(("n", "coverage"), [(0, 0.5), (8, 0.9), (18, 0.95)])
def test_with_too_few_ships_the_quantile_excludes_nothing(n: int, coverage: float) -> None:
    assert conformal_quantile(np.zeros(n), each_its_own(n), coverage) == math.inf
    many_chips = np.repeat(each_its_own(n), 50)
    assert conformal_quantile(np.zeros(50 * n), many_chips, coverage) == math.inf
    assert n < ships_needed(coverage)


@pytest.mark.parametrize(("coverage", "needed"), [(0.5, 1), (0.8, 4), (0.9, 9), (0.95, 19)])
def test_the_ships_needed_are_the_least_that_exclude_something(
    coverage: float, needed: int
) -> None:
    assert ships_needed(coverage) == needed
    quantiles = [
        conformal_quantile(np.zeros(n), each_its_own(n), coverage) for n in (needed - 1, needed)
    ]
    assert quantiles == [math.inf, 0.0]


def test_a_ship_weighs_the_same_however_many_chips_show_it() -> None:
    """Ship a: 0.1 and 0.9; ship b: 0.2; ship c: 0.3. Each weighs 1/4, the new ship has the rest."""
    scores = np.array([0.1, 0.9, 0.2, 0.3])
    ships = np.array(["a", "a", "b", "c"])
    # Up to 0.1: 1/8, to 0.2: 3/8, to 0.3: 5/8, to 0.9: 3/4.
    for coverage, quantile in (
        (0.125, 0.1),
        (0.375, 0.2),
        (0.6, 0.3),
        (0.75, 0.9),
        (0.76, math.inf),
    ):
        assert conformal_quantile(scores, ships, coverage) == quantile
        repeated = np.concatenate([scores, np.full(7, 0.3)]), np.concatenate([ships, ["c"] * 7])
        assert conformal_quantile(*repeated, coverage) == quantile


BLOCKS = [21, 7, 7, 7]  # chips a group, as FUSAR-Ship's Tankers


def coverage_of_a_new_ship(blocks: list[int], by_ship: bool) -> float:
    """Mean over calibration sets of the chance that a chip of a new ship is covered at 0.9, with a
    correlation of 0.8 between chips of one ship."""
    rng = np.random.default_rng(7)

    def draw(ships: np.ndarray) -> np.ndarray:
        of_ship, of_chip = rng.normal(size=ships.max() + 1), rng.normal(size=len(ships))
        raw = np.sqrt(0.8) * of_ship[ships] + np.sqrt(0.2) * of_chip
        return np.asarray(1 / (1 + np.exp(-raw)))

    ships = np.repeat(np.arange(len(blocks)), blocks)
    new = np.sort(draw(np.arange(20_000)))
    units = ships if by_ship else np.arange(len(ships))
    quantiles = [conformal_quantile(draw(ships), units.astype(str), 0.9) for _ in range(500)]
    return float(np.mean(np.searchsorted(new, quantiles, side="right") / len(new)))


def test_a_new_ship_is_covered_where_chips_of_one_ship_are_alike() -> None:
    assert coverage_of_a_new_ship(BLOCKS, by_ship=False) == pytest.approx(0.84, abs=0.02)
    assert coverage_of_a_new_ship(BLOCKS, by_ship=True) == 1.0, "four ships exclude nothing"
    assert coverage_of_a_new_ship(3 * BLOCKS, by_ship=False) < 0.89
    assert 0.90 <= coverage_of_a_new_ship(3 * BLOCKS, by_ship=True) < 0.97
    assert 0.90 <= coverage_of_a_new_ship(30 * BLOCKS, by_ship=True) < 0.92


def test_a_class_enters_where_one_minus_its_probability_is_within_its_quantile() -> None:
    probs = np.array([[0.5, 0.375, 0.125]])
    sets = prediction_sets(probs, np.array([0.5, 0.625, 0.8]))
    assert sets.tolist() == [[True, True, False]]


def test_prediction_sets_are_never_empty() -> None:
    probs = np.random.default_rng(2).dirichlet([1, 1, 1], 500)
    sets = prediction_sets(probs, np.zeros(3))
    assert (sets.sum(axis=1) == 1).all()
    assert sets[np.arange(500), probs.argmax(axis=1)].all()


@pytest.mark.parametrize("coverage", [0.8, 0.9, 0.95])
def test_sets_cover_the_true_class_as_often_as_they_promise_in_every_class(coverage: float) -> None:
    """Imbalanced classes and a wrong temperature: coverage by class must hold all the same."""
    rng = np.random.default_rng(3)

    def draw(n: int) -> tuple[np.ndarray, np.ndarray]:
        labels = rng.choice(3, n, p=[0.7, 0.2, 0.1])
        logits = rng.normal(0, 1, (n, 3))
        logits[np.arange(n), labels] += 1.2
        return probabilities(logits, 0.5), labels

    probs, labels = draw(4000)
    own = 1 - probs[np.arange(len(labels)), labels]
    quantiles = np.array(
        [
            conformal_quantile(own[labels == k], each_its_own((labels == k).sum()), coverage)
            for k in range(3)
        ]
    )
    fresh, truth = draw(20_000)
    held = prediction_sets(fresh, quantiles)[np.arange(len(truth)), truth]
    for k in range(3):
        assert held[truth == k].mean() >= coverage - 0.03
        assert held[truth == k].mean() <= coverage + 0.05, "and not by holding everything"


def small_ood(rank: int, dimensions: int = 5) -> tuple[OodSpec, np.ndarray]:
    """An OodSpec and the dense covariance that it abbreviates."""
    rng = np.random.default_rng(4)
    basis, _ = np.linalg.qr(rng.normal(size=(dimensions, dimensions)))
    components, variances, noise = basis.T[:rank], np.array([9.0, 4.0, 2.0])[:rank], 0.25
    residual = np.eye(dimensions) - components.T @ components
    covariance = components.T @ np.diag(variances) @ components + noise * residual
    spec = OodSpec(
        mean=tuple(rng.normal(size=dimensions)),
        components=tuple(map(tuple, components)),
        variances=tuple(variances),
        noise_variance=noise,
        threshold=1.5,
    )
    return spec, covariance


@pytest.mark.parametrize("rank", [0, 1, 3])
def test_strangeness_is_the_dense_mahalanobis_distance(rank: int) -> None:
    spec, covariance = small_ood(rank)
    embeddings = np.random.default_rng(5).normal(0, 3, (50, 5))
    centred = embeddings - np.array(spec.mean)
    squared = np.einsum("nd,de,ne->n", centred, np.linalg.inv(covariance), centred)
    np.testing.assert_allclose(OodScorer(spec)(embeddings), np.sqrt(squared / 5), rtol=1e-9)


def test_strangeness_is_about_one_where_the_gaussian_is_true_and_zero_at_its_mean() -> None:
    spec, covariance = small_ood(3)
    rng = np.random.default_rng(6)
    scores = OodScorer(spec)(rng.multivariate_normal(spec.mean, covariance, 5000))
    assert np.sqrt((scores**2).mean()) == pytest.approx(1.0, abs=0.02)
    assert OodScorer(spec)(np.array([spec.mean]))[0] == 0


def test_the_threshold_itself_is_still_in_distribution() -> None:
    scorer = OodScorer(small_ood(1)[0])
    assert scorer.in_distribution(np.array([0.0, 1.5, 1.5001])).tolist() == [True, True, False]


def test_trust_applies_the_cards_constants() -> None:
    trust = Trust(tiny_card().trust)  # temperature 1.5, quantiles 0.8
    logits = 1.5 * np.log([[0.75, 0.2, 0.05]])
    probs = trust.probabilities(logits)
    np.testing.assert_allclose(probs, [[0.75, 0.2, 0.05]], rtol=1e-12)
    assert trust.prediction_sets(np.array([[0.7, 0.25, 0.05]])).tolist() == [[True, True, False]]
