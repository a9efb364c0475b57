"""THE TEST SIDE IS READ HERE, and nowhere else in the project.

Every choice (weights, epoch, temperature, prediction sets, threshold) is made on the training and
validation sides before these functions are called, and nothing that they return flows back into a
choice. tests/training/test_run.py trains again with noise in place of the test chips: every choice
must stay the same.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from shipchip.classifier import ShipClassifier
from training.card.schema import Int8Loss, ModelFigures, Presentations
from training.data.dataset import SealedTest
from training.data.record import Source
from training.data.store import PreparedChips
from training.evaluation.figures import (
    LabelledPredictions,
    ModelPredictions,
    measure,
    predict_chips,
)
from training.evaluation.presentations import measure_presentations
from training.fit.epoch import predict
from training.int8.comparison import macro_f1_loss
from training.network.models import ChipNet


def final_logits(model: ChipNet, sealed: SealedTest) -> NDArray[np.float32]:
    """Logits (N, K) of a finished model on the test chips."""
    logits, _ = predict(model, sealed.break_seal().inputs)
    return logits


def final_chips(sealed: SealedTest) -> PreparedChips:
    """The test chips themselves, to score, to compare an exported file on, and to show mistakes."""
    return sealed.break_seal()


def measure_file(
    ships: ShipClassifier,
    sealed: SealedTest,
    others: Mapping[str, NDArray[np.float32]] | None,
    seed: int,
) -> ModelFigures:
    """The figures of a finished file for its card (see figures.measure), on the test chips.

    others  kind -> prepared chips (N, 1, S, S) that show no ship; None if there are none
    """
    chips = sealed.break_seal()
    marked = _marked(predict_chips(ships, chips.inputs), chips)
    answered = None if others is None else {k: predict_chips(ships, c) for k, c in others.items()}
    return measure(marked, chips.records, answered, seed, ships.card.size)


def measure_file_presented(
    ships: ShipClassifier, sealed: SealedTest, sources: Sequence[Source]
) -> Presentations:
    """The figures of a finished file on the test chips presented otherwise.

    sources  from which the chips are read again
    """
    return measure_presentations(ships, sealed.break_seal(), sources)


def lost_by(
    int8_ships: ShipClassifier, ships: ShipClassifier, sealed: SealedTest, seed: int
) -> Int8Loss:
    """Macro-F1 that an int8 file loses against its fp32 file; see comparison.macro_f1_loss."""
    chips = sealed.break_seal()
    less, more = (_marked(predict_chips(file, chips.inputs), chips) for file in (int8_ships, ships))
    return macro_f1_loss(less, more, chips.records, seed)


def _marked(given: ModelPredictions, chips: PreparedChips) -> LabelledPredictions:
    groups = np.array([record.group for record in chips.records])
    return LabelledPredictions(given, chips.labels, groups, chips.classes)
