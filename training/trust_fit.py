"""Fits the constants of shipchip.trust on validation chips: see TrustSpec for what they mean."""

import numpy as np
from numpy.typing import NDArray

from shipchip.card import OodSpec, TrustSpec
from shipchip.trust import OodScorer, conformal_quantile, probabilities

_COMPONENTS = 32
_TEMPERATURES = np.geomspace(0.25, 10.0, 200)


def fit_trust(
    train_embeddings: NDArray[np.floating],
    validation_logits: NDArray[np.floating],
    validation_embeddings: NDArray[np.floating],
    labels: NDArray[np.int64],
    coverage: float,
) -> TrustSpec:
    """TrustSpec from embeddings (M, D) of training chips, and logits (N, K), embeddings (N, D)
    and labels (N,) of validation chips."""
    temperature = fit_temperature(validation_logits, labels)
    probs = probabilities(validation_logits, temperature)
    wrongness = 1.0 - probs[np.arange(len(labels)), labels]
    quantiles = tuple(
        conformal_quantile(wrongness[labels == k], coverage) for k in range(probs.shape[1])
    )
    ood = fit_ood(train_embeddings, validation_embeddings)
    return TrustSpec(temperature=temperature, coverage=coverage, quantiles=quantiles, ood=ood)


def fit_temperature(logits: NDArray[np.floating], labels: NDArray[np.int64]) -> float:
    """The temperature of least negative log-likelihood on a fine grid (Guo et al. 2017)."""
    rows = np.arange(len(labels))
    losses = [
        -np.log(np.maximum(probabilities(logits, t)[rows, labels], 1e-12)).mean()
        for t in _TEMPERATURES
    ]
    return float(_TEMPERATURES[int(np.argmin(losses))])


def fit_ood(
    train: NDArray[np.floating], validation: NDArray[np.floating], keep: float = 0.95
) -> OodSpec:
    """Probabilistic PCA of training embeddings (M, D); `keep` of validation stays within."""
    mean = train.mean(axis=0, dtype=np.float64)
    centred = train - mean
    count = min(_COMPONENTS, train.shape[1] - 1, len(train) - 1)
    _, singular, directions = np.linalg.svd(centred, full_matrices=False)
    variances = singular**2 / max(1, len(train) - 1)
    floor = 1e-8 * float(variances[0]) + 1e-12
    noise = float(variances[count:].sum() / (train.shape[1] - count))
    spec = OodSpec(
        mean=tuple(float(v) for v in mean),
        components=tuple(tuple(float(v) for v in row) for row in directions[:count]),
        variances=tuple(max(floor, float(v)) for v in variances[:count]),
        noise_variance=max(floor, noise),
        threshold=0.0,
    )
    scores = OodScorer(spec)(validation)
    return spec.model_copy(update={"threshold": float(np.quantile(scores, keep))})
