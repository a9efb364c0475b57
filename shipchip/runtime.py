"""What runs a model: ONNX Runtime on a CPU or a GPU, or another runtime that must agree with it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from shipchip.card import InputSpec, ModelCard
from shipchip.errors import CardInvalid, ModelCorrupt, ProviderUnavailable
from shipchip.trust import probabilities

Device = Literal["auto", "cpu", "cuda", "openvino"]

AGREEMENT = 0.01  # of probabilities, between two runtimes of one file

SIZE = "size"  # the output of models that estimate it


class Runtime(Protocol):
    """A loaded model.

    provider  what runs it, in the words of the runtime
    on_gpu    whether that is a GPU; otherwise runs take cores
    """

    provider: str
    on_gpu: bool

    def run(self, names: Sequence[str], chips: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """The outputs of these names for chips (N, 1, S, S), in their order. Any thread may call
        it."""


class OnnxRuntime:
    """ONNX Runtime, on a GPU if it has one and `device` is "auto" or "cuda", otherwise on the CPU.

    metadata  of the file

    Raises ModelCorrupt if it cannot load `content`, ProviderUnavailable if there is no GPU for
    "cuda". `path` is named in errors.
    """

    def __init__(self, content: bytes, path: Path, device: Device, threads: int | None) -> None:
        self._session = _session(content, path, device, threads)
        self.provider: str = self._session.get_providers()[0]
        self.on_gpu = self.provider != "CPUExecutionProvider"
        self.metadata: dict[str, str] = self._session.get_modelmeta().custom_metadata_map

    def run(self, names: Sequence[str], chips: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """As Runtime.run; outputs that are not asked for are not computed."""
        values: list[NDArray[np.float32]] = self._session.run(list(names), {"chips": chips})
        return values

    def check_graph(self, card: ModelCard) -> None:
        """Inputs and outputs must match the card, or every number would be wrong: CardInvalid."""
        inputs = {node.name: (node.type, node.shape) for node in self._session.get_inputs()}
        size = card.input.size
        kind, shape = inputs.get("chips", ("", []))
        if len(inputs) != 1 or kind != "tensor(float)" or shape[1:] != [1, size, size]:
            raise CardInvalid(
                f"the model takes {inputs}; its card says chips (N, 1, {size}, {size})"
            )
        if isinstance(shape[0], int):
            raise CardInvalid(f"the model takes {shape[0]} chips at a time; expected a dynamic N")
        outputs = {node.name: node.shape for node in self._session.get_outputs()}
        classes, width = len(card.classes), len(card.trust.ood.mean)
        expected = {"logits": [classes], "embedding": [width], "activation_map": [classes]}
        if card.size:
            expected[SIZE] = [2]
        for name, second in expected.items():
            if name not in outputs:
                raise CardInvalid(f"the model gives {sorted(outputs)}; {name} is missing")
            if outputs[name][1:2] != second:
                raise CardInvalid(
                    f"the model gives {name} of shape {outputs[name]}; by its card "
                    f"({card.classes}, embedding of {width}) the second number is {second[0]}"
                )


def check_agreement(runtime: Runtime, reference: Runtime, card: ModelCard) -> None:
    """Raises ProviderUnavailable if `runtime` answers drawn chips otherwise than `reference`.

    Probabilities may differ by AGREEMENT; then labels can differ only where two classes tie.
    """
    chips = _drawn_chips(card.input)
    logits = [each.run(["logits"], chips)[0] for each in (runtime, reference)]
    found, expected = (probabilities(one, card.trust.temperature) for one in logits)
    differ = float(np.abs(found - expected).max())
    if not differ <= AGREEMENT:  # a NaN is no agreement either
        raise ProviderUnavailable(
            f"{runtime.provider} gives probabilities that differ by {differ:.3f} from those of "
            f"{reference.provider}, on {len(chips)} drawn chips; expected at most {AGREEMENT}. Use "
            "another device"
        )


def _drawn_chips(spec: InputSpec) -> NDArray[np.float32]:
    """Ships on speckle as the model takes them: (8, 1, S, S)."""
    rng = np.random.default_rng(0)
    power = rng.gamma(4, 1 / 4, (8, spec.size, spec.size))
    middle = spec.size // 2
    for number, chip in enumerate(power, 1):
        length, width = spec.size * number // 20 + 1, number % 3 + 1
        chip[middle - length : middle + length, middle - width : middle + width] *= 100 * number
    decibels = np.clip(10 * np.log10(power), spec.db_min, spec.db_max)
    chips: NDArray[np.float32] = (decibels / spec.db_scale)[:, None].astype(np.float32)
    return chips


def _session(
    content: bytes, path: Path, device: Device, threads: int | None
) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = 3  # errors only: they are raised as ModelCorrupt below
    if threads is not None:
        options.intra_op_num_threads = threads
    # Threads that wait give their core away: beside decoding, or other programs, spinning took from
    # the service a fifth of its chips/s (docs/performance.md).
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    providers: list[str | tuple[str, dict[str, str]]] = ["CPUExecutionProvider"]
    if device in ("auto", "cuda") and "CUDAExecutionProvider" in ort.get_available_providers():
        # Its default, TF32, moved probabilities by up to 0.009 and 4 labels of 1,440.
        providers.insert(0, ("CUDAExecutionProvider", {"use_tf32": "0"}))
    try:
        session = ort.InferenceSession(content, options, providers=providers)
    # ONNX Runtime's exceptions share no public base class but Exception: its pybind module
    # derives each of them from it alone (Fail, InvalidGraph, InvalidProtobuf, NotImplemented ...).
    except Exception as error:
        raise ModelCorrupt(f"ONNX Runtime cannot load {path}: {error}") from error
    if device == "cuda" and session.get_providers()[0] != "CUDAExecutionProvider":
        raise ProviderUnavailable(
            f"a GPU was demanded, ONNX Runtime runs on {session.get_providers()}; install "
            "onnxruntime-gpu with its CUDA and cuDNN, or allow the CPU"
        )
    return session
