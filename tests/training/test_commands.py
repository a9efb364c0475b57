"""The commands as a user types them: what they print, what they write, how they refuse."""

import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.training.archives import tiff, write_folder
from tests.training.test_parallel import ROOT, TINY
from training import run
from training.config import DEFAULT_INPUT
from training.matrix_config import MODELS
from training.sources.folder import FolderSource
from training.store import prepare_all
from training.whole import half_of


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "console", Console(stderr=True, width=200))
    monkeypatch.setenv("COLUMNS", "200")


def own_chips(folder: Path) -> Path:
    chips = {
        f"{label}/{n}.tif": tiff(100 * k + n)
        for k, label in enumerate(("Cargo", "Tanker"))
        for n in range(10)
    }
    return write_folder(folder / "own", chips)


def test_data_prints_what_was_found_and_writes_the_manifest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chips = own_chips(tmp_path)
    (chips / "Cargo" / "copy.tif").write_bytes((chips / "Cargo" / "0.tif").read_bytes())
    manifest = tmp_path / "new" / "manifest.jsonl"
    words = ["data", str(chips), "--manifest", str(manifest), "--runs", str(tmp_path / "runs")]
    assert run.main(words) == 0
    told = capsys.readouterr()
    (cargo,) = [line for line in told.out.splitlines() if "Cargo" in line]
    assert [word for word in cargo.split() if word.isdigit()] == ["11", "8", "1", "1", "10"]
    assert "own: there is no Fishing chip" in told.err
    assert "own: 1 byte-identical repeats are left out" in told.err
    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    assert Counter(line["label"] for line in lines) == {"Cargo": 10, "Tanker": 10}
    assert all(len(line["sha256"]) == 64 for line in lines)


def test_data_refuses_chips_that_cannot_be_read_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chips = own_chips(tmp_path)
    (chips / "Tanker" / "3.tif").write_bytes(tiff(1)[:60])
    manifest = tmp_path / "manifest.jsonl"
    assert run.main(["data", str(chips), "--manifest", str(manifest)]) == 1
    told = capsys.readouterr().err
    assert "own Tanker/3.tif: truncated" in told
    assert "1 of 20 chips cannot be read" in told
    assert not manifest.exists()


@pytest.mark.data
def test_data_prints_the_counts_of_the_readme(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sources = [str(data / name) for name in ("fusar", "opensarship", "opensarship_slc")]
    words = ["--manifest", str(tmp_path / "m.jsonl"), "--runs", str(tmp_path)]
    assert run.main(["data", *sources, *words]) == 0
    rows = [line.replace("│", " ").split() for line in capsys.readouterr().out.splitlines()]
    table = {(r[0], r[1]): list(map(int, r[2:])) for r in rows if len(r) == 7 and r[3].isdigit()}
    assert {key: (row[0], row[-1]) for key, row in table.items()} == {
        ("fusar", "Cargo"): (587, 583),
        ("fusar", "Fishing"): (226, 225),
        ("fusar", "Tanker"): (62, 62),
        ("opensarship", "Cargo"): (157, 157),
        ("opensarship", "Tanker"): (88, 88),
        ("opensarship_slc", "Cargo"): (563, 563),
        ("opensarship_slc", "Tanker"): (85, 85),
    }
    assert table.pop(("fusar", "Tanker"))[1:4] == [38, 4, 20]  # four blocks, one holds half
    for _, train, validation, test, used in table.values():
        assert train / used == pytest.approx(0.7, abs=0.04)
        assert validation / used == pytest.approx(0.1, abs=0.04)
        assert test / used == pytest.approx(0.2, abs=0.04)
    sides: dict[str, set[str]] = {}
    for line in (tmp_path / "m.jsonl").read_text().splitlines():
        item = json.loads(line)
        sides.setdefault(item["group"], set()).add(item["split"])
    assert all(len(split) == 1 for split in sides.values())
    assert len(sides) == 931


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--simulated", "--data", "somewhere"], "--simulated and folders of data exclude"),
        (["--smoke"], "--smoke goes with --simulated"),
        (["matrix", "--simulated", "--smoke", "--seeds", "0"], "'seeds'.*at least 1"),
        (["matrix", "--simulated", "--smoke", "--seed", "-1"], "'seeds.0'.*greater than or equal"),
        (["--simulated", "--smoke", "--seed", "-1"], "config_invalid: .*'seed'.*greater than or"),
        (["--simulated", "--smoke", "--seed", f"{2**64}"], "config_invalid: .*'seed'.*less than"),
        (
            ["--simulated", "--smoke", "--name", "../../x"],
            r"config_invalid: --name is '\.\./\.\./x'",
        ),
        (
            ["--simulated", "--smoke", "--name", ".."],
            "config_invalid: --name is .*; expected letters",
        ),
        (
            ["--simulated", "--smoke", "--name", ""],
            "config_invalid: --name is ''; expected letters",
        ),
        (["data", "nowhere"], "data_missing: .*nowhere"),
        (["trian"], "unknown command 'trian'; expected one of train, data"),
        (["matrix", "--simulated", "--smoke", "--seeds", "2", "--seed", "1"], "exclude each other"),
        (["--simulated", "--smoke", "--pretrained", "nothing.pt"], "no file of weights at nothing"),
        (["--simulated", "--smoke", "--pretrained", "sar"], "pretrain CHIPS --model vgg16"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(
    words: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if "--simulated" in words:
        words = [*words, "--runs", str(tmp_path)]
    assert run.main(words) == 1
    (line,) = [w for w in capsys.readouterr().err.splitlines() if re.search(told, w)]
    assert line


def test_a_full_disk_is_told_and_leaves_nothing_that_looks_finished(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("training.matrix.write_cell", full)
    (tmp_path / "tiny.toml").write_text(TINY)
    words = ["matrix", "--simulated", "--smoke", "--config", str(tmp_path / "tiny.toml")]
    assert run.main([*words, "--runs", str(tmp_path), "--out", str(tmp_path / "out")]) == 1
    told = capsys.readouterr().err
    assert "No space left on device" in told
    assert "run the same command again: it goes on" in told
    assert not list(tmp_path.rglob("result.json"))
    assert not (tmp_path / "out" / "report.html").exists()


def test_test_chips_are_not_pretrained_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chips = own_chips(tmp_path)
    words = ["--data", str(chips), "--pretrain", str(chips), "--runs", str(tmp_path / "runs")]
    assert run.main(words) == 1
    assert "leak: chip" in capsys.readouterr().err
    assert not list(tmp_path.glob("runs/*.half"))


def test_the_store_keeps_chips_of_another_extent_apart(tmp_path: Path) -> None:
    chips, spec = own_chips(tmp_path), DEFAULT_INPUT
    sources = [FolderSource(chips, extent_m=extent) for extent in (100.0, 300.0)]
    near, far = (prepare_all([s], s.index(), spec, tmp_path / "store") for s in sources)
    assert not (near.inputs == far.inputs).all()


def test_names_with_dots_do_not_share_a_folder(tmp_path: Path) -> None:
    folders = [tmp_path / f"ship-v1.2-{n}" for n in ("aa", "bb")]
    assert len({half_of(folder) for folder in folders}) == 2
    assert half_of(folders[0]).name == "ship-v1.2-aa.half"


def test_tensorboard_logs_every_epoch(tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text(TINY.replace("depth = 2", "depth = 1"))
    words = ["matrix", "--simulated", "--smoke", "--config", str(tmp_path / "tiny.toml")]
    words += ["--tensorboard", "--runs", str(tmp_path), "--out", str(tmp_path / "out")]
    assert run.main(words) == 0
    log = EventAccumulator(str(tmp_path / "out" / "tensorboard"))
    log.Reload()
    assert {"mix/nll", "mix/loss", "simulated-fine/macro_f1"} <= set(log.Tags()["scalars"])
    assert [event.step for event in log.Scalars("mix/nll")] == [0, 1, 2, 3]


def test_pretraining_is_kept_and_not_run_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = {f"{k}/{n}.tif": tiff(1000 * k + n) for k in range(2) for n in range(40)}
    chips = write_folder(tmp_path / "other", other)
    config = tmp_path / "c.toml"
    config.write_text(
        'batch_size = 8\n[input]\nsize = 32\n[pretrain]\nname = "p"\nepochs = 1\nlr = 1e-3\n'
    )
    words = ["pretrain", str(chips), "--model", "cnn", "--config", str(config)]
    words += ["--runs", str(tmp_path / "runs")]
    assert run.main(words) == 0
    file = tmp_path / "runs" / "weights" / "cnn-width-1-sar.safetensors"
    written = file.stat().st_mtime_ns
    assert run.main(words) == 0
    assert file.stat().st_mtime_ns == written
    assert "is finished already" in capsys.readouterr().err


@pytest.mark.slow
def test_the_matrix_runs_all_five_models_and_writes_the_report(tmp_path: Path) -> None:
    words = ["matrix", "--simulated", "--smoke", "--runs", str(tmp_path)]
    assert run.main([*words, "--config", str(shallow(tmp_path))]) == 0
    folder = tmp_path / "matrix-simulated"
    models = {path.parts[-4] for path in folder.glob("cells/*/*/*/*/result.json")}
    assert models == set(MODELS)
    for name in ("report.html", "report.md"):
        assert "vgg16-pretrained" in (folder / name).read_text()


def shallow(folder: Path) -> Path:
    """TINY with all models and the base trainings alone, an epoch each."""
    content = TINY.replace('models = ["cnn"]\n', "vgg_width = 0.05\n")
    content = content.replace("depth = 2", "depth = 1").replace("epochs = 4", "epochs = 1")
    content += '[run.pretrain]\nname = "pretrain"\nepochs = 1\nlr = 1e-3\n'
    (folder / "shallow.toml").write_text(content)
    return folder / "shallow.toml"


@pytest.mark.slow
def test_a_run_killed_at_any_moment_ends_with_the_same_model(tmp_path: Path) -> None:
    """SIGKILL, at moments that differ from run to run, until the run is through."""
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    assert train(undisturbed).wait(timeout=240) == 0
    for patience in (7.0, 8.0, 9.0):
        process = train(killed)
        try:
            process.wait(timeout=patience)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait(timeout=10)
    assert train(killed).wait(timeout=240) == 0
    histories = [next(f.glob("ship-*/history.jsonl")) for f in (undisturbed, killed)]
    assert histories[0].read_text() == histories[1].read_text()
    metrics = [path.with_name("metrics.json").read_text() for path in histories]
    assert metrics[0] == metrics[1]
    assert not list(killed.glob("*.half"))


def train(runs: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "training.run", "--simulated", "--smoke", "--runs", str(runs)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)
