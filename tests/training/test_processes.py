"""Two processes under torchrun train as one does, and only the first one writes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from training import run
from training.fit.processes import ALONE, Team
from training.matrix.folder import CellResult, read_cell

ROOT = Path(__file__).parents[2]
TINY = """
models = ["cnn"]
seeds = [0]
depth = 2
[sets]
simulated-fine = ["simulated-fine"]
mix = ["*"]
[base]
name = "base"
epochs = 4
lr = 2e-3
[fine_tune]
name = "fine-tune"
trains = "gradual"
epochs = 3
lr = 1e-3
[run]
batch_size = 16
[run.input]
size = 40
spacing_m = 8.0
[run.augment]
mixup = 0
"""


@pytest.mark.parametrize(("total", "size"), [(10, 2), (7, 3), (64, 4)])
def test_the_parts_of_a_batch_are_the_batch(total: int, size: int) -> None:
    rows = list(range(total))
    parts = [rows[Team(rank, size).part(total)] for rank in range(size)]
    assert [row for part in parts for row in part] == rows
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_a_process_alone_decides_alone() -> None:
    assert ALONE.writes
    assert ALONE.agree(lambda: 7) == 7


def words(folder: Path) -> list[str]:
    """A small matrix in a folder of its own."""
    folder.mkdir()
    config = folder / "tiny.toml"
    config.write_text(TINY.replace("epochs = 4", "epochs = 2").replace("epochs = 3", "epochs = 2"))
    places = ["--config", str(config), "--runs", str(folder), "--out", str(folder / "out")]
    return ["matrix", "--simulated", "--smoke", *places]


def cells(folder: Path) -> list[CellResult]:
    return [read_cell(path) for path in sorted(folder.glob("out/cells/*/*/*/*/result.json"))]


@pytest.mark.slow
def test_two_processes_give_the_metrics_of_one(tmp_path: Path) -> None:
    assert run.main(words(tmp_path / "one")) == 0
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    launcher += ["--nproc-per-node", "2", "-m", "training.run"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*launcher, *words(tmp_path / "two")],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    alone, both = cells(tmp_path / "one"), cells(tmp_path / "two")
    assert [result.cell for result in both] == [result.cell for result in alone]
    assert len(both) == 4
    for one, two in zip(alone, both, strict=True):
        # Batch-norm statistics are those of half a batch: near, not equal.
        losses, others = ([epoch.loss for epoch in cell.history] for cell in (one, two))
        assert others == pytest.approx(losses, rel=0.25), one.cell
        if one.cell.parent is None:  # the others begin with weights that differ a little
            assert others[0] == pytest.approx(losses[0], rel=0.1), one.cell
    assert done.stderr.count("report: ") == 1
    assert json.loads((tmp_path / "two" / "out" / "matrix.json").read_text())["identity"]
