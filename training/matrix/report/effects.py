"""What fine-tuning and merging change, and the variants of a sweep side by side."""

from collections.abc import Mapping, Sequence

from training.card.schema import Interval
from training.evaluation.tables import interval_text
from training.matrix.report.document import (
    FALLS,
    RISES,
    Block,
    Legend,
    Paragraph,
    ReportPicture,
    Section,
    Table,
    TableCell,
    difference,
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


def fine_tuning(answers: MatrixScores) -> Section:
    """Paired differences of each step: base to first fine-tuning, first to second."""
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
        text = Paragraph("No fine-tuning was run.")
        return Section("fine-tuning", "Before and after fine-tuning", (text,))
    found = {
        (line, name): answers.difference(_before(line), line, name)
        for lines in steps.values()
        for line in lines
        for name in answers.sets
    }
    tables = [_step_table(answers, model, lines, found) for model, lines in steps.items()]
    known = [figure for figure in found.values() if figure is not None]
    rises, falls = sum(f.low > 0 for f in known), sum(f.high < 0 for f in known)
    summary = (
        f"Of {len(known)} steps and test sets, macro-F1 rose in {rises} and fell in {falls} with "
        f"an interval that excludes 0; for the other {len(known) - rises - falls} it includes 0."
    )
    blocks: list[Block] = [Paragraph(_STEPS), Paragraph(summary), _step_figure(answers, found)]
    blocks += [Legend((RISES, FALLS)), *tables]
    return Section("fine-tuning", "Before and after fine-tuning", tuple(blocks))


def _before(line: Line) -> Line:
    return line._replace(path=line.path[:-1])


def _length(line: Line) -> int:
    return len(line.path)


def _step_table(
    answers: MatrixScores,
    model: str,
    lines: list[Line],
    found: Mapping[tuple[Line, str], Interval | None],
) -> Table:
    rows = [
        (
            TableCell(path_name(line.path[:-1])),
            TableCell(line.path[-1]),
            *(difference(found[line, name]) for name in answers.sets),
        )
        for line in lines
    ]
    head = ("before", "fine-tuned on", *(f"tested on {name}" for name in answers.sets))
    return Table(f"{model}: difference of macro-F1", head, tuple(rows), folded=True)


def _step_figure(
    answers: MatrixScores, found: Mapping[tuple[Line, str], Interval | None]
) -> ReportPicture:
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
    return ReportPicture("fine-tuning", png, caption)


def merging(answers: MatrixScores) -> Section:
    """Per class: base training on the union against base training on the part."""
    title = "What merging the sets did to each class"
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
                        *(TableCell(text) for text in (model, name, label)),
                        *(TableCell(_f1(answers, line, name, label)) for line in (part, whole)),
                        difference(answers.difference(part, whole, name, of_class)),
                    )
                )
    if not rows:
        return Section("merging", title, (Paragraph("No base training on the union was run."),))
    head = ("model", "part", "class", "F1, base on part", f"F1, base on {UNION}", "difference")
    note = Paragraph(_MERGED.format(union=UNION))
    table = Table("F1 by class, 95 %", head, tuple(rows))
    return Section("merging", title, (note, Legend((RISES, FALLS)), table))


def _f1(answers: MatrixScores, line: Line, test_set: str, label: str) -> str:
    return interval_text(answers.score(line, test_set).by_class_intervals[label].f1)


def sweeps(answers: MatrixScores) -> Section:
    """One table per test set: macro-F1, balanced accuracy and recalls of each variant."""
    if len(answers.variants) < 2:
        note = Paragraph(f"One variant only, “{answers.main}”: nothing was swept.")
        return Section("sweeps", "Sweeps", (note,))
    note = Paragraph(
        f"The difference is of macro-F1 against the first variant, “{answers.main}”, on the same "
        "chips with the same seeds (paired bootstrap). All other sections show that variant alone."
    )
    blocks: list[Block] = [note, Legend((RISES, FALLS))]
    blocks += [_sweep_table(answers, name) for name in answers.sets]
    return Section("sweeps", "Sweeps", tuple(blocks))


def _sweep_table(answers: MatrixScores, test_set: str) -> Table:
    present = answers.score(next(iter(answers.lines)), test_set).classes
    # Variants of one model and path are next to each other, so that they can be compared.
    ordered = sorted(answers.lines, key=lambda line: _sweep_order(answers, line))
    recalls = (f"recall of {label}" for label in present)
    head = ("model", "path", "variant", "macro-F1", "balanced accuracy", *recalls)
    return Table(
        f"Tested on {test_set}, 95 %",
        (*head, f"against {answers.main}"),
        tuple(_sweep_row(answers, line, test_set, present) for line in ordered),
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
) -> tuple[TableCell, ...]:
    score = answers.score(line, test_set)
    figures = [score.headline.macro_f1, score.headline.balanced_accuracy]
    figures += [score.by_class_intervals[label].recall for label in present]
    against = line._replace(variant=answers.main)
    last = (
        TableCell("")
        if line == against
        else difference(answers.difference(against, line, test_set))
    )
    texts = (line.model, path_name(line.path), line.variant, *(interval_text(f) for f in figures))
    return (*(TableCell(text) for text in texts), last)
