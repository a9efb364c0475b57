"""A run's figures as a table for the terminal, a JSON file and a picture of its curves."""

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")  # before pyplot: a run has no screen
import matplotlib.pyplot as plt
from rich.table import Table

from shipchip import Chip, ShipClassifier
from training.results import Epoch
from training.splits import SPLITS

_HEADLINE = ("macro_f1", "balanced_accuracy", "accuracy", "ece")


def counts_table(counts: dict[str, dict[str, dict[str, int]]]) -> Table:
    """Source x class x split; a class that a source lacks is said."""
    table = Table("source", "class", *SPLITS, "all", title="chips, repeats dropped")
    for source, classes in counts.items():
        for label, sides in classes.items():
            total = sum(sides.values())
            cells = [str(sides[s]) for s in SPLITS] if total else ["-", "none", "-"]
            table.add_row(source, label, *cells, str(total))
    return table


def scores_table(scores: dict[str, dict[str, Any]]) -> Table:
    """Headline figures of each test set with 95 % intervals, beside "everything is Cargo"."""
    table = Table("test set", "chips", *_HEADLINE, "macro_f1 of majority", title="test")
    for source, score in scores.items():
        cells = [_interval(score["headline"][name]) for name in _HEADLINE]
        table.add_row(source, str(score["chips"]), *cells, f"{score['majority_macro_f1']:.2f}")
    return table


def _interval(figure: dict[str, float]) -> str:
    return f"{figure['value']:.2f} ({figure['low']:.2f}-{figure['high']:.2f})"


def draw_curves(history: list[Epoch], path: Path) -> None:
    """Loss, and validation likelihood and macro-F1, stage after stage, as a PNG."""
    figure, axes = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    steps = range(1, len(history) + 1)
    axes[0].plot(steps, [e.loss for e in history], label="training loss (mixed, smoothed)")
    axes[0].plot(steps, [e.nll for e in history], label="validation, balanced NLL")
    axes[1].plot(steps, [e.macro_f1 for e in history], color="C2", label="validation macro-F1")
    axes[1].set_ylim(0, 1)
    for axis in axes:
        for i in range(1, len(history)):
            if history[i].stage != history[i - 1].stage:
                axis.axvline(i + 0.5, color="0.8", linewidth=1)
        axis.set_xlabel("epoch; lines part the stages: " + ", ".join(_stages(history)))
        axis.legend(frameon=False)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _stages(history: list[Epoch]) -> list[str]:
    return list(dict.fromkeys(epoch.stage for epoch in history))


def draw_answers(ships: ShipClassifier, chips: list[tuple[str, Chip]], path: Path) -> None:
    """Chips as the model sees them, each with its true class and the answer, as a PNG."""
    columns = 6
    rows = -(-len(chips) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(1.9 * columns, 2.5 * rows), squeeze=False)
    answers = ships.classify([chip for _, chip in chips])
    for axis in axes.flat:
        axis.axis("off")
    for axis, (truth, chip), answer in zip(axes.flat, chips, answers, strict=False):
        axis.imshow(ships.prepare(chip)[0], cmap="gray", vmin=-0.5, vmax=1.8)
        mark = "" if answer.in_distribution else ", unlike training"
        axis.set_title(
            f"{answer.label} {answer.confidence:.0%}{mark}\nset: {', '.join(answer.prediction_set)}"
            f"\n(is {truth})",
            fontsize=8,
            color="C2" if answer.label == truth else "C3",
        )
    figure.tight_layout()
    figure.savefig(path, dpi=64, pil_kwargs={"optimize": True})
    plt.close(figure)
