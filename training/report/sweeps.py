"""Variants of a sweep side by side."""

from training.report.answers import Answers, Line
from training.report.document import Block, Entry, Legend, Paragraph, Section, Table
from training.report.wording import FALLS, RISES, difference, interval, path_name


def sweeps(answers: Answers) -> Section:
    """A table a test set: macro-F1, balanced accuracy and recalls of each variant."""
    if len(answers.variants) < 2:
        note = Paragraph(f"One variant only, “{answers.main}”: nothing was swept.")
        return Section("sweeps", "Sweeps", (note,))
    note = Paragraph(
        f"The difference is of macro-F1 against the first variant, “{answers.main}”, on the same "
        "chips with the same seeds (paired bootstrap). All other sections show that variant alone."
    )
    blocks: list[Block] = [note, Legend((RISES, FALLS))]
    blocks += [_table(answers, name) for name in answers.sets]
    return Section("sweeps", "Sweeps", tuple(blocks))


def _table(answers: Answers, test_set: str) -> Table:
    present = answers.score(next(iter(answers.lines)), test_set)["classes"]
    # Variants of one model and path stand below each other, to be compared.
    ordered = sorted(answers.lines, key=lambda line: _place(answers, line))
    recalls = (f"recall of {label}" for label in present)
    head = ("model", "path", "variant", "macro-F1", "balanced accuracy", *recalls)
    return Table(
        f"Tested on {test_set}, 95 %",
        (*head, f"against {answers.main}"),
        tuple(_row(answers, line, test_set, present) for line in ordered),
    )


def _place(answers: Answers, line: Line) -> tuple[int, int, int]:
    paths = list(dict.fromkeys(other.path for other in answers.lines))
    return (
        answers.models.index(line.model),
        paths.index(line.path),
        answers.variants.index(line.variant),
    )


def _row(answers: Answers, line: Line, test_set: str, present: list[str]) -> tuple[Entry, ...]:
    score = answers.score(line, test_set)
    figures = [score["headline"][name] for name in ("macro_f1", "balanced_accuracy")]
    figures += [score["by_class_intervals"][label]["recall"] for label in present]
    against = line._replace(variant=answers.main)
    last = Entry("") if line == against else difference(answers.difference(against, line, test_set))
    texts = (line.model, path_name(line.path), line.variant, *(interval(f) for f in figures))
    return (*(Entry(text) for text in texts), last)
