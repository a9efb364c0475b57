"""The paper's experiment: base training and two fine-tunings, every model, seed and order of sets.

Cells that share a base training are run together: the base first, then its fine-tunings. A finished
cell has a file and is never run again; a killed cell resumes from its checkpoint. No cell changes
another's weights: each builds its own network and loads its starting weights from a file.
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch.utils.flop_counter import FlopCounterMode

from training.config import RunConfig
from training.data import splits
from training.data.dataset import Dataset
from training.data.record import CLASSES
from training.data.splits import Item
from training.evaluation.final_test import final_chips, final_logits
from training.evaluation.trust import fit_temperature
from training.fit.checkpoint import Checkpoint
from training.fit.epoch import Bank, compute_bank, predict
from training.fit.progress import EpochProgress
from training.fit.stage import StageContext, StageResult, matches, run_stage
from training.identity import locked, machine, made_by, weights_sha256
from training.matrix.config import Cell, MatrixConfig
from training.matrix.folder import (
    CellResult,
    MatrixFolder,
    MatrixRecord,
    MatrixResults,
    TestChips,
    check_sets,
    claim_folder,
    read_cell,
    read_starts,
    write_cell,
)
from training.network.models import ChipNet, build, copy_state
from training.network.weight_files import write_tensors
from training.network.weights import Weights
from training.retrain import initial_network


def run_matrix(
    config: MatrixConfig, dataset: Dataset, items: list[Item], place: MatrixFolder
) -> MatrixResults:
    """Run every unfinished cell, and read all cells of the folder, also those of models and seeds
    of earlier calls.

    Raises, before anything is trained: DataInvalid if a set has too little to train, choose or
    test with; WeightsMissing or WeightsInvalid; ConfigInvalid if another matrix is in the
    folder, RunChanged if other code began it, RunBusy if another process is at work in it.
    """
    check_sets(config, items)
    starts = read_starts(config, items, dataset.sources, place)
    with locked(place.folder, place.team):
        everything = place.team.agree(lambda: claim_folder(config, items, place, starts))
        _run_cells(config, dataset, place, starts)
        place.team.agree(lambda: True)  # no process unlocks the folder before all are done
    return MatrixResults(
        record=MatrixRecord(
            matrix=everything,
            split=splits.counts(items),
            manifest_sha256=splits.manifest_sha256(items),
            pretrained=place.pretrained,
            git_commit=made_by(place.team)["code"],
            machine=machine(),
        ),
        test=_test_side(config, dataset),
        cells=tuple(
            read_cell(place.result(cell))
            for cell in everything.cells()
            if place.result(cell).exists()
        ),
    )


def _run_cells(
    config: MatrixConfig, dataset: Dataset, place: MatrixFolder, starts: Mapping[str, Weights]
) -> None:
    """Run every cell of `config` that is not finished."""
    cells = config.cells()
    todo = [c for c in cells if not place.team.agree(place.result(c).exists)]
    costs = _costs(config, dataset)
    with EpochProgress(
        place.console, sum(costs[c] for c in todo), place.log_epoch, lines=False
    ) as progress:
        for _, group in groupby(cells, key=lambda c: (c.variant, c.model, c.seed, c.path[0])):
            _Group(config, dataset, place, starts, progress, costs).run(list(group), set(todo))


@dataclass(eq=False)
class _Group:
    """The cells that share one base training, and the frozen features they share."""

    config: MatrixConfig
    dataset: Dataset
    place: MatrixFolder
    starts: Mapping[str, Weights]
    progress: EpochProgress
    costs: dict[Cell, float]
    banks: dict[int, Bank] = field(default_factory=dict)

    def run(self, cells: list[Cell], todo: set[Cell]) -> None:
        """Run the cells in `todo`, in order, then delete the weights in between."""
        team = self.place.team
        todo = team.agree(lambda: self._with_parents(todo & set(cells)))
        for cell in cells:
            if cell in todo:
                self._run_cell(cell, keep=any(other.parent == cell for other in cells))
        if team.writes:
            for cell in cells:
                self._weights(cell).unlink(missing_ok=True)
        team.agree(lambda: True)

    def _with_parents(self, todo: set[Cell]) -> set[Cell]:
        """The cells to do, and their parents whose weights were deleted, to be trained again."""
        needed = set(todo)
        for cell in todo:
            parent = cell.parent
            while parent is not None and not self._weights(parent).exists():
                needed.add(parent)
                parent = parent.parent
        return needed

    def _weights(self, cell: Cell) -> Path:
        return self.place.of(cell) / "weights.safetensors"

    def _run_cell(self, cell: Cell, keep: bool) -> None:
        began = time.monotonic()
        config, place = self.config.run_of(cell), self.place
        model = self._start(cell, config)
        result, temperature = self._train(model, cell, config)
        logits = final_logits(model, self.dataset.test)
        state = copy_state(model)

        def write() -> None:
            if keep:
                write_tensors(self._weights(cell), state)
            written = CellResult(
                cell,
                logits,
                temperature,
                result.history,
                result.chosen,
                time.monotonic() - began,
                weights_sha256(state),
                made_by(place.team)["code"],
            )
            write_cell(written, place.result(cell))
            (place.of(cell) / "checkpoint").unlink(missing_ok=True)

        place.team.agree(write)  # no process reads the weights before they are there
        kept = result.history[result.chosen]
        self.progress.say(
            f"{cell.place}: validation NLL {kept.nll:.3f}, macro-F1 {kept.macro_f1:.3f}, "
            f"{time.monotonic() - began:.0f} s"
        )

    def _start(self, cell: Cell, config: RunConfig) -> ChipNet:
        """The network with its parent's weights; for a base training, its first ones."""
        model = initial_network(config, self.starts.get(cell.model))
        if cell.parent:
            model.load_state_dict(load_file(self._weights(cell.parent)))
        return model

    def _train(self, model: ChipNet, cell: Cell, config: RunConfig) -> tuple[StageResult, float]:
        """Train one cell, chosen by and calibrated on the validation chips of its own set."""
        (stage,) = config.stages
        rows = matches(self.dataset.train, stage.sources)
        held = matches(self.dataset.validation, stage.sources)
        train, validation = self.dataset.train.where(rows), self.dataset.validation.where(held)
        bank = self._bank(model, config).where(rows, held) if stage.trains == "head" else None
        checkpoint = Checkpoint(self.place.of(cell) / "checkpoint", cell.place)
        cost = self.costs[cell] / stage.epochs
        name = f"{cell.variant}/{cell.model}/seed-{cell.seed}"
        context = StageContext(
            self.progress.on_epoch(cost, name),
            checkpoint,
            self.place.team,
            bank,
            on_restored=self.progress.on_restored(cost),
        )
        result = run_stage(model, train, validation, stage, config, context)
        logits, _ = predict(model, validation.inputs)
        return result, fit_temperature(logits, validation.labels)

    def _bank(self, model: ChipNet, config: RunConfig) -> Bank:
        """Features of all chips, once for each number of views: every head of this group uses
        the base's features."""
        (stage,) = config.stages
        if stage.views not in self.banks:
            self.banks[stage.views] = compute_bank(
                model, self.dataset.train, self.dataset.validation, stage, config
            )
        return self.banks[stage.views]


def _costs(config: MatrixConfig, dataset: Dataset) -> dict[Cell, float]:
    """The floating-point operations of each cell, to estimate the time left."""
    return dict(_cost_of_each(config, dataset))


def _cost_of_each(config: MatrixConfig, dataset: Dataset) -> Iterator[tuple[Cell, float]]:
    flops: dict[str, float] = {name: _flops(config, name) for name in config.models}
    for cell in config.cells():
        (stage,) = config.run_of(cell).stages
        chips = int(matches(dataset.train, stage.sources).sum())
        runs = 3 * chips * stage.epochs  # forward, and backward at twice that
        if stage.trains == "head":
            paths = config.paths()
            heads = sum(len(path) > 1 for path in paths) / len({path[0] for path in paths})
            runs = int(len(dataset.train) * stage.views / max(1, heads))
        yield cell, flops[cell.model] * (runs + len(dataset.validation) + len(dataset.test))


def _flops(config: MatrixConfig, name: str) -> float:
    """Operations of one chip through one model."""
    size = config.run.input.size
    with torch.device("meta"):
        model = build(config.model_of(name), len(CLASSES)).eval()
        with FlopCounterMode(display=False) as counter:
            model(torch.zeros(1, 1, size, size))
    return float(counter.get_total_flops())


def _test_side(config: MatrixConfig, dataset: Dataset) -> TestChips:
    chips = final_chips(dataset.test)
    return TestChips(
        inputs=np.array(chips.inputs),
        labels=chips.labels,
        groups=tuple(record.group for record in chips.records),
        sources=tuple(record.source for record in chips.records),
        keys=tuple(record.key for record in chips.records),
        classes=chips.classes,
        sets={name: matches(chips, patterns) for name, patterns in config.sets.items()},
    )
