"""An int8 file compared with the fp32 file it was made from: accuracy lost and speed gained.

Speed is that of ShipClassifier.predict, as in serving. Both files are timed in turns, so that other
load on the machine slows both equally.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from time import perf_counter

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from shipchip.classifier import ShipClassifier
from training.card.record import training_of_card
from training.card.schema import Int8Loss, Interval
from training.data.dataset import Dataset
from training.data.record import Record
from training.data.store import concatenated
from training.errors import ConfigInvalid
from training.evaluation.figures import (
    BATCH,
    POOLED,
    LabelledPredictions,
    by_source,
    pooled,
    predict_chips,
    two_classes,
)
from training.evaluation.metrics import Floats, drawn_one_by_one, macro_f1, paired_difference

THREADS = 2  # of the timed run
ROUNDS = 20


def check_related(int8_ships: ShipClassifier, ships: ShipClassifier) -> None:
    """Raises ConfigInvalid if the int8 file cannot have been made from the other one.

    training.int8.quantise records which file it quantised. Any other file must at least have the
    same inputs and outputs, and have learnt from the same chips.
    """
    card = int8_ships.card
    records = training_of_card(card), training_of_card(ships.card)
    made_from = records[0].quantisation and records[0].quantisation.of
    for what, given, expected in (
        ("sha256 of what it was made from", made_from or ships.sha256, ships.sha256),
        ("classes", card.classes, ships.card.classes),
        ("input", card.input, ships.card.input),
        ("training data", *(record.manifest_sha256 for record in records)),
    ):
        if given != expected:
            raise ConfigInvalid(
                f"{int8_ships.path} was not made from {ships.path}: its card has another {what}; "
                "give the int8 file of this model"
            )


def macro_f1_loss(
    less: LabelledPredictions, more: LabelledPredictions, records: Sequence[Record], seed: int
) -> Int8Loss:
    """Macro-F1 of `more` less that of `less`, on the same chips; positive: `less` is worse.

    Sources that POOLED names are scored over Cargo and Tanker, if both are present. Intervals
    resample the same ships for both.
    """
    parts = zip(by_source(less, records).items(), by_source(more, records).values(), strict=True)
    sources = {}
    for (name, a), b in parts:
        two = (two_classes(a), two_classes(b)) if fnmatch(name, POOLED) else (None, None)
        sources[name] = _difference(two[0] or a, two[1] or b, seed)
    ends = pooled(less, records), pooled(more, records)
    return Int8Loss(
        sources=sources,
        pooled=_difference(ends[0], ends[1], seed) if ends[0] and ends[1] else None,
    )


def _difference(less: LabelledPredictions, more: LabelledPredictions, seed: int) -> Interval:
    said = less.predictions.said, more.predictions.said
    return paired_difference(*said, less.labels, list(less.groups), seed)


def time_in_turns(
    files: Sequence[ShipClassifier], inputs: NDArray[np.float32], rounds: int = ROUNDS
) -> NDArray[np.float64]:
    """Seconds (F, rounds) that each of F files takes for a batch of BATCH chips, in turns.

    inputs  prepared chips (N, 1, S, S), repeated or cut to BATCH
    """
    batch = np.resize(inputs, (BATCH, *inputs.shape[1:]))
    taken = np.zeros((len(files), rounds))
    for file in files:
        file.run(batch)  # the first run allocates
    for turn in range(rounds):
        for row, file in enumerate(files):
            start = perf_counter()
            file.run(batch)
            taken[row, turn] = perf_counter() - start
    return taken


def chips_per_second(taken: Floats, seed: int = 0) -> Interval:
    """Chips per second of batches that took these seconds (R,); the interval resamples batches."""
    drawn = drawn_one_by_one(len(taken), seed)
    return Interval.of(BATCH * len(taken) / taken.sum(), BATCH * len(taken) / (drawn @ taken))


def times_as_fast(slow: Floats, fast: Floats, seed: int = 0) -> Interval:
    """Seconds (R,) of one file over those of another in the same turns, which are resampled."""
    drawn = drawn_one_by_one(len(slow), seed)
    return Interval.of(slow.sum() / fast.sum(), (drawn @ slow) / (drawn @ fast))


@dataclass(frozen=True, eq=False)
class Comparison:
    """An int8 file beside its fp32 one.

    figures         name -> (fp32, int8)
    agreement       share of training and validation chips that get the same label, 0..1
    mean, largest   difference of a probability on these chips, 0..1
    faster          ratio of chips per second
    """

    figures: dict[str, tuple[float, float]]
    agreement: float
    mean: float
    largest: float
    faster: float

    def table(self) -> Table:
        """For the terminal."""
        table = Table("figure", "fp32", "int8", title="int8 beside fp32")
        for name, pair in self.figures.items():
            table.add_row(name, *(f"{v:.3f}" if v <= 1 else f"{v:,.0f}" for v in pair))
        table.add_row("times as many chips/s", "", f"{self.faster:.2f}")
        table.add_row("same label, training and validation", "", f"{self.agreement:.4f}")
        table.add_row("difference of a probability, mean", "", f"{self.mean:.4f}")
        table.add_row("difference of a probability, largest", "", f"{self.largest:.4f}")
        return table


def compare_int8(fp32: Path, int8: Path, dataset: Dataset) -> Comparison:
    """Compare predictions for the training and validation chips, and speed."""
    pair = [ShipClassifier(path, device="cpu", threads=THREADS) for path in (fp32, int8)]
    held, everything = dataset.validation, concatenated(dataset.train, dataset.validation)
    before, after = (predict_chips(ships, everything.inputs) for ships in pair)
    held_out = [
        said.where(np.arange(len(everything)) >= len(dataset.train)) for said in (before, after)
    ]
    taken = time_in_turns(pair, held.inputs)
    rows: dict[str, list[float]] = {}
    names = np.array([record.source for record in held.records])
    for name in sorted(set(names.tolist())):
        of = names == name
        f1 = [macro_f1(held.labels[of], said.predicted[of]) for said in held_out]
        rows[f"macro-F1, validation, {name}"] = f1
    rows["in distribution, validation"] = [float(said.in_distribution.mean()) for said in held_out]
    rows[f"chips/s, batches of {BATCH}, {THREADS} threads"] = [
        chips_per_second(t).value for t in taken
    ]
    difference = np.abs(before.probabilities - after.probabilities)
    return Comparison(
        figures={name: (first, second) for name, (first, second) in rows.items()},
        agreement=float((before.predicted == after.predicted).mean()),
        mean=float(difference.mean()),
        largest=float(difference.max()),
        faster=times_as_fast(*taken).value,
    )
