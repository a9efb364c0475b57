"""Weights from a file: ImageNet's as torchvision publishes them, or our own SAR pretraining.

Files are read as safetensors, or by torch.load with weights_only=True; nothing that could run code
is ever unpickled. An RGB first layer is folded to one channel by summing over its three: a grey
chip repeated three times gives the same features.
"""

import json
import pickle
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torchvision.models import ResNet50_Weights, VGG16_BN_Weights, WeightsEnum

from training.config import ModelConfig
from training.errors import ConfigInvalid, WeightsInvalid, WeightsMissing
from training.models import ChipNet, copy_state
from training.whole import write_tensors

FORMAT = "shipchip.weights/1"
# What torch and safetensors raise on files that are cut, empty or something else.
_UNREADABLE = (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError)
_IMAGENET: dict[str, WeightsEnum] = {
    "vgg16": VGG16_BN_Weights.IMAGENET1K_V1,
    "resnet50": ResNet50_Weights.IMAGENET1K_V2,
}
_RESNET_PLACES = {"conv1": "0", "bn1": "1", "layer1": "4", "layer2": "5", "layer3": "6"}
_RESNET_PLACES["layer4"] = "7"


def sar_file(model: ModelConfig, folder: Path) -> Path:
    """Where the SAR-pretrained features of a network are kept in a folder of weights."""
    return folder / f"{model.name}-width-{model.width:g}-sar.safetensors"


def load_pretrained(model: ChipNet, config: ModelConfig, which: str, folder: Path) -> None:
    """Give the features of `model` the weights that `which` names; the head stays as it is.

    which   "imagenet", "sar", or the path of a file
    folder  where the files of the first two are looked for
    Raises WeightsMissing, naming the file to fetch or the command to run, WeightsInvalid where the
    file is damaged or of another network.
    """
    if which == "imagenet":
        path = _imagenet_file(config, folder)
    elif which == "sar":
        path = sar_file(config, folder)
        if not path.exists():
            raise WeightsMissing(
                f"no SAR-pretrained weights at {path}; make them with: python -m training.run "
                f"pretrain CHIPS --model {config.name} --width {config.width:g} "
                f"--weights-dir {folder}"
            )
    else:
        path = Path(which)
        if not path.is_file():
            raise WeightsMissing(
                f"no file of weights at {path}; --pretrained takes imagenet, sar or a file "
                "(.safetensors, .pt, .pth)"
            )
    _load_features(model, read_state(path), path)


def save_features(model: ChipNet, path: Path, record: Mapping[str, Any]) -> None:
    """Write the features of `model` as safetensors; `record` says how they came about."""
    state = {n: v for n, v in copy_state(model).items() if not n.startswith("head.")}
    write_tensors(path, state, {"format": FORMAT, "record": json.dumps(record)})


def read_record(path: Path) -> dict[str, Any]:
    """What save_features was told. Raises WeightsInvalid where the file is not ours."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except SafetensorError as error:
        raise WeightsInvalid(f"{path} is no safetensors file ({error}); delete it") from error
    if metadata.get("format") != FORMAT:
        raise WeightsInvalid(
            f"{path} has format {metadata.get('format')!r}, expected {FORMAT!r}; delete it"
        )
    record: dict[str, Any] = json.loads(metadata["record"])
    return record


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a file by name. Raises WeightsInvalid where it holds anything else."""
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as file:
                return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        state = torch.load(path, map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        told = str(error).splitlines()[0]
        raise WeightsInvalid(
            f"{path} is not a file of weights ({told}); expected safetensors, or a state dict that "
            "torch.save wrote, complete"
        ) from error
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise WeightsInvalid(f"{path} holds {type(state).__name__}, expected a plain state dict")
    return state


def _imagenet_file(config: ModelConfig, folder: Path) -> Path:
    """torchvision's file: in `folder`, in torch's own cache, or fetched into that cache."""
    if config.name not in _IMAGENET:
        raise ConfigInvalid(
            f"there are no ImageNet weights of a {config.name}; only of {', '.join(_IMAGENET)}"
        )
    if config.width != 1:
        raise ConfigInvalid(
            f"ImageNet weights need width 1.0, found {config.width:g}; set the width to 1.0, or "
            "pretrain on SAR chips: --pretrained sar"
        )
    url = _IMAGENET[config.name].url
    name = PurePosixPath(urlsplit(url).path).name
    cache = Path(torch.hub.get_dir()) / "checkpoints"
    for place in (folder, cache):
        if (place / name).is_file():
            return place / name
    try:
        cache.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(
            url, str(cache / name), hash_prefix=Path(name).stem.rpartition("-")[2], progress=False
        )
    except (OSError, RuntimeError) as error:
        raise WeightsMissing(
            f"{name} is not in {folder} and cannot be fetched ({error}); fetch {url} elsewhere "
            f"and put it into {folder}, or pretrain on SAR chips: --pretrained sar"
        ) from error
    return cache / name


def _load_features(model: ChipNet, state: dict[str, Tensor], path: Path) -> None:
    wanted = {n: v for n, v in model.state_dict().items() if n.startswith("features.")}
    found = {_our_name(name): value for name, value in state.items()}
    missing = [name for name in wanted if name not in found]
    if missing:
        raise WeightsInvalid(
            f"{path} is of another network: it lacks {missing[0]} and {len(missing) - 1} more of "
            f"{len(wanted)} tensors"
        )
    extra = [n for n in found if n.startswith("features.") and n not in wanted]
    if extra:
        raise WeightsInvalid(f"{path} is of another network: it has {extra[0]}, which is not here")
    first = next(iter(wanted))
    if found[first].ndim == 4 and found[first].shape[1] == 3:
        found[first] = found[first].sum(dim=1, keepdim=True)
    for name, value in wanted.items():
        if found[name].shape != value.shape:
            raise WeightsInvalid(
                f"{path} is of another network: {name} is {tuple(found[name].shape)}, expected "
                f"{tuple(value.shape)} (another width?)"
            )
    model.load_state_dict({name: found[name] for name in wanted}, strict=False)


def _our_name(name: str) -> str:
    """torchvision's names of a ResNet's parts as ChipNet has them; its VGG's are the same."""
    part, _, rest = name.partition(".")
    return f"features.{_RESNET_PLACES[part]}.{rest}" if part in _RESNET_PLACES else name
