"""Int8 convolutions of few channels in a layout that ONNX Runtime runs fast.

Its int8 kernels take channels in fours. With fewer, they gather the input byte by byte, which takes
several times as long as the whole layer in fp32. A chip has one channel, or a second of ones.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

_FOUR = 4


def lay_out_convolutions(graph: onnx.GraphProto) -> None:
    """Turn each int8 convolution of less than four channels into a 1 x 1 one of shifted copies.

    The same products are added in int32, so every number stays the same. So does the rest of the
    graph, except for nodes and weights that are no longer used.
    """
    makers = {name: node for node in graph.node for name in node.output}
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    nodes: list[NodeProto] = []
    for node in graph.node:
        layer = _layer(node, makers, tensors)
        nodes += layer.laid_out(tensors) if layer else [node]
    used = {name for node in nodes for name in node.input} | {o.name for o in graph.output}
    nodes = [node for node in nodes if not used.isdisjoint(node.output)]
    used = {name for node in nodes for name in node.input}
    kept = [tensor for name, tensor in tensors.items() if name in used]
    for field, content in (graph.node, nodes), (graph.initializer, kept), (graph.value_info, []):
        del field[:]
        field.extend(content)


@dataclass(frozen=True, eq=False)
class _Layer:
    """A convolution of less than four int8 channels, with stride 1 and not dilated.

    chips, weight  the DequantizeLinear nodes that feed it
    kernel         int8 (C, channels, h, w)
    pads           samples added at the top, left, bottom and right
    """

    conv: NodeProto
    chips: NodeProto
    weight: NodeProto
    kernel: NDArray[np.int8]
    pads: list[int]

    def laid_out(self, tensors: dict[str, TensorProto]) -> list[NodeProto]:
        """The nodes that replace it; their constants go into `tensors`."""
        chips, scale, zero = self.chips.input
        nodes = self._shifted(chips, zero, tensors)
        copies = [node.output[0] for node in nodes[1:]]
        copies += copies[:1] * (-len(copies) % _FOUR)  # the kernel multiplies these by 0
        channels = len(copies) * self.kernel.shape[1]
        flat = np.zeros((len(self.kernel), channels, 1, 1), np.int8)
        by_tap = self.kernel.transpose(0, 2, 3, 1)  # as the copies follow each other
        flat[:, : self.kernel[0].size, 0, 0] = by_tap.reshape(len(self.kernel), -1)
        taps = self._constant("kernel", flat, tensors)
        scaling, attributes = self.weight.input[1:], _attributes(self.weight)
        ends = [self._name("scaled"), self._name("weight"), *self.conv.input[2:]]
        return [
            *nodes,
            self._node("Concat", copies, "copies", axis=1),
            self._node("DequantizeLinear", [self._name("copies"), scale, zero], "scaled"),
            self._node("DequantizeLinear", [taps, *scaling], "weight", **attributes),
            helper.make_node("Conv", ends, self.conv.output, kernel_shape=[1, 1]),
        ]

    def _shifted(self, chips: str, zero: str, tensors: dict[str, TensorProto]) -> list[NodeProto]:
        """Padding, then one slice per element of the kernel, in its order."""
        height, width = self.kernel.shape[2:]
        top, left, bottom, right = self.pads
        context = np.array([0, 0, top, left, 0, 0, bottom, right])
        axes = self._constant("axes", np.array([2, 3]), tensors)
        padding = [chips, self._constant("around", context, tensors), zero]
        nodes = [self._node("Pad", padding, "padded")]
        for row, column in np.ndindex(height, width):
            first = np.array([row, column])
            last = first - [height - 1, width - 1]  # counted from the end, of which 0 is none
            last[last == 0] = np.iinfo(np.int64).max
            name = f"{row},{column}"
            cut = [
                self._constant(f"{name} {what}", at, tensors)
                for what, at in (("first", first), ("last", last))
            ]
            nodes.append(self._node("Slice", [self._name("padded"), *cut, axes], name))
        return nodes

    def _name(self, what: str) -> str:
        return f"{self.conv.output[0]}/{what}"

    def _node(self, kind: str, inputs: list[str], what: str, **attributes: Any) -> NodeProto:
        return helper.make_node(kind, inputs, [self._name(what)], **attributes)

    def _constant(self, what: str, value: NDArray[Any], tensors: dict[str, TensorProto]) -> str:
        name = self._name(what)
        tensors[name] = numpy_helper.from_array(value, name)
        return name


def _layer(
    node: NodeProto, makers: dict[str, NodeProto], tensors: dict[str, TensorProto]
) -> _Layer | None:
    if node.op_type != "Conv":
        return None
    chips, weight = (makers.get(name) for name in node.input[:2])
    if not (chips and weight and chips.op_type == weight.op_type == "DequantizeLinear"):
        return None
    kernel = numpy_helper.to_array(tensors[weight.input[0]])
    attributes = _attributes(node)
    steps = {
        *attributes.get("strides", [1]),
        *attributes.get("dilations", [1]),
        attributes.get("group", 1),
    }
    by_hand = attributes.get("auto_pad", b"NOTSET") == b"NOTSET"
    if not (by_hand and steps == {1} and kernel.ndim == 4 and kernel.shape[1] < _FOUR):
        return None
    return _Layer(node, chips, weight, kernel, attributes.get("pads", [0, 0, 0, 0]))


def _attributes(node: NodeProto) -> dict[str, Any]:
    return {a.name: helper.get_attribute_value(a) for a in node.attribute}
