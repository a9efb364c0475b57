"""`evaluate`: the shipped file on its own test side, beside its targets and beside its own card."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from rich.console import Console

from shipchip import ModelCard, ShipClassifier, decode
from tests.tiny_model import CLASSES, draw_chip, tiny_card, tiny_model, write_tiny_model
from tests.training.archives import tiff, write_folder, write_zip
from tests.training.test_figures import drawn, metrics, npy
from training import run
from training.card.record import seen_in_pretraining
from training.card.schema import FeaturesRecord, Interval, ModelFigures, TrainingRecord
from training.config import RunConfig
from training.data.dataset import Workspace, all_records, index, load_ood_chips
from training.data.discover import discover
from training.data.splits import Item, counts, manifest_sha256
from training.errors import ConfigInvalid
from training.evaluation.evaluate import card_differs
from training.export import write_card
from training.int8.comparison import check_related, chips_per_second, time_in_turns, times_as_fast

QUIET = Console(quiet=True)
WRONG = {"Cargo": "Tanker", "Fishing": "Cargo", "Tanker": "Fishing"}


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "console", Console(stderr=True, width=200))
    monkeypatch.setenv("COLUMNS", "200")


def own_chips(folder: Path, right: set[str]) -> Path:
    """Thirty chips a class; the tiny model is right on those whose names are in `right`."""
    chips = {}
    for k, label in enumerate(CLASSES):
        for n in range(30):
            name = f"{label}/{n:02d}.npy"
            shown = label if name in right else WRONG[label]
            chips[name] = npy(draw_chip(shown, seed=100 * k + n))
    return write_folder(folder / "own", chips)


def items_of(data: Path) -> list[Item]:
    return index(all_records(discover([data])), RunConfig())


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Chips of which the tiny model gets the test side right, but for one, and all others wrong."""
    folder = tmp_path_factory.mktemp("data")
    tested = [i.record.key for i in items_of(own_chips(folder, set())) if i.split == "test"]
    tested.remove(next(key for key in tested if key.startswith("Tanker")))
    return own_chips(folder, set(tested))


def card_of(data: Path, metrics: dict[str, Any] | None = None) -> ModelCard:
    items = items_of(data)
    return tiny_card(
        metrics=metrics or {},
        training={
            "sources": counts(items),
            "manifest_sha256": manifest_sha256(items),
            "config": RunConfig().model_dump(mode="json"),
            "pretraining": None,
            "seed": 0,
        },
    )


@pytest.fixture
def model(data: Path, tmp_path: Path) -> Path:
    return write_tiny_model(tmp_path / "tiny.onnx", card_of(data))


def evaluate(model: Path, data: Path, *words: str) -> tuple[int, dict[str, Any]]:
    reported = model.parent / "figures.json"
    command = ["evaluate", str(model), "--data", str(data), "--json", str(reported), *words]
    code = run.main([*command, "--runs", str(model.parent / "runs")])
    return code, json.loads(reported.read_text()) if reported.exists() else {}


def test_it_is_the_test_side_that_is_measured(model: Path, data: Path) -> None:
    code, found = evaluate(model, data)
    score = found["metrics"]["sources"]["own"]
    assert code == 0
    # One Tanker is called Fishing: F1 of Cargo 1, of Fishing 8/9, of Tanker 8/9.
    assert score["confusion"] == [[6, 0, 0], [0, 4, 0], [0, 1, 4]]
    macro_f1 = score["headline"]["macro_f1"]["value"]
    assert macro_f1 == pytest.approx((1 + 8 / 9 + 8 / 9) / 3)


def test_what_is_measured_is_what_the_file_answers(model: Path, data: Path) -> None:
    _, found = evaluate(model, data)
    ships = ShipClassifier(model, device="cpu")
    keys = sorted(i.record.key for i in items_of(data) if i.split == "test")
    reported = [ships.classify_file(data / key) for key in keys]
    held = [
        key.split("/")[0] in one.prediction_set for key, one in zip(keys, reported, strict=True)
    ]
    sets = found["metrics"]["sets"]
    for label in CLASSES:
        inside = [h for key, h in zip(keys, held, strict=True) if key.startswith(label)]
        assert sets["coverage"][label]["value"] == pytest.approx(np.mean(inside)), label
    assert sets["mean_size"]["value"] == np.mean([len(one.prediction_set) for one in reported])
    refused = found["metrics"]["sources"]["own"]["refused"]["value"]
    assert refused == np.mean([not one.in_distribution for one in reported])
    assert found["sha256"] == ships.sha256
    assert found["bytes"] == model.stat().st_size


def test_a_line_per_target_is_printed(
    model: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate(model, data)
    lines = capsys.readouterr().out.splitlines()
    (own,) = [line for line in lines if line.startswith("macro-F1, own")]
    assert own.split()[2] == "0.926"
    (size,) = [line for line in lines if line.startswith("size")]
    assert size.split()[1:] == ["0.0", "≤", "30", "MB", "met"]
    assert [line for line in lines if line.startswith("int8") and "not given" in line]
    assert [line for line in lines if "nothing to compare" in line]


def test_a_card_with_the_same_figures_is_reported(
    model: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, found = evaluate(model, data)
    write_card(card_of(data, found["metrics"]), model)
    assert evaluate(model, data)[0] == 0
    assert "the card has the same figures" in capsys.readouterr().out


def test_a_card_that_says_otherwise_is_refused(
    model: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, found = evaluate(model, data)
    found["metrics"]["sources"]["own"]["headline"]["macro_f1"]["value"] += 0.001
    write_card(card_of(data, found["metrics"]), model)
    assert evaluate(model, data)[0] == 1
    reported = capsys.readouterr()
    assert "sources.own.headline.macro_f1.value (card 0.926" in reported.out
    assert "export_mismatch: 1 figures of the card" in reported.err


def test_other_chips_than_those_of_the_card_are_refused(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(model, own_chips(tmp_path / "other", set()))[0] == 1
    assert "data_invalid" in capsys.readouterr().err


@pytest.mark.parametrize("version", [None, 1])
def test_a_model_of_another_split_is_refused(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], version: int | None
) -> None:
    # Its training chips are test chips here: the figures would flatter it.
    card = card_of(data)
    known = {} if version is None else {"split_version": version}
    split = {"manifest_sha256": "of the split of then", "git_commit": "0123456789abcdef"} | known
    old = card.model_copy(update={"training": card.training | split})
    assert evaluate(write_tiny_model(tmp_path / "old.onnx", old), data)[0] == 1
    reported = capsys.readouterr().err
    assert (
        "data_invalid: tiny 0.0.1-test was trained on split 1, and this version makes" in reported
    )
    assert "test side holds chips that the model was trained on" in reported
    assert "(commit 0123456789ab)" in reported


def of(plain: dict[str, Any]) -> ModelFigures:
    return ModelFigures.model_validate(plain)


def test_figures_differ_by_more_than_a_millionth() -> None:
    reported = metrics()
    reported["sets"]["mean_size"]["value"] += 5e-7
    assert card_differs(reported, of(metrics())) == ()
    reported["sets"]["mean_size"]["value"] += 5e-6
    (place,) = card_differs(reported, of(metrics())) or []
    assert place.startswith("sets.mean_size.value (card ")


def test_a_figure_that_one_lacks_differs() -> None:
    reported = metrics()
    del reported["sources"]["fusar"]["ece_floor"]
    reported["sources"]["fusar"]["confusion"][0][1] += 1
    reported["sources"]["fusar"]["classes"] = ["Cargo"]
    assert [place.split(" ")[0] for place in card_differs(reported, of(metrics())) or []] == [
        "sources.fusar.classes",
        "sources.fusar.confusion[0][1]",
        "sources.fusar.ece_floor",
    ]


def test_a_card_of_before_coverage_by_ship_says_the_same() -> None:
    reported = metrics()
    scores = (*reported["sources"].values(), reported["pooled"], reported)
    for share in (share for one in scores for share in one["sets"]["coverage"].values()):
        del share["by_ship"]
    assert card_differs(reported, of(metrics())) == ()


def test_ood_chips_are_compared_where_card_and_command_have_them() -> None:
    without = metrics() | {"out_of_distribution": None}
    assert card_differs(without, of(metrics())) == ()
    assert card_differs(metrics(), of(without)) == ()
    assert card_differs(metrics(), of(metrics())) == ()


@pytest.mark.parametrize("reported", [{}, {"own": {"headline": {}}}])
def test_a_card_of_an_earlier_shape_is_not_compared(reported: dict[str, Any]) -> None:
    assert card_differs(reported, of(metrics())) is None


# Chips that show no ship


def other_chips(path: Path, top: str = "") -> Path:
    chips = {f"{top}sea/water/{n}.tif": tiff(n) for n in range(3)}
    return write_zip(path, chips | {f"{top}cars/T62/{n}.tif": tiff(10 + n) for n in range(2)})


@pytest.mark.parametrize("top", ["", "wrapped/"])
def test_ood_chips_are_prepared_as_an_upload_and_kept_by_kind(tmp_path: Path, top: str) -> None:
    path, spec = other_chips(tmp_path / "others.zip", top), tiny_card().input
    found = load_ood_chips([path], spec, Workspace(tmp_path / "store", QUIET))
    assert {kind: len(chips) for kind, chips in found.items()} == {"cars": 2, "sea": 3}
    ships = ShipClassifier(write_tiny_model(tmp_path / "tiny.onnx"), device="cpu")
    # 10 m by the card's rule: 32 samples of noise fill all of the input.
    assert np.array_equal(found["sea"][1], ships.prepare(decode(tiff(1))).input)
    (kept,) = (tmp_path / "store").glob("chips-*.npy")
    written = kept.stat().st_mtime_ns
    again = load_ood_chips([path], spec, Workspace(tmp_path / "store", QUIET))
    assert np.array_equal(again["cars"], found["cars"])
    assert kept.stat().st_mtime_ns == written


def test_ood_chips_given_are_measured_and_those_not_given_are_not(
    model: Path, data: Path, tmp_path: Path
) -> None:
    path = other_chips(tmp_path / "others.zip")
    reported = evaluate(model, data, "--ood", str(path))[1]["metrics"]["out_of_distribution"]
    assert reported["all"]["chips"] == 5
    ships = ShipClassifier(model, device="cpu")
    refused = [not ships.classify([decode(tiff(n))])[0].in_distribution for n in range(3)]
    assert reported["kinds"]["sea"]["refused"]["value"] == np.mean(refused)
    assert evaluate(model, data)[1]["metrics"]["out_of_distribution"] is None


def test_kinds_that_the_features_were_learnt_on_are_reported() -> None:
    classes = ("cars/T62", "planes/A220")
    features = FeaturesRecord(source="other_sar", chips=9, classes=classes)
    known = TrainingRecord(pretraining=features, ood_sha256="a", ood_learnt=("vehicles",))
    reported = seen_in_pretraining(known, ["cars", "sea", "vehicles"], "a")
    assert "9 chips of other_sar" in reported
    assert reported.endswith("these kinds were seen before, though not as ships: vehicles")
    assert seen_in_pretraining(known, ["cars", "sea"], "a") == ""
    unknown = "in folders of these names, so these kinds may have been seen before: cars"
    for training in (known, known.model_copy(update={"ood_learnt": None})):
        assert seen_in_pretraining(training, ["cars", "sea"], "b").endswith(unknown)
        assert seen_in_pretraining(training, ["sea"], "b") == ""
    for other in (FeaturesRecord(source="imagenet"), None):
        assert seen_in_pretraining(TrainingRecord(pretraining=other), ["cars"], "a") == ""


# The int8 file


def all_fishing(path: Path, card: ModelCard) -> Path:
    """A file that calls every chip Fishing."""
    proto = tiny_model(card)
    (offsets,) = [t for t in proto.graph.initializer if t.name == "offsets"]
    raised = numpy_helper.to_array(offsets) + np.array([0, 1000, 0], np.float32)
    offsets.CopyFrom(numpy_helper.from_array(raised, "offsets"))
    onnx.save(proto, path)
    return path


def test_the_int8_file_is_asked_itself(model: Path, data: Path, tmp_path: Path) -> None:
    worse = all_fishing(tmp_path / "int8.onnx", card_of(data))
    found = evaluate(model, data, "--int8", str(worse))[1]["int8"]
    # "All Fishing": F1 of Fishing 8/19, of the others 0.
    lost = (1 + 8 / 9 + 8 / 9) / 3 - (8 / 19) / 3
    assert found["loss"]["sources"]["own"]["value"] == pytest.approx(lost)
    assert found["sha256"] == ShipClassifier(worse).sha256
    same = evaluate(model, data, "--int8", str(model))[1]["int8"]
    assert same["loss"]["sources"]["own"] == {"value": 0, "low": 0, "high": 0}


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"manifest_sha256": "other"}, "another training data"),
        ({"quantisation": {"of": "other"}}, "another sha256 of what it was made from"),
    ],
)
def test_an_int8_file_of_another_model_is_refused(
    record: dict[str, Any], message: str, data: Path, tmp_path: Path
) -> None:
    card = card_of(data)
    other = card.model_copy(update={"training": card.training | record})
    files = [
        ShipClassifier(write_tiny_model(tmp_path / f"{n}.onnx", one), device="cpu")
        for n, one in enumerate((card, other))
    ]
    with pytest.raises(ConfigInvalid, match=message):
        check_related(files[1], files[0])
    check_related(files[0], files[0])


def test_both_files_take_turns(tiny_model_file: Path) -> None:
    ships = ShipClassifier(tiny_model_file, device="cpu")
    asked = []

    class Counting(ShipClassifier):
        def run(self, inputs, *, maps=False):  # type: ignore[no-untyped-def]
            asked.append((id(self), inputs.shape))
            return super().run(inputs, maps=maps)

    files = [Counting(tiny_model_file, device="cpu") for _ in range(2)]
    taken = time_in_turns(files, ships.prepare(drawn("Cargo", 0)).input[None], rounds=3)
    assert taken.shape == (2, 3)
    assert (taken > 0).all()
    one, two = (id(file) for file in files)
    assert [who for who, _ in asked[2:]] == [one, two] * 3
    assert {shape for _, shape in asked} == {(32, 1, 32, 32)}


def test_speed_is_chips_over_seconds() -> None:
    slow, fast = np.array([1.0, 3.0]), np.array([0.5, 0.5])
    assert chips_per_second(slow).plain() == pytest.approx({"value": 16, "low": 32 / 3, "high": 32})
    assert times_as_fast(slow, fast) == Interval(value=4, low=2, high=6)
