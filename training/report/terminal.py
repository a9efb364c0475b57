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
    table = _table("source", "class", "found", *SPLITS, "used", title="chips")
    for source, classes in counts.items():
        for label, sides in classes.items():
            total = sum(sides.values())
            cells = [str(sides[s]) for s in SPLITS] if total else ["-", "none", "-"]
            table.add_row(source, label, str(found[source][label]), *cells, str(total))
    return table


def scores_table(scores: Mapping[str, Mapping[str, Any]]) -> Table:
    """Headline figures of each test set with 95 % intervals, beside "everything is Cargo".

    A line a figure, so that names and intervals fit into 80 columns.
    """
    table = _table("test set", "chips", "figure", "value", "95 %", title="test")
    for source, score in scores.items():
        names = (source, str(score["chips"]))
        for name in _HEADLINE:
            figure = score["headline"][name]
            told = f"{figure['low']:.2f} to {figure['high']:.2f}"
            table.add_row(*names, name, f"{figure['value']:.2f}", told)
            names = ("", "")
        majority = f"{score['majority_macro_f1']:.2f}"
        table.add_row("", "", "macro_f1 of majority", majority, "", end_section=True)
    return table


def _table(*heads: str, title: str) -> Table:
    """A table that folds what does not fit; rich would cut it."""
    table = Table(title=title)
    for head in heads:
        table.add_column(head, overflow="fold")
    return table
