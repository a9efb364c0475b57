"""Tables for the terminal: what a run is made of, and how it did."""

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from training.splits import SPLITS

_HEADLINE = ("macro_f1", "balanced_accuracy", "accuracy", "ece")


def counts_table(
    counts: Mapping[str, Mapping[str, Mapping[str, int]]], found: Mapping[str, Mapping[str, int]]
) -> Table:
    """Source x class x split; a class that a source lacks is said.

    counts  source -> class -> side -> chips that are used
    found   source -> class -> chips that are there, byte-identical repeats included
    """
    table = Table("source", "class", "found", *SPLITS, "used", title="chips")
    for source, classes in counts.items():
        for label, sides in classes.items():
            total = sum(sides.values())
            cells = [str(sides[s]) for s in SPLITS] if total else ["-", "none", "-"]
            table.add_row(source, label, str(found[source][label]), *cells, str(total))
    return table


def scores_table(scores: Mapping[str, Mapping[str, Any]]) -> Table:
    """Headline figures of each test set with 95 % intervals, beside "everything is Cargo"."""
    table = Table("test set", "chips", *_HEADLINE, "macro_f1 of majority", title="test")
    for source, score in scores.items():
        cells = [_interval(score["headline"][name]) for name in _HEADLINE]
        table.add_row(source, str(score["chips"]), *cells, f"{score['majority_macro_f1']:.2f}")
    return table


def _interval(figure: Mapping[str, float]) -> str:
    return f"{figure['value']:.2f} ({figure['low']:.2f}-{figure['high']:.2f})"
