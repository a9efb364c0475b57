"""THE TEST SIDE IS READ HERE, and nowhere else in the project.

Every choice (weights, epoch, temperature, prediction sets, threshold) is made on the training and
validation sides before these functions are called, and nothing that they return flows back into a
choice. tests/training/test_run.py trains again with noise in place of the test chips: every choice
must stay the same.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shipchip.classifier import ShipClassifier
from training.evaluation import Answers, Marked, answers, measure
from training.loop import evaluate
from training.models import ChipNet
from training.sides import SealedTest
from training.smaller import loss
from training.store import Prepared


def final_logits(model: ChipNet, sealed: SealedTest) -> NDArray[np.float32]:
    """Logits (N, K) of a finished model on the test chips."""
    logits, _ = evaluate(model, sealed.break_seal().inputs)
    return logits


def final_chips(sealed: SealedTest) -> Prepared:
    """The test chips themselves, to score, to compare an exported file on, and to show mistakes."""
    return sealed.break_seal()


def measure_file(
    ships: ShipClassifier,
    sealed: SealedTest,
    others: Mapping[str, NDArray[np.float32]] | None,
    seed: int,
) -> dict[str, Any]:
    """The figures of a finished file for its card (see evaluation.measure), on the test chips.

    others  kind -> prepared chips (N, 1, S, S) that show no ship; None where there are none
    """
    chips = sealed.break_seal()
    marked = _marked(answers(ships, chips.inputs), chips)
    strange = None if others is None else {k: answers(ships, c) for k, c in others.items()}
    return measure(marked, chips.records, strange, seed)


def lost_by(
    smaller: ShipClassifier, ships: ShipClassifier, sealed: SealedTest, seed: int
) -> dict[str, Any]:
    """Macro-F1 that `smaller` loses against `ships`, from which it was made (see smaller.loss)."""
    chips = sealed.break_seal()
    less, more = (_marked(answers(file, chips.inputs), chips) for file in (smaller, ships))
    return loss(less, more, chips.records, seed)


def _marked(given: Answers, chips: Prepared) -> Marked:
    groups = np.array([record.group for record in chips.records])
    return Marked(given, chips.labels, groups, chips.classes)
