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
    Presentations,
    SetFigures,
    SizeReport,
    SourceScore,
)
from training.data.dataset import OTHER_SHIPS
from training.evaluation.figures import POOLED

MEGABYTE = 2**20
ALL = "all OOD chips"


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


WORST = Target(low=0.60)  # macro-F1 over three classes, of the worst change
FALL = Target(high=0.05)  # from the chips as they are to the worst change
TWO_CLASSES = Target(low=0.66)  # macro-F1 over Cargo and Tanker
SAME_LABEL = Target(low=0.95)  # of chips, under the change that changes most
SURE_CHANGED = Target(high=0.01, form="{:.0%}")  # of sure answers, under the same
OVER_FLOOR = Target(high=0.03)  # ECE over its floor
COVERAGE = Target(low=0.87, high=0.95, form="{:.0%}")
COVERAGE_CHANGED = Target(low=0.85, form="{:.0%}")  # under the change that lowers it most
SET_SIZE = Target(high=1.5)
AUROC = Target(low=0.98)
AUROC_NEAR = Target(low=0.97)  # of NEAR
SHIPS_REFUSED = Target(
    high=0.05, form="{:.0%}"
)  # at the threshold that refuses 90 % of what is no ship
LENGTH_ERROR = Target(high=12.0, form="{:g} m")
LENGTH_ERROR_SHARE = Target(high=0.07, form="{:.0%}")
WIDTH_ERROR = Target(high=2.5, form="{:g} m")
INT8_LOSS = Target(high=0.01)  # macro-F1
INT8_SPEED = Target(low=2.5)  # times as fast
FILE_SIZE = Target(high=30.0, form="{:g} MB")  # of 2^20 bytes
SPEED = Target(low=60.0)  # chips a second

# Land and harbour of Sentinel-1 (Huang et al. 2020), by the folders of their patches.
NEAR = {
    "agriculture",
    "container",
    "forest",
    "industrialbuilding",
    "residential",
    "skyscraper",
    "storagetank",
}
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
        *_three_classes(metrics),
        *_two_classes(metrics),
        *_other_sources(metrics.sources),
        *_presented(metrics),
        *_calibration(metrics.sources),
        *_sets(metrics.sets),
        *_out_of_distribution(metrics.out_of_distribution),
        *_sizes(metrics.sizes),
        *_int8(int8, absent),
        TargetRow("size", size / MEGABYTE, "{:.1f}", FILE_SIZE),
        TargetRow(
            "chips a second",
            speed,
            "{:.0f}",
            SPEED,
            "2 threads" if speed else absent,
        ),
    ]


def _three_classes(metrics: ModelFigures) -> Iterator[TargetRow]:
    sources = metrics.sources
    for name in [name for name in sources if fnmatch(name, _THREE)] or [_THREE]:
        lacks = sources[name].absent if name in sources else ("such chips",)
        macro_f1 = balanced = worst = None
        note = f"no {', '.join(lacks)}" if lacks else "three classes"
        if not lacks:
            headline = sources[name].headline
            macro_f1, balanced = headline.macro_f1, headline.balanced_accuracy
            if metrics.presentations is not None:
                worst = min(f.macro_f1 for f in metrics.presentations[name].values())
        yield TargetRow(f"macro-F1, {name}", macro_f1, _PLAIN, note=note)
        yield TargetRow(f"balanced accuracy, {name}", balanced, _PLAIN, note=note)
        fall = macro_f1.value - worst if macro_f1 and worst is not None else None
        yield TargetRow(f"worst change, {name}", worst, _PLAIN, WORST, "macro-F1")
        yield TargetRow(f"fall to that, {name}", fall, _PLAIN, FALL, "macro-F1")


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


def _presented(metrics: ModelFigures) -> Iterator[TargetRow]:
    """How many answers stay under the change that changes most."""
    if metrics.presentations is None:
        return
    for name, lines in metrics.presentations.items():
        same = min(figures.same_label for figures in lines.values())
        sure = max(figures.sure_changed / max(1, figures.sure) for figures in lines.values())
        note = "worst change"
        yield TargetRow(f"same label, {name}", same, _SHARE, SAME_LABEL, note)
        yield TargetRow(f"sure changed, {name}", sure, _SHARE, SURE_CHANGED, note)
        kept = [f.length_kept for f in lines.values() if f.length_kept is not None]
        if kept:
            yield TargetRow(f"length in interval, {name}", min(kept), _SHARE, note=note)
    for label, share in _coverage_changed(metrics.sources, metrics.presentations).items():
        yield TargetRow(
            f"sets hold {label}, changed", share, _SHARE, COVERAGE_CHANGED, "worst change"
        )


def _coverage_changed(
    sources: Mapping[str, SourceScore], presentations: Presentations
) -> dict[str, float]:
    """Class -> share of its chips of all sources whose set holds it, under the worst change."""
    held: dict[str, dict[str, float]] = {}
    chips: dict[str, int] = {}
    for source, lines in presentations.items():
        for label, coverage in sources[source].sets.coverage.items():
            chips[label] = chips.get(label, 0) + coverage.chips
            for change, figures in lines.items():
                of_change = held.setdefault(label, {})
                more = figures.coverage[label] * coverage.chips
                of_change[change] = of_change.get(change, 0.0) + more
    return {label: min(of_change.values()) / chips[label] for label, of_change in held.items()}


def _calibration(sources: Mapping[str, SourceScore]) -> Iterator[TargetRow]:
    for name, score in sources.items():
        over = score.headline.ece.value - score.ece_floor
        note = f"floor {score.ece_floor:.3f}"
        yield TargetRow(f"ECE, {name}", score.headline.ece, _PLAIN, note=note)
        yield TargetRow(f"ECE over floor, {name}", over, _PLAIN, OVER_FLOOR)


def _sizes(found: SizeReport | None) -> Iterator[TargetRow]:
    if found is None:
        yield TargetRow("length, mean error", None, "{:.1f} m", LENGTH_ERROR, "not measured")
        return
    for name, one in {"all": found.all, **found.sources}.items():
        figures: list[tuple[str, Interval | float, str, Target]] = [
            ("length, mean error", one.length_error_m, "{:.1f} m", LENGTH_ERROR),
            ("length, median error", one.length_error_share, _SHARE, LENGTH_ERROR_SHARE),
            ("length in interval", one.length_held, _SHARE, COVERAGE),
            ("width, mean error", one.width_error_m, "{:.2f} m", WIDTH_ERROR),
            ("width in interval", one.width_held, _SHARE, COVERAGE),
        ]
        for what, figure, form, target in figures:
            held_to = target if name == "all" else None
            yield TargetRow(what, figure, form, held_to, f"{name}, {one.chips} chips")


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
    kinds = {ALL: found.all, **found.kinds}
    for kind, one in kinds.items():
        target = None if kind in (ALL, OTHER_SHIPS) else AUROC
        if kind in NEAR:
            target = AUROC_NEAR
        yield TargetRow(f"AUROC, {kind}", one.auroc, _PLAIN, target, f"{one.chips} chips")
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
