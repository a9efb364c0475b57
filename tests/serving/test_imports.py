"""Serving must start, and stay small, on a machine that has nothing for training."""

import subprocess
import sys

from tests.serving.server import ROOT

FOREIGN = {"torch", "torchvision", "sklearn", "pandas", "matplotlib", "onnx", "training"}


def imported_by(modules: str) -> set[str]:
    script = f"import sys, {modules}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_serving_imports_nothing_of_training() -> None:
    assert imported_by("serving.service, serving.batch") & FOREIGN == set()


def test_a_batch_run_does_not_wait_for_bentoml() -> None:
    assert imported_by("serving.batch") & {"bentoml", "_bentoml_sdk", "starlette"} == set()
