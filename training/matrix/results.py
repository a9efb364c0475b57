"""The results of a matrix: one file per finished cell, and the test chips that all were tested on.

A cell is one training: a model, a seed, and its path of data sets. Its file is written atomically
and marks it as finished: a run that resumes skips it.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shipchip.atomic import write_text
from training.errors import DataInvalid
from training.fit.progress import Epoch

CELL_SCHEMA = "shipchip.cell/1"


@dataclass(frozen=True, order=True)
class Cell:
    """One training of the matrix.

    variant  "default", or what a sweep changes ("focal", ...)
    model    a name of published_scores.csv: cnn, resnet50, vgg16, resnet50-pretrained, ...
    seed     of weights, batches and augmentation; the split does not depend on it
    path     base set, then the sets of the fine-tunings: ("fusar", "opensarship", "mix").
             Of length 2 it is the paper's independent protocol, of length 3 the sequential one
    """

    variant: str
    model: str
    seed: int
    path: tuple[str, ...]

    @property
    def parent(self) -> "Cell | None":
        """The cell whose weights this one starts from; None for a base training."""
        if len(self.path) == 1:
            return None
        return Cell(self.variant, self.model, self.seed, self.path[:-1])

    @property
    def place(self) -> str:
        """Its folder below the run's `cells`, with forward slashes."""
        return f"{self.variant}/{self.model}/seed-{self.seed}/{'.'.join(self.path)}"


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


@dataclass(frozen=True, eq=False)
class MatrixResults:
    """A whole matrix for the report.

    config  as it was run (JSON), with the git commit, the split table and the machine
    """

    config: Mapping[str, Any]
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
