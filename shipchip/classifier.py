"""ShipClassifier: a loaded model and its card; chips in, predictions out."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shipchip.answer import ShipSize, Used, Verdict, verdict_of
from shipchip.card import ModelCard, card_from_metadata
from shipchip.chip import Chip, DecodeLimits, Quantity
from shipchip.decode import decode
from shipchip.errors import ProviderUnavailable
from shipchip.model_file import DEFAULT_MODEL, read_model
from shipchip.prepare import PreparedChip, prepare
from shipchip.runtime import SIZE, Device, OnnxRuntime, Runtime, check_agreement
from shipchip.size import size_with_interval
from shipchip.trust import Trust


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
    device   "auto" uses a GPU if ONNX Runtime has one; "cuda" requires it; "openvino" runs the
             model with OpenVINO on the CPU, which must answer as ONNX Runtime does
    threads  of one run; None lets the runtime decide
    sha256   the SHA-256 that the file must have, so that several processes run the same model
    parallel runs at a time that are to have `threads` each; ONNX Runtime gives them without it

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
        parallel: int = 1,
    ) -> None:
        self.path = Path(model)
        content, self.sha256 = read_model(self.path, sha256)
        runtime = OnnxRuntime(content, self.path, device, threads)
        self.card: ModelCard = card_from_metadata(runtime.metadata)
        runtime.check_graph(self.card)
        self.trust = Trust(self.card.trust)
        self.runtime: Runtime = runtime
        if device == "openvino":
            self.runtime = _on_openvino(runtime, content, self.card, threads, parallel)

    @property
    def provider(self) -> str:
        """What runs the model: an execution provider of ONNX Runtime, or OpenVINO."""
        return self.runtime.provider

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
        wanted += [SIZE] if self.card.size else []
        wanted += ["activation_map"] if maps else []
        values = dict(zip(wanted, self.runtime.run(wanted, inputs), strict=True))
        return ModelOutputs(
            values["logits"], values["embedding"], values.get(SIZE), values.get("activation_map")
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


def _on_openvino(
    reference: OnnxRuntime, content: bytes, card: ModelCard, threads: int | None, parallel: int
) -> Runtime:
    # `import openvino` sends telemetry, unless this package is missing: then it has a stub.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:  # an extra
        module = import_module("shipchip.openvino_runtime")
    except ImportError as error:
        raise ProviderUnavailable(
            f"OpenVINO was demanded, but cannot be imported ({error}); use another device, or "
            f"install it: {sys.executable} -m pip install 'shipchip[openvino]'"
        ) from error
    runtime: Runtime = module.OpenVinoRuntime(content, threads, parallel)
    check_agreement(runtime, reference, card)
    return runtime
