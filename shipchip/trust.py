"""Logits and embeddings -> probabilities, prediction sets and out-of-distribution scores (numpy).

The constants come from the card's TrustSpec; training.evaluation.trust fits them on chips
held out from training.
"""

import math
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from shipchip.card import OodSpec, TrustSpec

Floats = NDArray[np.floating]

_ROUNDING = 1e-9  # of sums of shares: 0.9 * 10 must be 9, and not a little more


def probabilities(logits: Floats, temperature: float) -> NDArray[np.float64]:
    """Softmax of logits / temperature: (N, K) -> (N, K), rows sum to 1 (Guo et al. 2017)."""
    scaled = np.asarray(logits, dtype=np.float64) / temperature
    exp: NDArray[np.float64] = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    exp /= exp.sum(axis=1, keepdims=True)
    return exp


def prediction_sets(probs: Floats, quantiles: Floats) -> NDArray[np.bool_]:
    """Class-conditional conformal sets (Vovk 2012; Sadinle et al. 2019): (N, K) membership.

    Class k enters where 1 - p_k <= quantiles[k]. The most probable class always enters: an empty
    set would say less than the label, and adding to a set cannot lower its coverage.
    """
    probs = np.asarray(probs)
    member = 1.0 - probs <= np.asarray(quantiles)[None]
    member[np.arange(len(probs)), probs.argmax(axis=1)] = True
    return member


def conformal_quantile(scores: Floats, ships: NDArray[np.str_], coverage: float) -> float:
    """The smallest score that covers a chip of a new ship with probability `coverage`.

    scores  (N,) of held-out chips
    ships   (N,) the ship of each chip

    Chips of one ship are alike, so they are not N independent draws. Each of the S ships has weight
    1 / (S + 1), shared by its chips, and the new ship has the rest, at infinity: hierarchical
    conformal prediction (Lee, Barber & Willett 2023, arXiv 2306.06342). It assumes exchangeable
    ships, and nothing about the chips of one ship. With one chip per ship it is the usual
    ceil((N + 1) coverage)-th smallest score.

    Infinite, which includes everything, for fewer than `ships_needed` ships.
    """
    _, member, sizes = np.unique(ships, return_inverse=True, return_counts=True)
    scores = np.asarray(scores)
    order = np.argsort(scores)
    covered = np.cumsum(1.0 / sizes[member[order]])
    rank = int(np.searchsorted(covered, coverage * (len(sizes) + 1) - _ROUNDING))
    return math.inf if rank == len(order) else float(scores[order[rank]])


def ships_needed(coverage: float) -> int:
    """The least number of held-out ships for which `conformal_quantile` excludes anything.

    >>> ships_needed(0.9), ships_needed(0.95)
    (9, 19)
    """
    return math.ceil(coverage / (1.0 - coverage) - _ROUNDING)


class OodScorer:
    """Mahalanobis distance of embeddings under probabilistic PCA (Tipping & Bishop 1999).

    With P leading directions of variance v and noise variance s in the other D - P, the squared
    distance is sum(z_p^2 / v_p) + |residual|^2 / s; the score is its root over sqrt(D), so about 1
    for the chips it was fitted on, and higher for chips that are unlike them.
    """

    def __init__(self, spec: OodSpec) -> None:
        self.spec = spec

    @cached_property
    def _arrays(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        spec = self.spec
        mean = np.asarray(spec.mean, dtype=np.float64)
        components = np.asarray(spec.components, dtype=np.float64).reshape(-1, len(mean))
        return mean, components, np.asarray(spec.variances, dtype=np.float64)

    def __call__(self, embeddings: Floats) -> NDArray[np.float64]:
        """Scores (N,) of embeddings (N, D)."""
        mean, components, variances = self._arrays
        centred = np.asarray(embeddings, dtype=np.float64) - mean
        z = centred @ components.T
        residual = np.maximum((centred**2).sum(axis=1) - (z**2).sum(axis=1), 0.0)
        squared = (z**2 / variances).sum(axis=1) + residual / self.spec.noise_variance
        score: NDArray[np.float64] = np.sqrt(squared / len(mean))
        return score

    def in_distribution(self, scores: Floats) -> NDArray[np.bool_]:
        """Whether each score is within the threshold."""
        return np.asarray(scores) <= self.spec.threshold


class Trust:
    """A card's TrustSpec, applied to batches of model outputs."""

    def __init__(self, spec: TrustSpec) -> None:
        self.spec = spec
        self.score_ood = OodScorer(spec.ood)
        self._quantiles = np.asarray(spec.quantiles)

    def probabilities(self, logits: Floats) -> NDArray[np.float64]:
        """Calibrated probabilities (N, K)."""
        return probabilities(logits, self.spec.temperature)

    def prediction_sets(self, probs: Floats) -> NDArray[np.bool_]:
        """Conformal set membership (N, K) at the card's coverage."""
        return prediction_sets(probs, self._quantiles)
