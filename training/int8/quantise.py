"""An exported model in int8: about a quarter of the bytes, convolutions three times as fast.

Static post-training quantisation (Jacob et al. 2018) by ONNX Runtime: weights int8 with a scale per
channel, activations uint8 with the range seen on calibration chips.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import helper
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

from shipchip.atomic import write_bytes
from shipchip.card import CARD_KEY, ModelCard
from shipchip.classifier import ShipClassifier
from training.card.record import MEASURED
from training.card.schema import Quantisation
from training.data.dataset import Dataset
from training.data.store import PreparedChips
from training.errors import ConfigInvalid, DataInvalid, ExportMismatch
from training.evaluation.figures import BATCH
from training.evaluation.final_test import measure_file
from training.export import identified, write_card
from training.identity import arrays_sha256
from training.int8.comparison import THREADS, Comparison, compare_int8
from training.int8.layout import lay_out_convolutions

METHOD = "static; weights int8 by channel, activations uint8; all but the features fp32"
# The least and the greatest value seen. Of a half-width VGG16 99.6 to 99.9 % of labels stayed, as
# the chips were drawn. Percentiles clip, and kept 99.2 % (99.99) and 96.7 % (99.9); ONNX Runtime's
# entropy clips nothing, for its histogram has as many bins as int8 has steps: the same file.
CALIBRATION = CalibrationMethod.MinMax
CHIPS = 280
AGREEMENT = 0.9  # share of labels that must stay

# What runs in int8 where a convolution follows. The rest is small, or measures: it needs fp32.
_QUANTISED = ("Conv", "Relu", "Clip", "MaxPool", "AveragePool", "Add")


def quantise(model: Path, chips: NDArray[np.float32], out: Path) -> None:
    """Write the int8 file of an fp32 one: same inputs and outputs, its card with a record.

    The card has no figures, because those of the fp32 file are not this file's; `export_int8`
    measures them.

    chips are prepared training chips (N, 1, S, S), N > 0, that show the range of each activation.
    `out` is complete or not there. Raises ModelNotFound, ModelCorrupt, CardMissing or CardInvalid
    for a file that is not a model of ours, ConfigInvalid for one that is int8 already, DataInvalid
    if there are no chips.
    """
    ships = ShipClassifier(model, device="cpu")
    if "quantisation" in ships.card.training:
        raise ConfigInvalid(f"{model} is int8 already; give the fp32 file that it was made from")
    if not len(chips):
        raise DataInvalid("there is no training chip to calibrate with; expected a few hundred")
    with TemporaryDirectory() as folder:
        folded, int8 = Path(folder) / "folded.onnx", Path(folder) / "int8.onnx"
        body = _body(_fold(model, folded))
        quantize_static(
            folded,
            int8,
            _Batches(chips),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(_QUANTISED),
            nodes_to_quantize=body,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CALIBRATION,
        )
        proto = onnx.load(int8)
        _read_unrounded(proto.graph, set(body))
        lay_out_convolutions(proto.graph)
        onnx.save(proto, int8)
        card = _identified(_card(ships, len(chips)), int8)
    helper.set_model_props(proto, {CARD_KEY: card.to_json()})
    onnx.checker.check_model(proto, full_check=True)
    write_bytes(out, proto.SerializeToString())


def calibration_chips(
    train: PreparedChips, most: int = CHIPS, seed: int = 0
) -> NDArray[np.float32]:
    """At most `most` chips (N, 1, S, S), drawn without repeats, balanced over source and class.

    Each class of a source gives at least one chip, and all of them if it has fewer than its share.
    """
    rng = np.random.default_rng(seed)
    cells: dict[tuple[str, int], list[int]] = {}
    for row, (record, label) in enumerate(zip(train.records, train.labels, strict=True)):
        cells.setdefault((record.source, int(label)), []).append(row)
    share = max(1, most // max(1, len(cells)))
    drawn = [rng.permutation(cells[cell])[:share] for cell in sorted(cells)]
    return np.asarray(train.inputs[np.sort(np.concatenate(drawn))]) if drawn else train.inputs


class _Batches(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
    """Chips in the form that ONNX Runtime's calibration reads."""

    def __init__(self, chips: NDArray[np.float32]) -> None:
        self._rest = iter([chips[i : i + BATCH] for i in range(0, len(chips), BATCH)])

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        batch = next(self._rest, None)
        return None if batch is None else {"chips": batch}


def _fold(model: Path, folded: Path) -> onnx.GraphProto:
    """Batch-norm into convolutions and shapes written down, which quantisation both needs; every
    node with a name of its own."""
    # Symbolic shapes would need sympy; plain inference finds every shape in these graphs.
    quant_pre_process(model, folded, skip_symbolic_shape=True)
    proto = onnx.load(folded)
    for number, node in enumerate(proto.graph.node):
        node.name = f"{node.op_type}-{number}"
    onnx.save(proto, folded)
    return proto.graph


def _body(graph: onnx.GraphProto) -> list[str]:
    """Names of the nodes to quantise: those that a convolution follows.

    The heads stay in fp32: they are cheap, but their rounding would go into every probability.
    """
    leads_on: set[str] = set()
    names = []
    for node in reversed(graph.node):
        followed = not leads_on.isdisjoint(node.output)
        if followed or node.op_type == "Conv":
            leads_on.update(node.input)
        if followed and node.op_type in _QUANTISED:
            names.append(node.name)
    return names


def _read_unrounded(graph: onnx.GraphProto, body: set[str]) -> None:
    """What stays in fp32 reads the chips as they come, not as they are rounded for convolutions."""
    makers = {name: node for node in graph.node for name in node.output}
    exact: dict[str, str] = {}
    for node in graph.node:
        rounding = makers.get(node.input[0]) if node.op_type == "DequantizeLinear" else None
        if rounding and rounding.op_type == "QuantizeLinear":
            made_by = makers.get(rounding.input[0])
            if not (made_by and made_by.name in body):
                exact[node.output[0]] = rounding.input[0]
    for node in graph.node:
        if node.name not in body:
            node.input[:] = [exact.get(name, name) for name in node.input]


def _card(ships: ShipClassifier, chips: int) -> ModelCard:
    card = ships.card
    record = Quantisation(
        method=METHOD,
        chips=chips,
        calibration=CALIBRATION.name.lower(),
        onnxruntime=onnxruntime.__version__,
        of=ships.sha256,
        trust="fitted on the fp32 file's answers",
    )
    training = card.training | {"quantisation": record.plain()}
    return card.model_copy(update={"metrics": {}, "training": training})


def _identified(card: ModelCard, path: Path) -> ModelCard:
    """`training.export.identified`, and a version that says int8."""
    named = identified(card, path)
    return named.model_copy(update={"version": f"{named.version}.int8"})


def export_int8(
    model: Path,
    dataset: Dataset,
    out: Path,
    seed: int,
    others: Mapping[str, NDArray[np.float32]] | None = None,
) -> Comparison:
    """Quantise with training chips, re-read, compare and measure the file, then put it in place.

    Training and validation chips decide whether the file is accepted. Only then is it measured on
    the test side, and these figures replace those of the fp32 file in its card.

    seed    of the bootstrap intervals
    others  kind -> prepared chips (N, 1, S, S) that show no ship; None if there are none

    Raises what `quantise` raises; ConfigInvalid if `out` is the model itself; ExportMismatch if
    fewer than AGREEMENT of the training and validation chips keep their label. An older file at
    `out` then stays.
    """
    if out.resolve() == model.resolve():
        raise ConfigInvalid(f"--out is the fp32 file {model} itself; name another file")
    tried = out.with_name(f"{out.name}.tried")
    try:
        quantise(model, calibration_chips(dataset.train), tried)
        found = compare_int8(model, tried, dataset)
        if found.agreement < AGREEMENT:
            raise ExportMismatch(
                f"{out} was not put in place: int8 gives {found.agreement:.1%} of "
                f"{len(dataset.train)} training and {len(dataset.validation)} validation chips the "
                f"label of {model}, expected at least {AGREEMENT:.0%}; serve the fp32 file"
            )
        _measure(tried, dataset, seed, others)
        sizes = model.stat().st_size, tried.stat().st_size
        tried.replace(out)
    finally:
        tried.unlink(missing_ok=True)
    return dataclasses.replace(found, figures={"bytes": sizes, **found.figures})


def _measure(
    int8: Path, dataset: Dataset, seed: int, others: Mapping[str, NDArray[np.float32]] | None
) -> None:
    """Write the file's own figures on the test side into its card."""
    ships = ShipClassifier(int8, device="cpu", threads=THREADS)
    metrics = measure_file(ships, dataset.test, others, seed)
    training = ships.card.training
    record = Quantisation.model_validate(training["quantisation"])
    record = record.model_copy(update={"metrics": MEASURED})
    ood_sha256 = None if others is None else arrays_sha256(others)
    same = ood_sha256 == training.get("ood_sha256")
    measured = {
        "quantisation": record.plain(),
        "ood_sha256": ood_sha256,
        "ood_learnt": training.get("ood_learnt") if same else None,
    }
    changes = {"metrics": metrics.plain(), "training": training | measured}
    write_card(_identified(ships.card.model_copy(update=changes), int8), int8)
