"""Pictures: matplotlib figures as PNG."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

matplotlib.use("Agg")  # before pyplot: a run has no screen
import matplotlib.pyplot as plt

from training.card.schema import Interval
from training.evaluation.metrics import Floats, Reliability
from training.fit.progress import Epoch


@dataclass(frozen=True, eq=False)
class Confusion:
    """Counts (K, K), rows the truth, of the named classes; those without chips are left out."""

    title: str
    counts: Floats
    classes: Sequence[str]


@dataclass(frozen=True, eq=False)
class Curve:
    """Epochs `start` to start + E of R seeds: values (R, E), drawn as mean and min-max band."""

    label: str
    start: int
    values: Floats
    color: str
    dashed: bool = False


@dataclass(frozen=True, eq=False)
class Whiskers:
    """One colour of a dot-and-whisker figure: an interval, or None, a row."""

    label: str
    figures: Sequence[Interval | None]


def confusion_grid(panels: Sequence[Confusion], columns: int) -> bytes:
    """Confusion matrices; colour is the share of the row, the number its count."""
    figure, axes = _grid(len(panels), columns, 2.7, 2.5)
    for axis, panel in zip(axes, panels, strict=False):
        rows = panel.counts.sum(axis=1) > 0
        counts = panel.counts[rows]
        share = counts / counts.sum(axis=1, keepdims=True)
        axis.imshow(share, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        for (i, j), value in np.ndenumerate(counts):
            ink = "white" if share[i, j] > 0.6 else "black"
            axis.text(j, i, f"{value:.0f}\n{share[i, j]:.0%}", ha="center", va="center", color=ink)
        truths = [name for name, here in zip(panel.classes, rows, strict=True) if here]
        axis.set_xticks(range(len(panel.classes)), list(panel.classes))
        axis.set_yticks(range(len(truths)), truths, rotation=90, va="center")
        axis.set(xlabel="answer", ylabel="truth")
        axis.set_title(panel.title, fontsize=8)
    return _png(figure)


def curve_grid(
    panels: Sequence[tuple[str, Sequence[Curve]]],
    columns: int,
    ylabel: str,
    top: float | None = None,
) -> bytes:
    """Learning curves with one legend below. `top`: all y axes go from 0 to it."""
    figure, axes = _grid(len(panels), columns, 3.4, 2.4)
    handles = {}
    for axis, (title, curves) in zip(axes, panels, strict=False):
        for curve in curves:
            epochs = curve.start + 1 + np.arange(curve.values.shape[1])
            style = "--" if curve.dashed else "-"
            mean = curve.values.mean(axis=0)
            handles[curve.label] = axis.plot(epochs, mean, style, color=curve.color, lw=1.2)[0]
            low, high = curve.values.min(axis=0), curve.values.max(axis=0)
            axis.fill_between(epochs, low, high, color=curve.color, alpha=0.15, lw=0)
        axis.set_title(title, fontsize=9)
        axis.set(xlabel="epoch", ylabel=ylabel)
        if top is not None:
            axis.set_ylim(0, top)
    figure.legend(handles.values(), handles, loc="outside lower center", ncols=3, frameon=False)
    return _png(figure)


def whisker_grid(
    panels: Sequence[tuple[str, Sequence[Whiskers]]], rows: Sequence[str], xlabel: str
) -> bytes:
    """Differences with intervals: a panel per test set, a row per step, a colour per model."""
    height = 1.4 + len(rows) * max(0.4, 0.13 * max(len(dots) for _, dots in panels))
    figure = Figure(figsize=(2.4 + 3 * len(panels), height), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False, sharex=True, sharey=True)[0]
    for axis, (title, dots) in zip(axes, panels, strict=True):
        for number, one in enumerate(dots):
            at = (number - (len(dots) - 1) / 2) * 0.7 / len(dots)
            held = [(i + at, f) for i, f in enumerate(one.figures) if f is not None]
            y, value = [y for y, _ in held], np.array([f.value for _, f in held])
            # Quantiles of draws need not hold the value itself: a whisker is not negative.
            low = np.maximum(value - [f.low for _, f in held], 0)
            high = np.maximum([f.high for _, f in held] - value, 0)
            axis.errorbar(value, y, xerr=[low, high], fmt="o", ms=3, lw=1, label=one.label)
        axis.axvline(0, color="0.6", lw=0.8)
        axis.set_title(title, fontsize=9)
        axis.set_xlabel(xlabel)
        axis.grid(axis="x", alpha=0.3)
        for i in range(1, len(rows)):
            axis.axhline(i - 0.5, color="0.9", lw=0.6)
    axes[0].set_yticks(range(len(rows)), list(rows))
    axes[0].set_ylim(len(rows) - 0.5, -0.5)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=5, frameon=False)
    return _png(figure)


def reliability_grid(
    panels: Sequence[tuple[str, Mapping[str, Reliability]]], columns: int
) -> bytes:
    """Accuracy against confidence, one line per name; larger dots are more answers."""
    figure, axes = _grid(len(panels), columns, 2.6, 2.6)
    for axis, (title, tables) in zip(axes, panels, strict=False):
        axis.plot([0, 1], [0, 1], color="0.7", lw=0.8)
        for color, (name, table) in zip(("C1", "C0"), tables.items(), strict=False):
            some = table.answers > 0
            x, y = table.confidence[some], table.accuracy[some]
            size = 4 + 60 * table.answers[some] / table.answers.sum()
            axis.plot(x, y, color=color, lw=1, label=name)
            axis.scatter(x, y, s=size, color=color)
        axis.set(xlim=(0.25, 1.02), ylim=(-0.02, 1.02), xlabel="confidence", ylabel="accuracy")
        axis.set_title(title, fontsize=8)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False)
    return _png(figure)


def thumbnail(chip: NDArray[np.float32]) -> bytes:
    """A prepared chip (S, S) as a grey PNG of as many pixels."""
    # Clutter is 0, bright ships reach 2.
    grey = (np.clip((chip + 0.5) / 2.3, 0, 1) * 255).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(grey).save(out, "PNG", optimize=True)
    return out.getvalue()


def _grid(count: int, columns: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """A figure with room for `count` panels; the rest of the last row stays empty."""
    columns = min(columns, count)
    rows = -(-count // columns)
    figure = Figure(figsize=(width * columns, height * rows + 0.4), layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axis in axes[count:]:
        axis.axis("off")
    for axis in axes:
        axis.tick_params(labelsize=7)
        axis.xaxis.label.set_fontsize(7)
        axis.yaxis.label.set_fontsize(7)
    return figure, axes


def _png(figure: Figure, dpi: int = 110) -> bytes:
    """The figure with 64 colours, which charts do not need more of: a third of the bytes."""
    raw, out = io.BytesIO(), io.BytesIO()
    figure.savefig(raw, format="png", dpi=dpi)
    Image.open(raw).convert("RGB").quantize(64).save(out, "PNG", optimize=True)
    return out.getvalue()


def draw_curves(history: list[Epoch], path: Path) -> None:
    """Loss, and validation likelihood and macro-F1, stage after stage, as a PNG.

    Of several networks the first is drawn: where folds are held out, those are its validation.
    """
    history = [epoch for epoch in history if _network(epoch) == _network(history[0])]
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


def _network(epoch: Epoch) -> str:
    return epoch.stage.rpartition("/")[0]


def _stages(history: list[Epoch]) -> list[str]:
    return list(dict.fromkeys(epoch.stage.rpartition("/")[2] for epoch in history))
