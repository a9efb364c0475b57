"""What a card's `metrics` and `training` hold.

`plain` gives the JSON form, which `model_validate` reads back. Fields that were not given are left
out of it. Fields with a default may be missing in cards of earlier versions.
"""

from typing import Self

import numpy as np
from numpy.typing import ArrayLike
from pydantic import ConfigDict, JsonValue

from shipchip.card import Frozen


class JsonRecord(Frozen):
    """What all records share."""

    def plain(self) -> dict[str, JsonValue]:
        """The JSON form, without the fields that were not given."""
        return self.model_dump(mode="json", exclude_unset=True)


class Interval(JsonRecord):
    """A figure with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, value: float | np.floating, draws: ArrayLike) -> Self:
        """A figure and the middle 95 % of its draws (D,); without draws, the figure alone."""
        sample = np.asarray(draws, dtype=np.float64)
        low, high = np.percentile(sample, (2.5, 97.5)) if len(sample) else (value, value)
        return cls(value=float(value), low=float(low), high=float(high))


class IntervalByShip(Interval):
    """A mean over `ships`, each of equal weight."""

    ships: int


class Spread(JsonRecord):
    """The least and the greatest seed, and the standard deviation over seeds."""

    low: float
    high: float
    sd: float


class Headline(JsonRecord):
    """The figures of all classes together, 0..1."""

    accuracy: Interval
    weighted_f1: Interval
    macro_f1: Interval
    balanced_accuracy: Interval
    ece: Interval


class HeadlineSpread(JsonRecord):
    """The spread over seeds of each figure of a Headline."""

    accuracy: Spread
    weighted_f1: Spread
    macro_f1: Spread
    balanced_accuracy: Spread
    ece: Spread


class ClassFigures(JsonRecord):
    """One class: means over the seeds, 0..1, and its chips."""

    precision: float
    recall: float
    f1: float
    chips: int


class ClassIntervals(JsonRecord):
    """One class, with intervals."""

    precision: Interval
    recall: Interval
    f1: Interval


class Score(JsonRecord):
    """All scores of one test set; see metrics.scores.

    classes             those present; figures are over these
    absent              the other classes
    majority_macro_f1   of the answer "everything is the most frequent class"
    by_class            class -> figures, as by_class_intervals
    confusion           counts (K, K) over all classes, rows are the truth, summed over the seeds
    """

    chips: int
    ships: int
    seeds: int
    classes: tuple[str, ...]
    absent: tuple[str, ...]
    headline: Headline
    spread: HeadlineSpread
    majority_macro_f1: float
    by_class: dict[str, ClassFigures]
    by_class_intervals: dict[str, ClassIntervals]
    confusion: tuple[tuple[int, ...], ...]


class ReliabilityBins(JsonRecord):
    """metrics.Reliability as JSON: B entries each; None where a bin has no answers."""

    confidence: tuple[float | None, ...]
    accuracy: tuple[float | None, ...]
    answers: tuple[int, ...]


class Coverage(Interval):
    """Share of the chips of a class whose prediction set holds it.

    by_ship  mean over ships of each ship's share; cards of earlier versions lack it
    """

    chips: int
    by_ship: IntervalByShip | None = None


class SetFigures(JsonRecord):
    """Prediction sets: coverage of each class that is present, and mean number of classes."""

    coverage: dict[str, Coverage]
    mean_size: Interval


class SourceScore(Score):
    """The score of one source's chips.

    ece_floor         mean ECE of a perfectly calibrated model of the same confidences
    refused           share of ships that the card's threshold calls out of distribution
    cargo_and_tanker  macro-F1 over these two; only of sources that are pooled
    """

    ece_floor: float
    reliability: ReliabilityBins
    sets: SetFigures
    refused: Interval
    cargo_and_tanker: Interval | None = None


class OodFigures(JsonRecord):
    """Chips that show no ship.

    auroc    the chance that one of them gets a higher ood_score than a ship
    refused  share of them that the card's threshold refuses
    """

    chips: int
    auroc: Interval
    refused: Interval


class AllOodFigures(OodFigures):
    """Chips of all kinds, and the ships refused along with them.

    ships_refused        share of ships that the card's threshold refuses
    ships_refused_at_90  the same for the highest threshold that refuses 90 % of these chips
    """

    ships_refused: Interval
    ships_refused_at_90: Interval


class OodReport(JsonRecord):
    """By kind, and all kinds as one."""

    kinds: dict[str, OodFigures]
    all: AllOodFigures


class ChangeFigures(JsonRecord):
    """A source's chips under one change; see training.data.presentation.

    macro_f1      over the classes that the source has
    recall        class -> recall
    coverage      class -> share of its chips whose prediction set holds it
    set_size      mean size of the prediction sets
    same_label    share of chips with the label that they have without the change
    sure          chips in distribution whose set holds one class, without the change
    sure_changed  how many of these get another label
    length_kept   share of chips whose length is within its interval without the change; None if no
                  lengths are estimated
    """

    macro_f1: float
    recall: dict[str, float]
    coverage: dict[str, float]
    set_size: float
    same_label: float
    sure: int
    sure_changed: int
    length_kept: float | None = None


# Source -> change, the unchanged chips first -> figures.
Presentations = dict[str, dict[str, ChangeFigures]]


class LengthFigures(JsonRecord):
    """Ships of a range of lengths: mean absolute error, and share within the interval."""

    chips: int
    length_error_m: float
    length_held: float


class SizeFigures(JsonRecord):
    """Estimated sizes beside those of AIS.

    length_error_m      mean absolute error
    length_error_share  median absolute error as a share of the length
    length_held         share of chips whose length is in the interval
    by_length           range of lengths -> figures
    """

    chips: int
    ships: int
    length_error_m: Interval
    length_error_share: float
    length_held: Interval
    width_error_m: Interval
    width_error_share: float
    width_held: Interval
    by_length: dict[str, LengthFigures]


class SizeReport(JsonRecord):
    """By source, and all chips of known size as one."""

    sources: dict[str, SizeFigures]
    all: SizeFigures


class ModelFigures(JsonRecord):
    """Everything that is measured of a model file on its test side; see figures.measure.

    sources              source -> score
    pooled               Cargo and Tanker chips of all OpenSARShip sources as one; None without both
    sets                 over all sources
    out_of_distribution  None if no such chips were given
    presentations        the chips presented otherwise; None in cards of earlier versions
    sizes                lengths and widths beside those of AIS; None if none are estimated or known
    """

    sources: dict[str, SourceScore]
    pooled: SourceScore | None
    sets: SetFigures
    out_of_distribution: OodReport | None
    presentations: Presentations | None = None
    sizes: SizeReport | None = None


class Int8Loss(JsonRecord):
    """Macro-F1 that an int8 file loses against its fp32 file, by source and pooled."""

    sources: dict[str, Interval]
    pooled: Interval | None


class Int8Figures(JsonRecord):
    """An int8 file beside its fp32 file; `speed` in chips per second."""

    sha256: str
    loss: Int8Loss
    speed: Interval
    times_as_fast: Interval


class OpenRecord(JsonRecord):
    """A record that may have keys of another version, which are kept."""

    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False)


class FeaturesRecord(OpenRecord):
    """Where a network's first features come from.

    source   "imagenet", the name of a file, or the data set of a pretraining
    weights, origin, file                                          of published weights
    identity, chips, classes, validation_macro_f1, epochs, model   of a pretraining
    sha256   of the file
    """

    source: str
    weights: str | None = None
    origin: str | None = None
    file: str | None = None
    identity: str | None = None
    chips: int | None = None
    classes: tuple[str, ...] = ()
    validation_macro_f1: float | None = None
    epochs: int | None = None
    model: dict[str, JsonValue] | None = None
    git_commit: str | None = None
    sha256: str | None = None


class HeldOutCount(JsonRecord):
    """The held-out ships and chips of a class, on which its prediction sets are fitted."""

    ships: int
    chips: int


class Quantisation(OpenRecord):
    """How an int8 file was made.

    of       sha256 of the fp32 file
    chips    used to calibrate
    metrics  MEASURED if the card's figures are those of the int8 file itself
    """

    method: str | None = None
    chips: int | None = None
    calibration: str | None = None
    onnxruntime: str | None = None
    of: str | None = None
    trust: str | None = None
    metrics: str | None = None


class TrainingRecord(OpenRecord):
    """On what data, how and by which code a model was trained.

    record          version of this record
    sources         source -> class -> side -> chips
    config          of the run, as JSON of the version that trained it; see record.config_of_card
    made_by         the code and machines that trained the run, in order
    ood_sha256      of the chips that show no ship, on which it was measured
    ood_learnt      kinds of these with a chip that the features were pretrained on; None if unknown
    held_out        class -> held-out ships
    """

    record: int = 1
    sources: dict[str, dict[str, dict[str, int]]] | None = None
    manifest_sha256: str | None = None
    split_version: int = 1
    config: dict[str, JsonValue] | None = None
    git_commit: str = "unknown"
    made_by: tuple[dict[str, str], ...] = ()
    seed: int = 0
    protocol: str = "unknown"
    pretraining: FeaturesRecord | None = None
    ood_sha256: str | None = None
    ood_learnt: tuple[str, ...] | None = None
    held_out: dict[str, HeldOutCount] | None = None
    quantisation: Quantisation | None = None
