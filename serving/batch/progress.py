"""The progress bar during a run, and the counts by label at its end."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from serving.batch.rows import BatchRow


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
    """How many chips had each label, or each error code."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str]] = Counter()

    def add(self, row: BatchRow) -> None:
        """Count a row."""
        self._counts[row["status"], row["label"] or row["error_code"]] += 1

    @property
    def failed(self) -> int:
        """Chips that were not classified."""
        return sum(n for (status, _), n in self._counts.items() if status == "error")

    def __str__(self) -> str:
        """12 chips: 7 Cargo, 3 Tanker, 2 failed (1 empty, 1 corrupt)"""
        counts = sorted(self._counts.items())
        labels = [f"{n} {label}" for (status, label), n in counts if status == "ok"]
        codes = [f"{n} {code}" for (status, code), n in counts if status == "error"]
        parts = [*labels, *([f"{self.failed} failed ({', '.join(codes)})"] if codes else [])]
        return f"{self._counts.total()} chips: {', '.join(parts)}"
