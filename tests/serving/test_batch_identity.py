"""Whose rows are they? An output holds the answers of one model, with one set of options, to the
chips as they are now; anything else is refused in one line."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.serving.server import ROOT, environment
from tests.tiny_model import tiny_card, write_tiny_model

CHIPS = 12


@pytest.fixture
def chips(tmp_path: Path, png: dict[str, bytes]) -> Path:
    folder = tmp_path / "chips"
    folder.mkdir()
    contents = list(png.values())
    for number in range(CHIPS):
        (folder / f"{number:02d}.png").write_bytes(contents[number % len(contents)])
    return folder


@pytest.fixture
def ship(tmp_path: Path) -> Path:
    """A model of the test's own, to be replaced."""
    return write_tiny_model(tmp_path / "ship.onnx")


def replace_while_it_starts(ship: Path, chips: Path, out: Path, *more: str) -> tuple[int, str]:
    """Exit status and standard error of a batch whose model file is replaced after it was opened.

    The list is a pipe: the run opens it when it has its own model, and waits there for the names.
    """
    names = out.parent / "names"
    os.mkfifo(names)
    command = [sys.executable, "-m", "serving.batch", "--list", str(names), "--out", str(out)]
    with subprocess.Popen(
        [*command, "--batch-size", "3", "--workers", "2", *more],
        cwd=ROOT,
        env=environment(ship, device="cpu"),
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        with names.open("w") as file:
            other = write_tiny_model(ship.with_name("new.onnx"), tiny_card(version="2"))
            other.replace(ship)
            file.writelines(f"{path}\n" for path in sorted(chips.iterdir()))
        _, said = process.communicate(timeout=120)
    return process.returncode, said


def test_a_model_that_is_replaced_while_the_workers_start_gives_no_rows(
    ship: Path, chips: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.csv"
    status, said = replace_while_it_starts(ship, chips, out)
    assert status == 2
    assert said.startswith(f"serving.batch: {ship} was replaced while it was being loaded: ")
    assert said.count("\n") == 1
    assert not out.exists()


@pytest.mark.slow
def test_the_actors_of_a_cluster_compare_the_model_as_well(
    ship: Path, chips: Path, tmp_path: Path
) -> None:
    pytest.importorskip("ray")
    out = tmp_path / "out.csv"
    status, said = replace_while_it_starts(ship, chips, out, "--engine", "ray")
    assert status == 2, said
    assert f"{ship} was replaced while it was being loaded: " in said.splitlines()[-1]
    assert not out.exists()
