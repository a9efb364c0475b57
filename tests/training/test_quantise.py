"""An int8 file says what its fp32 file says, faster, or is not put in place."""

import hashlib
import re
import shutil
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from rich.console import Console
from torch import nn

from benchmarks import quantisation
from benchmarks.quantisation import kernels
from shipchip import ShipClassifier
from shipchip.card import CARD_KEY
from tests.tiny_model import CLASSES, SIZE, draw_chip, prepared_of, tiny_card
from tests.training.archives import write_folder
from tests.training.test_figures import npy
from tests.training.test_stages import chips
from training import run
from training.card.record import dataset_of_card
from training.config import ModelConfig, RunConfig
from training.data.dataset import Dataset, SealedTest, Workspace, all_records, index
from training.data.discover import discover
from training.data.splits import counts, manifest_sha256
from training.data.store import PreparedChips
from training.errors import ConfigInvalid, DataInvalid, ExportMismatch
from training.evaluation.metrics import macro_f1
from training.evaluation.trust import fit_ood
from training.export import export_onnx
from training.fit.epoch import predict
from training.int8.layout import lay_out_convolutions
from training.int8.quantise import calibration_chips, export_int8, quantise
from training.network.models import ChipNet, Ensemble, Network, build

pytestmark = pytest.mark.slow

TRAIN, HELD = chips(60), chips(30)
SIDES = Dataset(TRAIN, HELD, SealedTest(chips(9)))
QUIET = Console(quiet=True)


@cache
def network(seed: int = 0, train: PreparedChips = TRAIN) -> ChipNet:
    """Taught for a second, so that its answers differ and are not near a tie."""
    torch.manual_seed(seed)
    return teach(build(ModelConfig(width=0.05, dropout=0.0), 3), train)


def teach(model: ChipNet, train: PreparedChips = TRAIN) -> ChipNet:
    model.train()
    inputs, labels = torch.from_numpy(np.array(train.inputs)), torch.from_numpy(train.labels)
    optimiser = torch.optim.Adam(model.parameters(), 6e-3)
    for _ in range(20):
        optimiser.zero_grad()
        loss = nn.functional.cross_entropy(model(inputs).logits, labels)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None  # the statistics of the chips shown next, and of no others
    with torch.no_grad():
        model(inputs)
    return model.eval()


def write(model: Network, path: Path, train: PreparedChips = TRAIN, **changes: object) -> Path:
    _, embeddings = predict(model, train.inputs)
    trust = tiny_card().trust
    ood = fit_ood(embeddings).model_copy(update={"threshold": 2.0})
    card = tiny_card(trust=trust.model_copy(update={"ood": ood}), **changes)
    export_onnx(model, card, path, train.inputs)
    return path


@pytest.fixture(scope="module")
def fp32(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(network(), tmp_path_factory.mktemp("fp32") / "ship.onnx")


@pytest.fixture(scope="module")
def int8(fp32: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("int8") / "ship.int8.onnx"
    quantise(fp32, TRAIN.inputs, path)
    return path


def logits(path: Path, inputs: NDArray[np.float32] = HELD.inputs) -> NDArray[np.float32]:
    return ShipClassifier(path, device="cpu", threads=1).run(inputs).logits


def everything(path: Path, inputs: NDArray[np.float32] = HELD.inputs) -> list[NDArray[np.float32]]:
    reported = ShipClassifier(path, device="cpu", threads=1).run(inputs, maps=True)
    assert reported.activation_map is not None
    return [reported.logits, reported.embedding, reported.activation_map]


def test_the_file_stands_alone_and_is_small(fp32: Path, int8: Path) -> None:
    assert [p.name for p in int8.parent.iterdir()] == ["ship.int8.onnx"]
    weights = [
        sum(numpy_helper.to_array(t).nbytes for t in onnx.load(p).graph.initializer)
        for p in (int8, fp32)
    ]
    assert weights[0] < 0.4 * weights[1]


def test_its_card_is_the_same_and_says_what_was_done(fp32: Path, int8: Path) -> None:
    before, after = (ShipClassifier(p, device="cpu").card for p in (fp32, int8))
    assert [p.key for p in onnx.load(int8).metadata_props] == [CARD_KEY]
    record = after.training["quantisation"]
    assert record["of"] == hashlib.sha256(fp32.read_bytes()).hexdigest()
    assert (record["chips"], record["calibration"]) == (60, "minmax")
    assert record["onnxruntime"] == ort.__version__
    undone = {"version": before.version, "training": before.training}
    assert after.model_copy(update=undone) == before
    assert set(after.training) - set(before.training) == {"quantisation"}


def test_int8_files_that_differ_have_other_versions(fp32: Path, tmp_path: Path) -> None:
    """Here in what they were calibrated with, and so in their weights."""
    versions = set()
    for few in (TRAIN.inputs[:3], TRAIN.inputs[3:6]):
        quantise(fp32, few, tmp_path / "q.onnx")
        versions.add(ShipClassifier(tmp_path / "q.onnx", device="cpu").card.version)
    assert len(versions) == 2
    assert all(re.fullmatch(r"0\.1\.0\+[0-9a-f]{12}\.int8", version) for version in versions)


def test_every_output_is_near_that_of_the_fp32_file(fp32: Path, int8: Path) -> None:
    for before, after in zip(everything(fp32), everything(int8), strict=True):
        assert before.shape == after.shape
        assert np.abs(before - after).max() < 0.05 * np.abs(before).max()
    assert (logits(fp32).argmax(1) == logits(int8).argmax(1)).mean() > 0.95


def test_all_convolutions_but_the_heads_run_in_int8(int8: Path) -> None:
    ran = kernels(int8)
    assert (ran["QLinearConv"], ran["Conv"]) == (13, 1)
    assert ran["NhwcMaxPool"] == 4
    assert not {"BatchNormalization", "MaxPool", "QGemm", "QLinearAdd"} & ran.keys()


def test_weights_have_a_scale_a_channel_and_activations_are_unsigned(int8: Path) -> None:
    graph = onnx.load(int8).graph
    tensors = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    scaled = [
        [tensors[name] for name in node.input[1:]]
        for node in graph.node
        if node.op_type == "QuantizeLinear"
    ]
    assert {zero.dtype for _, zero in scaled} == {np.dtype(np.uint8)}
    kernels_and_scales = [
        (tensors[node.input[0]], tensors[node.input[1]])
        for node in graph.node
        if node.op_type == "DequantizeLinear" and tensors.get(node.input[0], np.zeros(0)).ndim == 4
    ]
    assert len(kernels_and_scales) == 13
    for kernel, scales in kernels_and_scales:
        assert kernel.dtype == np.int8
        assert scales.shape == (len(kernel),)


def test_what_stays_in_fp32_reads_the_chips_as_they_come(fp32: Path, int8: Path) -> None:
    """A map is 0 where the chip is dim, to the pixel; chips rounded to 256 levels move the edge."""
    slope = np.linspace(0, 1, SIZE * SIZE, dtype=np.float32).reshape(1, 1, SIZE, SIZE)
    before, after = (everything(path, slope)[2] > 0 for path in (fp32, int8))
    assert 0 < before.mean() < 1
    assert np.array_equal(before, after)


def test_an_ensemble_is_quantised_member_by_member(tmp_path: Path) -> None:
    model = write(Ensemble([network(k) for k in range(2)]).eval(), tmp_path / "m.onnx")
    quantise(model, TRAIN.inputs, tmp_path / "q.onnx")
    ran = kernels(tmp_path / "q.onnx")
    assert (ran["QLinearConv"], ran["Conv"]) == (26, 2)
    assert (logits(model).argmax(1) == logits(tmp_path / "q.onnx").argmax(1)).mean() > 0.95


def test_laying_out_the_taps_changes_no_bit(
    fp32: Path, int8: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.int8.quantise.lay_out_convolutions", lambda _: None)
    quantise(fp32, TRAIN.inputs, tmp_path / "plain.onnx")
    assert one_channel(tmp_path / "plain.onnx") == 1
    assert one_channel(int8) == 0
    for plain, laid_out in zip(everything(tmp_path / "plain.onnx"), everything(int8), strict=True):
        assert np.array_equal(plain, laid_out)


def test_a_network_that_takes_ones_beside_the_chip_keeps_its_answers(tmp_path: Path) -> None:
    """Its first layer, laid out too, must see the ones as ones after rounding."""
    adapted = build(ModelConfig(name="vgg16", width=0.05, dropout=0.0), 3, planes=2)
    taught = teach(adapted)
    quantise(write(taught, tmp_path / "m.onnx"), TRAIN.inputs, tmp_path / "q.onnx")
    kept = logits(tmp_path / "m.onnx").argmax(1) == logits(tmp_path / "q.onnx").argmax(1)
    assert kept.mean() > 0.95
    shapes = [list(t.dims) for t in onnx.load(tmp_path / "q.onnx").graph.initializer]
    assert not [s for s in shapes if len(s) == 4 and s[1] == 2 and s[2:] == [3, 3]]


def one_channel(path: Path) -> int:
    """Kernels (C, 1, h, w) of more than a place."""
    shapes = [list(t.dims) for t in onnx.load(path).graph.initializer]
    return sum(len(s) == 4 and s[1] == 1 and s[2:] != [1, 1] for s in shapes)


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize(
    ("kernel", "reported", "changed"),
    [
        ((3, 3), {"pads": [1, 1, 1, 1]}, True),
        ((3, 3), {}, True),
        ((2, 5), {"pads": [0, 3, 1, 2]}, True),
        ((3, 3), {"pads": [1, 1, 1, 1], "strides": [2, 2]}, False),
        ((3, 3), {"dilations": [2, 2]}, False),
        ((3, 3), {"auto_pad": "SAME_UPPER"}, False),
    ],
)
def test_taps_of_any_kernel_and_padding(
    kernel: tuple[int, int], reported: dict[str, Any], changed: bool, channels: int
) -> None:
    proto = one_layer(kernel, reported, channels)
    rng = np.random.default_rng(1)
    inputs = rng.normal(0, 1, (2, channels, 9, 11)).astype(np.float32)
    before = ort.InferenceSession(proto.SerializeToString()).run(None, {"chips": inputs})[0]
    lay_out_convolutions(proto.graph)
    onnx.checker.check_model(proto, full_check=True)
    copies = [len(node.input) for node in proto.graph.node if node.op_type == "Concat"]
    assert len(copies) == changed
    assert all(count % 4 == 0 for count in copies)  # else ONNX Runtime is slow
    after = ort.InferenceSession(proto.SerializeToString()).run(None, {"chips": inputs})[0]
    assert np.abs(before).max() > 1
    assert np.allclose(before, after, atol=1e-5)  # alone, the layer is summed up in floats


def one_layer(kernel: tuple[int, int], reported: dict[str, Any], channels: int) -> onnx.ModelProto:
    """A quantised convolution of few channels, with a zero point that is not 0."""
    rng = np.random.default_rng(0)
    weights = {
        "scale": np.float32(0.02),
        "zero": np.uint8(120),
        "kernel": rng.integers(-127, 128, (5, channels, *kernel)).astype(np.int8),
        "scales": rng.uniform(0.01, 0.02, 5).astype(np.float32),
        "zeros": np.zeros(5, np.int8),
        "bias": rng.normal(0, 1, 5).astype(np.float32),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["chips", "scale", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["x"]),
        helper.make_node("DequantizeLinear", ["kernel", "scales", "zeros"], ["w"], axis=0),
        helper.make_node("Conv", ["x", "w", "bias"], ["y"], kernel_shape=kernel, **reported),
    ]
    chips_in = helper.make_tensor_value_info("chips", TensorProto.FLOAT, ["n", channels, 9, 11])
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 5, "h", "w"])
    constants = [numpy_helper.from_array(np.asarray(v), k) for k, v in weights.items()]
    graph = helper.make_graph(nodes, "layer", [chips_in], [out], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def test_the_range_is_that_of_all_the_chips_given(fp32: Path, int8: Path, tmp_path: Path) -> None:
    dim = 0.1 * TRAIN.inputs
    quantise(fp32, dim, tmp_path / "dim.onnx")
    quantise(fp32, np.concatenate([dim, TRAIN.inputs]), tmp_path / "both.onnx")
    off = [
        np.abs(logits(path) - logits(fp32)).max()
        for path in (int8, tmp_path / "dim.onnx", tmp_path / "both.onnx")
    ]
    assert off[1] > 5 * off[0]
    assert off[2] < 2 * off[0]


def test_equal_chips_give_equal_bytes(fp32: Path, int8: Path, tmp_path: Path) -> None:
    quantise(fp32, TRAIN.inputs, tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == int8.read_bytes()


def test_calibration_draws_sources_and_classes_alike_and_each_chip_once() -> None:
    many, few = chips(300), chips(30, "opensarship")
    both = PreparedChips(
        np.concatenate([many.inputs, few.inputs]),
        np.concatenate([many.labels, few.labels]),
        many.records + few.records,
        CLASSES,
    )
    drawn = calibration_chips(both, most=120)
    rows = [np.flatnonzero((both.inputs == chip).all(axis=(1, 2, 3))).item() for chip in drawn]
    assert len(set(rows)) == len(rows)
    cells = [(both.records[row].source, both.labels[row]) for row in rows]
    found = {cell: cells.count(cell) for cell in set(cells)}
    assert found == {(s, k): n for s, n in (("fusar", 20), ("opensarship", 10)) for k in range(3)}
    assert np.array_equal(drawn, calibration_chips(both, most=120))
    assert not np.array_equal(drawn, calibration_chips(both, most=120, seed=1))


def test_only_training_chips_calibrate(fp32: Path, tmp_path: Path) -> None:
    for name, held in (("one", HELD), ("other", replace(HELD, inputs=0.9 * HELD.inputs))):
        export_int8(fp32, replace(SIDES, validation=held), tmp_path / name, seed=0)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()


def test_the_comparison_is_of_what_both_files_answer(fp32: Path, tmp_path: Path) -> None:
    held = replace(HELD, inputs=HELD.inputs[::-1], labels=HELD.labels[::-1])  # not TRAIN's order
    found = export_int8(fp32, replace(SIDES, validation=held), tmp_path / "q.onnx", seed=0)
    pair = [ShipClassifier(p, device="cpu") for p in (fp32, tmp_path / "q.onnx")]
    chips = [prepared_of(one) for one in (*TRAIN.inputs, *held.inputs)]
    reported = [ships.predict(chips) for ships in pair]
    labels = [np.array([CLASSES.index(one.label) for one in side]) for side in reported]
    probs = [np.array([list(one.probabilities.values()) for one in side]) for side in reported]
    assert found.agreement == np.mean(labels[0] == labels[1])
    assert found.largest == pytest.approx(np.abs(probs[0] - probs[1]).max(), abs=1e-6)
    assert found.mean == pytest.approx(np.abs(probs[0] - probs[1]).mean(), abs=1e-6)
    assert 0 < found.mean < found.largest < 0.2
    f1 = tuple(macro_f1(held.labels, side[len(TRAIN) :]) for side in labels)
    assert found.figures["macro-F1, validation, fusar"] == f1
    assert min(f1) > 0.9
    assert found.figures["bytes"] == tuple(ships.path.stat().st_size for ships in pair)
    rate = found.figures["chips/s, batches of 32, 2 threads"]
    assert found.faster == pytest.approx(rate[1] / rate[0])


def test_a_file_that_answers_otherwise_is_not_put_in_place(fp32: Path, tmp_path: Path) -> None:
    out = tmp_path / "q.onnx"
    out.write_bytes(b"an older file")
    dim = replace(SIDES, train=replace(TRAIN, inputs=0.02 * TRAIN.inputs))
    with pytest.raises(ExportMismatch, match=r"was not put in place.* 60 training and 30 valid"):
        export_int8(fp32, dim, out, seed=0)
    assert out.read_bytes() == b"an older file"
    assert list(tmp_path.iterdir()) == [out]


def test_what_cannot_be_quantised_is_refused(fp32: Path, int8: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match="is int8 already; give the fp32 file"):
        quantise(int8, TRAIN.inputs, tmp_path / "q.onnx")
    with pytest.raises(DataInvalid, match="no training chip to calibrate with"):
        quantise(fp32, TRAIN.inputs[:0], tmp_path / "q.onnx")
    with pytest.raises(ConfigInvalid, match=r"is the fp32 file .* itself; name another"):
        export_int8(fp32, SIDES, fp32.parent / ".." / fp32.parent.name / fp32.name, seed=0)
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    drawn = {
        f"{label}/{n}.npy": npy(draw_chip(label, seed=100 * k + n))
        for k, label in enumerate(CLASSES)
        for n in range(15)
    }
    return write_folder(tmp_path_factory.mktemp("data") / "own", drawn)


def training_record(data: Path) -> dict[str, object]:
    items = index(all_records(discover([data])), RunConfig())
    config = RunConfig(seed=5, model=ModelConfig(width=0.05)).model_dump(mode="json")
    return {
        "sources": counts(items),
        "manifest_sha256": manifest_sha256(items),
        "config": config,
    }


@pytest.fixture(scope="module")
def trained_once(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    card = tiny_card(training=training_record(data))
    _, _, sides = dataset_of_card(card, discover([data]), Workspace(folder, QUIET))
    model = network(train=sides.train)
    return write(model, folder / "ship.onnx", sides.train, training=card.training)


@pytest.fixture
def trained(trained_once: Path, tmp_path: Path) -> Path:
    """A file whose card says that it was trained on `data`."""
    return Path(shutil.copy(trained_once, tmp_path))


def command(model: Path, *words: str) -> int:
    runs = str(model.parent / "runs")
    return run.main(["export", str(model), "--int8", "--runs", runs, *words])


def test_the_command_writes_beside_the_model_and_says_both(
    trained: Path, data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert command(trained, "--data", str(data)) == 0
    ships = ShipClassifier(trained.with_name("ship.int8.onnx"), device="cpu")
    assert ships.card.training["quantisation"]["chips"] == 31  # of 45, those on the training side
    table = [line for line in capsys.readouterr().out.splitlines() if "│" in line]
    reported = {
        cells[0].strip(): cells[1:] for line in table if (cells := line.strip("│").split("│"))
    }
    assert float(reported["same label, training and validation"][1]) >= 0.9
    assert {"bytes", "macro-F1, validation, own", "times as many chips/s"} <= reported.keys()
    # What evaluate asks of a pair holds: the file is known for this model's.
    assert quantisation.main([str(trained), str(ships.path), "--rounds", "2"]) == 0
    assert "13 QLinearConv" in capsys.readouterr().out


def test_other_data_than_the_models_is_refused(
    trained: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chip = {"Cargo/new.npy": npy(draw_chip("Cargo", seed=999))}
    held = {str(p.relative_to(data)): p.read_bytes() for p in data.rglob("*.npy")}
    other = write_folder(tmp_path / "other" / "own", held | chip)
    assert command(trained, "--data", str(other)) == 1
    reported = " ".join(capsys.readouterr().err.split())
    assert "data_invalid: these are not the chips that tiny" in reported
    assert "found 46 of own" in reported
    assert "expected 45 of own" in reported
    assert not trained.with_name("ship.int8.onnx").exists()


def test_the_sides_are_those_of_training(data: Path, tmp_path: Path) -> None:
    card = tiny_card(training=training_record(data))
    config, items, sides = dataset_of_card(card, discover([data]), Workspace(tmp_path, QUIET))
    assert (config.seed, config.model.width, config.input) == (5, 0.05, card.input)
    assert manifest_sha256(items) == card.training["manifest_sha256"]
    for side, name in ((sides.train, "train"), (sides.validation, "validation")):
        assert side.inputs.shape[1:] == (1, SIZE, SIZE)
        assert list(side.records) == [i.record for i in items if i.split == name]
    assert len(sides.train) + len(sides.validation) + len(sides.test) == 45


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("config", "the config in the card of tiny .* is missing"),
        ("manifest_sha256", r"has no training\.manifest_sha256"),
    ],
)
def test_a_card_that_does_not_say_its_data_is_refused(
    missing: str, message: str, data: Path, tmp_path: Path
) -> None:
    record = {k: v for k, v in training_record(data).items() if k != missing}
    with pytest.raises(ConfigInvalid, match=message):
        dataset_of_card(tiny_card(training=record), discover([data]), Workspace(tmp_path, QUIET))


def test_files_of_two_models_are_not_measured_beside_each_other(
    int8: Path, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert quantisation.main([str(trained), str(int8), "--rounds", "1"]) == 1
    assert "config_invalid" in capsys.readouterr().err
