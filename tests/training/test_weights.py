"""Weights from files: ImageNet's on decibels, SAR-pretrained ones, checkpoints of all shapes."""

import pickle
from argparse import Namespace
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torchvision.models import resnet50, vgg16, vgg16_bn

from training.card.schema import FeaturesRecord
from training.config import RECIPE, ModelConfig, RunConfig
from training.errors import ConfigInvalid, WeightsInvalid, WeightsMissing
from training.export import to_onnx
from training.network.models import ChipNet, build, copy_state
from training.network.weight_files import read_weight_file
from training.network.weights import (
    load_features,
    read_features_record,
    read_weights,
    sar_file,
    save_features,
)
from training.retrain import initial_network

SPEC = RECIPE.input
RECORD = FeaturesRecord(source="other")
RESNET_FILE = "resnet50-11ad3fa6.pth"
# How a grey value 0..255 goes into the published networks, channel by channel: (v - mean) / scale.
Normalisation = tuple[tuple[float, ...], tuple[float, ...]]
VGG_GROUP: Normalisation = (123.68, 116.779, 103.939), (1.0, 1.0, 1.0)
TORCHVISION: Normalisation = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


def config(name: str, width: float = 1.0) -> RunConfig:
    model = ModelConfig.model_validate({"name": name, "width": width})
    return RunConfig(input=SPEC, model=model)


def load(model: ChipNet, which: str, like: RunConfig, folder: Path) -> None:
    load_features(model, read_weights(which, like, folder))


def tiny() -> ChipNet:
    return build(config("cnn", 0.25).model, 3)


def decibels(count: int = 2, size: int = 48) -> Tensor:
    """Chips as `prepare` makes them: over the whole range, up to the border."""
    share = torch.rand(count, 1, size, size, generator=torch.Generator().manual_seed(0))
    return (SPEC.db_min + share * (SPEC.db_max - SPEC.db_min)) / SPEC.db_scale


def colours(chips: Tensor, normalisation: Normalisation) -> Tensor:
    """The same chips as a colour network wants them: grey values, three times, normalised."""
    grey = 255 * (chips * SPEC.db_scale - SPEC.db_min) / (SPEC.db_max - SPEC.db_min)
    return torch.cat([(grey - m) / s for m, s in zip(*normalisation, strict=True)], dim=1)


def colour_network(name: str) -> tuple[nn.Module, dict[str, Tensor]]:
    """torchvision's features with random weights, and the state dict of the whole network."""
    torch.manual_seed(0)
    if name == "resnet50":
        net = resnet50(weights=None)
        return nn.Sequential(*list(net.children())[:-2]).eval(), net.state_dict()
    vgg = (vgg16 if name == "vgg16" else vgg16_bn)(weights=None, num_classes=2)
    state = {n: v for n, v in vgg.state_dict().items() if not n.startswith("classifier.0")}
    return vgg.features[:-1].eval(), state  # without the fifth pooling


@pytest.mark.parametrize(
    ("name", "file", "normalisation"),
    [
        ("vgg16", "vgg16_features-amdegroot-88682ab5.pth", VGG_GROUP),
        ("vgg16", "vgg16_imagenet_features.safetensors", VGG_GROUP),
        ("vgg16", "vgg16-397923af.pth", TORCHVISION),
        ("vgg16_bn", "vgg16_bn-6c64b313.pth", TORCHVISION),
        ("resnet50", RESNET_FILE, TORCHVISION),
        ("resnet50", "resnet50_imagenet_v2.safetensors", TORCHVISION),
    ],
)
@pytest.mark.slow
def test_imagenet_weights_see_in_decibels_what_the_colour_network_sees_borders_included(
    name: str, file: str, normalisation: Normalisation, tmp_path: Path
) -> None:
    features, state = colour_network(name)
    (torch.save if file.endswith(".pth") else save_file)(state, tmp_path / file)
    weights = read_weights("imagenet", config(name), tmp_path)
    model = initial_network(config(name), weights).cpu().eval()
    chips = decibels()
    with torch.inference_mode():
        expected = features(colours(chips, normalisation))
        found = model.features(torch.cat([chips, torch.ones_like(chips)], dim=1))
        embedding = model(chips).embedding
    largest = float(expected.abs().max())
    assert largest > 0
    assert torch.allclose(found, expected, atol=1e-4 * largest)
    assert torch.allclose(embedding, expected.mean(dim=(2, 3)), atol=1e-4 * largest)
    assert weights.record.source == "imagenet"
    assert weights.record.file == file


def test_an_adapted_network_is_exported_and_read_back_like_any_other(tmp_path: Path) -> None:
    small = config("vgg16", 0.05)
    torch.manual_seed(0)
    model = build(small.model, 3, planes=2).eval()
    save_features(model, tmp_path / "two.safetensors", RECORD, SPEC, ())
    weights = read_weights(str(tmp_path / "two.safetensors"), small, tmp_path)
    again = initial_network(small, weights).cpu()
    again.load_state_dict(copy_state(model))  # as a stage's or a cell's weights are
    chips = decibels(3, SPEC.size)
    session = ort.InferenceSession(to_onnx(again, SPEC).SerializeToString())
    (found,) = session.run(["logits"], {"chips": chips.numpy()})
    with torch.inference_mode():
        assert np.allclose(model(chips).logits.numpy(), found, atol=1e-4)


@pytest.mark.data
def test_the_published_vgg16_finds_on_a_grey_edge_what_torchvisions_finds(data: Path) -> None:
    whole = vgg16(weights=None, num_classes=2)
    published = load_file(data / "weights" / "vgg16_imagenet_features.safetensors")
    assert not whole.load_state_dict(published, strict=False).unexpected_keys
    weights = read_weights("imagenet", config("vgg16"), data / "weights")
    model = initial_network(config("vgg16"), weights).cpu().eval()
    edge = decibels(1, 64)
    edge[:, :, :, :32], edge[:, :, :, 32:] = SPEC.db_min / SPEC.db_scale, 1.0
    with torch.inference_mode():
        first = model.features[:1](torch.cat([edge, torch.ones_like(edge)], dim=1))
        expected = whole.features[:1](colours(edge, VGG_GROUP))
        deep = model(edge).embedding
        wanted = whole.eval().features[:-1](colours(edge, VGG_GROUP)).mean(dim=(2, 3))
    assert torch.allclose(first, expected, atol=1e-2)
    assert float((first[..., 31] - first[..., 8]).abs().max()) > 50  # some filter answers to edges
    assert torch.allclose(deep, wanted, rtol=1e-3, atol=1e-3)


def test_weights_without_the_count_of_batches_load(tmp_path: Path) -> None:
    path = tmp_path / "old.pth"
    state = copy_state(tiny())
    torch.save({n: v for n, v in state.items() if "num_batches_tracked" not in n}, path)
    model = tiny()
    load(model, str(path), config("cnn", 0.25), tmp_path)
    assert torch.equal(model.state_dict()["features.0.weight"], state["features.0.weight"])


@pytest.mark.parametrize("key", ["state_dict", "model", "model_state_dict", None])
@pytest.mark.parametrize("before", ["module.", "_orig_mod.module.", ""])
def test_common_shapes_of_a_checkpoint_load(key: str | None, before: str, tmp_path: Path) -> None:
    state = {f"{before}{name}": value for name, value in copy_state(tiny()).items()}
    content = {key: state, "epoch": 3, "optimizer": {"lr": 0.1}} if key else state
    torch.save(content, tmp_path / "checkpoint.pth")
    found = read_weight_file(tmp_path / "checkpoint.pth").tensors
    assert list(found) == list(copy_state(tiny()))
    load(tiny(), str(tmp_path / "checkpoint.pth"), config("cnn", 0.25), tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"weights": {"a": torch.zeros(1)}, "epoch": 3}, "keys weights, epoch, expected a state"),
        ({}, "an empty mapping, expected a state dict"),
        ([torch.zeros(1)], "holds a list, expected a state dict"),
        ({"state_dict": {}, "args": Namespace(lr=1)}, r"torch\.save\(network\.state_dict\(\)"),
        ({"encoder.conv1.weight": torch.zeros(1)}, "it has encoder.conv1.weight, .*; rename"),
    ],
)
def test_other_checkpoints_are_refused_with_the_remedy(
    content: object, message: str, tmp_path: Path
) -> None:
    torch.save(content, tmp_path / "odd.pth")
    with pytest.raises(WeightsInvalid, match=message):
        load(tiny(), str(tmp_path / "odd.pth"), config("cnn", 0.25), tmp_path)


def test_colour_weights_of_unknown_normalisation_are_refused_with_the_names_to_give(
    tmp_path: Path,
) -> None:
    torch.save(colour_network("resnet50")[1], tmp_path / "mine.pth")
    with pytest.raises(WeightsInvalid, match=r"how its input was .* resnet50_imagenet_v2"):
        read_weights(str(tmp_path / "mine.pth"), config("resnet50"), tmp_path)


def test_sar_features_come_back_as_they_were_saved_and_the_head_stays(tmp_path: Path) -> None:
    small = config("vgg16_bn", 0.05)
    trained, fresh = build(small.model, 10), build(small.model, 3)
    head = fresh.head.weight.clone()
    save_features(trained, sar_file(small.model, tmp_path), RECORD, SPEC, ())
    load(fresh, "sar", small, tmp_path)
    expected = {n: v for n, v in copy_state(trained).items() if n.startswith("features.")}
    for name, value in expected.items():
        assert torch.equal(fresh.state_dict()[name], value), name
    assert torch.equal(fresh.head.weight, head)
    assert read_features_record(sar_file(small.model, tmp_path)) == RECORD


def test_missing_sar_weights_name_the_command_that_makes_them(tmp_path: Path) -> None:
    with pytest.raises(WeightsMissing, match=r"training\.run pretrain CHIPS --model cnn"):
        read_weights("sar", config("cnn", 0.25), tmp_path)


def test_missing_imagenet_weights_name_the_file_to_fetch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", unreachable)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "cache"))
    with pytest.raises(WeightsMissing, match=f"{RESNET_FILE} is not in .* put it into"):
        read_weights("imagenet", config("resnet50"), tmp_path)


@pytest.mark.parametrize(
    ("name", "width", "message"),
    [("cnn", 1.0, "no ImageNet weights of a cnn"), ("vgg16", 0.5, "need width 1.0, found 0.5")],
)
def test_imagenet_weights_that_cannot_be_are_refused(
    name: str, width: float, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigInvalid, match=message):
        read_weights("imagenet", config(name, width), tmp_path)


def test_weights_of_another_network_say_what_differs(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_features(build(config("cnn", 0.5).model, 3), path, RECORD, SPEC, ())
    with pytest.raises(WeightsInvalid, match=r"features\.0\.weight is .*another width\?"):
        load(tiny(), str(path), config("cnn", 0.25), tmp_path)
    state = {name: value.contiguous() for name, value in copy_state(tiny()).items()}
    save_file(state | {"features.99.weight": torch.zeros(1)}, path)
    with pytest.raises(WeightsInvalid, match=r"of another network: it has features\.99\.weight"):
        load(tiny(), str(path), config("cnn", 0.25), tmp_path)
    save_features(build(config("vgg16_bn", 0.05).model, 3), path, RECORD, SPEC, ())
    with pytest.raises(WeightsInvalid, match=r"of another network: it lacks features\."):
        load(tiny(), str(path), config("cnn", 0.25), tmp_path)


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
        with pytest.raises(WeightsInvalid, match="expected safetensors"):
            read_weight_file(path)
    assert not marker.exists()


@pytest.mark.parametrize(
    "name", ["cut.safetensors", "cut.pth", "half.pth", "text.pth", "empty.safetensors"]
)
def test_damaged_weights_are_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if name == "cut.safetensors":
        save_features(tiny(), path, RECORD, SPEC, ())
        path.write_bytes(path.read_bytes()[:-50])
    elif name in ("cut.pth", "half.pth"):
        torch.save(tiny().state_dict(), path)
        whole = path.read_bytes()
        path.write_bytes(whole[:-50] if name == "cut.pth" else whole[: len(whole) // 2])
    else:
        path.write_bytes(b"no weights" if name == "text.pth" else b"")
    with pytest.raises(WeightsInvalid, match="is not a file of weights"):
        read_weight_file(path)
