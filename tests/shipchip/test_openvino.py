"""`device="openvino"`: the same answers as ONNX Runtime, or no start. Nothing is sent."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from serving.batch.command import main
from shipchip import Prediction, ShipClassifier, decode
from shipchip.errors import ProviderUnavailable
from shipchip.runtime import AGREEMENT, OnnxRuntime, check_agreement
from shipchip.samples import draw_samples
from tests.serving.server import serving
from tests.tiny_model import SIZE, tiny_card

CHIPS = np.random.default_rng(1).normal(0, 0.5, (9, 1, SIZE, SIZE)).astype(np.float32)
OUTPUTS = ("logits", "embedding", "activation_map")


@pytest.fixture(scope="module")
def default_model() -> tuple[ShipClassifier, ShipClassifier]:
    """The default model on ONNX Runtime and on OpenVINO."""
    return ShipClassifier(device="cpu"), ShipClassifier(device="openvino")


@pytest.mark.parametrize("count", [1, 2, 9])
def test_every_output_is_that_of_onnx_runtime(tiny_model_file: Path, count: int) -> None:
    there = ShipClassifier(tiny_model_file, device="cpu").runtime
    here = ShipClassifier(tiny_model_file, device="openvino").runtime
    for found, expected in zip(
        here.run(OUTPUTS, CHIPS[:count]), there.run(OUTPUTS, CHIPS[:count]), strict=True
    ):
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, rtol=0.02, atol=0.02)


def test_the_default_model_gives_the_same_answers(
    default_model: tuple[ShipClassifier, ShipClassifier],
) -> None:
    chips = [decode(sample.content) for sample in draw_samples()]
    expected, found = (ships.classify(chips) for ships in default_model)
    for one, other in zip(expected, found, strict=True):
        assert _differ(one, other) < AGREEMENT
        assert one.label == other.label
        assert one.verdict == other.verdict
        assert one.length_m == pytest.approx(other.length_m, abs=2)


def test_measurements_of_the_ship_stay_in_float32(
    default_model: tuple[ShipClassifier, ShipClassifier],
) -> None:
    chip = decode(draw_samples()[0].content)
    inputs = default_model[0].prepare(chip).input[None]
    expected, found = (ships.run(inputs).embedding[0] for ships in default_model)
    exact = np.isclose(found, expected, rtol=1e-4, atol=1e-4).sum()
    assert exact >= len(expected) - 50, "all but the 50 principal features of the network"


def test_parallel_runs_give_what_runs_in_turn_do(tiny_model_file: Path) -> None:
    ships = ShipClassifier(tiny_model_file, device="openvino", threads=1, parallel=2)
    batches = [CHIPS[number : number + 3] for number in range(6)] * 5
    expected = [ships.run(batch).logits for batch in batches]
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda batch: ships.run(batch).logits, batches))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


class _Wrong:
    """ONNX Runtime with other logits."""

    provider, on_gpu = "a wrong runtime", False

    def __init__(self, runtime: OnnxRuntime, change: float) -> None:
        self.runtime, self.change = runtime, change

    def run(self, names: Sequence[str], chips: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        logits, *others = self.runtime.run(names, chips)
        logits[:, 0] += self.change
        return [logits, *others]


@pytest.mark.parametrize(("change", "refused"), [(1e-4, False), (0.5, True), (np.nan, True)])
def test_a_runtime_that_answers_otherwise_is_refused(
    tiny_model_file: Path, change: float, refused: bool
) -> None:
    right = OnnxRuntime(tiny_model_file.read_bytes(), tiny_model_file, "cpu", 1)
    if not refused:
        check_agreement(_Wrong(right, change), right, tiny_card())
        return
    with pytest.raises(ProviderUnavailable, match=r"a wrong runtime gives .* differ by \S+ from"):
        check_agreement(_Wrong(right, change), right, tiny_card())


def test_without_openvino_a_line_says_what_to_install(tiny_model_file: Path) -> None:
    found = _python(
        "import sys; sys.modules['openvino'] = None; from shipchip import ShipClassifier; "
        f"ShipClassifier({str(tiny_model_file)!r}, device='openvino')"
    )
    assert found.returncode == 1
    assert "pip install 'shipchip[openvino]'" in found.stderr


def test_openvino_sends_and_writes_nothing(tiny_model_file: Path, tmp_path: Path) -> None:
    found = _python(
        "import sys; from shipchip import ShipClassifier; "
        f"ShipClassifier({str(tiny_model_file)!r}, device='openvino'); "
        "print([name for name in sys.modules if name.startswith('openvino_telemetry.')])",
        HOME=str(tmp_path),
    )
    assert found.stdout == "[]\n", found.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_batch_runs_on_openvino(tiny_model_file: Path, tmp_path: Path) -> None:
    for sample in draw_samples():
        path = tmp_path / "chips" / sample.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(sample.content)
    rows = {}
    for device in ("cpu", "openvino"):
        out = tmp_path / f"{device}.jsonl"
        words = [str(tmp_path / "chips"), "--out", str(out), "--model", str(tiny_model_file)]
        assert main([*words, "--device", device, "--batch-size", "4", "--workers", "2"]) == 0
        rows[device] = [json.loads(line) for line in out.read_text().splitlines()]
    for one, other in zip(rows["cpu"], rows["openvino"], strict=True):
        assert one["label"] == other["label"]
        assert one["confidence"] == pytest.approx(other["confidence"], abs=0.02)


@pytest.mark.slow
def test_a_service_runs_on_openvino(tiny_model_file: Path, tmp_path: Path) -> None:
    ships = ShipClassifier(tiny_model_file, device="cpu")
    content = draw_samples()[0].content
    with serving(tiny_model_file, tmp_path / "log.txt", device="openvino", threads=2) as client:
        model = client.get("/v1/model").json()
        assert (
            model["execution_provider"]
            == ShipClassifier(tiny_model_file, device="openvino").provider
        )
        answer = client.post("/v1/classify", files=[("files", ("a.tiff", content))] * 9).json()
    for result in answer["results"]:
        assert result["label"] == ships.classify_file(content).label


def _differ(one: Prediction, other: Prediction) -> float:
    return max(abs(p - other.probabilities[name]) for name, p in one.probabilities.items())


def _python(code: str, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **settings}
    environment.pop("CI", None)  # some telemetry is off in CI
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False
    )
