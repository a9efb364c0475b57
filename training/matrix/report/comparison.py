"""The matrix beside the published figures of Awais and Reggiannini: every path on every test set.

`published_scores.csv` holds one row per model, base set, set of the fine-tuning (empty: none) and
test set. Its test sets have all three classes and share ships with training.
"""

import csv
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from training.card.schema import Score
from training.evaluation.tables import interval_text, listed
from training.matrix.report.html_page import Mark
from training.matrix.report.page import Markdown, Page, cell, path_name
from training.matrix.report.scores import UNION, Line, MatrixScores

_FILE = Path(__file__).with_name("published_scores.csv")
_RECALL = "recall_"


@dataclass(frozen=True)
class PublishedRow:
    """One published row; `recalls` by class name, in the class order of the table."""

    accuracy: float
    weighted_f1: float
    macro_f1: float
    balanced_accuracy: float
    recalls: Mapping[str, float]

    @property
    def one_class(self) -> bool:
        """Whether it is the score of a model that always answers Cargo."""
        first, *others = self.recalls.values()
        return first == 1 and not any(others)

    def mean_recall(self, classes: Sequence[str]) -> float:
        """Balanced accuracy over some of its classes; KeyError for one that it lacks."""
        return sum(self.recalls[name] for name in classes) / len(classes)


class PublishedScores:
    """All published rows, found by what was trained and tested."""

    def __init__(self, file: Path = _FILE) -> None:
        with file.open(encoding="utf-8", newline="") as lines:
            self._rows = {
                (row["model"], row["base"], row["finetune"], row["test"]): _published(row)
                for row in csv.DictReader(lines)
            }

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def sets(self) -> frozenset[str]:
        """The names of its data sets."""
        return frozenset(test for _, _, _, test in self._rows)

    def find(self, model: str, path: Sequence[str], test: str) -> PublishedRow | None:
        """The row of a path's base and last set; None if the paper has none.

        The table does not say what came between, so ("fusar", "mix") and
        ("fusar", "opensarship", "mix") have the same partner.
        """
        last = path[-1] if len(path) > 1 else ""
        return self._rows.get((model, path[0], last, test))


def _published(row: Mapping[str, str]) -> PublishedRow:
    return PublishedRow(
        accuracy=float(row["accuracy"]),
        weighted_f1=float(row["weighted_f1"]),
        macro_f1=float(row["macro_f1"]),
        balanced_accuracy=float(row["balanced_accuracy"]),
        recalls={
            name.removeprefix(_RECALL).title(): float(value)
            for name, value in row.items()
            if name.startswith(_RECALL)
        },
    )


HIGHER = Mark("▲", "higher than published, but the interval includes the published value", "good")
CLEARLY = Mark("▲▲", "higher than published, and the interval lies above it", "good")
BELOW = Mark("▼▼", "the interval lies below the published value", "bad")
MAJORITY = Mark(
    "=M", "no better than the majority class, whose macro-F1 the interval includes", "bad"
)
ONE_CLASS = Mark("P=M", "the published row is exactly “everything is one class”")

_NOT_THE_SAME_CLASSES = (
    "Not the same classes: the test set “{name}” here has no {absent}, so its macro-F1 is over "
    "{present}, but the published macro-F1 is over {all}, so the two cannot be compared. The marks "
    "against published there compare mean recall over {present}, which follows from the published "
    "recalls."
)
_NOT_THE_SAME_CHIPS = (
    "The published test sets are others: three-class, and a random split that leaves chips of "
    "ships that were trained on among the test chips. Ours holds no ship of training, which makes "
    "it harder. The paper gives no intervals. It does not say what came between base and last "
    "fine-tuning, so a sequential path is compared with the same row as the independent one."
)


def no_better_than_majority(score: Score) -> bool:
    """Whether the interval of macro-F1 includes that of the majority class, or lies below it."""
    return score.headline.macro_f1.low <= score.majority_macro_f1


@dataclass(frozen=True)
class ClaimVerdict:
    """How one line did on one test set; `published` is None if the paper has no such row."""

    score: Score
    published: PublishedRow | None

    @property
    def same_classes(self) -> bool:
        """Whether our macro-F1 and the published one are over the same classes."""
        return self.published is not None and set(self.score.classes) == set(self.published.recalls)

    @property
    def marks(self) -> tuple[Mark, ...]:
        """Marks of our figure: against published, then against the majority class."""
        majority = (MAJORITY,) if no_better_than_majority(self.score) else ()
        return (*self._against_published(), *majority)

    def _against_published(self) -> tuple[Mark, ...]:
        if self.published is None:
            return ()
        headline, classes = self.score.headline, self.score.classes
        if self.same_classes:
            ours, theirs = headline.macro_f1, self.published.macro_f1
        elif set(classes) <= set(self.published.recalls):
            ours, theirs = headline.balanced_accuracy, self.published.mean_recall(classes)
        else:
            return ()
        if ours.low > theirs:
            return (CLEARLY,)
        if ours.value > theirs:
            return (HIGHER,)
        return (BELOW,) if ours.high < theirs else ()


def comparison(page: Page, answers: MatrixScores, published: PublishedScores) -> None:
    """Counts of the marks, then one table per model: paths by test sets."""
    known = _same_sets(answers, published)
    verdicts = {
        (line, name): ClaimVerdict(
            answers.score(line, name),
            published.find(line.model, line.path, name) if known else None,
        )
        for model in answers.models
        for line in answers.of_model(model)
        for name in answers.sets
    }
    compared = any(verdict.published for verdict in verdicts.values())
    page.section("matrix", "The matrix")
    _counts(page, answers, verdicts, compared)
    page.legend(*((HIGHER, CLEARLY, BELOW, MAJORITY, ONE_CLASS) if compared else (MAJORITY,)))
    if compared:
        page.text(_NOT_THE_SAME_CHIPS, *_class_notes(answers, verdicts))
    else:
        page.text("The published table has no figures for these models and sets.")
    for model in answers.models:
        if answers.of_model(model):
            _model_table(page, answers, model, verdicts, compared)


def _same_sets(answers: MatrixScores, published: PublishedScores) -> bool:
    """Whether sets of equal names are the same sets; a union is if all its parts are."""
    ours = set(answers.results.test.sets)
    return ours == published.sets or ours < published.sets - {UNION}


ClaimVerdicts = Mapping[tuple[Line, str], ClaimVerdict]


def _class_notes(answers: MatrixScores, verdicts: ClaimVerdicts) -> Iterator[str]:
    for name in answers.sets:
        held = [v for (_, test), v in verdicts.items() if test == name and v.published]
        if held and not held[0].same_classes:
            yield _NOT_THE_SAME_CLASSES.format(
                name=name,
                absent=" and no ".join(held[0].score.absent),
                present=" and ".join(held[0].score.classes),
                all=listed(list(held[0].published.recalls) if held[0].published else []),
            )


def _counts(page: Page, answers: MatrixScores, verdicts: ClaimVerdicts, compared: bool) -> None:
    """How many cells have each mark, by protocol and test set."""
    rows = []
    for protocol, lengths in (("base and independent", (1, 2)), ("sequential", (3,))):
        here = {key: v for key, v in verdicts.items() if len(key[0].path) in lengths}
        if not here:
            continue
        texts = {name: _count_lines(here, name, compared) for name in answers.sets}
        for what in next(iter(texts.values())):
            rows.append((protocol, what, *(texts[name][what] for name in answers.sets)))
    page.table("Cells with each mark", ("protocol", "mark", *answers.sets), rows)


def _count_lines(verdicts: ClaimVerdicts, test_set: str, compared: bool) -> dict[str, str]:
    here = [v for (_, name), v in verdicts.items() if name == test_set]
    partners = sum(v.published is not None for v in here)
    count = Counter(mark for v in here for mark in v.marks)
    texts = {}
    if compared:
        higher = count[HIGHER] + count[CLEARLY]
        one_class = sum(v.published is not None and v.published.one_class for v in here)
        texts = {
            "higher than published (▲ or ▲▲)": f"{higher} of {partners} cells",
            "… and the interval excludes it (▲▲)": f"{count[CLEARLY]} of {partners} cells",
            "lower, and the interval excludes it (▼▼)": f"{count[BELOW]} of {partners} cells",
            "published is all one class (P=M)": f"{one_class} of {partners} cells",
        }
    return texts | {"no better than the majority (=M)": f"{count[MAJORITY]} of {len(here)} cells"}


def _model_table(
    page: Page, answers: MatrixScores, model: str, verdicts: ClaimVerdicts, compared: bool
) -> None:
    head = ["path"]
    for name in answers.sets:
        head += [name, "published"] if compared else [name]
    rows = []
    for line in answers.of_model(model):
        held = len(answers.lines[line])
        fewer = [f"{held} of {len(answers.seeds)} seeds"] if held < len(answers.seeds) else []
        row = [cell(path_name(line.path), fewer)]
        for name in answers.sets:
            verdict = verdicts[line, name]
            row += [_ours(verdict), _theirs(verdict)] if compared else [_ours(verdict)]
        rows.append(row)
    rows.append(_majority_row(answers, compared))
    page.table(f"{model}: macro-F1 (95 %), weighted F1", head, rows)


def _ours(verdict: ClaimVerdict) -> Markdown:
    headline = verdict.score.headline
    under = [f"weighted F1 {headline.weighted_f1.value:.2f}"]
    if verdict.published is not None and not verdict.same_classes:
        under.append(f"mean recall {interval_text(headline.balanced_accuracy)}")
    return cell(interval_text(headline.macro_f1), under, verdict.marks)


def _theirs(verdict: ClaimVerdict) -> Markdown:
    row, classes = verdict.published, verdict.score.classes
    if row is None:
        return cell("-")
    under = [f"weighted F1 {row.weighted_f1:.2f}"]
    if not verdict.same_classes and set(classes) <= set(row.recalls):
        under.append(f"mean recall {row.mean_recall(classes):.2f} of these {len(classes)}")
    over = "" if verdict.same_classes else f" over {len(row.recalls)} classes"
    return cell(f"{row.macro_f1:.2f}{over}", under, (ONE_CLASS,) if row.one_class else ())


def _majority_row(answers: MatrixScores, compared: bool) -> list[Markdown]:
    line = next(iter(answers.lines))
    row = [cell("majority class alone")]
    for name in answers.sets:
        row.append(cell(f"{answers.score(line, name).majority_macro_f1:.2f}"))
        row += [cell("")] if compared else []
    return row
