"""Lengths and widths of an answer: their intervals, and when they were measured against AIS."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from shipchip import ShipClassifier
from shipchip.answer import SIZE_FIELDS, SpacingOrigin, Used
from shipchip.card import CARD_KEY, SizeSpec, SpacingRange
from shipchip.chip import Chip
from shipchip.errors import CardInvalid
from shipchip.size import size_with_interval
from tests.tiny_model import draw_chip, tiny_card, tiny_model, write_tiny_model

SPEC = SizeSpec(
    coverage=0.9,
    length_factor=1.25,
    width_factor=2.0,
    validated=(SpacingRange(finer_m=(3, 5), coarser_m=(10, 15)),),
)


def used(row: float, column: float, origin: SpacingOrigin = "file") -> Used:
    return Used((row, column), origin, "VV", "amplitude")


def sized_model(path: Path) -> Path:
    """The tiny model, which says of every ship that it is 100 m long and 20 m wide."""
    model = tiny_model(tiny_card(size=SPEC))
    model.graph.node.append(helper.make_node("MatMul", ["embedding", "none"], ["nothing"]))
    model.graph.node.append(helper.make_node("Add", ["nothing", "metres"], ["size"]))
    for name, value in (("none", np.zeros((2, 2))), ("metres", np.array([100.0, 20.0]))):
        model.graph.initializer.append(numpy_helper.from_array(value.astype(np.float32), name))
    model.graph.output.append(helper.make_tensor_value_info("size", TensorProto.FLOAT, ["N", 2]))
    onnx.save(model, path)
    return path


def test_an_interval_reaches_as_far_as_the_card_says() -> None:
    size = size_with_interval(np.array([100, 20], np.float32), SPEC, used(4, 12), True)
    assert (size.length_low_m, size.length_m, size.length_high_m) == (80, 100, 125)
    assert (size.width_low_m, size.width_m, size.width_high_m) == (10, 20, 40)
    assert size.length_validated is True


@pytest.mark.parametrize(
    ("assumed", "known", "validated"),
    [
        (used(4, 12), True, True),
        (used(12, 4), True, True),  # a turned chip
        (used(4, 12, "request"), True, True),
        (used(4, 12, "rule"), True, False),  # the spacing is a guess
        (used(1.7, 1.9), True, False),  # no such chip had a known length
        (used(4, 30), True, False),
        (used(4, 12), False, False),  # out of distribution
    ],
)
def test_a_length_is_validated_where_such_chips_had_a_known_one(
    assumed: Used, known: bool, validated: bool
) -> None:
    size = size_with_interval(np.array([100, 20], np.float32), SPEC, assumed, known)
    assert size.length_validated is validated


def test_a_model_that_estimates_sizes_gives_them_with_every_answer(tmp_path: Path) -> None:
    ships = ShipClassifier(sized_model(tmp_path / "sized.onnx"), device="cpu")
    amplitude = draw_chip("Cargo")[None].astype(np.float32)
    chip = Chip(amplitude, ("VV",), (10.0, 4.0), "integer")
    (answer,) = ships.classify([chip])
    assert (answer.length_m, answer.width_m, answer.length_validated) == (100.0, 20.0, True)


def test_a_model_that_estimates_none_says_nothing_of_them(tiny_model_file: Path) -> None:
    chip = Chip(draw_chip("Cargo")[None].astype(np.float32), ("VV",), (10.0, 4.0), "integer")
    (answer,) = ShipClassifier(tiny_model_file, device="cpu").classify([chip])
    assert {getattr(answer, name) for name in SIZE_FIELDS} == {None}


def test_a_card_with_sizes_needs_a_graph_that_gives_them(tmp_path: Path) -> None:
    path = write_tiny_model(tmp_path / "none.onnx", tiny_card(size=SPEC))
    with pytest.raises(CardInvalid, match="size is missing"):
        ShipClassifier(path, device="cpu")


def test_the_card_holds_what_an_interval_needs(tmp_path: Path) -> None:
    path = sized_model(tmp_path / "sized.onnx")
    kept = {p.key: p.value for p in onnx.load(path).metadata_props}[CARD_KEY]
    assert ShipClassifier(path, device="cpu").card.to_json() == kept
