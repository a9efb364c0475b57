"""OpenVINO as the runtime of a model: convolutions in bfloat16 where the processor has it.

Only what leads to a convolution runs in bfloat16, in a graph of its own. The rest, such as the
measurements of a ship, stays in float32: in bfloat16 throughout, probabilities moved by up to 0.36
and lengths by 38 m (docs/performance.md). An int8 file keeps its int8.

Imported only if asked for, since it needs the extra `openvino`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

import numpy as np
import openvino
from numpy.typing import NDArray
from openvino import opset13

_CUT = "cut_{}"  # names of the values between the two graphs


@dataclass(frozen=True)
class _Requests:
    """What one run needs; used by one run at a time."""

    convolutions: Any
    rest: Any


class OpenVinoRuntime:
    """A model file's content, compiled for the CPU.

    threads   of one run; None lets OpenVINO decide
    parallel  runs at a time that each have `threads`; others wait
    """

    on_gpu = False

    def __init__(self, content: bytes, threads: int | None, parallel: int = 1) -> None:
        core = openvino.Core()
        half = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        self.provider = f"OpenVINO {'bfloat16' if half else 'float32'}"
        convolutions, rest = _parted(core.read_model(content))
        half_config, full_config = (
            _config(precision, threads, parallel)
            for precision in ("bf16" if half else "f32", "f32")
        )
        compiled = (
            core.compile_model(convolutions, "CPU", half_config),
            core.compile_model(rest, "CPU", full_config),
        )
        self._cuts = len(convolutions.outputs)
        self._free: SimpleQueue[_Requests] = SimpleQueue()
        for _ in range(parallel):
            self._free.put(_Requests(*(model.create_infer_request() for model in compiled)))

    def run(self, names: Sequence[str], chips: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """As Runtime.run."""
        requests = self._free.get()
        try:
            requests.convolutions.infer({"chips": chips})
            between = {
                _CUT.format(k): requests.convolutions.get_output_tensor(k)
                for k in range(self._cuts)
            }
            found = requests.rest.infer({"chips": chips} | between)  # copies its outputs
            return [found[name] for name in names]
        finally:
            self._free.put(requests)


def _config(precision: str, threads: int | None, parallel: int) -> dict[str, Any]:
    config: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": precision,
        "NUM_STREAMS": parallel,
        # Several processes would be pinned to the same cores.
        "ENABLE_CPU_PINNING": False,
    }
    return config if threads is None else config | {"INFERENCE_NUM_THREADS": threads * parallel}


def _parted(model: Any) -> tuple[Any, Any]:
    """The graph of all that leads to a convolution, and the graph of the rest, which takes what the
    first gives as further inputs, named as _CUT says."""
    first = _leading_to_convolutions(model)
    behind = _behind_convolutions(model)
    cuts: dict[tuple[str, int], tuple[Any, list[Any]]] = {}
    for node in model.get_ordered_ops():
        if node.get_friendly_name() in first:
            continue
        for entry in node.inputs():
            value = entry.get_source_output()
            name = value.get_node().get_friendly_name()
            if name in first and name in behind:
                cuts.setdefault((name, value.get_index()), (value, []))[1].append(entry)
    inputs, values = [], []
    for number, (value, entries) in enumerate(cuts.values()):
        cut = opset13.parameter(value.get_partial_shape(), value.get_element_type())
        cut.output(0).get_tensor().set_names({_CUT.format(number)})
        for entry in entries:
            entry.replace_source_output(cut.output(0))
        inputs.append(cut)
        values.append(opset13.result(value))
    chips = model.get_parameters()
    return openvino.Model(values, chips, "convolutions"), openvino.Model(
        model.get_results(), [*chips, *inputs], "rest"
    )


def _leading_to_convolutions(model: Any) -> set[str]:
    """The names of the convolutions and of all nodes that a convolution depends on."""
    found: set[str] = set()
    remaining = [node for node in model.get_ordered_ops() if _is_convolution(node)]
    while remaining:
        node = remaining.pop()
        if node.get_friendly_name() not in found:
            found.add(node.get_friendly_name())
            remaining += [entry.get_source_output().get_node() for entry in node.inputs()]
    return found


def _behind_convolutions(model: Any) -> set[str]:
    """The names of the convolutions and of all nodes that depend on one."""
    found: set[str] = set()
    for node in model.get_ordered_ops():  # inputs before what uses them
        sources = (entry.get_source_output().get_node() for entry in node.inputs())
        if _is_convolution(node) or any(s.get_friendly_name() in found for s in sources):
            found.add(node.get_friendly_name())
    return found


def _is_convolution(node: Any) -> bool:
    return node.get_type_name() in ("Convolution", "GroupConvolution")
