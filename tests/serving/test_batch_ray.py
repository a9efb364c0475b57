"""The Ray engine, on a Ray of two cores that it starts here."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.serving.server import ROOT, environment

pytest.importorskip("ray")

CHIPS = 40


def run(folder: Path, model: Path, out: Path, *more: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "serving.batch", str(folder), "--out", str(out)]
    return subprocess.run(
        [*command, "--batch-size", "4", "--workers", "2", *more],
        cwd=ROOT,
        env=environment(model),
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )


@pytest.mark.slow
def test_ray_gives_the_rows_of_the_local_engine_and_says_no_more(
    model: Path, tmp_path: Path, png: dict[str, bytes]
) -> None:
    folder = tmp_path / "chips"
    folder.mkdir()
    contents = [*png.values(), b"", png["Cargo"][:200]]
    for number in range(CHIPS):
        (folder / f"{number:04d}.png").write_bytes(contents[number % len(contents)])
    (folder / os.fsdecode(b"no\xffutf8.png")).write_bytes(png["Cargo"])
    local = run(folder, model, tmp_path / "local.csv")
    there = run(folder, model, tmp_path / "ray.csv", "--engine", "ray")
    assert (local.returncode, there.returncode) == (1, 1), there.stderr
    assert (tmp_path / "ray.csv").read_bytes() == (tmp_path / "local.csv").read_bytes()
    # But for the file and the time it took.
    lines = [done.stderr.splitlines()[-1].partition(" -> ")[0] for done in (there, local)]
    counts = {re.sub(r"; [\d.]+ s, [\d.]+ chips/s$", "", line) for line in lines}
    assert len(counts) == 1
    assert lines[0] not in counts, "it says how long it took"


def test_a_cluster_that_is_not_there_is_one_line_and_exit_2(
    model: Path, tmp_path: Path, png: dict[str, bytes]
) -> None:
    (tmp_path / "a.png").write_bytes(png["Cargo"])
    options = ["--engine", "ray", "--ray-address", "ray-is-not-here"]
    done = run(tmp_path, model, tmp_path / "out.csv", *options)
    assert done.returncode == 2
    assert "cannot reach Ray at ray-is-not-here" in done.stderr.splitlines()[-1]
