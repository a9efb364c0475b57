"""A file's figures beside their bars, as a table for the terminal."""

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from training.bars import Row

_LEGEND = (
    "floor: the mean ECE of a faultless model of the same confidences; strangers: chips that show "
    "no ship; at 90 %: by the threshold that refuses 90 % of these; own threshold: the card's"
)
_COLOURS = {"met": "green", "missed": "red", "": ""}


def evaluation_table(rows: Sequence[Row], title: str) -> Table:
    """A line a row: value with its 95 % interval, bar, met or missed, and what else to read."""
    table = Table(title=title, caption=_LEGEND, box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for head in ("test side", "value", "95 %", "bar", "", ""):
        table.add_column(head, overflow="fold")
    for row in rows:
        table.add_row(
            row.what,
            row.value(),
            row.interval(),
            row.bar.told() if row.bar else "",
            Text(row.verdict, style=_COLOURS[row.verdict]),
            row.note,
        )
    return table


def verdict_line(rows: Sequence[Row]) -> str:
    """How many bars were met, missed, and not measured."""
    held = [row for row in rows if row.bar]
    count = {word: sum(row.verdict == word for row in held) for word in _COLOURS}
    unknown = f", {count['']} not measured" if count[""] else ""
    return f"{count['met']} bars met, {count['missed']} missed{unknown}"
