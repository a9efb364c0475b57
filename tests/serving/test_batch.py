"""python -m serving.batch: one row a file, in order, and an exit status that can be trusted."""

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from serving.batch.command import main
from serving.batch.summary import Tally, pace
from shipchip import ShipClassifier
from tests.serving.server import ROOT, environment
from tests.tiny_model import tiny_card, write_tiny_model

COLUMNS = [
    "path",
    "status",
    "label",
    "confidence",
    "p_cargo",
    "p_fishing",
    "p_tanker",
    "prediction_set",
    "in_distribution",
    "ood_score",
    "model_version",
    "error_code",
    "error_message",
    "verdict",
    "pixel_spacing_row_m",
    "pixel_spacing_column_m",
    "pixel_spacing_from",
    "polarisation",
    "quantity",
    "length_m",
    "length_low_m",
    "length_high_m",
    "width_m",
    "width_low_m",
    "width_high_m",
    "length_validated",
    "lon",
    "lat",
    "map_file",
]


@pytest.fixture
def folder(tmp_path: Path, png: dict[str, bytes]) -> Path:
    """Good chips of each label, and one bad file of each common kind."""
    folder = tmp_path / "chips"
    (folder / "b").mkdir(parents=True)
    (folder / "a.png").write_bytes(png["Cargo"])
    (folder / "b" / "cut.png").write_bytes(png["Cargo"][:200])
    (folder / "b" / "good.png").write_bytes(png["Fishing"])
    (folder / "empty.tif").write_bytes(b"")
    (folder / "notes.txt").write_text("no picture")
    (folder / "z.png").write_bytes(png["Tanker"])
    return folder


@pytest.fixture
def good(tmp_path: Path, png: dict[str, bytes]) -> Path:
    folder = tmp_path / "good"
    folder.mkdir()
    for label, content in png.items():
        (folder / f"{label}.png").write_bytes(content)
    return folder


@pytest.fixture(autouse=True)
def _model(batch_model: None) -> None:
    """Batches of this module run the tiny model."""


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_mixed_folder_gives_a_row_a_file_in_path_order_and_exit_1(
    folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.csv"
    assert main([str(folder), "--out", str(out)]) == 1
    rows = read_csv(out)
    assert list(rows[0]) == COLUMNS
    reported = [(row["path"], row["label"] or row["error_code"]) for row in rows]
    assert reported == [
        (f"{folder}/a.png", "Cargo"),
        (f"{folder}/b/cut.png", "truncated"),
        (f"{folder}/b/good.png", "Fishing"),
        (f"{folder}/empty.tif", "empty"),
        (f"{folder}/notes.txt", "unsupported_format"),
        (f"{folder}/z.png", "Tanker"),
    ]
    assert {row["model_version"] for row in rows} == {"0.0.1-test"}


def test_all_good_is_exit_0_with_the_numbers_that_the_library_gives(
    good: Path, tmp_path: Path, ships: ShipClassifier
) -> None:
    out = tmp_path / "out.csv"
    assert main([str(good), "--out", str(out)]) == 0
    row = read_csv(out)[1]
    expected = ships.classify_file(good / "Fishing.png")
    assert row["status"] == "ok"
    assert row["label"] == "Fishing"
    assert float(row["confidence"]) == pytest.approx(expected.confidence, abs=2e-6)
    for name, probability in expected.probabilities.items():
        assert float(row[f"p_{name.lower()}"]) == pytest.approx(probability, abs=2e-6)
    assert row["prediction_set"] == "Fishing|Tanker"
    assert row["in_distribution"] == "true"
    assert float(row["ood_score"]) == pytest.approx(expected.ood_score, abs=2e-6)
    assert (row["error_code"], row["error_message"]) == ("", "")


def test_json_lines_say_the_same_in_json_s_own_types(folder: Path, tmp_path: Path) -> None:
    main([str(folder), "--out", str(tmp_path / "out.csv")])
    assert main([str(folder), "--out", str(tmp_path / "out.jsonl")]) == 1
    rows = read_jsonl(tmp_path / "out.jsonl")
    assert [list(row) for row in rows] == [COLUMNS] * 6
    for row, text in zip(rows, read_csv(tmp_path / "out.csv"), strict=True):
        assert row["path"] == text["path"]
        assert str(row["confidence"] or "") == text["confidence"]
        assert "|".join(row["prediction_set"] or []) == text["prediction_set"]
    assert rows[0]["in_distribution"] is True
    assert rows[1]["label"] is None
    assert rows[1]["error_code"] == "truncated"


def test_any_file_name_survives_csv(tmp_path: Path, png: dict[str, bytes]) -> None:
    folder = tmp_path / "names"
    folder.mkdir()
    names = ["a b.png", "c,d.png", "e\nf.png", "g\rh.png", 'i"j.png', "k船.png", ".hidden"]
    for name in names:
        (folder / name).write_bytes(png["Cargo"])
    (folder / os.fsdecode(b"no\xffutf8")).write_bytes(png["Cargo"])
    out = tmp_path / "out.csv"
    assert main([str(folder), "--out", str(out)]) == 0
    expected = sorted([*names, "no\\xffutf8"])
    assert [row["path"] for row in read_csv(out)] == [f"{folder}/{name}" for name in expected]


def test_what_is_no_regular_file_gets_a_row_and_holds_nothing_up(
    good: Path, tmp_path: Path
) -> None:
    os.mkfifo(good / "pipe")
    (good / "dangling").symlink_to("nowhere")
    (good / "loop").symlink_to(good)
    (good / "zlink.png").symlink_to(good / "Cargo.png")
    out = tmp_path / "out.csv"
    assert main([str(good), "--out", str(out)]) == 1
    reported = {Path(row["path"]).name: row["label"] or row["error_code"] for row in read_csv(out)}
    assert reported == {
        "Cargo.png": "Cargo",
        "Fishing.png": "Fishing",
        "Tanker.png": "Tanker",
        "dangling": "not_found",
        "loop": "unreadable",
        "pipe": "unreadable",
        "zlink.png": "Cargo",
    }


def test_an_output_in_the_folder_is_not_taken_for_a_chip(
    good: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (good / ".out.csv.partial").write_text("left by a run that was killed")
    for _ in range(2):
        assert main([str(good), "--out", str(good / "out.csv"), "--overwrite"]) == 0
    assert len(read_csv(good / "out.csv")) == 3
    monkeypatch.chdir(good)
    assert main([".", "--out", "out.csv", "--overwrite"]) == 0
    assert len(read_csv(good / "out.csv")) == 3


def test_batches_of_any_size_give_the_same_rows(folder: Path, tmp_path: Path) -> None:
    outputs = []
    for size in ("1", "2", "100"):
        out = tmp_path / f"{size}.csv"
        main([str(folder), "--out", str(out), "--batch-size", size])
        outputs.append(out.read_bytes())
    assert outputs == [outputs[0]] * 3


def test_spacing_and_quantity_reach_the_model(
    good: Path, tmp_path: Path, ships: ShipClassifier
) -> None:
    out = tmp_path / "out.csv"
    options = ["--pixel-spacing", "13.93x3.9", "--quantity", "sigma0"]
    main([str(good), "--out", str(out), *options])
    expected = ships.classify_file(
        good / "Tanker.png", pixel_spacing_m=(13.93, 3.9), quantity="sigma0"
    )
    assert float(read_csv(out)[2]["ood_score"]) == pytest.approx(expected.ood_score, abs=2e-6)


def test_a_polarisation_that_a_chip_has_not_is_its_error(good: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    assert main([str(good), "--out", str(out), "--polarisation", "vh"]) == 1
    assert {row["error_code"] for row in read_csv(out)} == {"polarisation_missing"}


def test_the_columns_follow_the_card_s_classes(good: Path, tmp_path: Path) -> None:
    card = tiny_card(classes=("Ferry", "Tug", "Yacht"))
    other = write_tiny_model(tmp_path / "other.onnx", card)
    out = tmp_path / "out.jsonl"
    assert main([str(good), "--out", str(out), "--model", str(other)]) == 0
    names = list(read_jsonl(out)[0])
    assert [name for name in names if name.startswith("p_")] == ["p_ferry", "p_tug", "p_yacht"]


def test_a_summary_at_the_end_has_verdicts_first_and_no_bar_without_a_terminal(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main([str(folder), "--out", str(tmp_path / "o.csv")])
    said = capsys.readouterr()
    assert said.out == ""
    verdicts = [row["verdict"] for row in read_csv(tmp_path / "o.csv")]
    sure, undecided, unlike = map(verdicts.count, ("sure", "undecided", "unlike"))
    assert sure + undecided + unlike == 3
    text, pace, end = re.split(r"(\d+\.\d s, [\d.]+ chips/s)", said.err)
    assert text == (
        f"6 chips: {sure} sure, {undecided} undecided, {unlike} unlike, 3 failed (1 empty, "
        "1 truncated, 1 unsupported_format); 1 Cargo, 1 Fishing, 1 Tanker; "
    )
    seconds, rate = map(float, re.findall(r"[\d.]+", pace))
    assert 6 / (seconds + 0.06) - 1 < rate
    assert seconds < 0.05 or rate < 6 / (seconds - 0.05) + 1
    assert end == f" -> {tmp_path}/o.csv\n"


def test_a_setting_misspelt_is_reported(
    good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SHIPCHIP_BATCHSIZE", "8")
    assert main([str(good), "--out", str(tmp_path / "out.csv")]) == 0
    said = capsys.readouterr().err
    assert (
        "SHIPCHIP_BATCHSIZE is no setting and does nothing; did you mean SHIPCHIP_BATCH_SIZE"
        in said
    )


def test_doubt_is_counted_before_labels() -> None:
    tally = Tally()
    for label, verdict in (("Cargo", "sure"), ("Cargo", "unlike"), ("Tanker", "unlike")):
        tally.add({"status": "ok", "label": label, "verdict": verdict, "error_code": None})
    assert str(tally) == "3 chips: 1 sure, 0 undecided, 2 unlike; 2 Cargo, 1 Tanker"


def test_the_pace_counts_what_this_run_did(
    good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "o.csv"
    main([str(good), "--out", str(out)])
    capsys.readouterr()
    assert main([str(good), "--out", str(out), "--resume"]) == 0
    said = capsys.readouterr().err
    assert said.endswith(f"; no chip was left to classify -> {out}\n")
    assert pace(30, 1.5) == "1.5 s, 20 chips/s"
    assert pace(3, 1.5) == "1.5 s, 2.0 chips/s"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{missing}", "--out", "{out}.csv"], "missing"),
        (["--out", "{out}.csv"], "no chips named"),
        (["--list", "{missing}", "--out", "{out}.csv"], "cannot read the list"),
        (["{good}", "--out", "-", "--resume"], "need a file as --out"),
        (["{good}", "--out", "-", "--overwrite"], "need a file as --out"),
        (["{good}", "--out", "{there}.csv"], "there.csv exists; give another --out, or"),
        (["{good}", "--out", "{long}.csv"], "File name too long"),
        (["{good}", "--out", "{long}.csv", "--shard", "1/2"], "File name too long"),
        (["{good}", "--out", "{long}.csv", "--resume"], "File name too long"),
        (["{good}", "--out", "{out}.csv", "--maps", "{long}" + "x" * 16], "File name too long"),
        (["{good}", "--out", "{out}.csv", "--maps", "{there}.csv"], "Not a directory"),
        (["{good}", "--out", "{out}.csv", "--maps", "{good}"], "no batch wrote, such as Cargo.png"),
        (["{good}", "--out", "{out}.csv", "--crops-by-label", "{good}"], "no batch wrote, such as"),
        (["{good}", "--out", "{out}.csv", "--format", "jsonl"], "the ending of"),
        (["{good}", "--out", "{out}.csv", "--ray-address", "auto"], "needs --engine ray"),
        (["{good}", "--out", "{out}.csv", "--copy"], "needs --crops-by-label"),
        (["{empty}", "--out", "{out}.csv"], "no files in"),
        (["{good}", "--out", "{out}.txt"], "expected an ending of .csv, .jsonl"),
        (["{good}", "--out", "{missing}/out.csv"], "cannot write"),
        (["{good}", "--out", "{dir}.csv"], "is a folder"),
        (["{good}", "--out", "{out}.csv", "--model", "{missing}"], "no model at"),
        (["{good}", "--out", "{out}.csv", "--model", "{good}/Cargo.png"], "cannot load"),
        (["{good}", "--out", "{out}.csv", "--batch-size", "0"], "SHIPCHIP_BATCH_SIZE is 0"),
    ],
)
def test_what_cannot_run_says_so_in_one_line_writes_nothing_and_exits_2(
    good: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "dir.csv").mkdir()
    (tmp_path / "there.csv").write_text("precious")
    names = {"good": good, "missing": tmp_path / "missing", "empty": tmp_path / "empty"}
    names |= {"out": tmp_path / "out", "dir": tmp_path / "dir", "there": tmp_path / "there"}
    names |= {"long": tmp_path / ("x" * 240)}  # fits, but not with what its record's name adds
    before = sorted(tmp_path.rglob("*"))
    assert main([argument.format(**names) for argument in arguments]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_a_model_that_is_not_the_one_of_its_sum_is_refused(
    good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = write_tiny_model(tmp_path / "ship.onnx")
    model.with_name("ship.onnx.sha256").write_text(f"{'0' * 64}  ship.onnx\n")
    assert main([str(good), "--out", str(tmp_path / "o.csv"), "--model", str(model)]) == 2
    assert f"the sha256 of {model} is" in capsys.readouterr().err
    assert not (tmp_path / "o.csv").exists()


@pytest.mark.parametrize(
    ("text", "message"), [("ten", "expected metres as one number"), ("10,5", "has a comma; write")]
)
def test_a_bad_spacing_is_a_usage_error(
    good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, message: str
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([str(good), "--out", str(tmp_path / "o.csv"), "--pixel-spacing", text])
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_a_run_that_fails_leaves_an_earlier_output_as_it_was(good: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    main([str(good), "--out", str(out)])
    before = out.read_bytes()
    options = ["--overwrite", "--model", str(tmp_path / "missing")]
    assert main([str(good), "--out", str(out), *options]) == 2
    assert out.read_bytes() == before


def test_the_command_line_passes_the_exit_status_on(
    folder: Path, tmp_path: Path, model: Path
) -> None:
    command = [sys.executable, "-m", "serving.batch", str(folder), "--out", str(tmp_path / "o.csv")]
    done = subprocess.run(
        command, cwd=ROOT, env=environment(model), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert len(read_csv(tmp_path / "o.csv")) == 6
