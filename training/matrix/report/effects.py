"""What fine-tuning and merging change, and the variants of a sweep side by side."""

from collections.abc import Mapping, Sequence

from training.card.schema import Interval
from training.evaluation.tables import interval_text
from training.matrix.report.page import (
    FALLS,
    RISES,
    Page,
    difference_cell,
    path_name,
)
from training.matrix.report.scores import UNION, Line, MatrixScores
from training.plots import Whiskers, whisker_grid

_STEPS = (
    "Macro-F1 after the step less macro-F1 before it, on the same chips with the same seeds "
    "(paired bootstrap). Steps that end on another set than the test set show what is forgotten."
)
_MERGED = (
    "F1 of each class after base training on “{union}” less F1 after base training on the part "
    "alone, both tested on the part's test chips."
)


def fine_tuning(page: Page, answers: MatrixScores) -> None:
    """Paired differences of each step: base to first fine-tuning, first to second."""
    page.section("fine-tuning", "Before and after fine-tuning")
    steps = {
        model: [
            line
            for line in sorted(answers.of_model(model), key=_length)
            if len(line.path) > 1 and _before(line) in answers.lines
        ]
        for model in answers.models
    }
    steps = {model: lines for model, lines in steps.items() if lines}
    if not steps:
        page.text("No fine-tuning was run.")
        return
    found = {
        (line, name): answers.difference(_before(line), line, name)
        for lines in steps.values()
        for line in lines
        for name in answers.sets
    }
    known = [figure for figure in found.values() if figure is not None]
    rises, falls = sum(f.low > 0 for f in known), sum(f.high < 0 for f in known)
    summary = (
        f"Of {len(known)} steps and test sets, macro-F1 rose in {rises} and fell in {falls} with "
        f"an interval that excludes 0; for the other {len(known) - rises - falls} it includes 0."
    )
    page.text(_STEPS, summary)
    _step_figure(page, answers, found)
    page.legend(RISES, FALLS)
    for model, lines in steps.items():
        _step_table(page, answers, model, lines, found)


def _before(line: Line) -> Line:
    return line._replace(path=line.path[:-1])


def _length(line: Line) -> int:
    return len(line.path)


def _step_table(
    page: Page,
    answers: MatrixScores,
    model: str,
    lines: list[Line],
    found: Mapping[tuple[Line, str], Interval | None],
) -> None:
    rows = [
        (
            path_name(line.path[:-1]),
            line.path[-1],
            *(difference_cell(found[line, name]) for name in answers.sets),
        )
        for line in lines
    ]
    head = ("before", "fine-tuned on", *(f"tested on {name}" for name in answers.sets))
    page.table(f"{model}: difference of macro-F1", head, rows, folded=True)


def _step_figure(
    page: Page, answers: MatrixScores, found: Mapping[tuple[Line, str], Interval | None]
) -> None:
    lines = {line for line, _ in found}
    paths = [line.path for line in answers.lines if line in lines]
    paths = sorted(dict.fromkeys(paths), key=len)
    models = [model for model in answers.models if any(line.model == model for line in lines)]
    panels = [
        (
            f"tested on {name}",
            [
                Whiskers(m, [found.get((Line(answers.main, m, path), name)) for path in paths])
                for m in models
            ],
        )
        for name in answers.sets
    ]
    rows = [f"{path_name(path[:-1])}\n→ {path[-1]}" for path in paths]
    png = whisker_grid(panels, rows, "macro-F1, after less before")
    caption = "Difference of macro-F1 by each step of fine-tuning, with 95 % intervals."
    page.picture("fine-tuning", png, caption)


def merging(page: Page, answers: MatrixScores) -> None:
    """Per class: base training on the union against base training on the part."""
    page.section("merging", "What merging the sets did to each class")
    classes = answers.results.test.classes
    rows = []
    for model in answers.models:
        whole = Line(answers.main, model, (UNION,))
        for name in (name for name in answers.sets if name != UNION):
            part = Line(answers.main, model, (name,))
            if whole not in answers.lines or part not in answers.lines:
                continue
            for label in answers.score(part, name).classes:
                of_class = classes.index(label)
                rows.append(
                    (
                        *(model, name, label),
                        *(_f1(answers, line, name, label) for line in (part, whole)),
                        difference_cell(answers.difference(part, whole, name, of_class)),
                    )
                )
    if not rows:
        page.text("No base training on the union was run.")
        return
    head = ("model", "part", "class", "F1, base on part", f"F1, base on {UNION}", "difference")
    page.text(_MERGED.format(union=UNION))
    page.legend(RISES, FALLS)
    page.table("F1 by class, 95 %", head, rows)


def _f1(answers: MatrixScores, line: Line, test_set: str, label: str) -> str:
    return interval_text(answers.score(line, test_set).by_class_intervals[label].f1)


def sweeps(page: Page, answers: MatrixScores) -> None:
    """One table per test set: macro-F1, balanced accuracy and recalls of each variant."""
    page.section("sweeps", "Sweeps")
    if len(answers.variants) < 2:
        page.text(f"One variant only, “{answers.main}”: nothing was swept.")
        return
    page.text(
        f"The difference is of macro-F1 against the first variant, “{answers.main}”, on the same "
        "chips with the same seeds (paired bootstrap). All other sections show that variant alone."
    )
    page.legend(RISES, FALLS)
    for name in answers.sets:
        _sweep_table(page, answers, name)


def _sweep_table(page: Page, answers: MatrixScores, test_set: str) -> None:
    present = answers.score(next(iter(answers.lines)), test_set).classes
    # Variants of one model and path are next to each other, so that they can be compared.
    ordered = sorted(answers.lines, key=lambda line: _sweep_order(answers, line))
    recalls = (f"recall of {label}" for label in present)
    head = ("model", "path", "variant", "macro-F1", "balanced accuracy", *recalls)
    page.table(
        f"Tested on {test_set}, 95 %",
        (*head, f"against {answers.main}"),
        [_sweep_row(answers, line, test_set, present) for line in ordered],
    )


def _sweep_order(answers: MatrixScores, line: Line) -> tuple[int, int, int]:
    paths = list(dict.fromkeys(other.path for other in answers.lines))
    return (
        answers.models.index(line.model),
        paths.index(line.path),
        answers.variants.index(line.variant),
    )


def _sweep_row(
    answers: MatrixScores, line: Line, test_set: str, present: Sequence[str]
) -> tuple[str, ...]:
    score = answers.score(line, test_set)
    figures = [score.headline.macro_f1, score.headline.balanced_accuracy]
    figures += [score.by_class_intervals[label].recall for label in present]
    against = line._replace(variant=answers.main)
    last = "" if line == against else difference_cell(answers.difference(against, line, test_set))
    named = (line.model, path_name(line.path), line.variant)
    return (*named, *(interval_text(figure) for figure in figures), last)
