"""From simulated chips to a served prediction, by the commands that a user types."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from rich.console import Console

from shipchip import Chip, ShipClassifier, decode
from tests.serving.server import serving
from training import run
from training.card.schema import ModelFigures
from training.config import RunConfig, read_config, simulated_config
from training.data.dataset import SealedTest
from training.data.record import CLASSES, Record
from training.data.simulated import SimulatedSource
from training.data.store import PreparedChips, prepare_all
from training.errors import ConfigInvalid, DataInvalid
from training.evaluation.evaluate import card_differs


@pytest.fixture(scope="module")
def folder(smoke_run: Path) -> Path:
    return smoke_run


def test_a_run_folder_holds_what_is_needed_to_repeat_and_judge_it(folder: Path) -> None:
    names = {"config.json", "curves.png", "history.jsonl", "manifest.jsonl", "metrics.json"}
    assert {p.name for p in folder.iterdir()} == names | {"ship.onnx", "run.json"}
    stages = [
        json.loads(line)["stage"] for line in (folder / "history.jsonl").read_text().splitlines()
    ]
    three = ("base", "fine-tune-1", "fine-tune-2")
    networks = ("fold-0/member-0", "fold-1/member-0", "model/member-0")
    assert list(dict.fromkeys(stages)) == [f"{n}/{stage}" for n in networks for stage in three]


def test_a_finished_run_is_not_run_again(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "console", Console(stderr=True, width=300))
    written = (folder / "ship.onnx").stat().st_mtime_ns
    assert run.main(["--simulated", "--smoke", "--runs", str(folder.parent)]) == 0
    assert "is finished already" in capsys.readouterr().err
    assert (folder / "ship.onnx").stat().st_mtime_ns == written
    assert {p.name for p in folder.parent.iterdir()} == {folder.name, "store"}


def test_the_model_beats_everything_is_cargo_on_every_source(folder: Path) -> None:
    metrics = json.loads((folder / "metrics.json").read_text())
    assert set(metrics["sources"]) == {"simulated-fine", "simulated-coarse"}
    for source, score in metrics["sources"].items():
        assert score["headline"]["macro_f1"]["value"] > score["majority_macro_f1"] + 0.1, source


def test_lengths_are_learnt_and_their_intervals_hold(folder: Path) -> None:
    """Better than the one length that fits the training ships best."""
    sizes = json.loads((folder / "metrics.json").read_text())["sizes"]
    for source, one in sizes["sources"].items():
        assert one["length_error_m"]["value"] < 12, source  # the ships are 20 to 300 m long
        assert one["length_held"]["value"] > 0.8, source


def test_the_card_says_the_same_numbers_as_the_run(folder: Path) -> None:
    card = ShipClassifier(folder / "ship.onnx").card
    assert card.metrics == json.loads((folder / "metrics.json").read_text())
    assert card.classes == CLASSES


def test_the_card_counts_the_ships_that_its_prediction_sets_rest_on(folder: Path) -> None:
    record = ShipClassifier(folder / "ship.onnx").card.training
    for label, held in record["held_out"].items():
        counts = [classes[label] for classes in record["sources"].values()]
        assert held["chips"] == sum(side["train"] + side["validation"] for side in counts)
        assert 0 < held["ships"] <= held["chips"]


@pytest.mark.slow
def test_what_the_test_chips_show_changes_no_choice(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same training with noise for test chips: other figures, all else the same."""
    unseal = SealedTest.break_seal

    def noise(sealed: SealedTest) -> PreparedChips:
        chips = unseal(sealed)
        inputs = np.random.default_rng(0).normal(0, 1, chips.inputs.shape).astype(np.float32)
        return replace(chips, inputs=inputs, labels=chips.labels[::-1])

    monkeypatch.setattr(SealedTest, "break_seal", noise)
    assert run.main(["--simulated", "--smoke", "--runs", str(tmp_path)]) == 0
    (other,) = tmp_path.glob("*/ship.onnx")
    files = (folder / "ship.onnx", other)
    cards = [ShipClassifier(file).card for file in files]
    assert cards[0].metrics != cards[1].metrics
    assert cards[0].trust == cards[1].trust
    assert cards[0].size == cards[1].size is not None
    graphs = [onnx.load(file).graph.SerializeToString(deterministic=True) for file in files]
    assert graphs[0] == graphs[1]  # the weights, bit for bit
    histories = [file.with_name("history.jsonl").read_text() for file in files]
    assert histories[0] == histories[1]


def test_evaluating_the_file_finds_what_its_card_says(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["evaluate", str(folder / "ship.onnx"), "--simulated", "--smoke"]
    reported = tmp_path / "figures.json"
    assert run.main([*words, "--runs", str(folder.parent), "--json", str(reported)]) == 0
    assert "the card has the same figures" in capsys.readouterr().out
    found = json.loads(reported.read_text())
    assert (
        card_differs(
            json.loads((folder / "metrics.json").read_text()),
            ModelFigures.model_validate(found["metrics"]),
        )
        == ()
    )
    assert found["speed"]["value"] > 0


def test_a_promoted_model_serves_a_prediction(folder: Path, tmp_path: Path) -> None:
    models = tmp_path / "models"
    assert run.main(["promote", str(folder), "--to", str(models)]) == 0
    assert "simulated-fine" in (models / "README.md").read_text()
    source = SimulatedSource({"Cargo": 1}, seed=77)
    chip = tmp_path / "chip.npy"
    np.save(chip, source.read(source.index()[0]).amplitude[0])
    expected = ShipClassifier(models / "ship.onnx").classify_file(chip, pixel_spacing_m=6.0)
    with serving(models / "ship.onnx", tmp_path / "log.txt") as client:
        answer = client.post(
            "/v1/classify",
            files=[("files", ("chip.npy", chip.read_bytes()))],
            data={"pixel_spacing_m": "6.0"},
        ).json()
    (result,) = answer["results"]
    assert result["label"] == expected.label
    assert result["confidence"] == pytest.approx(expected.confidence, abs=1e-5)


def test_promote_refuses_a_folder_without_a_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run.main(["promote", str(tmp_path), "--to", str(tmp_path / "m")]) == 1
    assert "holds no ship.onnx" in capsys.readouterr().err
    assert not (tmp_path / "m").exists()


def test_without_data_one_line_says_what_to_do(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "console", Console(stderr=True, width=200))
    assert run.main([]) == 1
    reported = capsys.readouterr().err
    assert "data_missing" in reported
    assert "FUSAR_Ship1.0.zip" in reported
    assert "--simulated --smoke" in reported


def test_an_unknown_config_key_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text("[augment]\nrotation = true\n")
    with pytest.raises(ConfigInvalid, match=r"'augment\.rotation'"):
        read_config(path, RunConfig)


def test_the_store_is_read_again_and_depends_on_the_input_spec(tmp_path: Path) -> None:
    source = SimulatedSource({"Cargo": 2, "Tanker": 2}, seed=0, size=32)
    config = simulated_config(smoke=True)
    decoded = []
    for spec in (config.input, config.input, config.input.model_copy(update={"spacing_m": 9.0})):
        prepare_all([source], source.index(), spec, tmp_path, lambda: decoded.append(1), CLASSES)
    assert len(decoded) == 2 * len(source.index())


def test_chips_that_cannot_be_read_are_counted_and_leave_no_store(tmp_path: Path) -> None:
    class Broken(SimulatedSource):
        def read(self, record: Record) -> Chip:
            return decode(record.key.encode()[:0])

    source = Broken({"Cargo": 2}, seed=0, size=32)
    with pytest.raises(DataInvalid, match="3 of 3 chips cannot be read, the first is simulated"):
        prepare_all([source], source.index(), simulated_config(True).input, tmp_path)
    assert not [path for path in tmp_path.iterdir() if path.suffix != ".lock"]
