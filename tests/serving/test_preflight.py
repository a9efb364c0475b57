"""What cannot be served ends `bentoml serve` at once, with one line that says why."""

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from serving.preflight import main
from shipchip.card import CARD_KEY
from tests.serving.server import ROOT, environment
from tests.tiny_model import tiny_card, tiny_model

KEY = "a-key-nobody-should-read"


def write(model: onnx.ModelProto, path: Path) -> Path:
    onnx.save(model, path)
    return path


def missing(folder: Path) -> Path:
    return folder / "missing.onnx"


def a_folder(folder: Path) -> Path:
    return folder


def corrupt(folder: Path) -> Path:
    path = write(tiny_model(), folder / "cut.onnx")
    path.write_bytes(path.read_bytes()[:700])
    return path


def no_card(folder: Path) -> Path:
    model = tiny_model()
    del model.metadata_props[:]
    return write(model, folder / "foreign.onnx")


def unknown_schema(folder: Path) -> Path:
    card = json.loads(tiny_card().to_json()) | {"schema": "shipchip.card/99"}
    model = tiny_model()
    helper.set_model_props(model, {CARD_KEY: json.dumps(card)})
    return write(model, folder / "newer.onnx")


def answers_nan(folder: Path) -> Path:
    model = tiny_model()
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    weights["offsets"].CopyFrom(numpy_helper.from_array(np.full(3, np.nan, np.float32), "offsets"))
    return write(model, folder / "nan.onnx")


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (missing, "model_not_found"),
        (a_folder, "model_not_found"),
        (corrupt, "model_corrupt"),
        (no_card, "card_missing"),
        (unknown_schema, "card_invalid"),
        (answers_nan, "model_corrupt"),
    ],
)
def test_a_model_that_cannot_be_used_is_one_line_with_its_variable_path_and_code(
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
    make: object,
    code: str,
) -> None:
    path = make(tmp_path)  # type: ignore[operator]
    monkeypatch.setenv("SHIPCHIP_MODEL", str(path))
    assert main() == 1
    said = capfd.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"shipchip: cannot serve: SHIPCHIP_MODEL {path}: {code}: ")
    assert said.err.count("\n") == 1


def test_a_model_that_can_be_used_is_reported_and_exit_0(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], model: Path
) -> None:
    monkeypatch.setenv("SHIPCHIP_MODEL", str(model))
    assert main() == 0
    reported = capfd.readouterr().err
    assert reported.startswith("shipchip: tiny 0.0.1-test (")
    assert "answers on" in reported


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (
            "DEVICE",
            "tpu",
            "SHIPCHIP_DEVICE is 'tpu': Input should be 'auto', 'cpu', 'cuda' or 'openvino'",
        ),
        ("MAX_FILES", "many", "SHIPCHIP_MAX_FILES is 'many': "),
        ("CORS_ORIGINS", "https://a.example/", "SHIPCHIP_CORS_ORIGINS is 'https://a.example/': "),
        ("LOG_FORMAT", "xml", "SHIPCHIP_LOG_FORMAT is 'xml': Input should be 'json' or 'text'"),
        ("API_KEY", "", "SHIPCHIP_API_KEY: no key in it; give one, or unset it"),
        ("API_KEY", f"short,{KEY}", "SHIPCHIP_API_KEY: a key needs 16 characters or more, "),
    ],
)
def test_a_setting_that_does_not_fit_is_one_line_with_its_variable(
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    model: Path,
    name: str,
    value: str,
    message: str,
) -> None:
    monkeypatch.setenv("SHIPCHIP_MODEL", str(model))
    monkeypatch.setenv(f"SHIPCHIP_{name}", value)
    assert main() == 1
    said = capfd.readouterr().err
    assert said.startswith(f"shipchip: cannot serve: {message}")
    assert said.count("\n") == 1
    assert "Value error" not in said
    assert KEY not in said


def test_a_setting_misspelt_is_reported_and_what_an_orchestrator_sets_is_not(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], model: Path
) -> None:
    monkeypatch.setenv("SHIPCHIP_MODEL", str(model))
    monkeypatch.setenv("SHIPCHIP_MAX_FILE", "3")
    monkeypatch.setenv("SHIPCHIP_MODEL_PATH", "other.onnx")
    monkeypatch.setenv("SHIPCHIP_PORT", "tcp://10.0.0.1:3000")
    monkeypatch.setenv("SHIPCHIP_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("SHIPCHIP_PORT_3000_TCP_PROTO", "tcp")
    monkeypatch.setenv("SHIPCHIP_WORKER_PORT", "tcp://10.0.0.1:3000")
    assert main() == 0
    said = capfd.readouterr().err
    assert "SHIPCHIP_MAX_FILE is no setting" in said
    assert "did you mean SHIPCHIP_MAX_FILES?" in said
    assert "did you mean SHIPCHIP_MODEL?" in said
    assert said.count("\n") == 3


@pytest.mark.parametrize(
    ("make", "settings", "message"),
    [
        (missing, {}, "model_not_found"),
        (corrupt, {}, "model_corrupt"),
        (None, {"batch_size": 0}, "SHIPCHIP_BATCH_SIZE is '0'"),
        (None, {"api_key": "short"}, "SHIPCHIP_API_KEY: a key needs 16 characters"),
        (None, {"device": "cuda"}, "SHIPCHIP_DEVICE cuda"),
    ],
)
@pytest.mark.slow
def test_bentoml_serve_ends_by_itself_and_starts_no_worker(
    tmp_path: Path, model: Path, make: object, settings: dict[str, object], message: str
) -> None:
    if settings.get("device") == "cuda":
        _needs_no_gpu()
    path = make(tmp_path) if make else model  # type: ignore[operator]
    start = time.monotonic()
    ended = subprocess.run(
        [sys.executable, "-m", "bentoml", "serve", "--host", "127.0.0.1", "--port", "0"],
        cwd=ROOT,
        env=environment(path, **settings),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 1
    assert time.monotonic() - start < 30
    lines = [line for line in ended.stderr.splitlines() if line.startswith("shipchip: ")]
    assert len(lines) == 1
    assert lines[0].startswith("shipchip: cannot serve: ")
    assert message in lines[0]
    assert "Traceback" not in ended.stderr + ended.stdout
    assert "initialized" not in ended.stderr + ended.stdout


def _needs_no_gpu() -> None:
    import onnxruntime as ort  # noqa: PLC0415

    if "CUDAExecutionProvider" in ort.get_available_providers():
        pytest.skip("ONNX Runtime may have a GPU here")


def test_readyz_says_no_once_the_model_is_gone(model: Path) -> None:
    script = (
        "import bentoml; from starlette.testclient import TestClient;"
        "from serving.service import Shipchip\n"
        "with TestClient(Shipchip.to_asgi()) as client:\n"
        "    before = client.get('/readyz')\n"
        "    bentoml.get_current_service().engine.close()\n"
        "    after = client.get('/readyz')\n"
        "print('answers', before.status_code, after.status_code, after.json()['error']['code'])"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        cwd=ROOT,
        env=environment(model),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines()[-1:] == ["answers 200 503 unavailable"], done.stderr
