"""Scores over the classes that are present, with intervals resampled by ship."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    f1_score,
    precision_recall_fscore_support,
)

Ints = NDArray[np.int64]
Floats = NDArray[np.floating]


def present(labels: Ints) -> list[int]:
    """The classes that stand in `labels`: metrics are over these and no others."""
    return sorted({int(k) for k in labels})


def macro_f1(labels: Ints, predicted: Ints) -> float:
    """Mean F1 over the classes present; a class never predicted counts 0."""
    return float(
        f1_score(labels, predicted, labels=present(labels), average="macro", zero_division=0)
    )


def balanced_accuracy(labels: Ints, predicted: Ints) -> float:
    """Mean recall over the classes present."""
    return float(np.mean([(predicted[labels == k] == k).mean() for k in present(labels)]))


def expected_calibration_error(probs: Floats, labels: Ints, bins: int = 10) -> float:
    """ECE over equal-width bins of confidence (Naeini et al. 2015; Guo et al. 2017), 0..1.

    probs (N, K) rows summing to 1, labels (N,).
    """
    confidence, correct = probs.max(axis=1), probs.argmax(axis=1) == labels
    which = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = [
        abs(correct[which == b].mean() - confidence[which == b].mean()) * (which == b).mean()
        for b in range(bins)
        if (which == b).any()
    ]
    return float(sum(gaps))


def balanced_nll(probs: Floats, labels: Ints, cells: Sequence[Any]) -> float:
    """Mean over cells (source and class, say) of the mean negative log-likelihood in each."""
    loss = -np.log(np.maximum(probs[np.arange(len(labels)), labels], 1e-12))
    by_cell: dict[Any, list[float]] = {}
    for cell, value in zip(cells, loss, strict=True):
        by_cell.setdefault(cell, []).append(float(value))
    return float(np.mean([np.mean(values) for values in by_cell.values()]))


def scores(
    probs: Floats, labels: Ints, groups: Sequence[str], classes: Sequence[str], seed: int = 0
) -> dict[str, Any]:
    """Everything that a report says of one test set.

    Each figure of `headline` is {"value", "low", "high"}: a 95 % bootstrap interval, resampled by
    group because chips of one ship are not independent.
    """
    predicted = probs.argmax(axis=1)
    here = present(labels)
    precision, recall, f1, support = precision_recall_fscore_support(
        labels, predicted, labels=here, zero_division=0
    )
    majority = np.full_like(labels, np.bincount(labels).argmax())
    return {
        "chips": len(labels),
        "ships": len(set(groups)),
        "classes": [classes[k] for k in here],
        "absent": [name for k, name in enumerate(classes) if k not in here],
        "headline": _intervals(probs, labels, groups, seed),
        "majority_macro_f1": macro_f1(labels, majority),
        "by_class": {
            classes[k]: {
                "precision": float(precision[i]),
                "recall": float(recall[i]),
                "f1": float(f1[i]),
                "chips": int(support[i]),
            }
            for i, k in enumerate(here)
        },
        "confusion": confusion_matrix(labels, predicted, labels=range(len(classes))).tolist(),
    }


def _intervals(
    probs: Floats, labels: Ints, groups: Sequence[str], seed: int, draws: int = 500
) -> dict[str, dict[str, float]]:
    values = _headline(probs, labels)
    members: dict[str, list[int]] = {}
    for row, group in enumerate(groups):
        members.setdefault(group, []).append(row)
    names = sorted(members)
    rng = np.random.default_rng(seed)
    sample: dict[str, list[float]] = {name: [] for name in values}
    for _ in range(draws):
        drawn = rng.choice(len(names), len(names))
        rows = np.concatenate([members[names[d]] for d in drawn])
        if set(present(labels[rows])) != set(present(labels)):
            continue
        for name, value in _headline(probs[rows], labels[rows]).items():
            sample[name].append(value)
    return {
        name: {
            "value": value,
            "low": float(np.percentile(sample[name], 2.5)) if sample[name] else value,
            "high": float(np.percentile(sample[name], 97.5)) if sample[name] else value,
        }
        for name, value in values.items()
    }


def _headline(probs: Floats, labels: Ints) -> dict[str, float]:
    predicted = probs.argmax(axis=1)
    weighted = f1_score(
        labels, predicted, labels=present(labels), average="weighted", zero_division=0
    )
    return {
        "accuracy": float(accuracy_score(labels, predicted)),
        "weighted_f1": float(weighted),
        "macro_f1": macro_f1(labels, predicted),
        "balanced_accuracy": balanced_accuracy(labels, predicted),
        "ece": expected_calibration_error(probs, labels),
    }
