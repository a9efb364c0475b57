"""Features to start from: those of ImageNet, of our SAR pretraining, or of any file."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from torch import Tensor

from shipchip.card import Frozen, InputSpec
from training.card.schema import FeaturesRecord
from training.config import ModelConfig, RunConfig
from training.errors import WeightsInvalid, WeightsMissing
from training.network import imagenet
from training.network.models import ChipNet, PooledNet, copy_state
from training.network.weight_files import WeightFile, read_weight_file, write_tensors

FORMAT = "shipchip.weights/2"
_FIRST = "features.0.weight"
_RESNET_PLACES = {"conv1": "0", "bn1": "1", "layer1": "4", "layer2": "5", "layer3": "6"}
_RESNET_PLACES["layer4"] = "7"


@dataclass(frozen=True, eq=False)
class Weights:
    """Features read from a file once, so that every network of a run starts from the same ones even
    if the file changes meanwhile.

    sha256     of the file; part of the identity of what starts from it
    tensors    by ChipNet's names
    record     their record for a card
    learnt_on  sha256 of the chips that they were learnt from, see training.pretrain.sums_of; empty
               if the file is not ours
    """

    path: Path
    sha256: str
    tensors: Mapping[str, Tensor]
    record: FeaturesRecord
    learnt_on: frozenset[str] = frozenset()

    @property
    def planes(self) -> int:
        """What the first layer takes, see ChipNet."""
        return int(self.tensors[_FIRST].shape[1])


def sar_file(model: ModelConfig, folder: Path) -> Path:
    """Where the SAR-pretrained features of a network are kept in a folder of weights."""
    return folder / f"{model.name}-width-{model.width:g}-sar.safetensors"


def read_weights(which: str, config: RunConfig, folder: Path) -> Weights:
    """The features that `which` names, for the network and the input of `config`.

    which   "imagenet", "sar", or the path of a file
    folder  where the files of the first two are looked for
    Raises WeightsMissing, which names the file to fetch or the command to run; WeightsInvalid if
    the file is damaged, or its features were learnt on another input than the config's.
    """
    if which == "imagenet":
        path = imagenet.find(config.model, folder)
    elif which == "sar":
        path = sar_file(config.model, folder)
        if not path.exists():
            raise WeightsMissing(
                f"no SAR-pretrained weights at {path}; make them with: python -m training.run "
                f"pretrain CHIPS --model {config.model.name} --width {config.model.width:g} "
                f"--weights-dir {folder}"
            )
    else:
        path = Path(which)
        if not path.is_file():
            raise WeightsMissing(
                f"no file of weights at {path}; --pretrained takes imagenet, sar or a file "
                "(.safetensors, .pt, .pth)"
            )
    file = read_weight_file(path)
    named = {_our_name(name): value for name, value in file.tensors.items()}
    tensors = {name: value for name, value in named.items() if name.startswith("features.")}
    if str(file.metadata.get("format")).startswith("shipchip.weights/"):
        return _sar(file, tensors, config)
    return _foreign(file, tensors, config)


def load_features(model: ChipNet, weights: Weights) -> None:
    """Give the features of `model` these weights; the head stays as it is.

    Batch normalisation's count of batches may be missing, as in older files: nothing reads it.
    Raises WeightsInvalid if the weights are of another network.
    """
    path, found = weights.path, weights.tensors
    wanted = {n: v for n, v in model.state_dict().items() if n.startswith("features.")}
    missing = [n for n in wanted if n not in found and not n.endswith(".num_batches_tracked")]
    if missing:
        raise WeightsInvalid(
            f"{path} is of another network: it lacks {missing[0]} and {len(missing) - 1} more of "
            f"{len(wanted)} tensors; it has {', '.join(list(found)[:3])}, …"
        )
    last = max(_place(name) for name in wanted)
    beyond = isinstance(model, PooledNet)  # which leaves the layers above its blocks out
    extra = [n for n in found if n not in wanted and not (beyond and _place(n) > last)]
    if extra:
        raise WeightsInvalid(f"{path} is of another network: it has {extra[0]}, which is not here")
    given = {name: found[name] for name in wanted if name in found}
    if isinstance(model, PooledNet):  # its features stay as they are, so halves can be exported
        given = {name: _rounded(value) for name, value in given.items()}
    for name, value in given.items():
        if value.shape != wanted[name].shape:
            raise WeightsInvalid(
                f"{path} is of another network: {name} is {tuple(value.shape)}, expected "
                f"{tuple(wanted[name].shape)} (another width?)"
            )
    model.load_state_dict(given, strict=False)


def _rounded(value: Tensor) -> Tensor:
    """The nearest numbers that float16 holds; whole numbers (a count) as they are."""
    return value.half().to(value.dtype) if value.is_floating_point() else value


def _place(name: str) -> int:
    """
    >>> _place("features.28.bias")
    28
    """
    return int(name.split(".")[1])


def save_features(
    model: ChipNet, path: Path, record: FeaturesRecord, spec: InputSpec, chips: Collection[str]
) -> None:
    """Write the features of `model` as safetensors, with what is checked when they are read.

    record  how they came about, for cards
    spec    the input they were learnt on
    chips   sha256 of the chips they were learnt from, see training.pretrain.sums_of
    """
    state = {n: v for n, v in copy_state(model).items() if not n.startswith("head.")}
    metadata = {"record": record.plain(), "input": _input(spec), "chips": sorted(chips)}
    texts = {name: json.dumps(value) for name, value in metadata.items()}
    write_tensors(path, state, {"format": FORMAT} | texts)


def read_features_record(path: Path) -> FeaturesRecord:
    """The record that save_features wrote. Raises WeightsInvalid if the file is not ours."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except SafetensorError as error:
        raise WeightsInvalid(f"{path} is no safetensors file ({error}); delete it") from error
    return _metadata(metadata, path).record


class _Metadata(Frozen):
    """What save_features writes beside the tensors: their record, and what is checked."""

    record: FeaturesRecord
    input: dict[str, int | float]
    chips: tuple[str, ...]


def _metadata(metadata: Mapping[str, str], path: Path) -> _Metadata:
    if metadata.get("format") != FORMAT:
        raise WeightsInvalid(
            f"{path} has format {metadata.get('format')!r}, expected {FORMAT!r}; delete it, and "
            "pretrain again"
        )
    content = {name: json.loads(text) for name, text in metadata.items() if name != "format"}
    try:
        return _Metadata.model_validate(content)
    except ValidationError as error:
        raise WeightsInvalid(
            f"{path} is not described as expected ({error.errors()[0]['msg']} at "
            f"{error.errors()[0]['loc']}); delete it, and pretrain again"
        ) from error


def _input(spec: InputSpec) -> dict[str, float]:
    """The input settings that must be the same as those the features were learnt on."""
    names = {"size", "spacing_m", "db_min", "db_max", "db_scale", "clutter_window_m"}
    return spec.model_dump(include=names)


def _sar(file: WeightFile, tensors: dict[str, Tensor], config: RunConfig) -> Weights:
    """Features that save_features wrote."""
    written, wanted = _metadata(file.metadata, file.path), _input(config.input)
    unlike = [name for name, value in wanted.items() if written.input.get(name) != value]
    if unlike:
        found, expected = (
            ", ".join(f"{name} {values.get(name)}" for name in unlike)
            for values in (written.input, wanted)
        )
        raise WeightsInvalid(
            f"{file.path} was learnt on another input: {found}, expected {expected}; delete it and "
            "pretrain again with this config, or name another --weights-dir"
        )
    record = written.record.model_copy(update={"sha256": file.sha256})
    return Weights(file.path, file.sha256, tensors, record, frozenset(written.chips))


def _foreign(file: WeightFile, tensors: dict[str, Tensor], config: RunConfig) -> Weights:
    """Features of any other file; a colour network's first layer is folded for chips."""
    record = FeaturesRecord(source=file.path.name, sha256=file.sha256)
    first = tensors.get(_FIRST)
    if first is None or first.ndim != 4:
        raise WeightsInvalid(
            f"{file.path} is of another network: it lacks a first layer {_FIRST} (or conv1.weight "
            f"of a ResNet50); it has {', '.join(list(file.tensors)[:3])}, …; rename its tensors "
            "as torchvision's are"
        )
    if first.shape[1] == 3:
        published = imagenet.published_as(file.path.name)
        if published is None:
            known = [f for kind in imagenet.PUBLISHED.values() for one in kind for f in one.files]
            raise WeightsInvalid(
                f"{file.path} is of a colour network, and its name does not say how its input was "
                f"normalised; name it as one of {', '.join(known)}, if its input was like theirs"
            )
        tensors[_FIRST] = imagenet.fold(first, published, config.input)
        record = FeaturesRecord(
            source="imagenet",
            weights=str(published.weights),
            origin=published.origin,
            file=file.path.name,
            sha256=file.sha256,
        )
    return Weights(file.path, file.sha256, tensors, record)


def _our_name(name: str) -> str:
    """torchvision's names of a ResNet's parts as ChipNet has them; its VGG's are the same."""
    part, _, rest = name.partition(".")
    return f"features.{_RESNET_PLACES[part]}.{rest}" if part in _RESNET_PLACES else name
