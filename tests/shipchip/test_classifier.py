"""ShipClassifier on a tiny real model file: what it answers, and which files it refuses."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from shipchip import ChipError, ModelError, Prediction, ShipClassifier, decode, prepare
from shipchip.answer import verdict_of
from shipchip.card import CARD_KEY, ModelCard
from shipchip.trust import probabilities
from tests.shipchip.inputs import KINDS, npy, picture
from tests.tiny_model import CLASSES, draw_chip, tiny_card, tiny_model


@pytest.fixture(scope="module")
def ships(tiny_model_file: Path) -> ShipClassifier:
    return ShipClassifier(tiny_model_file, device="cpu", threads=1)


def same(one: Prediction, other: Prediction) -> bool:
    numbers = [(p.confidence, p.ood_score, *p.probabilities.values()) for p in (one, other)]
    words = [(p.label, p.prediction_set, p.in_distribution) for p in (one, other)]
    return words[0] == words[1] and np.allclose(*numbers, rtol=0, atol=1e-6)


@pytest.mark.parametrize("label", CLASSES)
def test_each_class_is_reported(ships: ShipClassifier, label: str) -> None:
    answer = ships.classify_file(picture(draw_chip(label)))
    assert answer.label == label
    assert answer.confidence == answer.probabilities[label] == max(answer.probabilities.values())
    assert sum(answer.probabilities.values()) == pytest.approx(1)
    assert tuple(answer.probabilities) == CLASSES
    assert label in answer.prediction_set
    assert answer.activation_map is None


def test_the_answer_is_the_models_output_through_the_cards_constants(
    ships: ShipClassifier,
) -> None:
    chip = decode(picture(draw_chip("Tanker")))
    out = ships.run(prepare(chip, ships.card.input).input[None])
    answer = ships.classify([chip])[0]
    expected = probabilities(out.logits, 1.5)[0]
    assert list(answer.probabilities.values()) == pytest.approx(list(expected))
    # mean (0.1, 0), component (1, 0) of variance 0.04, noise 0.01 in the other direction
    bright, dark = out.embedding[0]
    distance = np.sqrt(((bright - 0.1) ** 2 / 0.04 + dark**2 / 0.01) / 2)
    assert answer.ood_score == pytest.approx(float(distance), rel=1e-5)
    assert answer.in_distribution == (distance <= 2.0)
    held = tuple(c for c, p in answer.probabilities.items() if 1 - p <= 0.8 or c == "Tanker")
    assert answer.prediction_set == held


def test_a_batch_is_as_many_single_calls(ships: ShipClassifier) -> None:
    contents = [picture(draw_chip(label, seed=seed)) for seed in range(4) for label in CLASSES]
    contents += [KINDS[kind]() for kind in ("tiff_4band_pairs", "npy_complex64")]
    chips = [decode(content) for content in contents]
    together = ships.classify(chips)
    assert len(together) == len(chips)
    for chip, content, answer in zip(chips, contents, together, strict=True):
        assert same(answer, ships.classify([chip])[0])
        assert same(answer, ships.classify_file(content))


def test_nothing_in_nothing_out(ships: ShipClassifier) -> None:
    assert ships.classify([]) == []


def test_bytes_and_path_agree(ships: ShipClassifier, tmp_path: Path) -> None:
    content = picture(draw_chip("Cargo"))
    path = tmp_path / "chip.png"
    path.write_bytes(content)
    for source in (path, str(path)):
        assert same(ships.classify_file(source), ships.classify_file(content))


def test_options_reach_decode(ships: ShipClassifier) -> None:
    content = KINDS["tiff_2band_sigma0"]()
    vv = ships.classify_file(content, polarisation="VV")
    assert same(vv, ships.classify_file(content))
    assert not same(vv, ships.classify_file(content, polarisation="VH"))
    assert not same(vv, ships.classify_file(content, pixel_spacing_m=3.0))
    assert not same(vv, ships.classify_file(content, quantity="amplitude"))


def test_explain_gives_the_labels_map(ships: ShipClassifier) -> None:
    chip = decode(picture(draw_chip("Tanker")))
    answer = ships.classify([chip], explain=True)[0]
    all_maps = ships.run(ships.prepare(chip).input[None], maps=True).activation_map
    assert answer.activation_map is not None
    assert all_maps is not None
    assert answer.activation_map.shape == (8, 8)
    np.testing.assert_array_equal(answer.activation_map, all_maps[0, CLASSES.index("Tanker")])
    assert answer.activation_map[4, 4] > answer.activation_map[0, 0], "the ship, not the sea"


def test_a_bad_chip_is_an_error_of_the_chip(ships: ShipClassifier) -> None:
    with pytest.raises(ChipError):
        ships.classify_file(npy(np.zeros((9, 9), np.uint8)))


def test_the_classifier_says_what_it_runs(ships: ShipClassifier, tiny_model_file: Path) -> None:
    assert ships.sha256 == hashlib.sha256(tiny_model_file.read_bytes()).hexdigest()
    assert ships.card == tiny_card()
    assert ships.classes == CLASSES
    assert ships.provider == "CPUExecutionProvider"


def code(path: Path) -> str:
    """The code of the ModelError that loading `path` raises."""
    with pytest.raises(ModelError) as caught:
        ShipClassifier(path, device="cpu", threads=1)
    assert len(str(caught.value)) > 20
    return caught.value.code


def test_model_not_found(tmp_path: Path) -> None:
    assert code(tmp_path / "none.onnx") == code(tmp_path) == "model_not_found"


def test_model_corrupt(tmp_path: Path) -> None:
    whole = tiny_model().SerializeToString()
    path = tmp_path / "bad.onnx"
    for content in (b"", b"garbage", whole[: len(whole) // 2], whole[:-1], bytes(1000)):
        path.write_bytes(content)
        assert code(path) == "model_corrupt"


def spoil(change: Callable[[onnx.ModelProto], object], tmp_path: Path) -> str:
    """The code for the tiny model after `change`."""
    model = tiny_model()
    change(model)
    path = tmp_path / "changed.onnx"
    onnx.save(model, path)
    return code(path)


def test_card_missing(tmp_path: Path) -> None:
    assert spoil(lambda model: model.ClearField("metadata_props"), tmp_path) == "card_missing"


def with_card(card: ModelCard) -> Callable[[onnx.ModelProto], object]:
    return lambda model: helper.set_model_props(model, {CARD_KEY: card.to_json()})


def test_a_card_of_other_classes_than_the_graph_is_invalid(tmp_path: Path) -> None:
    trust = tiny_card().trust.model_copy(update={"quantiles": (0.5, 0.5)})
    two = tiny_card(classes=("Cargo", "Tanker"), trust=trust)
    assert spoil(with_card(two), tmp_path) == "card_invalid"


def test_a_card_of_another_size_than_the_graph_is_invalid(tmp_path: Path) -> None:
    larger = tiny_card().input.model_copy(update={"size": 64})
    assert spoil(with_card(tiny_card(input=larger)), tmp_path) == "card_invalid"


def test_a_card_of_another_embedding_than_the_graph_is_invalid(tmp_path: Path) -> None:
    ood = tiny_card().trust.ood.model_copy(
        update={"mean": (0.1, 0.0, 0.0), "components": ((1.0, 0.0, 0.0),)}
    )
    trust = tiny_card().trust.model_copy(update={"ood": ood})
    assert spoil(with_card(tiny_card(trust=trust)), tmp_path) == "card_invalid"


def test_a_card_that_is_not_json_is_invalid(tmp_path: Path) -> None:
    def not_json(model: onnx.ModelProto) -> None:
        helper.set_model_props(model, {CARD_KEY: "{"})

    assert spoil(not_json, tmp_path) == "card_invalid"


def _fix_the_batch(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1


def _drop_the_maps(model: onnx.ModelProto) -> None:
    del model.graph.output[2]


def _rename_the_input(model: onnx.ModelProto) -> None:
    model.graph.input[0].name = model.graph.node[0].input[0] = "pictures"


def _take_doubles(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.DOUBLE
    cast = helper.make_node("Cast", ["chips"], ["narrow"], to=TensorProto.FLOAT)
    model.graph.node[0].input[0] = "narrow"
    model.graph.node.insert(0, cast)


def _map_one_class(model: onnx.ModelProto) -> None:
    one = np.ones((1, 2, 1, 1), np.float32)
    weights = next(array for array in model.graph.initializer if array.name == "maps")
    weights.CopyFrom(onnx.numpy_helper.from_array(one, "maps"))
    model.graph.output[2].type.tensor_type.shape.dim[1].dim_value = 1


@pytest.mark.parametrize(
    "change", [_fix_the_batch, _drop_the_maps, _rename_the_input, _take_doubles, _map_one_class]
)
def test_a_graph_of_another_form_than_the_card_says_is_invalid(
    change: Callable[[onnx.ModelProto], None], tmp_path: Path
) -> None:
    assert spoil(change, tmp_path) == "card_invalid"


@pytest.mark.parametrize(
    ("in_distribution", "prediction_set", "verdict"),
    [
        (True, ("Cargo",), "sure"),
        (True, ("Cargo", "Tanker"), "undecided"),
        (True, (), "undecided"),
        (False, ("Cargo",), "unlike"),
        (False, ("Cargo", "Tanker"), "unlike"),
    ],
)
def test_a_verdict_needs_a_known_chip_and_a_single_class(
    in_distribution: bool, prediction_set: tuple[str, ...], verdict: str
) -> None:
    assert verdict_of(in_distribution, prediction_set) == verdict
