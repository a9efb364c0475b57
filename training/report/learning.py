"""Confusion matrices of the paths that validated best, and the learning curves of all paths."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from training.report.answers import Answers, Line
from training.report.document import Block, Paragraph, Picture, Section
from training.report.plots import Confusion, Curve, confusion_grid, curve_grid
from training.report.wording import path_name
from training.results import Epoch

_WHICH = (
    "For each model and each data set: of the paths that end on that set, the one whose validation "
    "loss there is least (mean over seeds), tested on that set. Losses on different sets do not "
    "compare, so there is one choice a set."
)
_CURVES = (
    "Every path, base first, each fine-tuning from where the training it goes on from ends; in "
    "truth it goes on from the epoch that validation chose. A colour is the set that the stage "
    "trains and is validated on, so colours do not compare with each other. Mean over seeds, the "
    "band from least to greatest. {more}"
)


def confusions_and_curves(answers: Answers) -> Section:
    """The figures of section "How the trainings went"."""
    columns = len(answers.sets)
    panels = [
        Confusion(
            f"{line.model} on {line.path[-1]}\n{path_name(line.path)}",
            np.array(answers.score(line, line.path[-1])["confusion"]),
            answers.results.test.classes,
        )
        for line in chosen_lines(answers)
    ]
    blocks: list[Block] = [Paragraph(_WHICH)]
    if panels:
        caption = "Confusion matrices, counts summed over seeds and shares of the true class."
        blocks.append(Picture("confusion", confusion_grid(panels, columns), caption))
    for name, of_epoch, top, more in (
        ("NLL", _nll, None, "Dashed: the mean training loss."),
        ("macro-F1", _macro_f1, 1.0, ""),
    ):
        trees = [
            (f"{model}, base {base}", _tree(answers, model, base, of_epoch))
            for model in answers.models
            for base in dict.fromkeys(line.path[0] for line in answers.of_model(model))
        ]
        png = curve_grid(trees, columns, f"validation {name}", top)
        caption = _CURVES.format(more=more).strip()
        blocks.append(Picture(f"curves-{name.lower()}", png, caption))
    return Section("learning", "How the trainings went", tuple(blocks))


def chosen_lines(answers: Answers) -> list[Line]:
    """For each model and test set the line that validated best on it; see Answers.best."""
    best = [answers.best(model, name) for model in answers.models for name in answers.sets]
    return [line for line in best if line is not None]


def _nll(epoch: Epoch) -> float:
    return epoch.nll


def _macro_f1(epoch: Epoch) -> float:
    return epoch.macro_f1


def _loss(epoch: Epoch) -> float:
    return epoch.loss


def _tree(
    answers: Answers, model: str, base: str, of_epoch: Callable[[Epoch], float]
) -> list[Curve]:
    """Curves of all lines of one model and base, each after the epochs of what it goes on from."""
    lines = [line for line in answers.of_model(model) if line.path[0] == base]
    sets = list(dict.fromkeys(line.path[-1] for line in answers.lines))
    curves = []
    for line in lines:
        parents = [line._replace(path=line.path[:n]) for n in range(1, len(line.path))]
        start = sum(_values(answers, p, _nll).shape[1] for p in parents if p in answers.lines)
        color = f"C{sets.index(line.path[-1]) % 10}"
        values = _values(answers, line, of_epoch)
        curves.append(Curve(f"on {line.path[-1]}", start, values, color))
        if of_epoch is _nll:
            loss = _values(answers, line, _loss)
            curves.append(Curve(f"training on {line.path[-1]}", start, loss, color, dashed=True))
    return curves


def _values(
    answers: Answers, line: Line, of_epoch: Callable[[Epoch], float]
) -> NDArray[np.float64]:
    """(R, E); where seeds were trained for different epochs, those that all have."""
    histories = [cell.history for cell in answers.lines[line].values()]
    epochs = min(len(history) for history in histories)
    return np.array([[of_epoch(epoch) for epoch in history[:epochs]] for history in histories])
