"""ShipClassifier: an ONNX Runtime session and its card; chips in, predictions out."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from shipchip.answer import ShipSize, Used, Verdict, verdict_of
from shipchip.card import ModelCard, card_from_metadata
from shipchip.chip import Chip, DecodeLimits, Quantity
from shipchip.decode import decode
from shipchip.errors import CardInvalid, ModelCorrupt, ProviderUnavailable
from shipchip.model_file import DEFAULT_MODEL, read_model
from shipchip.prepare import PreparedChip, prepare
from shipchip.size import size_with_interval
from shipchip.trust import Trust

Device = Literal["auto", "cpu", "cuda"]

_SIZE = "size"  # of models that estimate it


@dataclass(frozen=True, eq=False)
class Prediction(ShipSize):
    """One chip's answer; `length_m` and the other sizes are those of ShipSize.

    confidence       calibrated probability of `label`, 0..1
    probabilities    calibrated, by class, summing to 1
    prediction_set   classes that contain the true one with the card's coverage (conformal)
    in_distribution  False: the chip is unlike the training chips, do not rely on the numbers
    ood_score        >= 0, about 1 for chips like the training chips, higher for others
    used             what was assumed of the chip: pixel spacing, polarisation, quantity
    lon, lat         of the chip's centre, degrees (WGS 84); None unless the file is georeferenced
    activation_map   float32 (h, w) class activation of `label`; None if not requested
    """

    label: str
    confidence: float
    probabilities: dict[str, float]
    prediction_set: tuple[str, ...]
    in_distribution: bool
    ood_score: float
    used: Used
    lon: float | None = None
    lat: float | None = None
    activation_map: NDArray[np.float32] | None = None

    @property
    def verdict(self) -> Verdict:
        """How far to rely on `label`: see shipchip.answer.verdict_of."""
        return verdict_of(self.in_distribution, self.prediction_set)


@dataclass(frozen=True, eq=False)
class ModelOutputs:
    """Raw outputs of the model for N chips.

    logits          float32 (N, K)
    embedding       float32 (N, D)
    size            float32 (N, 2), length and width in metres; None if the model estimates none
    activation_map  float32 (N, K, h, w); None if not asked for
    """

    logits: NDArray[np.float32]
    embedding: NDArray[np.float32]
    size: NDArray[np.float32] | None
    activation_map: NDArray[np.float32] | None


class ShipClassifier:
    """A model file, loaded and checked.

    model    path of a .onnx file that carries a shipchip card; default: the model of this project
    device   "auto" uses a GPU if ONNX Runtime has one; "cuda" requires it
    threads  ONNX Runtime's threads within one operation; None lets ONNX Runtime decide
    sha256   the SHA-256 that the file must have, so that several processes run the same model

    A file is refused if its SHA-256 differs from `sha256`, or from `<name>.sha256` beside it.

    Raises ModelNotFound, ModelCorrupt, CardMissing, CardInvalid or ProviderUnavailable.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] = DEFAULT_MODEL,
        *,
        device: Device = "auto",
        threads: int | None = None,
        sha256: str | None = None,
    ) -> None:
        self.path = Path(model)
        content, self.sha256 = read_model(self.path, sha256)
        self.session = _session(content, self.path, device, threads)
        self.card: ModelCard = card_from_metadata(self.session.get_modelmeta().custom_metadata_map)
        self.provider: str = self.session.get_providers()[0]
        _check_graph(self.session, self.card)
        self.trust = Trust(self.card.trust)

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names, in the order of the logits."""
        return self.card.classes

    def prepare(self, chip: Chip) -> PreparedChip:
        """One chip as the model takes it, by the card's InputSpec."""
        return prepare(chip, self.card.input)

    def classify_file(
        self,
        source: bytes | str | os.PathLike[str],
        *,
        polarisation: str | None = None,
        pixel_spacing_m: float | tuple[float, float] | None = None,
        quantity: Quantity = "auto",
        limits: DecodeLimits | None = None,
        explain: bool = False,
    ) -> Prediction:
        """Decode, prepare and classify one file or its bytes; options as in `decode`."""
        chip = decode(
            source,
            polarisation=polarisation,
            pixel_spacing_m=pixel_spacing_m,
            quantity=quantity,
            limits=limits,
        )
        return self.classify([chip], explain=explain)[0]

    def classify(self, chips: Sequence[Chip], *, explain: bool = False) -> list[Prediction]:
        """Predictions for decoded chips, in order; one batch."""
        return self.predict([self.prepare(chip) for chip in chips], explain=explain)

    def predict(
        self, prepared: Sequence[PreparedChip], *, explain: bool = False
    ) -> list[Prediction]:
        """Predictions for prepared chips, in order; one batch."""
        if not prepared:
            return []
        outputs = self.run(np.stack([chip.input for chip in prepared]), maps=explain)
        probs = self.trust.probabilities(outputs.logits)
        member = self.trust.prediction_sets(probs)
        scores = self.trust.score_ood(outputs.embedding)
        known = self.trust.score_ood.in_distribution(scores)
        best = probs.argmax(axis=1)
        maps, sizes = outputs.activation_map, self._sizes(outputs, prepared, known)
        positions = [chip.position or (None, None) for chip in prepared]
        return [
            Prediction(
                label=self.classes[k],
                confidence=float(probs[i, k]),
                probabilities={c: float(p) for c, p in zip(self.classes, probs[i], strict=True)},
                prediction_set=tuple(
                    c for c, held in zip(self.classes, member[i], strict=True) if held
                ),
                in_distribution=bool(known[i]),
                ood_score=float(scores[i]),
                used=prepared[i].used,
                lon=positions[i][0],
                lat=positions[i][1],
                activation_map=None if maps is None else maps[i, k],
                **vars(sizes[i]),
            )
            for i, k in enumerate(best)
        ]

    def run(self, inputs: NDArray[np.float32], *, maps: bool = False) -> ModelOutputs:
        """The session's raw outputs for prepared inputs (N, 1, S, S)."""
        wanted = ["logits", "embedding"]
        wanted += [_SIZE] if self.card.size else []
        wanted += ["activation_map"] if maps else []
        values = dict(zip(wanted, self.session.run(wanted, {"chips": inputs}), strict=True))
        return ModelOutputs(
            values["logits"], values["embedding"], values.get(_SIZE), values.get("activation_map")
        )

    def _sizes(
        self, outputs: ModelOutputs, prepared: Sequence[PreparedChip], known: NDArray[np.bool_]
    ) -> list[ShipSize]:
        spec = self.card.size
        if spec is None or outputs.size is None:
            return [ShipSize()] * len(prepared)
        return [
            size_with_interval(size, spec, chip.used, bool(one))
            for size, chip, one in zip(outputs.size, prepared, known, strict=True)
        ]


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
    if device != "cpu" and "CUDAExecutionProvider" in ort.get_available_providers():
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


def _check_graph(session: ort.InferenceSession, card: ModelCard) -> None:
    """The graph's inputs and outputs must match the card, or every number would be wrong."""
    inputs = {node.name: (node.type, node.shape) for node in session.get_inputs()}
    size = card.input.size
    kind, shape = inputs.get("chips", ("", []))
    if len(inputs) != 1 or kind != "tensor(float)" or shape[1:] != [1, size, size]:
        raise CardInvalid(f"the model takes {inputs}; its card says chips (N, 1, {size}, {size})")
    if isinstance(shape[0], int):
        raise CardInvalid(f"the model takes {shape[0]} chips at a time; expected a dynamic N")
    outputs = {node.name: node.shape for node in session.get_outputs()}
    classes, width = len(card.classes), len(card.trust.ood.mean)
    expected = {"logits": [classes], "embedding": [width], "activation_map": [classes]}
    if card.size:
        expected[_SIZE] = [2]
    for name, second in expected.items():
        if name not in outputs:
            raise CardInvalid(f"the model gives {sorted(outputs)}; {name} is missing")
        if outputs[name][1:2] != second:
            raise CardInvalid(
                f"the model gives {name} of shape {outputs[name]}; by its card ({card.classes}, "
                f"embedding of {width}) the second number is {second[0]}"
            )
