"""The networks: features, then a global-average-pool head, which gives activation maps."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torchvision.models.vgg import make_layers

from training.config import ModelConfig

# Simonyan & Zisserman 2015, configuration D. Their fifth pooling is left out: the head averages
# what is there, and the activation map keeps twice the resolution.
_VGG16: list[int | str] = [64, 64, "M", 128, 128, "M", 256, 256, 256, "M"]
_VGG16 += [512, 512, 512, "M", 512, 512, 512]


class Forward(NamedTuple):
    """logits (N, K), embedding (N, D), activation_map (N, K, h, w)."""

    logits: Tensor
    embedding: Tensor
    activation_map: Tensor


class ChipNet(nn.Module):
    """Features (N, D, h, w) -> average -> dropout -> linear.

    The activation map is the head applied at each place before averaging, so that its mean over
    the places is the logit (Zhou et al. 2016).
    """

    def __init__(self, features: nn.Module, width: int, classes: int, dropout: float) -> None:
        super().__init__()
        self.features = features
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, classes)

    def forward(self, chips: Tensor) -> Forward:
        """chips float32 (N, 1, S, S)."""
        features = self.features(chips)
        embedding = features.mean(dim=(2, 3))
        logits = self.head(self.dropout(embedding))
        weight = self.head.weight[:, :, None, None]
        activation_map = nn.functional.conv2d(features, weight, self.head.bias)
        return Forward(logits, embedding, activation_map)

    def replace_head(self, classes: int) -> None:
        """A new, untrained head for other classes; the features stay."""
        self.head = nn.Linear(self.head.in_features, classes).to(self.head.weight.device)


def build(config: ModelConfig, classes: int) -> ChipNet:
    """An untrained network of the config's name."""
    layers = [c if isinstance(c, str) else max(8, round(c * config.width)) for c in _VGG16]
    features = make_layers(layers, batch_norm=True)
    features[0] = nn.Conv2d(1, int(layers[0]), kernel_size=3, padding=1)
    for module in features.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            assert module.bias is not None
            nn.init.zeros_(module.bias)
    return ChipNet(features, int(layers[-1]), classes, config.dropout)


def copy_state(model: nn.Module) -> dict[str, Tensor]:
    """The model's weights and buffers, detached from it."""
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def device_of_choice() -> torch.device:
    """A CUDA GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
