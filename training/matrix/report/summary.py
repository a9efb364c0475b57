"""The summary of a matrix, for the top of its report and the terminal."""

from collections.abc import Iterator

from training.card.schema import Interval
from training.evaluation.tables import interval_text, listed
from training.matrix.config import is_pretrained
from training.matrix.report.comparison import no_better_than_majority
from training.matrix.report.page import difference, path_name
from training.matrix.report.scores import UNION, Line, MatrixScores


def summary(answers: MatrixScores) -> tuple[tuple[str, str], ...]:
    """What and what was found, line by line: ten lines for two data sets and their union.

    It is about the main variant. "Clear" says that an interval excludes 0.
    """
    return (
        ("trainings", _trainings(answers)),
        ("left out", listed(answers.left_out, most=3) or "nothing that the others have"),
        *((f"best on {name}", _best(answers, name)) for name in answers.sets),
        *_pretraining(answers),
        ("order of the two fine-tunings", _order(answers)),
        ("no better than the majority", _majority(answers)),
    )


def _main(answers: MatrixScores) -> list[Line]:
    return [line for line in answers.lines if line.variant == answers.main]


def _trainings(answers: MatrixScores) -> str:
    lines = _main(answers)
    finished = sum(len(answers.lines[line]) for line in lines)
    paths = len({line.path for line in lines})
    only = f" of the variant {answers.main}" if len(answers.variants) > 1 else ""
    return (
        f"{finished}{only} (models: {len(answers.models)}, paths: {paths}, seeds: "
        f"{len(answers.seeds)}); {len(lines) * len(answers.sets)} cells, each a model and path on "
        "one test set"
    )


def _best(answers: MatrixScores, test_set: str) -> str:
    """The line of all models that ends on the set and validated best there."""
    found = [answers.best(model, test_set) for model in answers.models]
    line = min((line for line in found if line), key=answers.nll, default=None)
    if line is None:
        return "no path ends on it"
    score = answers.score(line, test_set)
    return (
        f"{line.model}, {path_name(line.path)}: macro-F1 {interval_text(score.headline.macro_f1)}, "
        f"majority {score.majority_macro_f1:.2f} (chosen by validation loss)"
    )


def _pretraining(answers: MatrixScores) -> Iterator[tuple[str, str]]:
    """Each pre-trained model less the same one without, first counted, then set by set."""
    parts = [name for name in answers.sets if name != UNION]
    pairs = {name: list(_pairs(answers, name)) for name in parts}
    known = [figure for found in pairs.values() for _, _, figure in found]
    if not known:
        yield "pre-training", "not measured: no model was run with and without it"
        return
    rises, falls = sum(f.low > 0 for f in known), sum(f.high < 0 for f in known)
    yield (
        "pre-training",
        f"macro-F1 clearly higher in {rises} and clearly lower in {falls} of {len(known)} pairs of "
        "a model with and without it",
    )
    for name, found in pairs.items():
        texts = (_pair(answers, name, *pair) for pair in found)
        yield f"pre-training on {name}", "; ".join(texts) or "no such pair ends on it"


def _pairs(answers: MatrixScores, test_set: str) -> Iterator[tuple[Line, Line, Interval]]:
    """Without and with pre-training, after the shortest path that ends on the set: the base
    training, if there is one."""
    for model in filter(is_pretrained, answers.models):
        ending = (line for line in answers.of_model(model) if line.path[-1] == test_set)
        for line in sorted(ending, key=lambda line: len(line.path)):
            plain = line._replace(model=model.removesuffix("-pretrained"))
            figure = answers.difference(plain, line, test_set)
            if figure is not None:
                yield plain, line, figure
                break


def _pair(answers: MatrixScores, test_set: str, plain: Line, line: Line, figure: Interval) -> str:
    classes = answers.results.test.classes
    clear = []
    for label in answers.score(line, test_set).classes:
        of_class = answers.difference(plain, line, test_set, classes.index(label))
        if of_class is not None and _excludes_0(of_class):
            clear.append(f"{label} {difference(of_class)}")
    after = "" if len(line.path) == 1 else f" after {path_name(line.path)}"
    return f"{plain.model}{after} {difference(figure)}, clear for {listed(clear) or 'no class'}"


def _excludes_0(figure: Interval) -> bool:
    return figure.low > 0 or figure.high < 0


def _order(answers: MatrixScores) -> str:
    """Paths of three against those with their last two sets exchanged, on every test set."""
    clear = compared = last = last_compared = 0
    for line in (line for line in _main(answers) if len(line.path) == 3):
        base, first, second = line.path
        other = line._replace(path=(base, second, first))
        for name in answers.sets:
            # Each pair once: with the path that ends on the test set, if one does.
            if name == first or (name != second and first > second):
                continue
            figure = answers.difference(other, line, name)
            if figure is None:
                continue
            compared += 1
            clear += _excludes_0(figure)
            if name == second:
                last_compared += 1
                last += figure.low > 0
    if not compared:
        return "not measured: no base was fine-tuned on two sets in both orders"
    return (
        f"matters clearly in {clear} of {compared} comparisons; tested on one of the two sets, the "
        f"path that ends on it is clearly better in {last} of {last_compared}"
    )


def _majority(answers: MatrixScores) -> str:
    cells = [(line, name) for line in _main(answers) for name in answers.sets]
    found = [
        (line, name) for line, name in cells if no_better_than_majority(answers.score(line, name))
    ]
    elsewhere = sum(line.path[-1] != name for line, name in found)
    return (
        f"{len(found)} of {len(cells)} cells; {elsewhere} of these are tested on another set than "
        "the last that was trained on"
    )
