"""The exported file says what the trained model says, or is not put in place."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import numpy_helper

from shipchip import ModelCard, ShipClassifier
from shipchip.card import CARD_KEY
from shipchip.trust import OodScorer
from tests.tiny_model import prepared_of
from training.config import DEFAULT_INPUT, ModelConfig
from training.data.record import CLASSES
from training.errors import ExportMismatch
from training.evaluation.trust import HeldOut, fit_temperature, fit_trust
from training.export import check_export, export_onnx, store_in_halves
from training.network.models import ChipNet, build

SPEC = DEFAULT_INPUT.model_copy(update={"size": 32})
CHIPS = np.random.default_rng(0).normal(0, 0.5, (20, 1, 32, 32)).astype(np.float32)


@pytest.fixture(scope="module")
def model() -> ChipNet:
    torch.manual_seed(0)
    return build(ModelConfig(width=0.05), 3).eval()


@pytest.fixture(scope="module")
def card(model: ChipNet) -> ModelCard:
    with torch.inference_mode():
        out = model(torch.from_numpy(CHIPS))
    labels = np.arange(20) % 3
    embeddings = out.embedding.numpy()
    sources = np.full(20, "fusar")
    ships = np.arange(20).astype(str)
    held = HeldOut(embeddings, out.logits.numpy(), embeddings, labels, sources, ships)
    trust = fit_trust([held], embeddings, 0.9)
    return ModelCard(
        schema="shipchip.card/1",
        name="t",
        version="1",
        architecture="vgg16",
        classes=CLASSES,
        input=SPEC,
        trust=trust,
        metrics={},
        training={},
        terms="none",
    )


@pytest.fixture(scope="module")
def exported(model: ChipNet, card: ModelCard, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("export") / "ship.onnx"
    export_onnx(model, card, path, CHIPS)
    return path


def test_the_file_stands_alone_and_carries_its_card(exported: Path, card: ModelCard) -> None:
    assert [p.name for p in exported.parent.iterdir()] == ["ship.onnx"]
    assert ShipClassifier(exported).card == card


def test_logits_of_the_file_are_the_models(exported: Path, model: ChipNet) -> None:
    assert check_export(model, exported, CHIPS) < 1e-4


def test_any_number_of_chips_may_be_asked_at_once(exported: Path) -> None:
    ships = ShipClassifier(exported)
    alone = [ships.predict([prepared_of(CHIPS[i])])[0].confidence for i in range(3)]
    assert [p.confidence for p in ships.predict([*map(prepared_of, CHIPS[:3])])] == pytest.approx(
        alone, abs=1e-5
    )


def test_a_planted_weight_change_is_refused(exported: Path, model: ChipNet, tmp_path: Path) -> None:
    proto = onnx.load(exported)
    kernel = next(t for t in proto.graph.initializer if len(t.dims) == 4)
    changed = numpy_helper.to_array(kernel).copy()
    changed.flat[0] += 0.5
    kernel.CopyFrom(numpy_helper.from_array(changed, kernel.name))
    onnx.save(proto, tmp_path / "changed.onnx")
    with pytest.raises(ExportMismatch, match="a logit differs by"):
        check_export(model, tmp_path / "changed.onnx", CHIPS)


def test_a_mismatch_leaves_nothing_under_the_final_name(
    model: ChipNet, card: ModelCard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.export.EXPORT_TOLERANCE", -1.0)
    with pytest.raises(ExportMismatch):
        export_onnx(model, card, tmp_path / "ship.onnx", CHIPS)
    assert not (tmp_path / "ship.onnx").exists()


def test_the_card_is_one_metadata_entry(exported: Path) -> None:
    assert [p.key for p in onnx.load(exported).metadata_props if p.key == CARD_KEY] == [CARD_KEY]


def test_temperature_undoes_overconfidence() -> None:
    rng = np.random.default_rng(0)
    honest = rng.normal(0, 1.5, (4000, 3))
    probs = np.exp(honest) / np.exp(honest).sum(1, keepdims=True)
    labels = (probs.cumsum(1) > rng.random((4000, 1))).argmax(1)
    assert fit_temperature(4.0 * honest, labels) == pytest.approx(4.0, rel=0.1)


def test_the_ood_threshold_keeps_95_percent_of_validation(model: ChipNet, card: ModelCard) -> None:
    with torch.inference_mode():
        embeddings = model(torch.from_numpy(CHIPS)).embedding.numpy()
    scorer = OodScorer(card.trust.ood)
    assert scorer.in_distribution(scorer(embeddings)).mean() == pytest.approx(0.95)
    assert scorer(embeddings + 10).min() > card.trust.ood.threshold


def test_tensors_that_halves_hold_exactly_are_stored_as_halves() -> None:
    rng = np.random.default_rng(0)
    exact = rng.normal(size=(64, 200)).astype(np.float16).astype(np.float32)
    inexact = rng.normal(size=(200, 64)).astype(np.float32)
    nodes = [
        onnx.helper.make_node("MatMul", ["x", "exact"], ["middle"]),
        onnx.helper.make_node("MatMul", ["middle", "inexact"], ["y"]),
    ]
    values = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [2, 64]) for name in "xy"
    ]
    weights = [
        onnx.numpy_helper.from_array(v, n) for n, v in (("exact", exact), ("inexact", inexact))
    ]
    graph = onnx.helper.make_graph(nodes, "two", values[:1], values[1:], weights)
    store_in_halves(graph)
    assert [t.data_type for t in graph.initializer] == [
        onnx.TensorProto.FLOAT16,
        onnx.TensorProto.FLOAT,
    ]
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)])
    model.ir_version = 10
    onnx.checker.check_model(model, full_check=True)
    x = rng.normal(size=(2, 64)).astype(np.float32)
    (y,) = ort.InferenceSession(model.SerializeToString()).run(None, {"x": x})
    assert y == pytest.approx(x @ exact @ inexact, rel=1e-4, abs=1e-3)
