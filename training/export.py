"""Exports a trained model to one .onnx file with its card, which is re-read and compared."""

import hashlib
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from shipchip import __version__
from shipchip.atomic import replacing, write_bytes
from shipchip.card import CARD_KEY, InputSpec, ModelCard
from shipchip.classifier import ShipClassifier
from training.errors import ExportMismatch
from training.fit.epoch import predict
from training.network.models import ExportedNet, Network
from training.network.size import SizeRegression

# Of logits (log-probabilities of an ensemble), about a thousandth of the odds. Torch and ONNX
# Runtime add in different orders; 3e-4 was seen on real chips.
EXPORT_TOLERANCE = 1e-3
_WORTH_HALVING = 10_000  # numbers of a tensor


def export_onnx(
    model: Network,
    card: ModelCard,
    path: Path,
    chips: NDArray[np.float32],
    size: SizeRegression | None = None,
) -> None:
    """Write `path`, but only if the file gives the same logits, labels and sizes as the model.

    chips  the prepared test chips (N, 1, S, S) for which both are compared
    size   estimates sizes from the model's embedding; the card then has its SizeSpec

    Raises ExportMismatch if a logit differs by more than EXPORT_TOLERANCE, a size by more than
    EXPORT_TOLERANCE of itself, or a label at all.
    """
    proto = to_onnx(model, card.input, size)
    onnx.helper.set_model_props(proto, {CARD_KEY: card.to_json()})
    onnx.checker.check_model(proto, full_check=True)
    with replacing(path) as temporary:
        temporary.write_bytes(proto.SerializeToString())
        check_export(model, temporary, chips, size)


def write_card(card: ModelCard, path: Path) -> None:
    """Replace the card of the file at `path`; the graph stays byte-identical."""
    proto = onnx.load(path)
    onnx.helper.set_model_props(proto, {CARD_KEY: card.to_json()})
    write_bytes(path, proto.SerializeToString())


def identified(card: ModelCard, path: Path) -> ModelCard:
    """The card with the version of the file at `path` once it has this card.

    The version is the package's, and the SHA-256 of the whole file in which the version alone is
    left empty: files that differ in weights, trust or figures never share one.
    """
    proto = onnx.load(path)
    unnamed = card.model_copy(update={"version": ""})
    onnx.helper.set_model_props(proto, {CARD_KEY: unnamed.to_json()})
    digest = hashlib.sha256(proto.SerializeToString(deterministic=True)).hexdigest()
    return card.model_copy(update={"version": f"{__version__}+{digest[:12]}"})


def to_onnx(model: Network, spec: InputSpec, size: SizeRegression | None = None) -> onnx.ModelProto:
    """The graph: `chips` (N, 1, S, S) -> logits, embedding, activation_map, and `size` if there is
    one; N is free."""
    shown = ExportedNet(model, spec, size).eval().cpu()
    example = torch.zeros(2, 1, spec.size, spec.size)
    program = torch.onnx.export(
        shown,
        (example,),
        dynamo=True,
        external_data=False,
        verbose=False,
        input_names=["chips"],
        output_names=["logits", "embedding", "activation_map", *(["size"] if size else [])],
        dynamic_shapes=({0: torch.export.Dim("N", min=1)},),
    )
    if program is None:
        raise ExportMismatch("torch.onnx.export gave no program")
    proto = program.model_proto
    store_in_halves(proto.graph)
    # Remove stack traces: they name folders of this machine and would change the file.
    for part in (proto.graph, *proto.graph.node, *proto.graph.value_info):
        part.ClearField("metadata_props")
    return proto


def store_in_halves(graph: onnx.GraphProto) -> None:
    """Store each large tensor whose numbers float16 holds exactly so, with a cast back to float32:
    half the file, and the same numbers when it runs."""
    casts = []
    for tensor in graph.initializer:
        if tensor.data_type != onnx.TensorProto.FLOAT:
            continue
        values = onnx.numpy_helper.to_array(tensor)
        with np.errstate(over="ignore"):
            halves = values.astype(np.float16)
        if values.size < _WORTH_HALVING or not np.array_equal(halves.astype(np.float32), values):
            continue
        name = tensor.name
        tensor.CopyFrom(onnx.numpy_helper.from_array(halves, f"{name}.half"))
        casts.append(
            onnx.helper.make_node("Cast", [tensor.name], [name], to=onnx.TensorProto.FLOAT)
        )
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


def check_export(
    model: Network, path: Path, chips: NDArray[np.float32], size: SizeRegression | None = None
) -> float:
    """The largest difference of a logit between the model and the file, over all chips."""
    expected, embeddings = predict(model, chips)
    ships = ShipClassifier(path, device="cpu")
    runs = [ships.run(np.array(chips[i : i + 128])) for i in range(0, len(chips), 128)]
    found = np.concatenate([run.logits for run in runs])
    if size:
        _check_sizes(path, size, embeddings, np.concatenate([run.size for run in runs]))
    difference = float(np.abs(found - expected).max())
    if difference > EXPORT_TOLERANCE:
        raise ExportMismatch(
            f"{path}: a logit differs by {difference:.2g} from the trained model's, "
            f"expected at most {EXPORT_TOLERANCE:g}; the file was not put in place"
        )
    turned = int((found.argmax(axis=1) != expected.argmax(axis=1)).sum())
    if turned:
        raise ExportMismatch(f"{path}: {turned} of {len(chips)} chips get another label")
    return difference


def _check_sizes(
    path: Path,
    size: SizeRegression,
    embeddings: NDArray[np.float32],
    found: NDArray[np.float32],
) -> None:
    with torch.inference_mode():
        expected = size(torch.from_numpy(embeddings)).numpy()
    share = float(np.abs(found / expected - 1).max())
    if share > EXPORT_TOLERANCE:
        raise ExportMismatch(
            f"{path}: a length or width differs by {share:.2g} of itself from the trained "
            f"model's, expected at most {EXPORT_TOLERANCE:g}; the file was not put in place"
        )
