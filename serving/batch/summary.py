"""What a run shows: the progress bar, counts by verdict and label, scores of labelled chips.

The definitions of the scores are those of training.evaluation.metrics: figures are over the classes
of labelled chips that were classified, and a class that is never predicted has a precision of 0.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, get_args

from rich.console import Console, Group, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from serving.batch.inputs import ChipEntry, label_of
from serving.batch.rows import FAILED, BatchRow
from shipchip.answer import Verdict


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        """Recent chips per second."""
        return Text("" if task.speed is None else f"{task.speed:.0f} chips/s")


@contextmanager
def progress(
    console: Console, total: int, done: int
) -> Iterator[Callable[[Sequence[BatchRow]], None]]:
    """A function that counts rows: a progress bar on a terminal, silent elsewhere.

    done  rows of an earlier run that this one resumes
    """
    failed = 0
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("classifying", total=total, completed=done)

        def advance(rows: Sequence[BatchRow]) -> None:
            nonlocal failed
            failed += sum(row["status"] == "error" for row in rows)
            description = f"classifying, {failed} failed" if failed else "classifying"
            bar.update(task, advance=len(rows), description=description)

        yield advance


class Tally:
    """How many chips had each verdict and each label, or each error code."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str]] = Counter()
        self._verdicts: Counter[str] = Counter()

    def add(self, row: BatchRow) -> None:
        """Count a row."""
        self._counts[row["status"], row["label"] or row["error_code"]] += 1
        if row["status"] == "ok":
            self._verdicts[row["verdict"]] += 1

    @property
    def failed(self) -> int:
        """Chips that were not classified."""
        return sum(n for (status, _), n in self._counts.items() if status == "error")

    def __str__(self) -> str:
        """12 chips: 6 sure, 3 undecided, 1 unlike, 2 failed (2 empty); 7 Cargo, 3 Tanker"""
        counts = sorted(self._counts.items())
        labels = [f"{n} {label}" for (status, label), n in counts if status == "ok"]
        codes = [f"{n} {code}" for (status, code), n in counts if status == "error"]
        parts = [f"{self._verdicts[verdict]} {verdict}" for verdict in get_args(Verdict)]
        parts += [f"{self.failed} failed ({', '.join(codes)})"] if codes else []
        total = self._counts.total()
        text = f"{total} chip{'s' * (total != 1)}: {', '.join(parts)}"
        return f"{text}; {', '.join(labels)}" if labels else text


def pace(chips: int, seconds: float) -> str:
    """How long this run took: `1.5 s, 200 chips/s`. Rows that it resumed with do not count."""
    if chips == 0:
        return "no chip was left to classify"
    rate = chips / max(seconds, 1e-3)
    return f"{seconds:.1f} s, {rate:.{0 if rate >= 10 else 1}f} chips/s"


class Summary:
    """What the console says at the end."""

    def __init__(self, classes: Sequence[str] | None) -> None:
        self.tally = Tally()
        self.scores = None if classes is None else Scores(classes)

    def add(self, rows: Iterable[BatchRow], entries: Iterable[ChipEntry]) -> None:
        for row, entry in zip(rows, entries, strict=True):
            self.tally.add(row)
            if self.scores is not None:
                self.scores.add(label_of(entry, self.scores.classes), row)


_WORDS = {
    "macro_f1": "macro-F1",
    "balanced_accuracy": "balanced accuracy",
    "accuracy": "accuracy",
}


class ClassScore(NamedTuple):
    """One class; `support` is the number of its classified chips, the other figures are 0..1."""

    precision: float
    recall: float
    f1: float
    support: int


class Scores:
    """Counts of (class, predicted label), added row by row.

    unlabelled  chips without a known class; they are in no figure
    """

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = tuple(classes)
        self.unlabelled = 0
        self._counts: Counter[tuple[str, str | None]] = Counter()

    def add(self, true_label: str | None, row: BatchRow) -> None:
        """Add one chip: its class (None if unknown) and its row. ValueError for another class."""
        if true_label is None:
            self.unlabelled += 1
            return
        if true_label not in self.classes:
            raise ValueError(f"class {true_label!r}; expected one of {', '.join(self.classes)}")
        self._counts[true_label, row["label"] if row["status"] == "ok" else None] += 1

    def count(self, true_label: str, answer: str | None) -> int:
        """Chips of a class with this predicted label; None counts the unclassified."""
        return self._counts[true_label, answer]

    def by_class(self) -> dict[str, ClassScore]:
        """Scores of the classes that occur among classified chips, in order."""
        scores = {}
        for name in self.classes:
            support = sum(self.count(name, answer) for answer in self.classes)
            answered = sum(self.count(other, name) for other in self.classes)
            hits = self.count(name, name)
            if support:
                f1 = 2 * hits / (support + answered)
                precision = hits / answered if answered else 0.0
                scores[name] = ClassScore(precision, hits / support, f1, support)
        return scores

    def headline(self) -> dict[str, float]:
        """macro_f1, balanced_accuracy, accuracy, 0..1; {} without labelled, classified chips."""
        scores = self.by_class()
        if not scores:
            return {}
        hits = sum(self.count(name, name) for name in scores)
        return {
            "macro_f1": sum(score.f1 for score in scores.values()) / len(scores),
            "balanced_accuracy": sum(score.recall for score in scores.values()) / len(scores),
            "accuracy": hits / sum(score.support for score in scores.values()),
        }

    def table(self) -> RenderableType:
        """The tables, for a terminal of 80 columns."""
        return Group(self._confusion_table(), self._score_table(), Text(self._last_line()))

    def _confusion_table(self) -> Table:
        table = Table(title="Chips by class (rows) and answer (columns)", title_justify="left")
        table.add_column("class")
        for answer in (*self.classes, FAILED):
            table.add_column(Text(answer), justify="right")
        for name in self.classes:
            counts = [self.count(name, answer) for answer in (*self.classes, None)]
            table.add_row(Text(name), *map(str, counts))
        return table

    def _score_table(self) -> Table:
        table = Table(title="Scores of the classified chips", title_justify="left")
        table.add_column("class")
        for column in (*ClassScore._fields[:3], "chips"):
            table.add_column(column, justify="right")
        scores = self.by_class()
        for name in self.classes:
            score = scores.get(name)
            figures = ["-"] * 3 if score is None else [f"{value:.3f}" for value in score[:3]]
            table.add_row(Text(name), *figures, str(score.support if score else 0))
        return table

    def _last_line(self) -> str:
        figures = [f"{_WORDS[name]} {value:.3f}" for name, value in self.headline().items()]
        rest = [f"{self.unlabelled} chips without a class"] if self.unlabelled else []
        return ", ".join([*(figures or ["no labelled chip was classified"]), *rest])
