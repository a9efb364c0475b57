"""The floor of the ECE for few chips, and reliability bins for a card.

The expected calibration error of few answers is never 0: each bin's accuracy differs from its
confidence by chance, and ECE adds the absolute differences. So an ECE is reported beside that of a
perfectly calibrated model (Roelofs et al. 2022 on the bias of ECE).
"""

import numpy as np
from numpy.typing import NDArray

from training.card.schema import ReliabilityBins
from training.evaluation.metrics import BINS, Floats, Reliability, reliability


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
