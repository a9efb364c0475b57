"""An int8 file's card has figures of that file: exported, evaluated, promoted."""

from pathlib import Path

import pytest
from rich.console import Console

from shipchip import ModelCard, ShipClassifier
from tests.tiny_model import CLASSES, draw_chip, tiny_card
from tests.training.archives import write_folder
from tests.training.test_evaluate import other_chips
from tests.training.test_figures import npy
from tests.training.test_quantise import network, training_record, write
from training import run
from training.card.record import dataset_of_card, figures_of_card
from training.data.dataset import Workspace
from training.data.discover import discover
from training.evaluation.evaluate import card_differs
from training.evaluation.final_test import measure_file
from training.export import write_card

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    chips = {
        f"{label}/{n}.npy": npy(draw_chip(label, seed=100 * k + n))
        for k, label in enumerate(CLASSES)
        for n in range(15)
    }
    return write_folder(tmp_path_factory.mktemp("data") / "own", chips)


@pytest.fixture(scope="module")
def fp32(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained file whose card has its figures, as a run leaves it."""
    folder = tmp_path_factory.mktemp("fp32")
    record = training_record(data) | {
        "git_commit": "c" * 40,
        "seed": 5,
        "protocol": "once",
        "pretraining": None,
    }
    card = tiny_card(training=record)
    _, _, sides = dataset_of_card(card, discover([data]), Workspace(folder, Console(quiet=True)))
    path = write(network(train=sides.train), folder / "ship.onnx", sides.train, training=record)
    ships = ShipClassifier(path, device="cpu")
    metrics = measure_file(ships, sides.test, None, seed=5)
    write_card(ships.card.model_copy(update={"metrics": metrics.plain()}), path)
    return path


@pytest.fixture(scope="module")
def int8(fp32: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `export --int8` makes of it, in a run folder of its own."""
    out = tmp_path_factory.mktemp("int8") / "ship.onnx"
    assert command("export", fp32, data, "--int8", "--out", str(out)) == 0
    return out


@pytest.fixture
def of_an_earlier_version(fp32: Path, int8: Path, tmp_path: Path) -> Path:
    """An int8 file that kept the figures of the fp32 file."""
    card = card_of(int8)
    record = {k: v for k, v in card.training["quantisation"].items() if k != "metrics"}
    older = {
        "metrics": card_of(fp32).metrics,
        "training": card.training | {"quantisation": record},
    }
    path = tmp_path / "ship.onnx"
    path.write_bytes(int8.read_bytes())
    write_card(card.model_copy(update=older), path)
    return path


def card_of(path: Path) -> ModelCard:
    return ShipClassifier(path, device="cpu").card


def command(name: str, model: Path, data: Path, *words: str) -> int:
    runs = str(model.parent / "runs")
    return run.main([name, str(model), "--data", str(data), "--runs", runs, *words])


def test_the_figures_are_not_those_of_the_fp32_file(fp32: Path, int8: Path) -> None:
    assert card_differs(card_of(fp32).metrics, figures_of_card(card_of(int8)))
    record = card_of(int8).training["quantisation"]
    assert record["metrics"] == "measured on this file"
    assert record["trust"] == "fitted on the fp32 file's answers"
    assert card_of(int8).trust == card_of(fp32).trust


def test_evaluating_the_file_finds_what_its_card_says(
    int8: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("evaluate", int8, data) == 0
    assert "the card has the same figures" in capsys.readouterr().out


def test_promoting_the_file_publishes_its_own_figures(int8: Path, tmp_path: Path) -> None:
    assert run.main(["promote", str(int8.parent), "--to", str(tmp_path / "models")]) == 0
    text = (tmp_path / "models" / "README.md").read_text()
    ece = card_of(int8).metrics["sources"]["own"]["headline"]["ece"]
    assert f"| own | {ece['value']:.2f} ({ece['low']:.2f} to {ece['high']:.2f}) |" in text
    assert "This is an int8 file, made from the fp32 file" in text


def test_an_int8_file_with_the_figures_of_the_fp32_file_is_not_promoted(
    of_an_earlier_version: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    models = tmp_path / "models"
    assert run.main(["promote", str(of_an_earlier_version.parent), "--to", str(models)]) == 1
    reported = " ".join(capsys.readouterr().err.split())
    assert "is of an int8 file and has the figures of the fp32 file" in reported
    assert "export it again" in reported
    assert not models.exists()


def test_evaluating_it_says_to_export_it_again(
    of_an_earlier_version: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("evaluate", of_an_earlier_version, data) == 1
    assert "if it is an int8 file, export it again" in " ".join(capsys.readouterr().err.split())


def test_chips_that_show_no_ship_are_asked_about_at_export_too(
    fp32: Path, int8: Path, data: Path, tmp_path: Path
) -> None:
    assert card_of(int8).metrics["out_of_distribution"] is None
    others, out = other_chips(tmp_path / "others.zip"), tmp_path / "q.onnx"
    words = ["--int8", "--ood", str(others), "--out", str(out)]
    assert command("export", fp32, data, *words) == 0
    assert card_of(out).metrics["out_of_distribution"]["all"]["chips"] == 5
    assert card_of(out).training["ood_sha256"] != card_of(int8).training["ood_sha256"] is None
    assert card_of(out).version != card_of(int8).version, "they differ in their figures"
    assert command("evaluate", out, data, "--ood", str(others)) == 0
