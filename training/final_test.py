"""THE TEST SIDE IS READ HERE, and nowhere else in the project.

Every choice (weights, epoch, temperature, prediction sets, threshold) is made on the training and
validation sides before these functions are called, and nothing that they return flows back into a
choice. tests/training/test_final_test.py fails where another module breaks the seal.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from shipchip.trust import probabilities
from training.loop import evaluate
from training.metrics import scores
from training.models import ChipNet
from training.sides import SealedTest
from training.store import Prepared


def final_logits(model: ChipNet, sealed: SealedTest) -> NDArray[np.float32]:
    """Logits (N, K) of a finished model on the test chips."""
    logits, _ = evaluate(model, sealed.break_seal().inputs)
    return logits


def final_chips(sealed: SealedTest) -> Prepared:
    """The test chips themselves, to score, to compare an exported file on, and to show mistakes."""
    return sealed.break_seal()


def score_sources(
    logits: NDArray[np.float32], temperature: float, sealed: SealedTest, seed: int
) -> dict[str, dict[str, Any]]:
    """Scores of each source over the classes it has; never pooled, or the sensor gives the class
    away."""
    chips = sealed.break_seal()
    probs = probabilities(logits, temperature)
    names = np.array([record.source for record in chips.records])
    groups = np.array([record.group for record in chips.records])
    return {
        name: scores(
            probs[names == name],
            chips.labels[names == name],
            list(groups[names == name]),
            chips.classes,
            seed,
        )
        for name in sorted(set(names.tolist()))
    }
