"""The results of a matrix: one file per finished cell, and the test chips that all were tested on.

A cell's file is written atomically and marks it as finished: a run that resumes skips it.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shipchip.atomic import write_text
from training.card.schema import JsonRecord
from training.errors import DataInvalid
from training.fit.progress import Epoch
from training.matrix.config import Cell, MatrixConfig

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
