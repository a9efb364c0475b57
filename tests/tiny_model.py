"""A tiny but real model file, so that tests need neither a trained model nor torch.

It tells ships apart by how much of the chip is bright: little is Fishing, more is Tanker, most is
Cargo. So a test can draw a chip and know its label, and other chips get other numbers.
"""

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from shipchip import PreparedChip, Used
from shipchip.card import CARD_KEY, InputSpec, ModelCard, OodSpec, SpacingRule, TrustSpec

SIZE = 32
CLASSES = ("Cargo", "Fishing", "Tanker")
# Side of the bright square in a chip of `draw_chip`, by the label that the model gives it.
SIDES = {"Fishing": 3, "Tanker": 9, "Cargo": 20}

# The square is some 26 dB above the sea, 1.3 in the model's input, so the mean brightness is about
# 1.3 (side / SIZE)^2, 0.01, 0.1 and 0.5, and a little for the sea. Each class's logit is a line in
# it; the lines cross at 0.04 and at 0.2.
_SLOPES = {"Fishing": 0.0, "Tanker": 50.0, "Cargo": 100.0}
_OFFSETS = {"Fishing": 0.0, "Tanker": -2.0, "Cargo": -12.0}


def prepared_of(model_input: NDArray[np.float32]) -> PreparedChip:
    """An input (1, S, S) that was made without decode and prepare."""
    return PreparedChip(model_input, Used((10.0, 10.0), "request", "VV", "amplitude"))


def tiny_card(**changes: object) -> ModelCard:
    """The card of the tiny model, with some of its fields changed."""
    card = ModelCard(
        schema="shipchip.card/1",
        name="tiny",
        version="0.0.1-test",
        architecture="mean brightness",
        classes=CLASSES,
        input=InputSpec(
            size=SIZE,
            spacing_m=10,
            polarisations=("VV", "HH", "VH", "unknown"),
            db_min=-10,
            db_max=40,
            db_scale=20,
            spacing_rules=(SpacingRule(encoding="any", spacing_m=(10, 10), why="a test"),),
        ),
        trust=TrustSpec(
            temperature=1.5,
            coverage=0.9,
            quantiles=(0.8, 0.8, 0.8),
            ood=OodSpec(
                mean=(0.1, 0.0),
                components=((1.0, 0.0),),
                variances=(0.04,),
                noise_variance=0.01,
                threshold=2.0,
            ),
        ),
        metrics={},
        training={"sources": "none: written by a test"},
        terms="for tests",
    )
    return card.model_copy(update=changes)


def tiny_model(card: ModelCard | None = None) -> onnx.ModelProto:
    """The model: two channels (bright, dark), a 4x4 mean, a pool, and a line a class."""
    channels = np.array([1.0, -1.0], np.float32).reshape(2, 1, 1, 1)
    slopes = np.array([[_SLOPES[c], 0.0] for c in CLASSES], np.float32)
    offsets = np.array([_OFFSETS[c] for c in CLASSES], np.float32)
    nodes = [
        helper.make_node("Conv", ["chips", "channels"], ["signed"]),
        helper.make_node("Relu", ["signed"], ["bright"]),
        helper.make_node(
            "AveragePool", ["bright"], ["features"], kernel_shape=[4, 4], strides=[4, 4]
        ),
        helper.make_node("GlobalAveragePool", ["features"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["embedding"]),
        helper.make_node("Gemm", ["embedding", "slopes", "offsets"], ["logits"], transB=1),
        helper.make_node("Conv", ["features", "maps"], ["activation_map"]),
    ]
    weights = {
        "channels": channels,
        "slopes": slopes,
        "offsets": offsets,
        "maps": slopes.reshape(3, 2, 1, 1),
    }
    graph = helper.make_graph(
        nodes,
        "tiny",
        [_value("chips", 1, SIZE, SIZE)],
        [_value("logits", 3), _value("embedding", 2), _value("activation_map", 3, 8, 8)],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {CARD_KEY: (card or tiny_card()).to_json()})
    onnx.checker.check_model(model)
    return model


def write_tiny_model(path: Path, card: ModelCard | None = None) -> Path:
    """Write the tiny model to `path`, which is returned."""
    onnx.save(tiny_model(card), path)
    return path


def draw_chip(label: str, *, height: int = 48, width: int = 40, seed: int = 0) -> NDArray[np.uint8]:
    """uint8 (height, width): grey sea with a bright square that the tiny model calls `label`."""
    sea = np.random.default_rng(seed).integers(9, 12, (height, width), dtype=np.uint8)
    side = SIDES[label]
    top, left = (height - side) // 2, (width - side) // 2
    sea[top : top + side, left : left + side] = 200
    return sea


def _value(name: str, *shape: int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", *shape])
