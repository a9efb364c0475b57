"""What was run, how to read the report, and how the trainings went."""

import json
from collections import Counter
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from training.data.splits import SPLITS
from training.evaluation.tables import listed
from training.fit.progress import Epoch
from training.matrix.report.page import Page, path_name
from training.matrix.report.scores import UNION, Line, MatrixScores
from training.plots import Confusion, Curve, confusion_grid, curve_grid

_HOW_TO_READ = (
    "A path such as “fusar → opensarship → mix” is a base training on the first set and "
    "fine-tunings on the next. Of length 1 or 2 it is the independent protocol (each fine-tuning "
    "continues from the base), of length 3 the sequential one. Every path is tested on every test "
    "set, once.",
    "A figure is the mean over seeds; the brackets are a 95 % bootstrap interval for which ships "
    "and seeds were resampled together, because chips of one ship are not independent. Few seeds "
    "show too little of their own spread. No correction is made for the number of comparisons: "
    "of twenty intervals for a true difference of 0, one excludes 0 by chance.",
    "Metrics are over the classes that a test set has. Nothing was chosen by the test side: where "
    "the report picks a path, it is the one of least validation loss.",
)
_POOLED = (
    "“{union}” pools the other sets. If only one of them has a class, a model can guess it "
    "from the sensor: read the parts before the pool."
)


def overview(page: Page, answers: MatrixScores) -> None:
    """Models, sets, seeds, the split, what is missing, how to read it all; the config, folded."""
    record = answers.results.record
    page.section("run", "What was run")
    _run_table(page, answers)
    _split_table(page, record.split)
    _test_table(page, answers)
    page.text(*_HOW_TO_READ)
    if UNION in answers.sets and len(answers.sets) > 1:
        page.text(_POOLED.format(union=UNION))
    text = json.dumps(record.model_dump(mode="json"), indent=2, ensure_ascii=False)
    page.verbatim("The complete config", text)


_VGG16 = "vgg16 has batch normalisation; vgg16-pretrained has none, as it was published"


def _run_table(page: Page, answers: MatrixScores) -> None:
    record, cells = answers.results.record, answers.results.cells
    commits = sorted({cell.commit for cell in cells} | {record.git_commit})
    finished = sum(len(seeds) for seeds in answers.lines.values())
    hours = sum(cell.seconds for cell in cells) / 3600
    paths = dict.fromkeys(line.path for line in answers.lines)
    facts = {
        "trainings": f"{finished}, {hours:.1f} hours in all",
        "models": listed(answers.models),
        "paths": listed([path_name(path) for path in paths]),
        "seeds": listed([str(seed) for seed in answers.seeds]),
        "variants": listed(answers.variants) if len(answers.variants) > 1 else "",
        "left out": listed(answers.left_out) or "nothing that the others have",
        "commit": listed(commits) + (" (several!)" if len(commits) > 1 else ""),
        "manifest": record.manifest_sha256,
        "pretrained models": f"start from {record.pretrained}",
        "VGG16": _VGG16 if any(name.startswith("vgg16") for name in answers.models) else "",
        "machine": record.machine,
    }
    page.table("The run", ("", ""), [row for row in facts.items() if row[1]])


def _split_table(page: Page, counts: Mapping[str, Mapping[str, Mapping[str, int]]]) -> None:
    rows = [
        (source, label, *(str(sides[side]) for side in SPLITS), str(sum(sides.values())))
        for source, classes in counts.items()
        for label, sides in classes.items()
    ]
    title = "Chips by source, class and side; no ship is on two sides"
    page.table(title, ("source", "class", *SPLITS, "all"), rows)


def _test_table(page: Page, answers: MatrixScores) -> None:
    classes = answers.results.test.classes
    rows = []
    for name in answers.sets:
        chips = Counter(answers.labels(name).tolist())
        counts = (str(chips[k]) if chips[k] else "none" for k in range(len(classes)))
        ships = len(set(answers.groups(name)))
        rows.append((name, str(chips.total()), str(ships), *counts))
    page.table("The test sets", ("test set", "chips", "ships", *classes), rows)


_WHICH = (
    "For each model and each data set: of the paths that end on that set, the one whose validation "
    "loss there is lowest (mean over seeds), tested on that set. Losses on different sets cannot "
    "be compared, so there is one choice per set."
)
_CURVES = (
    "Every path, base first. Each fine-tuning is drawn from the end of the training before it, but "
    "continues from the epoch that validation chose. A colour is the set that the stage "
    "trains and is validated on, so colours do not compare with each other. Mean over seeds, the "
    "band from least to greatest. {more}"
)


def confusions_and_curves(page: Page, answers: MatrixScores) -> None:
    """The figures of section "How the trainings went"."""
    columns = len(answers.sets)
    panels = [
        Confusion(
            f"{line.model} on {line.path[-1]}\n{path_name(line.path)}",
            np.array(answers.score(line, line.path[-1]).confusion),
            answers.results.test.classes,
        )
        for line in chosen_lines(answers)
    ]
    page.section("learning", "How the trainings went")
    page.text(_WHICH)
    if panels:
        caption = "Confusion matrices, counts summed over seeds and shares of the true class."
        page.picture("confusion", confusion_grid(panels, columns), caption)
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
        page.picture(f"curves-{name.lower()}", png, caption)


def chosen_lines(answers: MatrixScores) -> list[Line]:
    """For each model and test set the line that validated best on it; see MatrixScores.best."""
    best = [answers.best(model, name) for model in answers.models for name in answers.sets]
    return [line for line in best if line is not None]


def _nll(epoch: Epoch) -> float:
    return epoch.nll


def _macro_f1(epoch: Epoch) -> float:
    return epoch.macro_f1


def _loss(epoch: Epoch) -> float:
    return epoch.loss


def _tree(
    answers: MatrixScores, model: str, base: str, of_epoch: Callable[[Epoch], float]
) -> list[Curve]:
    """Curves of all lines of one model and base, each after the epochs that it continues from."""
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
    answers: MatrixScores, line: Line, of_epoch: Callable[[Epoch], float]
) -> NDArray[np.float64]:
    """(R, E); if seeds were trained for different numbers of epochs, those that all have."""
    histories = [cell.history for cell in answers.lines[line].values()]
    epochs = min(len(history) for history in histories)
    return np.array([[of_epoch(epoch) for epoch in history[:epochs]] for history in histories])
