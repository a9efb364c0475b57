"""The published figures (Awais and Reggiannini) that a matrix is compared with.

`published_scores.csv` holds one row per model, base set, set of the fine-tuning (empty: none) and
test set. Its test sets have all three classes and share ships with training.
"""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

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
        """Whether it is what a model scores that answers with one class (Cargo) only."""
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
