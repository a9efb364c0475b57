"""How figures are written: tables for the terminal, intervals and lines of Markdown tables."""

from collections.abc import Iterator, Mapping, Sequence

from rich.table import Table
from rich.text import Text

from training.card.schema import Interval, SourceScore
from training.data.splits import SPLITS
from training.evaluation.targets import TargetRow

_HEADLINE = ("macro_f1", "balanced_accuracy", "accuracy", "ece")


def counts_table(
    counts: Mapping[str, Mapping[str, Mapping[str, int]]], found: Mapping[str, Mapping[str, int]]
) -> Table:
    """Source x class x split; a class that a source lacks is shown as such.

    counts  source -> class -> side -> chips that are used
    found   source -> class -> chips that are there, byte-identical repeats included
    """
    table = _table("source", "class", "found", *SPLITS, "used", title="chips")
    for source, classes in counts.items():
        for label, sides in classes.items():
            total = sum(sides.values())
            cells = [str(sides[s]) for s in SPLITS] if total else ["-", "none", "-"]
            table.add_row(source, label, str(found[source][label]), *cells, str(total))
    return table


def scores_table(scores: Mapping[str, SourceScore]) -> Table:
    """Headline figures of each test set with 95 % intervals, beside "everything is Cargo".

    One line per figure, so that names and intervals fit into 80 columns.
    """
    table = _table("test set", "chips", "figure", "value", "95 %", title="test")
    for source, score in scores.items():
        names = (source, str(score.chips))
        for name in _HEADLINE:
            figure: Interval = getattr(score.headline, name)
            limits = f"{figure.low:.2f} to {figure.high:.2f}"
            table.add_row(*names, name, f"{figure.value:.2f}", limits)
            names = ("", "")
        majority = f"{score.majority_macro_f1:.2f}"
        table.add_row("", "", "macro_f1 of majority", majority, "", end_section=True)
    return table


def _table(*heads: str, title: str) -> Table:
    """A table that wraps long cells; rich would truncate them."""
    table = Table(title=title)
    for head in heads:
        table.add_column(head, overflow="fold")
    return table


_LEGEND = (
    "floor: the mean ECE of a perfectly calibrated model with the same confidences; OOD chips show "
    "no ship; at 90 %: by the threshold that refuses 90 % of these; own threshold: the card's"
)
_COLOURS = {"met": "green", "missed": "red", "": ""}


def evaluation_table(rows: Sequence[TargetRow], title: str) -> Table:
    """One line per row: value, 95 % interval, target, met or missed, and note."""
    table = Table(title=title, caption=_LEGEND, box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for head in ("test side", "value", "95 %", "target", "", ""):
        table.add_column(head, overflow="fold")
    for row in rows:
        table.add_row(
            row.what,
            row.value(),
            row.interval(),
            row.target.text() if row.target else "",
            Text(row.verdict, style=_COLOURS[row.verdict]),
            row.note,
        )
    return table


def verdict_line(rows: Sequence[TargetRow]) -> str:
    """How many targets were met, missed, and not measured."""
    held = [row for row in rows if row.target]
    count = {word: sum(row.verdict == word for row in held) for word in _COLOURS}
    unknown = f", {count['']} not measured" if count[""] else ""
    return f"{count['met']} targets met, {count['missed']} missed{unknown}"


def interval_text(figure: Interval) -> str:
    """A figure with its interval.

    >>> interval_text(Interval(value=0.64, low=0.53, high=0.7))
    '0.64 (0.53 to 0.70)'
    """
    return f"{figure.value:.2f} ({figure.low:.2f} to {figure.high:.2f})"


def listed(names: Sequence[str], most: int = 20) -> str:
    """Names with commas; those beyond `most` are counted."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")


def share(figure: Interval) -> str:
    """A share with its interval.

    >>> share(Interval(value=0.906, low=0.827, high=0.949))
    '90.6% (82.7% to 94.9%)'
    """
    return f"{figure.value:.1%} ({figure.low:.1%} to {figure.high:.1%})"


def table_head(*names: str) -> Iterator[str]:
    """The first two lines of a Markdown table."""
    yield table_row(*names)
    yield table_row(*("---" for _ in names))


def table_row(*cells: str) -> str:
    """A line of a Markdown table."""
    return "| " + " | ".join(cells) + " |"
