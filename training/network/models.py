"""The networks: features, then a global-average-pool head, which gives activation maps."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import resnet50
from torchvision.models.vgg import make_layers

from shipchip.card import InputSpec
from training.config import ModelConfig

# Simonyan & Zisserman 2015, configuration D. Their fifth pooling is left out: the head averages
# what is there, and the activation map keeps twice the resolution.
_VGG16: list[int | str] = [64, 64, "M", 128, 128, "M", 256, 256, 256, "M"]
_VGG16 += [512, 512, 512, "M", 512, 512, 512]
_CNN: list[int | str] = [32, "M", 64, "M", 128, "M", 256]


class Forward(NamedTuple):
    """logits (N, K), embedding (N, D), activation_map (N, K, h, w)."""

    logits: Tensor
    embedding: Tensor
    activation_map: Tensor


class ChipNet(nn.Module):
    """Features (N, D, h, w) -> average -> dropout -> linear.

    The first layer takes the chip alone, or the chip and a plane of ones. With the ones it can
    subtract what a colour network subtracts from each channel before the channels are padded with
    zeros, so it gives that network's features at the border too (see network.imagenet.fold).

    The activation map is the head applied at each place before averaging, so that its mean over
    the places is the logit (Zhou et al. 2016).
    """

    def __init__(self, features: nn.Sequential, width: int, classes: int, dropout: float) -> None:
        super().__init__()
        self.features = features
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, classes)

    def forward(self, chips: Tensor) -> Forward:
        """chips float32 (N, 1, S, S)."""
        planes = chips if self.planes == 1 else torch.cat([chips, torch.ones_like(chips)], dim=1)
        features = self.features(planes)
        embedding = features.mean(dim=(2, 3))
        logits = self.head(self.dropout(embedding))
        weight = self.head.weight[:, :, None, None]
        activation_map = functional.conv2d(features, weight, self.head.bias)
        return Forward(logits, embedding, activation_map)

    @property
    def planes(self) -> int:
        """What the first layer takes: 1, the chip alone; 2, the chip and ones."""
        first = self.features[0]
        assert isinstance(first, nn.Conv2d)
        return first.in_channels

    def blocks(self) -> list[list[nn.Module]]:
        """The features from the top down, in the pieces that gradual unfreezing thaws in turn.

        A piece ends at a pooling, or is one of a ResNet's four layers.
        """
        pieces: list[list[nn.Module]] = [[]]
        for module in self.features:
            pieces[-1].append(module)
            if isinstance(module, nn.MaxPool2d | nn.Sequential):
                pieces.append([])
        return [
            piece for piece in reversed(pieces) if any(True for m in piece for _ in m.parameters())
        ]


class PooledNet(ChipNet):
    """A VGG16 whose head sees the averages of several blocks, in standard deviations.

    `mean` and `deviation` (D,) of the averages are buffers, set by `standardise`. The activation
    map has the places of the last block; an earlier block's are averaged to them, so that its mean
    over the places is the logit, as ChipNet's is.
    """

    def __init__(
        self, features: nn.Sequential, widths: Sequence[int], classes: int, dropout: float
    ) -> None:
        super().__init__(features, sum(widths), classes, dropout)
        self.widths = tuple(widths)
        self.mean: Tensor
        self.deviation: Tensor
        self.register_buffer("mean", torch.zeros(sum(widths)))
        self.register_buffer("deviation", torch.ones(sum(widths)))

    def forward(self, chips: Tensor) -> Forward:
        """chips float32 (N, 1, S, S)."""
        pooled = self.pooled_blocks(chips)
        embedding = self.standard(torch.cat([block.mean(dim=(2, 3)) for block in pooled], 1))
        logits = self.head(self.dropout(embedding))
        weight = (self.head.weight / self.deviation)[:, :, None, None]
        bias = self.head.bias - self.head.weight @ (self.mean / self.deviation)
        places = (pooled[-1].shape[2], pooled[-1].shape[3])
        parts = [
            functional.adaptive_avg_pool2d(functional.conv2d(block, part), places)
            for block, part in zip(pooled, torch.split(weight, list(self.widths), 1), strict=True)
        ]
        activation_map = torch.stack(parts).sum(0) + bias[:, None, None]
        return Forward(logits, embedding, activation_map)

    def pooled_blocks(self, chips: Tensor) -> list[Tensor]:
        """The pooled blocks' maps (N, D_b, h_b, w_b), lowest first."""
        maps = chips if self.planes == 1 else torch.cat([chips, torch.ones_like(chips)], dim=1)
        blocks = []
        for module in self.features:
            if isinstance(module, nn.MaxPool2d):
                blocks.append(maps)
            maps = module(maps)
        return [*blocks, maps][-len(self.widths) :]

    def pooled(self, chips: Tensor) -> Tensor:
        """The averages (N, D) of the pooled blocks, as they are."""
        return torch.cat([block.mean(dim=(2, 3)) for block in self.pooled_blocks(chips)], 1)

    def standard(self, pooled: Tensor) -> Tensor:
        """Averages (..., D) in standard deviations: the embedding."""
        return (pooled - self.mean) / self.deviation

    def standardise(self, pooled: Tensor) -> None:
        """Set mean and deviation from averages (M, D) of training chips."""
        deviation = pooled.std(0)
        self.mean.copy_(pooled.mean(0))
        # Channels that hardly ever answer must not be blown up.
        self.deviation.copy_(deviation + 0.1 * deviation.mean() + 1e-6)


# What a member of an ensemble sees: the chip, or its mirror image along these axes.
_MIRRORS: tuple[tuple[int, ...], ...] = ((), (3,), (2,), (2, 3))


class Ensemble(nn.Module):
    """Networks of one kind, each on another mirror image of the chip, and optionally experts on
    measurements (training.network.experts).

    experts  (N, 1, S, S) -> log-probabilities (N, K) and an embedding (N, P)
    share    weight of the experts' log-probabilities against the networks'
    seen     (D, Q), what of the networks' embeddings (N, D) stands beside the experts', if any

    Logits are weighted means of log-probabilities, maps the networks' means. The embedding is the
    experts' and `seen` of the networks', or that of all networks side by side if there are none.
    """

    def __init__(
        self,
        members: Sequence[ChipNet],
        experts: nn.Module | None = None,
        share: float = 0.0,
        seen: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.experts, self.share = experts, share
        self.seen: Tensor | None
        self.register_buffer("seen", seen)

    def forward(self, chips: Tensor) -> Forward:
        """chips float32 (N, 1, S, S)."""
        answers = []
        for number, member in enumerate(self.members):
            axes = _MIRRORS[number % len(_MIRRORS)]
            logits, embedding, maps = member(torch.flip(chips, axes) if axes else chips)
            answers.append(Forward(logits, embedding, torch.flip(maps, axes) if axes else maps))
        logits = torch.log_softmax(torch.stack([a.logits for a in answers]).mean(0), 1)
        embedding = torch.cat([answer.embedding for answer in answers], 1)
        maps = torch.stack([answer.activation_map for answer in answers]).mean(0)
        if self.experts is not None:
            said, measured = self.experts(chips)
            embedding = self.beside(measured, embedding)
            logits = self.share * said + (1 - self.share) * logits
        return Forward(logits, embedding, maps)

    def beside(self, measured: Tensor, embedding: Tensor) -> Tensor:
        """The ensemble's embedding from the experts' (N, P) and the networks' (N, D)."""
        return measured if self.seen is None else torch.cat([measured, embedding @ self.seen], 1)


Network = ChipNet | Ensemble

_SHIP_DB = 10.0  # above clutter; dimmer pixels are hardly the ship


class ExportedNet(nn.Module):
    """A network as it is exported: its maps show where on the ship the evidence for a class lies.

    The cells of a class activation map are as large as a ship and overlap: on simulated ships the
    map was on the sea as much as on the ship. So it is enlarged to the chip's size, taken relative
    to the other classes, and multiplied at each place by the backscatter above _SHIP_DB. The maps
    are (N, K, S, S), not negative.

    size  embedding (N, D) -> length and width (N, 2) in metres; a fourth output if there is one
    """

    def __init__(self, network: Network, spec: InputSpec, size: nn.Module | None = None) -> None:
        super().__init__()
        self.network, self.level, self.side = network, _SHIP_DB / spec.db_scale, spec.size
        self.size = size

    def forward(self, chips: Tensor) -> tuple[Tensor, ...]:
        """chips float32 (N, 1, S, S) -> logits, embedding, activation_map, and the size if any."""
        logits, embedding, maps = self.network(chips)
        evidence = functional.interpolate(
            maps - maps.mean(1, keepdim=True), (self.side, self.side), mode="bilinear"
        )
        seen = functional.softplus(evidence) * torch.relu(chips - self.level)
        given = Forward(logits, embedding, seen)
        return given if self.size is None else (*given, self.size(embedding))


def build(config: ModelConfig, classes: int, planes: int = 1) -> ChipNet:
    """An untrained network of the config's name, its weights laid out channels last.

    planes  what its first layer takes, see ChipNet
    """
    net = _resnet50 if config.name == "resnet50" else _plain
    # The inputs are channels last too: 1.5 times as fast on a CPU, and needed for tensor cores.
    return net(config, classes, planes).to(memory_format=torch.channels_last)


def _plain(config: ModelConfig, classes: int, planes: int) -> ChipNet:
    """VGG16, with batch normalisation or without, and the small CNN, which has it."""
    plan = _CNN if config.name == "cnn" else _VGG16
    if config.pooled:
        plan = _blocks_up_to(config.pooled[-1])
    layers = [c if isinstance(c, str) else max(8, round(c * config.width)) for c in plan]
    features = make_layers(layers, batch_norm=config.name != "vgg16")
    features[0] = nn.Conv2d(planes, int(layers[0]), kernel_size=3, padding=1)
    _initialise(features)
    if config.pooled:
        ends = [int(_blocks_up_to(block)[-1]) for block in config.pooled]
        widths = [max(8, round(c * config.width)) for c in ends]
        return PooledNet(features, widths, classes, config.dropout)
    return ChipNet(features, int(layers[-1]), classes, config.dropout)


def _blocks_up_to(block: int) -> list[int | str]:
    """The layers of VGG16 up to a block, without the pooling that follows it."""
    poolings = [place for place, layer in enumerate(_VGG16) if layer == "M"]
    return _VGG16[: [*poolings, len(_VGG16)][block - 1]]


def _resnet50(config: ModelConfig, classes: int, planes: int) -> ChipNet:
    """He et al. 2016 as torchvision has it, without its head."""
    net = resnet50(weights=None)
    net.conv1 = nn.Conv2d(planes, 64, kernel_size=7, stride=2, padding=3, bias=False)
    nn.init.kaiming_normal_(net.conv1.weight, mode="fan_out", nonlinearity="relu")
    stem: Sequence[nn.Module] = (net.conv1, net.bn1, net.relu, net.maxpool)
    features = nn.Sequential(*stem, net.layer1, net.layer2, net.layer3, net.layer4)
    return ChipNet(features, net.fc.in_features, classes, config.dropout)


def _initialise(features: nn.Module) -> None:
    for module in features.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            assert module.bias is not None
            nn.init.zeros_(module.bias)


def copy_state(model: nn.Module) -> dict[str, Tensor]:
    """The model's weights and buffers, detached from it."""
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def device_of_choice() -> torch.device:
    """A CUDA GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
