"""Published ImageNet weights: their files, and the input normalisation they were trained with.

A network trained on photographs takes RGB, normalised by channel and then padded with zeros. `fold`
turns its first layer into an equivalent one that takes our chips.
"""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

import torch
from torch import Tensor
from torchvision.models import ResNet50_Weights, VGG16_BN_Weights, VGG16_Weights, WeightsEnum

from shipchip.card import InputSpec
from training.config import ModelConfig
from training.errors import ConfigInvalid, WeightsMissing

_ENDINGS = (".safetensors", ".pth")
# What the Visual Geometry Group subtracted in training; torchvision rounds it to whole numbers.
_VGG_MEANS = (123.68, 116.779, 103.939)


@dataclass(frozen=True)
class PublishedWeights:
    """Weights of one network trained on ImageNet.

    name         another name of their file, besides torchvision's
    weights      torchvision's
    means, scales  of grey values 0..255 by channel: a value v goes in as (v - mean) / scale
    origin       their authors and licence, for the card
    """

    name: str
    weights: WeightsEnum
    means: tuple[float, ...]
    scales: tuple[float, ...]
    origin: str

    @property
    def file(self) -> str:
        """torchvision's name of the file."""
        return PurePosixPath(urlsplit(self.weights.url).path).name

    @property
    def files(self) -> list[str]:
        """Every name that a file of these weights may have; it determines the normalisation."""
        return [stem + e for stem in (self.name, Path(self.file).stem) for e in _ENDINGS]


def _torchvision(name: str, weights: WeightsEnum) -> PublishedWeights:
    """Weights that torchvision trained, on channels normalised as its transforms say."""
    transforms = weights.transforms()
    means, scales = (tuple(255 * v for v in values) for values in (transforms.mean, transforms.std))
    return PublishedWeights(name, weights, means, scales, "torchvision (BSD 3-Clause)")


# Of each network, in order of preference; the first one is fetched if none is found.
PUBLISHED: dict[str, tuple[PublishedWeights, ...]] = {
    "vgg16": (
        PublishedWeights(
            "vgg16_imagenet_features",
            VGG16_Weights.IMAGENET1K_FEATURES,
            _VGG_MEANS,
            (1.0, 1.0, 1.0),
            "Simonyan & Zisserman 2015, Visual Geometry Group (CC BY 4.0)",
        ),
        _torchvision("vgg16_imagenet_v1", VGG16_Weights.IMAGENET1K_V1),
    ),
    "vgg16_bn": (_torchvision("vgg16_bn_imagenet_v1", VGG16_BN_Weights.IMAGENET1K_V1),),
    "resnet50": (_torchvision("resnet50_imagenet_v2", ResNet50_Weights.IMAGENET1K_V2),),
}


def published_as(file: str) -> PublishedWeights | None:
    """The weights that a file of this name holds."""
    every = (one for kind in PUBLISHED.values() for one in kind)
    return next((one for one in every if file in one.files), None)


def find(config: ModelConfig, folder: Path) -> Path:
    """The file of ImageNet's weights: in `folder`, in torch's own cache, or fetched into that.

    Raises ConfigInvalid if there are none of such a network, WeightsMissing if they cannot
    be had.
    """
    if config.name not in PUBLISHED:
        raise ConfigInvalid(
            f"there are no ImageNet weights of a {config.name}; only of {', '.join(PUBLISHED)}"
        )
    if config.width != 1:
        raise ConfigInvalid(
            f"ImageNet weights need width 1.0, found {config.width:g}; set the width to 1.0, or "
            "pretrain on SAR chips: --pretrained sar"
        )
    choices = PUBLISHED[config.name]
    cache = Path(torch.hub.get_dir()) / "checkpoints"
    for place in (folder, cache):
        for path in (place / file for one in choices for file in one.files):
            if path.is_file():
                return path
    return _fetch(choices, folder, cache)


def _fetch(choices: tuple[PublishedWeights, ...], folder: Path, cache: Path) -> Path:
    first = choices[0]
    path = cache / first.file
    try:
        cache.mkdir(parents=True, exist_ok=True)
        checksum = path.stem.rpartition("-")[2]
        torch.hub.download_url_to_file(
            first.weights.url, str(path), hash_prefix=checksum, progress=False
        )
    except (OSError, RuntimeError) as error:
        names = ", ".join(file for one in choices for file in one.files)
        raise WeightsMissing(
            f"{first.file} is not in {folder} and cannot be fetched ({error}); fetch "
            f"{first.weights.url} elsewhere and put it into {folder} (names that are read: "
            f"{names}), or pretrain on SAR chips: --pretrained sar"
        ) from error
    return path


def fold(weight: Tensor, published: PublishedWeights, spec: InputSpec) -> Tensor:
    """The first layer (C, 3, h, w) of a colour network as one (C, 2, h, w) for chips and ones.

    A chip's decibels, `db_min` to `db_max`, are grey values 0 to 255, alike in all three channels:
    v = slope * chip + base. Then the sum over channels of w * (v - mean) / scale is
    (slope * sum of w / scale) * chip + (sum of w * (base - mean) / scale) * 1. Both planes are
    padded with zeros as the normalised channels are, so it holds at the border too, which it would
    not with a bias in place of the plane of ones.
    """
    slope = 255 * spec.db_scale / (spec.db_max - spec.db_min)
    base = 255 * -spec.db_min / (spec.db_max - spec.db_min)
    means, scales = (
        torch.tensor(values, dtype=torch.float64)[None, :, None, None]
        for values in (published.means, published.scales)
    )
    scaled = weight.double() / scales
    planes = slope * scaled.sum(1), (scaled * (base - means)).sum(1)
    return torch.stack(planes, dim=1).to(weight.dtype)
