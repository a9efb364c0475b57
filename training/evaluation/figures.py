"""A model file's predictions and the figures computed from them, as its card has them.

All predictions come from ShipClassifier, as in serving, so every figure describes the file that is
shipped. Nothing here makes a choice; training.evaluation.final_test passes in the test side.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from shipchip.card import SizeSpec
from shipchip.classifier import ShipClassifier
from training.card.schema import (
    AllOodFigures,
    Coverage,
    Interval,
    ModelFigures,
    OodFigures,
    OodReport,
    ReliabilityBins,
    SetFigures,
    SourceScore,
)
from training.data.record import Record
from training.evaluation.metrics import (
    BINS,
    Floats,
    Ints,
    Reliability,
    auroc_of_draws,
    drawn_by_ship,
    drawn_one_by_one,
    mean_by_ship,
    mean_of_ships,
    reliability,
    scores,
    weighted_mean,
)
from training.evaluation.sizes import measure_sizes

BATCH = 32
POOLED = "opensarship*"  # sources of one sensor and one labelling, so scored together, too
TWO = ("Cargo", "Tanker")  # the classes scored there: hardly any chip is Fishing
REFUSED = 0.90  # share of OOD chips that a threshold is to refuse


@dataclass(frozen=True, eq=False)
class ModelPredictions:
    """Predictions for N chips and K classes.

    probabilities    float64 (N, K), calibrated, rows sum to 1
    predicted        int64 (N,), the label, an index of the classes
    member           bool (N, K), the prediction sets
    ood_score        float64 (N,), higher is less like the training chips
    in_distribution  bool (N,), by the card's own threshold
    size             float32 (N, 2), length and width in metres; None if none are estimated
    """

    probabilities: NDArray[np.float64]
    predicted: Ints
    member: NDArray[np.bool_]
    ood_score: NDArray[np.float64]
    in_distribution: NDArray[np.bool_]
    size: NDArray[np.float32] | None = None

    @property
    def confidence(self) -> NDArray[np.float64]:
        """Probability (N,) of the label, 0..1."""
        return self.probabilities[np.arange(len(self.predicted)), self.predicted]

    @property
    def said(self) -> NDArray[np.float64]:
        """The confidence at the label and 0 elsewhere (N, K), for `metrics`.

        Metrics take the largest value of a row as the answer, but the label need not be the most
        probable class.
        """
        alone = np.zeros_like(self.probabilities)
        alone[np.arange(len(self.predicted)), self.predicted] = self.confidence
        return alone

    def where(self, keep: NDArray[np.bool_]) -> "ModelPredictions":
        """Those for which `keep` (N,) is true."""
        return ModelPredictions(
            self.probabilities[keep],
            self.predicted[keep],
            self.member[keep],
            self.ood_score[keep],
            self.in_distribution[keep],
            None if self.size is None else self.size[keep],
        )


@dataclass(frozen=True, eq=False)
class LabelledPredictions:
    """Predictions, true labels (N,) as indices into `classes`, and the ship of each (N,)."""

    predictions: ModelPredictions
    labels: Ints
    groups: NDArray[np.str_]
    classes: tuple[str, ...]

    def where(self, keep: NDArray[np.bool_]) -> "LabelledPredictions":
        """Those for which `keep` (N,) is true."""
        return LabelledPredictions(
            self.predictions.where(keep), self.labels[keep], self.groups[keep], self.classes
        )


def predict_chips(ships: ShipClassifier, inputs: NDArray[np.float32]) -> ModelPredictions:
    """A file's predictions for prepared chips (N, 1, S, S), in batches of BATCH."""
    runs = [
        ships.run(np.array(inputs[start : start + BATCH])) for start in range(0, len(inputs), BATCH)
    ]
    probabilities = ships.trust.probabilities(np.concatenate([run.logits for run in runs]))
    scores = ships.trust.score_ood(np.concatenate([run.embedding for run in runs]))
    sizes = [run.size for run in runs if run.size is not None]
    return ModelPredictions(
        probabilities,
        probabilities.argmax(axis=1),
        ships.trust.prediction_sets(probabilities),
        scores,
        ships.trust.score_ood.in_distribution(scores),
        np.concatenate(sizes) if sizes else None,
    )


def measure(
    marked: LabelledPredictions,
    records: Sequence[Record],
    others: Mapping[str, ModelPredictions] | None,
    seed: int,
    size: SizeSpec | None = None,
) -> ModelFigures:
    """The figures of a card.

    records  the N chips' records, for their sources and sizes
    others   kind -> predictions for chips that show no ship; None if none are given
    size     the card's, if the file estimates sizes
    """
    estimates = marked.predictions.size
    sources = {}
    for name, part in by_source(marked, records).items():
        sources[name] = _score(part, seed)
        two = two_classes(part) if fnmatch(name, POOLED) else None
        if two:
            sources[name] = sources[name].model_copy(
                update={"cargo_and_tanker": _macro_f1(two, seed)}
            )
    one = pooled(marked, records)
    return ModelFigures(
        sources=sources,
        pooled=_score(one, seed) if one else None,
        sets=sets(marked, seed),
        out_of_distribution=None if others is None else ood_figures(marked, others, seed),
        sizes=None
        if size is None or estimates is None
        else measure_sizes(estimates, records, size, seed),
    )


def by_source(
    marked: LabelledPredictions, records: Sequence[Record]
) -> dict[str, LabelledPredictions]:
    """Source name -> its chips, by name."""
    names = np.array([record.source for record in records])
    return {name: marked.where(names == name) for name in sorted(set(names.tolist()))}


def pooled(marked: LabelledPredictions, records: Sequence[Record]) -> LabelledPredictions | None:
    """Cargo and Tanker chips of the sources that POOLED names; None if either is missing."""
    kept = [fnmatch(record.source, POOLED) for record in records]
    return two_classes(marked.where(np.array(kept, dtype=bool)))


def two_classes(marked: LabelledPredictions) -> LabelledPredictions | None:
    """The chips whose class is one of TWO; None if either has no chip."""
    wanted = [marked.classes.index(name) for name in TWO]
    kept = marked.where(np.isin(marked.labels, wanted))
    return kept if set(wanted) == set(kept.labels.tolist()) else None


def _macro_f1(marked: LabelledPredictions, seed: int) -> Interval:
    said, groups = marked.predictions.said, list(marked.groups)
    return scores(said, marked.labels, groups, marked.classes, seed).headline.macro_f1


def _score(marked: LabelledPredictions, seed: int) -> SourceScore:
    given, groups = marked.predictions, list(marked.groups)
    return SourceScore(
        **dict(scores(given.said, marked.labels, groups, marked.classes, seed)),
        ece_floor=calibration_floor(given.confidence),
        reliability=reliability_bins(given.said, marked.labels),
        sets=sets(marked, seed),
        refused=mean_by_ship(~given.in_distribution, groups, seed),
    )


def sets(marked: LabelledPredictions, seed: int) -> SetFigures:
    """Coverage of the classes that are present, and mean size of the sets.

    Coverage counts chips; its `by_ship` is what the sets are fitted for.
    """
    member, labels, groups = marked.predictions.member, marked.labels, marked.groups
    held = member[np.arange(len(labels)), labels]
    coverage = {
        name: Coverage(
            **dict(mean_by_ship(held[labels == k], list(groups[labels == k]), seed)),
            chips=int((labels == k).sum()),
            by_ship=mean_of_ships(held[labels == k], list(groups[labels == k]), seed),
        )
        for k, name in enumerate(marked.classes)
        if (labels == k).any()
    }
    return SetFigures(
        coverage=coverage, mean_size=mean_by_ship(member.sum(axis=1), list(groups), seed)
    )


def ood_figures(
    marked: LabelledPredictions, others: Mapping[str, ModelPredictions], seed: int
) -> OodReport:
    """How well the score separates OOD chips from ships; both are resampled."""
    ships, times = marked.predictions, drawn_by_ship(list(marked.groups), seed)
    score = np.concatenate([one.ood_score for one in others.values()])
    known = np.concatenate([one.in_distribution for one in others.values()])
    return OodReport(
        kinds={
            kind: _kind(ships.ood_score, times, one.ood_score, one.in_distribution, seed)
            for kind, one in others.items()
        },
        all=AllOodFigures(
            **dict(_kind(ships.ood_score, times, score, known, seed)),
            ships_refused=weighted_mean(~ships.in_distribution, times),
            ships_refused_at_90=_refused_with(ships.ood_score, times, score, seed),
        ),
    )


def _kind(
    ships: Floats, times: Floats, ood: Floats, known: NDArray[np.bool_], seed: int
) -> OodFigures:
    is_ood = np.repeat([0, 1], [len(ships), len(ood)])
    value = roc_auc_score(is_ood, np.concatenate([ships, ood]))
    drawn = drawn_one_by_one(len(ood), seed)
    return OodFigures(
        chips=len(ood),
        auroc=Interval.of(value, auroc_of_draws(ships, times, ood, drawn)),
        refused=weighted_mean(~known, drawn),
    )


def _refused_with(ships: Floats, times: Floats, ood: Floats, seed: int) -> Interval:
    """Share of ships that score as high as the threshold that refuses REFUSED of OOD chips."""
    descending = np.sort(ood)[::-1]
    # Drawn from sorted scores, which is as random as from unsorted ones.
    drawn = drawn_one_by_one(len(ood), seed)
    once = np.ones((1, len(ood)))
    # Rounded: a hundredth of a chip too many must not ask for one OOD chip more.
    enough = np.cumsum(np.vstack([once, drawn]), axis=1) >= round(REFUSED * len(ood), 9)
    at_least = descending[enough.argmax(axis=1)]
    refused = ships >= at_least[:, None]
    shares = (times * refused[1:]).sum(axis=1) / times.sum(axis=1)
    return Interval.of(refused[0].mean(), shares)


def calibration_floor(confidence: Floats, bins: int = BINS) -> float:
    """Mean ECE of a perfectly calibrated model whose answers are as confident as these, 0..1.

    confidence  (N,) probability of each answer, 0..1
    Such a model is right with the probability that it claims, each answer a Bernoulli variable, so
    the right answers of a bin are Poisson-binomial; the mean is exact, where draws would only come
    near it. Bins are those of `metrics.expected_calibration_error`.
    """
    confidence = np.asarray(confidence, dtype=np.float64)
    which = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    gaps = [_mean_gap(confidence[which == one]) for one in range(bins)]
    return float(sum(gaps) / len(confidence))


def _mean_gap(chances: NDArray[np.float64]) -> float:
    """Mean of |right answers - their expected number| for independent answers (n,)."""
    share = np.ones(1)  # of having 0, 1, 2 ... right answers
    for chance in chances:
        share = np.convolve(share, (1 - chance, chance))
    return float(share @ np.abs(np.arange(len(share)) - chances.sum()))


def reliability_bins(probs: Floats, labels: NDArray[np.int64]) -> ReliabilityBins:
    """`metrics.reliability` of probs (N, K) as a card keeps it."""
    table = reliability(probs, labels)
    return ReliabilityBins(
        confidence=_without_nan(table.confidence),
        accuracy=_without_nan(table.accuracy),
        answers=tuple(int(n) for n in table.answers),
    )


def reliability_of(bins: ReliabilityBins) -> Reliability:
    """The inverse of `reliability_bins`."""
    confidence, accuracy = (
        np.array([np.nan if value is None else value for value in values])
        for values in (bins.confidence, bins.accuracy)
    )
    return Reliability(confidence, accuracy, np.array(bins.answers))


def _without_nan(values: Floats) -> tuple[float | None, ...]:
    return tuple(None if np.isnan(value) else float(value) for value in values)
