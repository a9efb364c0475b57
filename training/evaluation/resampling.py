"""95 % bootstrap intervals of shares and means, for which ships are resampled.

Chips of one ship are not independent, so a bootstrap over chips would give too narrow intervals.
`metrics.scores` does the same for figures of a confusion matrix.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from training.card.schema import Interval, IntervalByShip
from training.evaluation.metrics import DRAWS, Floats


def drawn_by_ship(groups: Sequence[str], seed: int, draws: int = DRAWS) -> NDArray[np.float64]:
    """How often each of N chips counts in each bootstrap draw: (draws, N), whole numbers.

    groups  (N,) the ship of each chip; as many ships are drawn as there are, with replacement
    """
    names, member = np.unique(np.asarray(groups), return_inverse=True)
    drawn = np.random.default_rng(seed).choice(len(names), (draws, len(names)))
    times = np.stack([np.bincount(row, minlength=len(names)) for row in drawn])
    return times[:, member].astype(np.float64)


def drawn_one_by_one(count: int, seed: int, draws: int = DRAWS) -> NDArray[np.float64]:
    """`drawn_by_ship` of things that each stand for themselves: (draws, count)."""
    drawn = np.random.default_rng(seed).choice(count, (draws, count))
    return np.stack([np.bincount(row, minlength=count) for row in drawn]).astype(np.float64)


def mean_by_ship(values: ArrayLike, groups: Sequence[str], seed: int) -> Interval:
    """Mean of values (N,) with its interval; a share, where they are booleans."""
    return weighted_mean(values, drawn_by_ship(groups, seed))


def mean_of_ships(values: ArrayLike, groups: Sequence[str], seed: int) -> IntervalByShip:
    """Mean over ships of each ship's mean of values (N,), with its interval.

    A ship with many chips counts as one ship here, and by its chips in `mean_by_ship`.
    """
    names, member = np.unique(np.asarray(groups), return_inverse=True)
    numbers = np.asarray(values, dtype=np.float64)
    means = np.bincount(member, numbers) / np.bincount(member)
    return IntervalByShip(**dict(mean_by_ship(means, names.tolist(), seed)), ships=len(names))


def weighted_mean(values: ArrayLike, times: Floats) -> Interval:
    """Mean of values (N,) with the interval of the draws `times` (D, N)."""
    numbers = np.asarray(values, dtype=np.float64)
    return Interval.of(numbers.mean(), times @ numbers / times.sum(axis=1))


def auroc_of_draws(ships: Floats, times: Floats, ood: Floats, drawn: Floats) -> NDArray[np.float64]:
    """AUROC of each draw (D,): scikit-learn's roc_auc_score by sample_weight, all draws at once.

    ships (N,) and ood (M,) are scores, times (D, N) and drawn (D, M) how often each counts.
    """
    ordered = np.argsort(ships)
    upto = np.pad(np.cumsum(times[:, ordered], axis=1), ((0, 0), (1, 0)))
    lower, ties = (np.searchsorted(ships[ordered], ood, side) for side in ("left", "right"))
    below = (upto[:, lower] + upto[:, ties]) / 2
    area: NDArray[np.float64] = (below * drawn).sum(axis=1)
    area /= drawn.sum(axis=1) * times.sum(axis=1)
    return area
