"""What a GPU gives, in one command and one folder: `make gpu-check`, or `python -m benchmarks.gpu`.

tests    the tests marked `gpu`
answers  the default model on ONNX Runtime's CUDA provider against the CPU, chips a second of both
speed    base training and fine-tuning of VGG16 at full width, 224 pixels, beside a matrix product
matrix   the paper's experiment on the chips of --data, for --minutes, and a report of the cells
         that are finished by then

Exit status 0: all parts passed; 1: the summary says which did not, and why. Needs torch with CUDA
and the packages of shipchip[train]; nothing is installed or fetched.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import numpy as np
import onnxruntime as ort
import torch
from rich.console import Console
from rich.table import Table

from benchmarks import training as speed
from shipchip import ShipClassifier
from training.config import ModelConfig, RunConfig, read_config
from training.data.simulated import SimulatedSource
from training.identity import machine
from training.matrix.config import MatrixConfig

ROOT = Path(__file__).parents[1]
MODEL = ROOT / "models" / "ship.onnx"
MATRIX = Path(__file__).with_name("gpu_matrix.toml")
PARTS = ("tests", "answers", "speed", "matrix")


class NotRun(Exception):
    """A part cannot run here; the message says why."""


@dataclass(frozen=True)
class Options:
    """What the command line says."""

    out: Path
    parts: tuple[str, ...]
    data: tuple[Path, ...]
    weights: Path | None
    minutes: float
    config: Path


def main() -> int:
    """Run the parts in turn; each writes into the folder. Returns the exit status."""
    options = parse()
    if not torch.cuda.is_available():
        sys.stderr.write("no GPU: torch.cuda.is_available() is False\n")
        return 1
    options.out.mkdir(parents=True, exist_ok=True)
    work: dict[str, Callable[[Options], str]] = {
        "tests": run_tests,
        "answers": compare_answers,
        "speed": measure_speed,
        "matrix": run_matrix,
    }
    passed = True
    lines = [f"# GPU check\n\n{machine()}, {torch.cuda.get_device_name()}\n"]
    for part in options.parts:
        began = time.monotonic()
        try:
            found = work[part](options)
        except (NotRun, AssertionError, subprocess.SubprocessError) as error:
            passed = False
            kind = "not run" if isinstance(error, NotRun) else "failed"
            found = f"**{kind}**: {error}"
        lines.append(f"## {part} ({time.monotonic() - began:.0f} s)\n\n{found}\n")
        # After each part: a machine that is taken away leaves what was found until then.
        (options.out / "summary.md").write_text("\n".join(lines), encoding="utf-8")
        print(lines[-1], flush=True)  # noqa: T201
    return 0 if passed else 1


def parse() -> Options:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("gpu-check"), help="folder of the results")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--data", nargs="+", type=Path, default=[], help="chips, for the matrix")
    parser.add_argument("--weights-dir", type=Path, help="has the ImageNet weights")
    parser.add_argument("--minutes", type=float, default=10, help="of the matrix")
    parser.add_argument("--config", type=Path, default=MATRIX, help="of the matrix, TOML")
    found = parser.parse_args()
    return Options(
        found.out,
        tuple(found.parts),
        tuple(found.data),
        found.weights_dir,
        found.minutes,
        found.config,
    )


def run_tests(options: Options) -> str:
    """The tests marked gpu; AssertionError where one is red."""
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "tests/shipchip", "tests/training"]
    done = subprocess.run(
        [*command, "--timeout", "300"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    (options.out / "tests.txt").write_text(done.stdout + done.stderr, encoding="utf-8")
    last = done.stdout.strip().splitlines()[-1:] or [done.stderr[-500:]]
    assert done.returncode == 0, f"{last[0]}; see tests.txt"
    return last[0].strip("= ")


def compare_answers(options: Options) -> str:
    """Probabilities of both providers for simulated chips; AssertionError where labels differ."""
    if "CUDAExecutionProvider" not in ort.get_available_providers():
        raise NotRun(f"ONNX Runtime {ort.__version__} has no CUDA provider: see onnxruntime-gpu")
    here, there = (ShipClassifier(MODEL, device=device) for device in ("cpu", "cuda"))
    source = SimulatedSource({"Cargo": 60, "Fishing": 60, "Tanker": 60}, seed=5)
    inputs = np.stack([here.prepare(source.read(record)).input for record in source.index()])
    inputs = np.concatenate([inputs] * 4)
    rows, rates = [], []
    for ships in (here, there):
        ships.run(inputs[:32])
        began = time.perf_counter()
        logits = np.concatenate(
            [ships.run(inputs[i : i + 32]).logits for i in range(0, len(inputs), 32)]
        )
        rates.append(len(inputs) / (time.perf_counter() - began))
        rows.append(ships.trust.probabilities(logits))
    difference = float(np.abs(rows[0] - rows[1]).max())
    same = int((rows[0].argmax(1) == rows[1].argmax(1)).sum())
    found = {
        "chips": len(inputs),
        "same_label": same,
        "largest_difference": difference,
        "chips_per_s": {"cpu": rates[0], "cuda": rates[1]},
    }
    (options.out / "answers.json").write_text(json.dumps(found, indent=1), encoding="utf-8")
    reported = (
        f"{same} of {len(inputs)} labels the same, probabilities within {difference:.1e}; batches "
        f"of 32: {rates[0]:.0f} chips/s on the CPU, {rates[1]:.0f} on the GPU"
    )
    assert same == len(inputs), reported
    return reported


def measure_speed(_: Options) -> str:
    """Base training and the frozen stage of the full VGG16 at 224 pixels."""
    model = ModelConfig.model_validate({"name": "vgg16", "width": 1.0})
    spec = RunConfig().input.model_copy(update={"size": 224, "spacing_m": 2.0})
    config = RunConfig(model=model, input=spec)
    train, held = speed.chips(2048, 224), speed.chips(256, 224)
    table = Table("figure", "value", "ratio", title="vgg16, width 1, 224 pixels")
    speed.base(table, config, train)
    speed.frozen(table, config, train, held, 40)
    memory = torch.cuda.max_memory_allocated() / 2**30
    table.add_row("GPU memory at most", f"{memory:.1f} GiB", "")
    console = Console(width=80, record=True, file=StringIO())
    console.print(table)
    return f"```\n{console.export_text()}```"


def run_matrix(options: Options) -> str:
    """The matrix of the config until its minutes are over, then the report of what is finished.

    AssertionError where not even one seed is complete.
    """
    if not options.data:
        raise NotRun("no --data")
    folder = options.out / "matrix"
    command = [sys.executable, "-m", "training.run", "matrix", "--config", str(options.config)]
    command += ["--data", *map(str, options.data), "--out", str(folder), "--without-chips"]
    command += ["--runs", str(options.out / "runs")]
    if options.weights is not None:
        command += ["--pretrained", "imagenet", "--weights-dir", str(options.weights)]
    with (options.out / "matrix.txt").open("w", encoding="utf-8") as log:
        try:
            seconds = options.minutes * 60
            subprocess.run(command, cwd=ROOT, stdout=log, stderr=log, timeout=seconds, check=True)
            return f"finished; {cells(folder)} cells"
        except subprocess.TimeoutExpired:
            done = cells(folder)
        seeds = finished_seeds(folder, options.config)
        assert seeds, f"{done} cells in {options.minutes:g} minutes, no seed finished"
        subprocess.run(
            [*command, "--seeds", str(seeds)], cwd=ROOT, stdout=log, stderr=log, check=True
        )
    return f"{done} cells in {options.minutes:g} minutes; {seeds} of the seeds are complete"


def cells(folder: Path) -> int:
    """How many cells are finished."""
    return len(list(folder.glob("cells/**/result.json")))


def finished_seeds(folder: Path, config: Path) -> int:
    """How many seeds, counted from the first, have all their cells."""
    todo = [
        cell.seed
        for cell in read_config(config, MatrixConfig).cells()
        if not (folder / "cells" / cell.place / "result.json").exists()
    ]
    return min(todo, default=len(read_config(config, MatrixConfig).seeds))


if __name__ == "__main__":
    sys.exit(main())
