"""Batches over the data sets as they are downloaded; needs SHIPCHIP_DATA."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from serving.batch.command import main
from shipchip import ShipClassifier
from tests.serving.server import ROOT
from training.data.splits import SPLIT_VERSION
from training.run import main as train

pytestmark = pytest.mark.data
DATA = Path(os.environ.get("SHIPCHIP_DATA", ROOT.parent / "shared" / "data"))


@pytest.fixture(autouse=True)
def _data() -> None:
    if not DATA.is_dir():
        pytest.skip(f"no real chips at {DATA}; SHIPCHIP_DATA says where they are")


def rows_of(tmp_path: Path, *more: str) -> list[dict[str, Any]]:
    out = tmp_path / "out.jsonl"
    main([*more, "--out", str(out), "--model", str(ROOT / "models" / "ship.onnx")])
    return [json.loads(line) for line in out.read_text().splitlines()]


def test_a_folder_of_opensarship_scenes_gives_a_row_a_chip(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = rows_of(tmp_path, str(DATA / "opensarship"), "--labelled")
    assert {row["status"] for row in rows} == {"ok"}
    assert all("/Patch/" in row["path"] for row in rows)
    reported = capsys.readouterr().err
    # As the README of the data counts them; the others have no class of the three.
    assert [line.split()[-2] for line in reported.splitlines() if "│ Cargo" in line][-1] == "157"
    assert [line.split()[-2] for line in reported.splitlines() if "│ Tanker" in line][-1] == "88"


def test_labelled_on_the_fusar_archive_prints_the_figures_of_the_card(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """On the test side, as `training.run data` writes it: the card's figures are of no other."""
    card = ShipClassifier(ROOT / "models" / "ship.onnx").card
    if card.training.get("split_version", 1) != SPLIT_VERSION:
        pytest.skip(f"the default model was trained on another split than {SPLIT_VERSION}")
    sources = [str(DATA / name) for name in ("fusar", "opensarship", "opensarship_slc")]
    manifest = tmp_path / "manifest.jsonl"
    assert train(["data", *sources, "--manifest", str(manifest)]) == 0
    chips = [json.loads(line) for line in manifest.read_text().splitlines()]
    archive = DATA / "fusar" / "FUSAR_Ship1.0.zip"
    names = [
        f"{archive}/{chip['key']}\n"
        for chip in chips
        if (chip["source"], chip["split"]) == ("fusar", "test")
    ]
    (tmp_path / "test.txt").write_text("".join(names))
    capsys.readouterr()
    rows_of(tmp_path, "--list", str(tmp_path / "test.txt"), "--labelled")
    figures = card.metrics["sources"]["fusar"]["headline"]
    reported = {name: figure["value"] for name, figure in figures.items()}
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"macro-F1 {reported['macro_f1']:.3f}, "
        f"balanced accuracy {reported['balanced_accuracy']:.3f}, "
        f"accuracy {reported['accuracy']:.3f}"
    )
