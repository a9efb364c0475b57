"""Fits temperature, conformal quantiles and OOD model on held-out chips; see TrustSpec."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shipchip.card import OodSpec, TrustSpec
from shipchip.trust import OodScorer, conformal_quantile, probabilities
from training.card.schema import HeldOutCount

_COMPONENTS = 128
_KEPT = 0.95  # share of held-out chips that counts as in distribution
_ROUNDING = 1e-9  # an interval is never empty, even if all estimates were exact
_TEMPERATURES = np.geomspace(0.25, 10.0, 200)


@dataclass(frozen=True, eq=False)
class HeldOut:
    """A network's output for chips that it was not trained on.

    trained     embeddings float32 (M, D) of the chips it was trained on
    logits      float32 (N, K) of the chips held out
    embeddings  float32 (N, D) of them
    labels      int64 (N,) of them
    sources     (N,) names of their sources
    ships       (N,) the ship of each, or its proxy group
    size_errors float64 (M, 2), of held-out chips of known size: |log(estimate / truth)| of length
                and width; None if no sizes are estimated
    sized_ships (M,) the ship of each of these
    """

    trained: NDArray[np.float32]
    logits: NDArray[np.float32]
    embeddings: NDArray[np.float32]
    labels: NDArray[np.int64]
    sources: NDArray[np.str_]
    ships: NDArray[np.str_]
    size_errors: NDArray[np.float64] | None = None
    sized_ships: NDArray[np.str_] | None = None


def fit_trust(
    held_out: Sequence[HeldOut], embeddings: NDArray[np.floating], coverage: float
) -> TrustSpec:
    """TrustSpec from chips held out, and embeddings (M, D) of the chips the model was trained on.

    Several held-out parts, each of its own network, are pooled: their logits are comparable. Their
    embeddings are not, so OOD scores are computed in each part with its own network.

    A class's prediction sets are made for a chip of a new ship of that class, from any source in
    the proportion in which the held-out ships come from it (see conformal_quantile).
    """
    logits = np.concatenate([part.logits for part in held_out])
    labels = np.concatenate([part.labels for part in held_out])
    sources = np.concatenate([part.sources for part in held_out])
    ships = np.concatenate([part.ships for part in held_out])
    temperature = fit_temperature(logits, labels, alike(sources))
    probs = probabilities(logits, temperature)
    wrongness = 1.0 - probs[np.arange(len(labels)), labels]
    quantiles = tuple(
        min(1.0, conformal_quantile(wrongness[labels == k], ships[labels == k], coverage))
        for k in range(probs.shape[1])
    )
    ood_scores = [OodScorer(fit_ood(part.trained))(part.embeddings) for part in held_out]
    threshold = float(np.quantile(np.concatenate(ood_scores), _KEPT))
    ood = fit_ood(embeddings).model_copy(update={"threshold": threshold})
    return TrustSpec(temperature=temperature, coverage=coverage, quantiles=quantiles, ood=ood)


def size_factors(held_out: Sequence[HeldOut], coverage: float) -> tuple[float, float] | None:
    """The factors of length and width by which intervals reach up and down (see card.SizeSpec).

    They hold the size of a new ship with probability `coverage`. None if there are too few ships
    of known size to say so.
    """
    parts = [part for part in held_out if part.size_errors is not None]
    if len(parts) < len(held_out) or not parts:
        return None
    errors = np.concatenate([part.size_errors for part in parts if part.size_errors is not None])
    ships = np.concatenate([part.sized_ships for part in parts if part.sized_ships is not None])
    length, width = (conformal_quantile(errors[:, k], ships, coverage) for k in (0, 1))
    if not math.isfinite(length + width):
        return None
    return math.exp(length) + _ROUNDING, math.exp(width) + _ROUNDING


def held_out_counts(held_out: Sequence[HeldOut], classes: Sequence[str]) -> dict[str, HeldOutCount]:
    """class -> what its prediction sets are fitted on."""
    labels = np.concatenate([part.labels for part in held_out])
    ships = np.concatenate([part.ships for part in held_out])
    return {
        name: HeldOutCount(ships=len(np.unique(ships[labels == k])), chips=int((labels == k).sum()))
        for k, name in enumerate(classes)
    }


def alike(sources: NDArray[np.str_]) -> NDArray[np.float64]:
    """Weights (N,), summing to 1, that weigh all sources equally."""
    _, member, sizes = np.unique(sources, return_inverse=True, return_counts=True)
    return np.asarray(1.0 / (sizes[member] * len(sizes)))


def fit_temperature(
    logits: NDArray[np.floating],
    labels: NDArray[np.int64],
    weights: NDArray[np.float64] | None = None,
) -> float:
    """The temperature of least negative log-likelihood on a fine grid (Guo et al. 2017).

    weights  (N,) of the chips; None weighs them equally
    """
    rows = np.arange(len(labels))

    def loss(temperature: float) -> float:
        right = probabilities(logits, temperature)[rows, labels]
        return float(np.average(-np.log(np.maximum(right, 1e-12)), weights=weights))

    losses = [loss(temperature) for temperature in _TEMPERATURES]
    return float(_TEMPERATURES[int(np.argmin(losses))])


def fit_ood(train: NDArray[np.floating]) -> OodSpec:
    """Probabilistic PCA of training embeddings (M, D). The threshold is 0 until held-out chips set
    it."""
    mean = train.mean(axis=0, dtype=np.float64)
    centred = train - mean
    count = min(_COMPONENTS, train.shape[1] - 1, len(train) - 1)
    _, singular, directions = np.linalg.svd(centred, full_matrices=False)
    variances = singular**2 / max(1, len(train) - 1)
    floor = 1e-8 * float(variances[0]) + 1e-12
    noise = float(variances[count:].sum() / (train.shape[1] - count))
    return OodSpec(
        mean=tuple(float(v) for v in mean),
        components=tuple(tuple(float(v) for v in row) for row in directions[:count]),
        variances=tuple(max(floor, float(v)) for v in variances[:count]),
        noise_variance=max(floor, noise),
        threshold=0.0,
    )
