"""The targets that a model file should meet, and the rows of a table of its figures beside them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch

from training.card.schema import (
    Int8Figures,
    Interval,
    JsonRecord,
    ModelFigures,
    OodReport,
    SetFigures,
    SourceScore,
)
from training.evaluation.figures import POOLED

MEGABYTE = 2**20


@dataclass(frozen=True)
class Target:
    """The range that a figure must be in, from `low` to `high`; None is no limit on that side.

    form  the format of a limit
    """

    low: float | None = None
    high: float | None = None
    form: str = "{:g}"

    def met(self, value: float) -> bool:
        """Whether a value is in the range, limits included."""
        over = self.low is None or value >= self.low
        return over and (self.high is None or value <= self.high)

    def text(self) -> str:
        """The target in words."""
        limits = [self.form.format(n) for n in (self.low, self.high) if n is not None]
        if len(limits) == 2:
            return f"{limits[0]} to {limits[1]}"
        return f"{'≥' if self.high is None else '≤'} {limits[0]}"


THREE_CLASSES = Target(low=0.75)  # macro-F1 and balanced accuracy
TWO_CLASSES = Target(low=0.65)  # macro-F1 over Cargo and Tanker
ECE = Target(high=0.05)
COVERAGE = Target(low=0.87, high=0.95, form="{:.0%}")
SET_SIZE = Target(high=1.4)
AUROC = Target(low=0.98)
SHIPS_REFUSED = Target(
    high=0.05, form="{:.0%}"
)  # at the threshold that refuses 90 % of what is no ship
INT8_LOSS = Target(high=0.01)  # macro-F1
INT8_SPEED = Target(low=3.0)  # times as fast
SIZE = Target(high=20.0, form="{:g} MB")  # of 2^20 bytes
SPEED = Target(low=100.0)  # chips a second

_THREE = "fusar*"
_SHARE, _PLAIN = "{:.1%}", "{:.3f}"


class TargetRecord(JsonRecord):
    """One row of the table of targets; as `evaluate --json` writes it."""

    what: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    at_least: float | None = None
    at_most: float | None = None
    verdict: str
    note: str


@dataclass(frozen=True)
class TargetRow:
    """One line of the table.

    figure   a plain number if it has no interval, None if it was not measured
    form     the format of value and interval
    target      None if there is no target for it
    note     what else to read beside it
    """

    what: str
    figure: Interval | float | None
    form: str
    target: Target | None = None
    note: str = ""

    @property
    def verdict(self) -> str:
        """ "met", "missed", or "" if there is no target or no figure."""
        value = self._value
        if self.target is None or value is None:
            return ""
        return "met" if self.target.met(value) else "missed"

    @property
    def _value(self) -> float | None:
        return self.figure.value if isinstance(self.figure, Interval) else self.figure

    def value(self) -> str:
        """The figure, "-" where it was not measured."""
        return "-" if self._value is None else self.form.format(self._value)

    def interval(self) -> str:
        """Its 95 % interval, "" if there is none."""
        if not isinstance(self.figure, Interval):
            return ""
        return " to ".join(self.form.format(end) for end in (self.figure.low, self.figure.high))

    def record(self) -> TargetRecord:
        """The row as `evaluate --json` writes it."""
        given: dict[str, float | None] = {}
        if isinstance(self.figure, Interval):
            given = {"value": self.figure.value, "low": self.figure.low, "high": self.figure.high}
        elif self.figure is not None:
            given = {"value": self.figure}
        if self.target:
            given |= {"at_least": self.target.low, "at_most": self.target.high}
        return TargetRecord(what=self.what, verdict=self.verdict, note=self.note, **given)


def rows(
    metrics: ModelFigures,
    size: int,
    speed: Interval | None = None,
    int8: Int8Figures | None = None,
    absent: str = "not given",
) -> list[TargetRow]:
    """The rows of the table: every target with the file's figure.

    metrics  of evaluation.figures.measure
    size     bytes of the file
    speed    chips a second
    int8     of the int8 file that was made from it
    absent   the note where speed or int8 are None
    """
    return [
        *_three_classes(metrics.sources),
        *_two_classes(metrics),
        *_other_sources(metrics.sources),
        *_calibration(metrics.sources),
        *_sets(metrics.sets),
        *_out_of_distribution(metrics.out_of_distribution),
        *_int8(int8, absent),
        TargetRow("size", size / MEGABYTE, "{:.1f}", SIZE),
        TargetRow(
            "chips a second",
            speed,
            "{:.0f}",
            SPEED,
            "2 threads" if speed else absent,
        ),
    ]


def _three_classes(sources: Mapping[str, SourceScore]) -> Iterator[TargetRow]:
    for name in [name for name in sources if fnmatch(name, _THREE)] or [_THREE]:
        lacks = sources[name].absent if name in sources else ("such chips",)
        macro_f1 = balanced = None
        note = f"no {', '.join(lacks)}" if lacks else "three classes"
        if not lacks:
            headline = sources[name].headline
            macro_f1, balanced = headline.macro_f1, headline.balanced_accuracy
        yield TargetRow(f"macro-F1, {name}", macro_f1, _PLAIN, THREE_CLASSES, note)
        yield TargetRow(f"balanced accuracy, {name}", balanced, _PLAIN, THREE_CLASSES, note)


def _two_classes(metrics: ModelFigures) -> Iterator[TargetRow]:
    sources, one = metrics.sources, metrics.pooled
    figures = {n: s.cargo_and_tanker for n, s in sources.items() if fnmatch(n, POOLED)}
    figures[POOLED] = one.headline.macro_f1 if one else None
    for name, figure in figures.items():
        note = "pooled" if name == POOLED else "Cargo, Tanker"
        note = note if figure else "no such chips"
        yield TargetRow(f"macro-F1, {name}", figure, _PLAIN, TWO_CLASSES, note)


def _other_sources(sources: Mapping[str, SourceScore]) -> Iterator[TargetRow]:
    """Sources without a target, such as a user's own."""
    for name, score in sources.items():
        if not fnmatch(name, _THREE) and not fnmatch(name, POOLED):
            figure = score.headline.macro_f1
            yield TargetRow(f"macro-F1, {name}", figure, _PLAIN, note=", ".join(score.classes))


def _calibration(sources: Mapping[str, SourceScore]) -> Iterator[TargetRow]:
    for name, score in sources.items():
        note = f"floor {score.ece_floor:.3f}"
        yield TargetRow(f"ECE, {name}", score.headline.ece, _PLAIN, ECE, note)


def _sets(sets: SetFigures) -> Iterator[TargetRow]:
    for name, share in sets.coverage.items():
        yield TargetRow(f"sets hold {name}", share, _SHARE, COVERAGE, f"{share.chips} chips")
        if share.by_ship:  # cards of earlier versions count chips alone
            note = f"{share.by_ship.ships} ships"
            yield TargetRow(f"sets hold {name}, by ship", share.by_ship, _SHARE, note=note)
    yield TargetRow("mean size of sets", sets.mean_size, "{:.2f}", SET_SIZE)


def _out_of_distribution(found: OodReport | None) -> Iterator[TargetRow]:
    at_90 = "ships refused at 90 %"
    if found is None:
        yield TargetRow("AUROC, OOD chips", None, _PLAIN, AUROC, "not given")
        yield TargetRow(at_90, None, _SHARE, SHIPS_REFUSED, "not given")
        return
    kinds = {"all OOD chips": found.all, **found.kinds}
    for kind, one in kinds.items():
        yield TargetRow(f"AUROC, {kind}", one.auroc, _PLAIN, AUROC, f"{one.chips} chips")
    yield TargetRow(at_90, found.all.ships_refused_at_90, _SHARE, SHIPS_REFUSED)
    own = "own threshold"
    yield TargetRow("ships refused", found.all.ships_refused, _SHARE, note=own)
    for kind, one in kinds.items():
        yield TargetRow(f"refused, {kind}", one.refused, _SHARE, note=own)


def _int8(found: Int8Figures | None, absent: str) -> Iterator[TargetRow]:
    if found is None:
        yield TargetRow("int8, macro-F1 lost", None, _PLAIN, INT8_LOSS, absent)
        yield TargetRow("int8, times as fast", None, "{:.2f}", INT8_SPEED, absent)
        return
    loss = dict(found.loss.sources)
    if found.loss.pooled:
        loss[POOLED] = found.loss.pooled
    for name, figure in loss.items():
        yield TargetRow(f"int8, {name}", figure, _PLAIN, INT8_LOSS, "macro-F1 lost")
    yield TargetRow("int8, times as fast", found.times_as_fast, "{:.2f}", INT8_SPEED, "in turns")
