"""The folder of a matrix: what it holds, and what is checked before hours are spent on it.

A cell's file is written atomically and marks it as finished: a run that resumes skips it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError
from rich.console import Console

from shipchip.atomic import write_text
from training.card.schema import JsonRecord
from training.data import splits
from training.data.record import CLASSES, Source
from training.data.splits import Item
from training.errors import ConfigInvalid, DataInvalid
from training.fit.processes import ALONE, Team
from training.fit.progress import Epoch, OnEpoch
from training.fit.stage import source_matches
from training.identity import Maker, accepted_makers, identity, made_by
from training.matrix.config import (
    Cell,
    MatrixConfig,
    PaperModel,
    add_cells,
    is_pretrained,
)
from training.network.weights import Weights, read_weights
from training.pretrain import check_unseen
from training.retrain import initial_network

CELL_SCHEMA = "shipchip.cell/1"


@dataclass(frozen=True, eq=False)
class CellResult:
    """The result of a finished cell.

    logits          float32 (N, K), of every chip of the test side in the order of TestChips
    temperature     fitted on the validation side of the cell's last set
    history         the epochs of its last stage; `chosen` is the index of the one kept
    weights_sha256  of the tensors it ended with
    """

    cell: Cell
    logits: NDArray[np.float32]
    temperature: float
    history: tuple[Epoch, ...]
    chosen: int
    seconds: float
    weights_sha256: str
    commit: str


@dataclass(frozen=True, eq=False)
class TestChips:
    """The chips that every cell was tested on.

    inputs    float32 (N, 1, S, S), prepared: decibels above clutter over the InputSpec's scale
    labels    int64 (N,), index into classes
    groups, sources, keys   of each chip
    sets      name of a data set -> bool (N,): its chips; "mix" is all of them
    """

    __test__ = False  # pytest takes the name for a test

    inputs: NDArray[np.float32]
    labels: NDArray[np.int64]
    groups: tuple[str, ...]
    sources: tuple[str, ...]
    keys: tuple[str, ...]
    classes: tuple[str, ...]
    sets: Mapping[str, NDArray[np.bool_]]


class MatrixRecord(JsonRecord):
    """What was run, on what data, by which code and machine.

    split       source -> class -> side -> chips
    pretrained  what the models named "-pretrained" start from
    """

    matrix: MatrixConfig
    split: dict[str, dict[str, dict[str, int]]]
    manifest_sha256: str
    pretrained: str
    git_commit: str
    machine: str


@dataclass(frozen=True, eq=False)
class MatrixResults:
    """All finished cells of a matrix, for the report."""

    record: MatrixRecord
    test: TestChips
    cells: tuple[CellResult, ...]


def write_cell(result: CellResult, path: Path) -> None:
    """Write one cell's file atomically."""
    content = asdict(result) | {
        "schema": CELL_SCHEMA,
        "logits": result.logits.astype(float).tolist(),
    }
    write_text(path, json.dumps(content))


def read_cell(path: Path) -> CellResult:
    """One cell's file. Raises DataInvalid if it is not one of ours."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataInvalid(f"{path} is not JSON ({error}); delete it to run it again") from error
    schema = content.pop("schema", None)
    if schema != CELL_SCHEMA:
        raise DataInvalid(
            f"{path} has schema {schema!r}, expected {CELL_SCHEMA!r}: a matrix of another version; "
            "name another --out"
        )
    cell = content.pop("cell")
    return CellResult(
        cell=Cell(cell["variant"], cell["model"], cell["seed"], tuple(cell["path"])),
        logits=np.array(content.pop("logits"), dtype=np.float32),
        history=tuple(Epoch(**epoch) for epoch in content.pop("history")),
        **content,
    )


@dataclass(frozen=True)
class MatrixFolder:
    """The folder of a matrix, and the context in which it runs.

    pretrained  what the models named "-pretrained" start from, see training.network.weights
    accept      whether other code, torch, device or number of processes may continue in it
    """

    folder: Path
    weights: Path
    pretrained: str
    console: Console
    team: Team = ALONE
    log_epoch: OnEpoch = field(default=lambda _: None)
    accept: bool = False

    def of(self, cell: Cell) -> Path:
        """The folder of a cell."""
        return self.folder / "cells" / cell.place

    def result(self, cell: Cell) -> Path:
        """The file that says a cell is finished."""
        return self.of(cell) / "result.json"


def check_sets(config: MatrixConfig, items: list[Item]) -> None:
    table = splits.counts(items)
    for name, patterns in config.sets.items():
        sources = [s for s in table if source_matches(s, patterns)]
        for side in splits.SPLITS:
            present = [k for k in CLASSES if any(table[s][k][side] for s in sources)]
            if len(present) < 2:
                raise DataInvalid(
                    f"data set {name} ({', '.join(patterns)}) has {len(present)} classes in "
                    f"{side}; at least two are needed; sources found: {', '.join(table)}"
                )


def read_starts(
    config: MatrixConfig, items: list[Item], sources: Sequence[Source], place: MatrixFolder
) -> dict[str, Weights]:
    """The weights that each pre-trained model starts from, read once for all its cells.

    Raises WeightsMissing, WeightsInvalid or Leak now, not after an hour.
    """
    starts: dict[str, Weights] = {}
    for name in config.models:
        if is_pretrained(name):
            run_config = config.run.model_copy(update={"model": config.model_of(name)})
            starts[name] = read_weights(place.pretrained, run_config, place.weights)
            check_unseen(starts[name].learnt_on, items, sources, run_config)
            initial_network(run_config, starts[name])
    return starts


class _Claim(JsonRecord):
    """matrix.json: which matrix a folder belongs to.

    identity  of config and data
    weights   model -> sha256 of what it starts from
    """

    identity: str
    weights: dict[str, str]
    made_by: tuple[Maker, ...]
    models: tuple[PaperModel, ...]
    seeds: tuple[int, ...]


def claim_folder(
    config: MatrixConfig, items: list[Item], place: MatrixFolder, starts: Mapping[str, Weights]
) -> MatrixConfig:
    """Record the matrix of the folder and return it: `config` with the models and seeds that were
    run there before. Nothing else may differ.

    starts  what the pre-trained models start from
    Raises ConfigInvalid for another matrix, RunChanged if other code began it.
    """
    recipe = config.model_dump(mode="json", exclude={"models", "seeds"})
    claim = identity({"recipe": recipe, "manifest": splits.manifest_sha256(items)})
    weights = {name: start.sha256 for name, start in starts.items()}
    path = place.folder / "matrix.json"
    makers: list[Maker] = []
    if path.exists():
        found = _read_claim(path)
        weights = found.weights | weights
        if found.identity != claim or not found.weights.items() <= weights.items():
            raise ConfigInvalid(
                f"{place.folder} holds a matrix of another config, data or weights; name another "
                "--out, or delete it"
            )
        makers = list(found.made_by)
        config = add_cells(config, found.models, found.seeds)
    makers = accepted_makers(makers, made_by(place.team), place.folder, place.accept)
    written = _Claim(
        identity=claim,
        weights=weights,
        made_by=tuple(makers),
        models=config.models,
        seeds=config.seeds,
    )
    write_text(path, json.dumps(written.plain(), indent=2))
    write_text(place.folder / "manifest.jsonl", splits.manifest(items))
    write_text(place.folder / "config.json", config.model_dump_json(indent=2))
    return config


def _read_claim(path: Path) -> _Claim:
    try:
        return _Claim.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise ConfigInvalid(
            f"{path} is not of a matrix that this version continues "
            f"({error.errors()[0]['msg']}); name another --out"
        ) from error
