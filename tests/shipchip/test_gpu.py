"""The default model on ONNX Runtime's CUDA provider gives the CPU's answers."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from shipchip import ShipClassifier
from tests.tiny_model import prepared_of

MODEL = Path(__file__).parents[2] / "models" / "ship.onnx"

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        "CUDAExecutionProvider" not in ort.get_available_providers(),
        reason="this ONNX Runtime has no CUDA provider (onnxruntime-gpu has)",
    ),
]


def test_the_gpu_gives_the_cpus_answers() -> None:
    here, there = (ShipClassifier(MODEL, device=device) for device in ("cpu", "cuda"))
    size = here.card.input.size
    inputs = np.random.default_rng(0).normal(0, 0.4, (64, 1, size, size)).astype(np.float32)
    chips = [prepared_of(one) for one in inputs]
    one, other = here.predict(chips, explain=True), there.predict(chips, explain=True)
    for ours, theirs in zip(one, other, strict=True):
        # Two classes that differ by less than the arithmetic does may swap places.
        ties = np.ptp(sorted(ours.probabilities.values())[-2:]) < 1e-3
        assert theirs.label == ours.label or ties
        for name, probability in ours.probabilities.items():
            assert theirs.probabilities[name] == pytest.approx(probability, abs=1e-3)
        assert theirs.ood_score == pytest.approx(ours.ood_score, rel=1e-2)


def test_the_gpu_is_found_without_torch() -> None:
    code = (
        "import sys; from shipchip import ShipClassifier; "
        f"ships = ShipClassifier({str(MODEL)!r}, device='cuda'); "
        "assert 'torch' not in sys.modules; print(ships.provider)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=100
    )
    assert done.stdout.strip() == "CUDAExecutionProvider", done.stderr[-2000:]
