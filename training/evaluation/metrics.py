"""Scores over the classes that are present, with intervals resampled by ship and by seed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn import metrics as sklearn_metrics

from training.card.schema import (
    ClassFigures,
    ClassIntervals,
    Headline,
    HeadlineSpread,
    Interval,
    IntervalByShip,
    Score,
    Spread,
)

Ints = NDArray[np.int64]
Floats = NDArray[np.floating]
DRAWS = 500
BINS = 10
_BY_CLASS = ("precision", "recall", "f1")


def present(labels: Ints) -> list[int]:
    """The classes in `labels`, the only ones that metrics are over."""
    return sorted({int(k) for k in labels})


def macro_f1(labels: Ints, predicted: Ints) -> float:
    """Mean F1 over the classes present; a class never predicted counts 0."""
    here = present(labels)
    f1 = sklearn_metrics.f1_score(labels, predicted, labels=here, average="macro", zero_division=0)
    return float(f1)


def balanced_accuracy(labels: Ints, predicted: Ints) -> float:
    """Mean recall over the classes present."""
    return float(np.mean([(predicted[labels == k] == k).mean() for k in present(labels)]))


class Reliability(NamedTuple):
    """What a reliability diagram shows, over B equal-width bins of confidence.

    confidence, accuracy   (B,) means of the bin's answers, NaN if it has none
    answers                (B,) how many they are
    """

    confidence: Floats
    accuracy: Floats
    answers: Ints


def reliability(probs: Floats, labels: Ints, bins: int = BINS) -> Reliability:
    """Confidence against accuracy (Guo et al. 2017) of probs (N, K), or (R, N, K) of R seeds,
    whose answers are pooled; labels (N,)."""
    confidence, correct, which = (a.ravel() for a in _confidence(_runs(probs), labels, bins))
    count = np.bincount(which, minlength=bins)
    sums = [np.bincount(which, part, bins) for part in (confidence, correct)]
    means = [np.divide(s, count, out=np.full(bins, np.nan), where=count > 0) for s in sums]
    return Reliability(means[0], means[1], count)


def expected_calibration_error(probs: Floats, labels: Ints, bins: int = BINS) -> float:
    """ECE over equal-width bins (Naeini et al. 2015; Guo et al. 2017), 0..1; probs (N, K)."""
    table = reliability(probs, labels, bins)
    gaps = np.nan_to_num(np.abs(table.accuracy - table.confidence))
    return float(np.average(gaps, weights=table.answers))


def balanced_nll(probs: Floats, labels: Ints, cells: Sequence[Any]) -> float:
    """Mean over cells (source and class, say) of the mean negative log-likelihood in each."""
    loss = -np.log(np.maximum(probs[np.arange(len(labels)), labels], 1e-12))
    by_cell: dict[Any, list[float]] = {}
    for cell, value in zip(cells, loss, strict=True):
        by_cell.setdefault(cell, []).append(float(value))
    return float(np.mean([np.mean(values) for values in by_cell.values()]))


def scores(
    probs: Floats, labels: Ints, groups: Sequence[str], classes: Sequence[str], seed: int = 0
) -> Score:
    """All scores of one test set: of one model, or of its R seeds.

    probs (N, K) or (R, N, K), rows summing to 1; labels (N,) index classes; groups (N,) are the
    ships of the chips. A figure is the mean over the seeds. Intervals resample ships, because chips
    of one ship are not independent, and seeds with them (R seeds drawn from R have (R - 1) / R of
    their variance).
    """
    runs = _runs(probs)
    here = present(labels)
    each = [_headline(run, labels) for run in runs]
    of_seed = {name: [one[name] for one in each] for name in each[0]}
    confusion = _confusion(runs, labels, np.zeros_like(labels))[:, 0]
    whole = figures(confusion, here)
    sample = _Draws.of(labels, groups, len(runs), seed).figures(runs, labels)
    means = [{n: float(whole[n][:, i].mean()) for n in _BY_CLASS} for i in range(len(here))]
    chips = np.bincount(labels)
    return Score(
        chips=len(labels),
        ships=len(set(groups)),
        seeds=len(runs),
        classes=tuple(classes[k] for k in here),
        absent=tuple(name for k, name in enumerate(classes) if k not in here),
        headline=Headline(**{n: Interval.of(np.mean(v), sample[n]) for n, v in of_seed.items()}),
        spread=HeadlineSpread(**{name: _spread(values) for name, values in of_seed.items()}),
        majority_macro_f1=macro_f1(labels, np.full_like(labels, chips.argmax())),
        by_class={
            classes[k]: ClassFigures(**means[i], chips=int(chips[k])) for i, k in enumerate(here)
        },
        by_class_intervals={
            classes[k]: ClassIntervals(
                **{n: Interval.of(means[i][n], sample[n][:, i]) for n in _BY_CLASS}
            )
            for i, k in enumerate(here)
        },
        confusion=tuple(map(tuple, confusion.sum(axis=0).astype(int).tolist())),
    )


def paired_difference(
    before: Floats,
    after: Floats,
    labels: Ints,
    groups: Sequence[str],
    seed: int = 0,
    of_class: int | None = None,
) -> Interval:
    """Macro-F1 of `after` less that of `before`, or the F1 of one class, on the same chips.

    Both (N, K), or (R, N, K) of the same seeds; ValueError if the shapes differ or the class is
    absent. The interval resamples the same ships and seeds for both (paired bootstrap).
    """
    pair = [_runs(before), _runs(after)]
    if pair[0].shape != pair[1].shape:
        raise ValueError(f"not the same chips and seeds: {pair[0].shape} and {pair[1].shape}")
    draws, here = _Draws.of(labels, groups, len(pair[0]), seed), present(labels)

    def chosen(table: Mapping[str, Floats]) -> Floats:
        return table["macro_f1"] if of_class is None else table["f1"][:, here.index(of_class)]

    one_ship = np.zeros_like(labels)
    whole = [chosen(figures(_confusion(runs, labels, one_ship)[:, 0], here)) for runs in pair]
    drawn = [chosen(draws.figures(runs, labels)) for runs in pair]
    return Interval.of(whole[1].mean() - whole[0].mean(), drawn[1] - drawn[0])


def figures(confusion: Floats, here: Sequence[int]) -> dict[str, NDArray[np.float64]]:
    """Figures of many confusion matrices (..., K, K) at once, rows the truth, over classes `here`.

    accuracy, weighted_f1, macro_f1, balanced_accuracy are (...); precision, recall, f1 are
    (..., len(here)). A class that is never predicted has
    precision 0, as scikit-learn's zero_division=0.
    """
    confusion = np.asarray(confusion, dtype=np.float64)
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)[..., here]
    true, said = confusion.sum(axis=-1)[..., here], confusion.sum(axis=-2)[..., here]
    f1 = 2 * hits / np.maximum(true + said, 1)
    recall, total = hits / np.maximum(true, 1), true.sum(axis=-1)
    return {
        "accuracy": hits.sum(axis=-1) / total,
        "weighted_f1": (f1 * true).sum(axis=-1) / total,
        "macro_f1": f1.mean(axis=-1),
        "balanced_accuracy": recall.mean(axis=-1),
        "precision": hits / np.maximum(said, 1),
        "recall": recall,
        "f1": f1,
    }


@dataclass(frozen=True, eq=False)
class _Draws:
    """Bootstrap draws of ships and seeds together.

    member  (N,) number of the ship of each chip
    ships   (D, G) how often each ship was drawn; draws that lost a class are left out
    seeds   (D, R) share of each seed in a draw, rows sum to 1
    """

    member: Ints
    ships: Floats
    seeds: Floats

    @classmethod
    def of(cls, labels: Ints, groups: Sequence[str], runs: int, seed: int) -> "_Draws":
        """Equal labels, groups and seed give equal draws, whatever model is scored."""
        names, member = np.unique(np.asarray(groups), return_inverse=True)
        rng = np.random.default_rng(seed)
        ships = _times_drawn(rng.choice(len(names), (DRAWS, len(names))), len(names))
        seeds = _times_drawn(rng.choice(runs, (DRAWS, runs)), runs) / runs
        held = np.zeros((len(names), int(labels.max()) + 1))
        np.add.at(held, (member, labels), 1)
        whole = (ships @ held[:, present(labels)] > 0).all(axis=1)
        return cls(member, ships[whole], seeds[whole])

    def figures(self, runs: Floats, labels: Ints) -> Mapping[str, NDArray[np.float64]]:
        """`figures` and "ece" of each draw of runs (R, N, K), mean over its seeds: (D, ...).

        Counts are added up ship by ship once, so that a draw is a weighted sum of them.
        """
        counts = _confusion(runs, labels, self.member)
        sample = figures(np.tensordot(self.ships, counts, (1, 1)), present(labels))
        confidence, correct, which = _confidence(runs, labels, BINS)
        gaps = np.zeros((*counts.shape[:2], BINS))
        np.add.at(gaps, (np.arange(len(runs))[:, None], self.member, which), correct - confidence)
        chips = self.ships @ np.bincount(self.member)
        gaps = np.tensordot(self.ships, gaps, (1, 1))
        sample["ece"] = np.abs(gaps).sum(axis=-1) / chips[:, None]
        return {name: np.einsum("dr,dr...->d...", self.seeds, v) for name, v in sample.items()}


def _times_drawn(drawn: Ints, size: int) -> NDArray[np.float64]:
    return np.stack([np.bincount(row, minlength=size) for row in drawn]).astype(np.float64)


def _confusion(runs: Floats, labels: Ints, member: Ints) -> NDArray[np.float64]:
    """Confusion counts (R, G, K, K) of runs (R, N, K) by ship, rows the truth."""
    counts = np.zeros((len(runs), int(member.max()) + 1, runs.shape[2], runs.shape[2]))
    np.add.at(counts, (np.arange(len(runs))[:, None], member, labels, runs.argmax(axis=2)), 1)
    return counts


def _runs(probs: Floats) -> Floats:
    return probs.reshape(-1, *probs.shape[-2:])


def _confidence(runs: Floats, labels: Ints, bins: int) -> tuple[Floats, NDArray[np.bool_], Ints]:
    """Of runs (R, N, K): the probability of each answer, whether it is right, its bin; (R, N)."""
    confidence = runs.max(axis=2)
    which = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    return confidence, runs.argmax(axis=2) == labels, which


def _spread(values: Sequence[float]) -> Spread:
    sd = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    return Spread(low=min(values), high=max(values), sd=sd)


def _headline(probs: Floats, labels: Ints) -> dict[str, float]:
    predicted = probs.argmax(axis=1)
    _, recall, f1, support = sklearn_metrics.precision_recall_fscore_support(
        labels, predicted, labels=present(labels), zero_division=0
    )
    return {
        "accuracy": float((predicted == labels).mean()),
        "weighted_f1": float(np.average(f1, weights=support)),
        "macro_f1": float(f1.mean()),
        "balanced_accuracy": float(recall.mean()),
        "ece": expected_calibration_error(probs, labels),
    }


def drawn_by_ship(groups: Sequence[str], seed: int, draws: int = DRAWS) -> NDArray[np.float64]:
    """How often each of N chips counts in each bootstrap draw: (draws, N), whole numbers.

    groups  (N,) the ship of each chip; as many ships are drawn as there are, with replacement
    """
    names, member = np.unique(np.asarray(groups), return_inverse=True)
    drawn = np.random.default_rng(seed).choice(len(names), (draws, len(names)))
    return _times_drawn(drawn, len(names))[:, member]


def drawn_one_by_one(count: int, seed: int, draws: int = DRAWS) -> NDArray[np.float64]:
    """`drawn_by_ship` of things that are each a ship of its own: (draws, count)."""
    return _times_drawn(np.random.default_rng(seed).choice(count, (draws, count)), count)


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
