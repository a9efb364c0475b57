"""How a model file answers when a chip is presented in another way: training.data.presentation.

A change leaves the ship as it is, so a good model gives the same answer. The figures tell how far
its scores fall, and how often an answer changes that the model called sure.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from rich.console import Group
from rich.table import Table

from shipchip.card import InputSpec, SizeSpec
from shipchip.chip import Chip
from shipchip.classifier import ShipClassifier
from shipchip.prepare import prepare
from training.card.schema import ChangeFigures, Presentations
from training.data.presentation import CHANGES, NONE, with_spacing
from training.data.record import Source
from training.data.store import PreparedChips
from training.evaluation.figures import ModelPredictions, predict_chips
from training.evaluation.metrics import macro_f1, present
from training.evaluation.sizes import share_kept


def change_figures(
    plain: ModelPredictions,
    changed: ModelPredictions,
    labels: NDArray[np.int64],
    classes: Sequence[str],
    size: SizeSpec | None = None,
) -> ChangeFigures:
    """Figures of the same N chips, as they are and changed; labels (N,) index `classes`.

    size  the card's, if the file estimates sizes
    """
    sizes = plain.size, changed.size
    held = changed.member[np.arange(len(labels)), labels]
    right = changed.predicted == labels
    of_class = {classes[k]: labels == k for k in present(labels)}
    sure = (plain.member.sum(axis=1) == 1) & plain.in_distribution
    same = plain.predicted == changed.predicted
    return ChangeFigures(
        macro_f1=macro_f1(labels, changed.predicted),
        recall={name: float(right[own].mean()) for name, own in of_class.items()},
        coverage={name: float(held[own].mean()) for name, own in of_class.items()},
        set_size=float(changed.member.sum(axis=1).mean()),
        same_label=float(same.mean()),
        sure=int(sure.sum()),
        sure_changed=int((sure & ~same).sum()),
        length_kept=None
        if size is None or sizes[0] is None or sizes[1] is None
        else share_kept(sizes[0], sizes[1], size),
    )


def measure_presentations(
    ships: ShipClassifier, chips: PreparedChips, sources: Sequence[Source]
) -> Presentations:
    """Source -> change, NONE first -> figures, of a file on labelled chips.

    sources  from which the chips are read again, as they are stored
    """
    by_name = {source.name: source for source in sources}
    found: Presentations = {}
    for name in sorted({record.source for record in chips.records}):
        own = chips.where(np.array([record.source == name for record in chips.records]))
        spec = ships.card.input
        stored = [with_spacing(by_name[name].read(record), spec) for record in own.records]
        plain = predict_chips(ships, _prepared(stored, spec, lambda chip: chip))
        answers = {NONE: plain} | {
            change: predict_chips(ships, _prepared(stored, spec, apply))
            for change, apply in CHANGES.items()
        }
        found[name] = {
            change: change_figures(plain, given, own.labels, own.classes, ships.card.size)
            for change, given in answers.items()
        }
    return found


def _prepared(
    chips: Sequence[Chip], spec: InputSpec, change: Callable[[Chip], Chip]
) -> NDArray[np.float32]:
    return np.stack([prepare(change(chip), spec).input for chip in chips])


def worst_change(lines: Mapping[str, ChangeFigures]) -> str:
    """The change with the lowest macro-F1; NONE counts as one."""
    return min(lines, key=lambda change: lines[change].macro_f1)


def change_cells(figures: ChangeFigures) -> tuple[str, ...]:
    """A line of the table: macro-F1, recalls, same label, sure answers changed, coverage,
    size of the sets, lengths within their interval."""
    return (
        f"{figures.macro_f1:.2f}",
        ", ".join(f"{name} {value:.2f}" for name, value in figures.recall.items()),
        f"{figures.same_label:.3f}",
        f"{figures.sure_changed} of {figures.sure}",
        ", ".join(f"{name} {value:.0%}" for name, value in figures.coverage.items()),
        f"{figures.set_size:.2f}",
        "-" if figures.length_kept is None else f"{figures.length_kept:.0%}",
    )


CHANGE_HEADS = (
    "macro-F1",
    "recall",
    "same label",
    "sure changed",
    "sets hold",
    "set size",
    "length kept",
)
_SHORT_HEADS = (
    "macro\nF1",
    "recall",
    "same\nlabel",
    "sure\nchanged",
    "sets\nhold %",
    "set\nsize",
    "length\nkept",
)


_LEGEND = (
    "changes of the stored chip that leave the ship as it is, * the worst; recall and sets by "
    "class; sure: in distribution, with one class in the set"
)


def presentations_table(found: Presentations) -> Group:
    """A table of every source: a line a change, which fits into 80 columns, the worst marked."""
    return Group(*(_source_table(source, lines) for source, lines in found.items()), _LEGEND)


def _source_table(source: str, lines: Mapping[str, ChangeFigures]) -> Table:
    worst = worst_change(lines)
    classes = ", ".join(lines[worst].recall)
    table = Table(
        title=f"{source} ({classes}), presented otherwise",
        title_justify="left",
        box=None,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    for head in ("change", *_SHORT_HEADS):
        table.add_column(head, overflow="fold")
    for change, figures in lines.items():
        kept = figures.length_kept
        table.add_row(
            f"{change}*" if change == worst else change,
            f"{figures.macro_f1:.2f}",
            " ".join(f"{value:.2f}" for value in figures.recall.values()),
            f"{figures.same_label:.3f}",
            f"{figures.sure_changed}/{figures.sure}",
            " ".join(f"{100 * value:.0f}" for value in figures.coverage.values()),
            f"{figures.set_size:.2f}",
            "-" if kept is None else f"{kept:.0%}",
        )
    return table
