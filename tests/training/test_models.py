"""The five networks: heads alike, one input channel, and weights that come from a file."""

import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision.models import resnet50
from torchvision.models.vgg import make_layers

from training.config import DEFAULT_INPUT, ModelConfig
from training.errors import ConfigInvalid, WeightsInvalid, WeightsMissing
from training.models import ChipNet, Ensemble, Explained, build, copy_state
from training.weights import load_pretrained, read_record, read_state, sar_file, save_features

VGG_FILE, RESNET_FILE = "vgg16_bn-6c64b313.pth", "resnet50-11ad3fa6.pth"


def config(name: str, width: float = 1.0) -> ModelConfig:
    return ModelConfig.model_validate({"name": name, "width": width})


@pytest.mark.parametrize(("name", "width"), [("cnn", 0.25), ("vgg16", 0.125), ("resnet50", 1.0)])
def test_every_network_ends_in_pooling_dropout_and_a_linear_layer(name: str, width: float) -> None:
    torch.manual_seed(0)
    model = build(config(name, width), 3).eval()
    out = model(torch.randn(2, 1, 64, 64))
    assert out.logits.shape == (2, 3)
    assert torch.allclose(model.head(out.embedding), out.logits, atol=1e-5)
    assert torch.allclose(out.activation_map.mean(dim=(2, 3)), out.logits, atol=1e-4)


def test_a_resnet_has_no_other_width() -> None:
    with pytest.raises(ValueError, match=r"a resnet50 has width 1\.0, found 0\.5"):
        config("resnet50", 0.5)


@pytest.mark.parametrize("name", ["vgg16", "resnet50"])
def test_imagenet_weights_give_on_grey_what_the_rgb_network_gives(
    name: str, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    rgb, path = rgb_network(name, tmp_path)
    model = build(config(name), 3)
    load_pretrained(model, config(name), "imagenet", tmp_path)
    grey = torch.randn(2, 1, 64, 64)
    with torch.inference_mode():
        expected = rgb.eval()(grey.expand(2, 3, 64, 64))
        found = model.eval().features(grey)
    assert torch.allclose(found.mean(dim=(2, 3)), expected.mean(dim=(2, 3)), atol=1e-3), path


def rgb_network(name: str, folder: Path) -> tuple[torch.nn.Module, Path]:
    """An RGB feature network with random weights, and its file named as torchvision's."""
    if name == "vgg16":
        plan = [64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512]
        features = make_layers(plan, batch_norm=True)
        state = {f"features.{n}": v for n, v in features.state_dict().items()}
        state["classifier.0.weight"] = torch.zeros(4, 4)
        torch.save(state, folder / VGG_FILE)
        return features, folder / VGG_FILE
    net = resnet50(weights=None)
    torch.save(net.state_dict(), folder / RESNET_FILE)
    return torch.nn.Sequential(*list(net.children())[:-2]), folder / RESNET_FILE


def test_sar_features_come_back_as_they_were_saved_and_the_head_stays(tmp_path: Path) -> None:
    small = config("vgg16", 0.05)
    learnt, fresh = build(small, 10), build(small, 3)
    head = fresh.head.weight.clone()
    save_features(learnt, sar_file(small, tmp_path), {"source": "other"})
    load_pretrained(fresh, small, "sar", tmp_path)
    expected = {n: v for n, v in copy_state(learnt).items() if n.startswith("features.")}
    for name, value in expected.items():
        assert torch.equal(fresh.state_dict()[name], value), name
    assert torch.equal(fresh.head.weight, head)
    assert read_record(sar_file(small, tmp_path)) == {"source": "other"}


def test_missing_sar_weights_name_the_command_that_makes_them(tmp_path: Path) -> None:
    with pytest.raises(WeightsMissing, match=r"training\.run pretrain CHIPS --model cnn"):
        load_pretrained(tiny(), config("cnn", 0.25), "sar", tmp_path)


def test_missing_imagenet_weights_name_the_file_to_fetch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", unreachable)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "cache"))
    with pytest.raises(WeightsMissing, match=f"{RESNET_FILE} is not in .* put it into"):
        load_pretrained(build(config("resnet50"), 3), config("resnet50"), "imagenet", tmp_path)


@pytest.mark.parametrize(
    ("name", "width", "told"),
    [("cnn", 1.0, "no ImageNet weights of a cnn"), ("vgg16", 0.5, "need width 1.0, found 0.5")],
)
def test_imagenet_weights_that_cannot_be_are_refused(
    name: str, width: float, told: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigInvalid, match=told):
        load_pretrained(tiny(), config(name, width), "imagenet", tmp_path)


def test_weights_of_another_network_say_what_differs(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_features(build(config("cnn", 0.5), 3), path, {})
    with pytest.raises(WeightsInvalid, match=r"features\.0\.weight is .*another width\?"):
        load_pretrained(tiny(), config("cnn", 0.25), str(path), tmp_path)
    state = {name: value.contiguous() for name, value in copy_state(tiny()).items()}
    save_file(state | {"features.99.weight": torch.zeros(1)}, path)
    with pytest.raises(WeightsInvalid, match=r"of another network: it has features\.99\.weight"):
        load_pretrained(tiny(), config("cnn", 0.25), str(path), tmp_path)
    save_features(build(config("vgg16", 0.05), 3), path, {})
    with pytest.raises(WeightsInvalid, match=r"of another network: it lacks features\."):
        load_pretrained(tiny(), config("cnn", 0.25), str(path), tmp_path)


def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path) -> None:
    marker = tmp_path / "ran"

    class Touches:
        def __reduce__(self) -> tuple[object, tuple[Path]]:
            return Path.touch, (marker,)

    for path in (tmp_path / "a.pth", tmp_path / "b.pth"):
        with path.open("wb") as file:
            if path.name == "a.pth":
                torch.save({"features.0.weight": Touches()}, file)
            else:
                pickle.dump(Touches(), file, protocol=2)
        with pytest.raises(WeightsInvalid, match="expected safetensors, or a state dict"):
            read_state(path)
    assert not marker.exists()


@pytest.mark.parametrize(
    "name", ["cut.safetensors", "cut.pth", "half.pth", "text.pth", "empty.safetensors"]
)
def test_damaged_weights_are_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if name == "cut.safetensors":
        save_features(tiny(), path, {})
        path.write_bytes(path.read_bytes()[:-50])
    elif name in ("cut.pth", "half.pth"):
        torch.save(tiny().state_dict(), path)
        whole = path.read_bytes()
        path.write_bytes(whole[:-50] if name == "cut.pth" else whole[: len(whole) // 2])
    else:
        path.write_bytes(b"no weights" if name == "text.pth" else b"")
    with pytest.raises(WeightsInvalid, match="is not a file of weights"):
        read_state(path)


def tiny() -> ChipNet:
    return build(config("cnn", 0.25), 3)


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
    shown = Explained(build(config("cnn", 0.25), 3).eval(), DEFAULT_INPUT)(chips).activation_map
    assert shown.shape == (1, 3, 64, 64)
    assert (shown[:, :, 20:44, 30:34] > 0).all()
    shown[:, :, 20:44, 30:34] = 0
    assert (shown == 0).all()
