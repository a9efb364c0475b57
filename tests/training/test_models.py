"""The networks: layers as published, heads alike, several of them together, maps on the ship."""

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torchvision.models import VGG, vgg16, vgg16_bn

from training.config import DEFAULT_INPUT, NETWORKS, RECIPE, ModelConfig, NetworkName
from training.network.models import Ensemble, ExportedNet, build

WIDTHS = {"cnn": 0.25, "vgg16": 0.125, "vgg16_bn": 0.125, "resnet50": 1.0}


def config(name: str, width: float = 1.0) -> ModelConfig:
    return ModelConfig.model_validate({"name": name, "width": width})


@pytest.mark.parametrize("planes", [1, 2])
@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_ends_in_pooling_dropout_and_a_linear_layer(
    name: NetworkName, planes: int
) -> None:
    torch.manual_seed(0)
    model = build(config(name, WIDTHS[name]), 3, planes).eval()
    assert model.planes == planes
    out = model(torch.randn(2, 1, 64, 64))
    assert out.logits.shape == (2, 3)
    assert torch.allclose(model.head(out.embedding), out.logits, atol=1e-5)
    assert torch.allclose(out.activation_map.mean(dim=(2, 3)), out.logits, atol=1e-4)


@pytest.mark.parametrize(("name", "published"), [("vgg16", vgg16), ("vgg16_bn", vgg16_bn)])
def test_a_vgg16_has_the_layers_of_torchvisions_but_for_the_first_and_the_last_pooling(
    name: str, published: Callable[..., VGG]
) -> None:
    with torch.device("meta"):
        ours, theirs = build(config(name), 3).features, published(weights=None).features
    kinds = [[type(layer) for layer in layers] for layers in (ours, list(theirs)[:-1])]
    assert kinds[0] == kinds[1]
    shapes = [
        {n: v.shape for n, v in m.state_dict().items() if n != "0.weight"} for m in (ours, theirs)
    ]
    assert shapes[0] == shapes[1]


def test_the_recipe_takes_the_features_of_the_published_vgg16() -> None:
    model = build(RECIPE.model, 3, planes=2)
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in model.features)
    assert (RECIPE.model.name, RECIPE.model.width) == ("vgg16", 1.0)
    assert RECIPE.takes_features


def test_a_resnet_has_no_other_width() -> None:
    with pytest.raises(ValueError, match=r"a resnet50 has width 1\.0, found 0\.5"):
        config("resnet50", 0.5)


def test_an_ensemble_is_the_mean_of_its_members_on_mirror_images() -> None:
    torch.manual_seed(0)
    members = [build(config("cnn", 0.25), 3).eval() for _ in range(3)]
    chips = torch.randn(2, 1, 64, 64)
    seen = (chips, chips.flip(3), chips.flip(2))
    said = [member(view) for member, view in zip(members, seen, strict=True)]
    out = Ensemble(members)(chips)
    mean = torch.stack([answer.logits for answer in said]).mean(0)
    assert torch.allclose(out.logits, torch.log_softmax(mean, 1), atol=1e-5)
    assert out.embedding.shape == (2, 3 * said[0].embedding.shape[1])
    maps = [said[0].activation_map, said[1].activation_map.flip(3), said[2].activation_map.flip(2)]
    assert torch.allclose(out.activation_map, torch.stack(maps).mean(0), atol=1e-5)


def test_experts_answer_at_their_share() -> None:
    class Known(nn.Module):
        def forward(self, chips: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return torch.tensor([[0.0, -1.0, -9.0]]).repeat(len(chips), 1), chips[:, 0, 0]

    torch.manual_seed(0)
    member, chips = build(config("cnn", 0.25), 3).eval(), torch.randn(2, 1, 64, 64)
    alone = torch.log_softmax(member(chips).logits, 1)
    out = Ensemble([member], Known(), share=0.75)(chips)
    expected = 0.75 * torch.tensor([0.0, -1.0, -9.0]) + 0.25 * alone
    assert torch.allclose(out.logits, expected, atol=1e-5)
    assert torch.equal(out.embedding, chips[:, 0, 0])


def test_an_exported_map_is_bright_where_the_ship_is_and_nothing_else() -> None:
    torch.manual_seed(0)
    chips = torch.zeros(1, 1, 64, 64)
    chips[:, :, 20:44, 30:34] = 1.2  # 24 dB above clutter
    chips[:, :, 2, 2] = 0.4  # 8 dB: not bright enough to be a ship
    shown = ExportedNet(build(config("cnn", 0.25), 3).eval(), DEFAULT_INPUT)(chips).activation_map
    assert shown.shape == (1, 3, 64, 64)
    assert (shown[:, :, 20:44, 30:34] > 0).all()
    shown[:, :, 20:44, 30:34] = 0
    assert (shown == 0).all()
