"""Pictures of one run: the curves of its stages, and chips with a model's answers."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # before pyplot: a run has no screen
import matplotlib.pyplot as plt

from shipchip import Chip, ShipClassifier
from training.results import Epoch


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
