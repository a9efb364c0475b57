"""The scores of a matrix for its report: cells that differ only in seed are one line."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from shipchip.trust import probabilities
from training.card.schema import Interval, Score
from training.errors import DataInvalid
from training.evaluation.metrics import paired_difference, scores
from training.matrix.config import Cell
from training.matrix.folder import CellResult, MatrixResults

UNION = "mix"


class Line(NamedTuple):
    """A cell without its seed."""

    variant: str
    model: str
    path: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class MatrixScores:
    """The finished cells by line and seed, and everything that is computed from them.

    lines      line -> seed -> cell, seeds ascending; lines with a base before its fine-tunings
    sets       names of the test sets that hold a chip, the union of the others last
    left_out   what is not in the report, in words: cells missing or not finite
    """

    results: MatrixResults
    lines: dict[Line, dict[int, CellResult]]
    variants: tuple[str, ...]
    models: tuple[str, ...]
    sets: tuple[str, ...]
    seeds: tuple[int, ...]
    left_out: tuple[str, ...]
    _scores: dict[tuple[Line, str], Score] = field(default_factory=dict)

    @classmethod
    def of(cls, results: MatrixResults) -> "MatrixScores":
        """Sort a matrix; DataInvalid if a cell was not tested on this test side."""
        recipe, test = results.record.matrix, results.test
        for cell in results.cells:
            if cell.logits.shape != (len(test.labels), len(test.classes)):
                raise DataInvalid(
                    f"cell {cell.cell.place} has logits {cell.logits.shape}, expected "
                    f"{(len(test.labels), len(test.classes))}: it was tested on other chips; "
                    "delete its file to run it again"
                )
        sound = [cell for cell in results.cells if np.isfinite(cell.logits).all()]
        if not sound:
            raise DataInvalid(f"none of {len(results.cells)} cells has answers to report on")
        variants = _ordered(recipe.variants, (c.cell.variant for c in sound))
        models = _ordered(recipe.models, (c.cell.model for c in sound))
        seeds = tuple(sorted({c.cell.seed for c in results.cells}))
        sets = tuple(s for s in test.sets if test.sets[s].any() and s != UNION)
        sets += (UNION,) if UNION in test.sets and test.sets[UNION].any() else ()
        lines: dict[Line, dict[int, CellResult]] = {}
        order = _Order(variants, models, sets)
        for cell in sorted(sound, key=order.of):
            line = Line(cell.cell.variant, cell.cell.model, cell.cell.path)
            lines.setdefault(line, {})[cell.cell.seed] = cell
        return cls(results, lines, variants, models, sets, seeds, tuple(_missing(results)))

    @property
    def main(self) -> str:
        """The variant that the report is about; the others are in the sweeps only."""
        return self.variants[0]

    def of_model(self, model: str) -> list[Line]:
        """Lines of one model in the main variant."""
        return [line for line in self.lines if line[:2] == (self.main, model)]

    def labels(self, test_set: str) -> NDArray[np.int64]:
        """True classes (n,) of a test set."""
        return self.results.test.labels[self.results.test.sets[test_set]]

    def groups(self, test_set: str) -> list[str]:
        """Ships of a test set's chips."""
        inside = self.results.test.sets[test_set]
        return [g for g, here in zip(self.results.test.groups, inside, strict=True) if here]

    def probs(
        self,
        line: Line,
        test_set: str,
        calibrated: bool = True,
        seeds: Sequence[int] | None = None,
    ) -> NDArray[np.float64]:
        """Probabilities (R, n, K) of a test set's chips, by each cell's own temperature or none."""
        inside, cells = self.results.test.sets[test_set], self.lines[line]
        return np.stack(
            [
                probabilities(cell.logits[inside], cell.temperature if calibrated else 1.0)
                for cell in (cells[seed] for seed in seeds or cells)
            ]
        )

    def score(self, line: Line, test_set: str) -> Score:
        """metrics.scores of a line on a test set, computed once."""
        key = line, test_set
        if key not in self._scores:
            self._scores[key] = scores(
                self.probs(line, test_set),
                self.labels(test_set),
                self.groups(test_set),
                self.results.test.classes,
            )
        return self._scores[key]

    def difference(
        self, before: Line, after: Line, test_set: str, of_class: int | None = None
    ) -> Interval | None:
        """metrics.paired_difference over the seeds that both lines have; None without any."""
        if before not in self.lines or after not in self.lines:
            return None
        common = [seed for seed in self.lines[before] if seed in self.lines[after]]
        if not common:
            return None
        pair = [self.probs(line, test_set, seeds=common) for line in (before, after)]
        labels, groups = self.labels(test_set), self.groups(test_set)
        return paired_difference(pair[0], pair[1], labels, groups, of_class=of_class)

    def nll(self, line: Line) -> float:
        """Validation NLL of the chosen epochs, mean over seeds; comparable on one last set only."""
        cells = self.lines[line].values()
        return float(np.mean([cell.history[cell.chosen].nll for cell in cells]))

    def best(self, model: str, last: str) -> Line | None:
        """The model's line that ends on `last` and validated best there; the test side is not
        used."""
        ending = [line for line in self.of_model(model) if line.path[-1] == last]
        return min(ending, key=self.nll, default=None)


class _Order(NamedTuple):
    variants: tuple[str, ...]
    models: tuple[str, ...]
    sets: tuple[str, ...]

    def of(self, result: CellResult) -> tuple[Any, ...]:
        cell = result.cell
        # A set without test chips comes last.
        path = [(self.sets.index(s) if s in self.sets else len(self.sets), s) for s in cell.path]
        variant, model = self.variants.index(cell.variant), self.models.index(cell.model)
        return variant, model, path, cell.seed


def _ordered(wanted: Iterable[str], found: Iterable[str]) -> tuple[str, ...]:
    """What was found, in the order of the config as far as it names it."""
    seen = dict.fromkeys(found)
    return tuple(dict.fromkeys([*(name for name in wanted if name in seen), *seen]))


def _missing(results: MatrixResults) -> Iterable[str]:
    """Cells that lack finite answers, of all variants, models, seeds and paths in the report."""
    recipe, held = results.record.matrix, {result.cell for result in results.cells}
    for result in results.cells:
        if not np.isfinite(result.logits).all():
            yield f"{result.cell.place} (its answers are not finite numbers)"
    everything = product(
        _ordered((), [*recipe.variants, *(cell.variant for cell in held)]),
        _ordered((), [*recipe.models, *(cell.model for cell in held)]),
        sorted({*recipe.seeds, *(cell.seed for cell in held)}),
        sorted({cell.path for cell in held}),
    )
    for cell in (Cell(*parts) for parts in everything):
        if cell not in held:
            yield f"{cell.place} (not finished)"
