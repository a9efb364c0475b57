"""The commands as a user types them: what they print, what they write, how they refuse."""

import json
import math
import re
import signal
import sys
import time
from collections import Counter
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import torch
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.training.archives import own_chips, tiff, write_folder
from tests.training.test_processes import TINY
from training import run
from training.config import DEFAULT_INPUT
from training.data.class_folders import FolderSource
from training.data.store import prepare_all
from training.errors import ConfigInvalid
from training.fit.checkpoint import Checkpoint
from training.fit.progress import Epoch, OnEpoch
from training.fit.trackers import mlflow, tensorboard, together
from training.matrix.command import MatrixRequest
from training.matrix.config import MODELS
from training.retrain import unfinished_folder


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "console", Console(stderr=True, width=200))
    monkeypatch.setenv("COLUMNS", "200")


def test_data_prints_what_was_found_and_writes_the_manifest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chips = own_chips(tmp_path, 10)
    (chips / "Cargo" / "copy.tif").write_bytes((chips / "Cargo" / "0.tif").read_bytes())
    manifest = tmp_path / "new" / "manifest.jsonl"
    words = ["data", str(chips), "--manifest", str(manifest), "--runs", str(tmp_path / "runs")]
    assert run.main(words) == 0
    reported = capsys.readouterr()
    (cargo,) = [line for line in reported.out.splitlines() if "Cargo" in line]
    assert [word for word in cargo.split() if word.isdigit()] == ["11", "8", "1", "1", "10"]
    assert "own: there is no Fishing chip" in reported.err
    assert "own: 1 byte-identical repeats are left out" in reported.err
    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    assert Counter(line["label"] for line in lines) == {"Cargo": 10, "Tanker": 10}
    assert all(len(line["sha256"]) == 64 for line in lines)


def test_data_refuses_chips_that_cannot_be_read_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chips = own_chips(tmp_path, 10)
    (chips / "Tanker" / "3.tif").write_bytes(tiff(1)[:60])
    manifest = tmp_path / "manifest.jsonl"
    assert run.main(["data", str(chips), "--manifest", str(manifest)]) == 1
    reported = capsys.readouterr().err
    assert "own Tanker/3.tif: truncated" in reported
    assert "1 of 20 chips cannot be read" in reported
    assert not manifest.exists()


@pytest.mark.data
@pytest.mark.slow
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
    ("words", "message"),
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
        (
            ["--simulated", "--smoke", "--pretrain", "x", "--pretrained", "f.pt"],
            "config_invalid: --pretrain learns features, and --pretrained f.pt takes others",
        ),
        (
            ["matrix", "--simulated", "--smoke", "--pretrain", "x", "--pretrained", "imagenet"],
            "config_invalid: --pretrain learns features, and --pretrained imagenet takes others",
        ),
        (
            ["matrix", "--simulated", "--smoke", "--pretrain", "x", "--models", "cnn", "vgg16"],
            "config_invalid: --pretrain is for models named -pretrained, found cnn, vgg16 alone",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if "--simulated" in words:
        words = [*words, "--runs", str(tmp_path)]
    assert run.main(words) == 1
    (line,) = [w for w in capsys.readouterr().err.splitlines() if re.search(message, w)]
    assert line


@pytest.mark.slow
def test_a_full_disk_is_reported_and_leaves_nothing_that_looks_finished(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("training.matrix.run.write_cell", full)
    (tmp_path / "tiny.toml").write_text(TINY)
    words = ["matrix", "--simulated", "--smoke", "--config", str(tmp_path / "tiny.toml")]
    assert run.main([*words, "--runs", str(tmp_path), "--out", str(tmp_path / "out")]) == 1
    reported = capsys.readouterr().err
    assert "No space left on device" in reported
    assert "run the same command again: it continues" in reported
    assert not list(tmp_path.rglob("result.json"))
    assert not (tmp_path / "out" / "report.html").exists()


def test_test_chips_are_not_pretrained_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chips = own_chips(tmp_path, 10)
    words = ["--data", str(chips), "--pretrain", str(chips), "--runs", str(tmp_path / "runs")]
    assert run.main(words) == 1
    assert "leak: chip" in capsys.readouterr().err
    assert not list(tmp_path.glob("runs/*.half"))


def test_the_store_keeps_chips_of_another_extent_apart(tmp_path: Path) -> None:
    chips, spec = own_chips(tmp_path, 10), DEFAULT_INPUT
    sources = [FolderSource(chips, extent_m=extent) for extent in (100.0, 300.0)]
    near, far = (prepare_all([s], s.index(), spec, tmp_path / "store") for s in sources)
    assert not (near.inputs == far.inputs).all()


def test_names_with_dots_do_not_share_a_folder(tmp_path: Path) -> None:
    folders = [tmp_path / f"ship-v1.2-{n}" for n in ("aa", "bb")]
    assert len({unfinished_folder(folder) for folder in folders}) == 2
    assert unfinished_folder(folders[0]).name == "ship-v1.2-aa.half"


@pytest.mark.slow
def test_tensorboard_logs_every_epoch(tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text(TINY.replace("depth = 2", "depth = 1"))
    words = ["matrix", "--simulated", "--smoke", "--config", str(tmp_path / "tiny.toml")]
    words += ["--tensorboard", "--runs", str(tmp_path), "--out", str(tmp_path / "out")]
    assert run.main(words) == 0
    for path in ("mix", "simulated-fine"):
        log = logged(tmp_path / "out" / "tensorboard" / "default" / "cnn" / "seed-0" / path)
        assert log == {name: [0, 1, 2, 3] for name in ("loss", "nll", "macro_f1")}


def logged(folder: Path) -> dict[str, list[int]]:
    """Name of a figure -> the epochs that TensorBoard shows of it, all files of a folder joined."""
    log = EventAccumulator(str(folder))
    log.Reload()
    return {name: [e.step for e in log.Scalars(name)] for name in log.Tags()["scalars"]}


def test_tensorboard_keeps_models_and_seeds_apart(tmp_path: Path) -> None:
    hook = tensorboard(tmp_path)
    for stage in ("default/cnn/seed-0/mix", "default/cnn/seed-1/mix", "default/vgg16/seed-0/mix"):
        hook(Epoch(stage, 0, 1.0, 1.0, 1.0))
    assert {log.parent.relative_to(tmp_path).as_posix() for log in tmp_path.rglob("events*")} == {
        "default/cnn/seed-0/mix",
        "default/cnn/seed-1/mix",
        "default/vgg16/seed-0/mix",
    }


def test_every_tracker_gets_every_epoch(tmp_path: Path) -> None:
    seen: list[Epoch] = []
    hook = together([seen.append, tensorboard(tmp_path), seen.append])
    epoch = Epoch("base", 0, 1.0, 1.0, 1.0)
    hook(epoch)
    assert seen == [epoch, epoch]
    assert logged(tmp_path / "base") == {name: [0] for name in ("loss", "nll", "macro_f1")}


def test_without_mlflow_one_line_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(ConfigInvalid, match="--mlflow needs the package mlflow: pip install"):
        mlflow(tmp_path)


def test_mlflow_keeps_a_stage_in_one_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if the command is run again; an epoch without a validation side lacks two figures."""
    client = pytest.importorskip("mlflow").MlflowClient
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "tracked").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    for number in (0, 1):
        hook = mlflow(tmp_path / "ship-1.half")
        hook(Epoch("model/base", number, 0.5, math.nan, math.nan))
    mlflow(tmp_path / "ship-1", writes=False)(Epoch("model/base", 2, 0.5, 1, 1))
    (experiment,) = [e for e in client().search_experiments() if e.name == "shipchip"]
    (run,) = client().search_runs([experiment.experiment_id])
    assert run.info.run_name == "ship-1/model/base"
    history = client().get_metric_history(run.info.run_id, "loss")
    assert [(metric.step, metric.value) for metric in history] == [(0, 0.5), (1, 0.5)]
    assert set(run.data.metrics) == {"loss"}


@pytest.mark.parametrize("checkpoint_every_s", [0.0, 3600.0])
@pytest.mark.slow
def test_a_run_that_goes_on_logs_no_epoch_twice(
    checkpoint_every_s: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither those that its checkpoint holds nor those that it runs again for want of one."""
    monkeypatch.setattr(Checkpoint.__init__, "__defaults__", (checkpoint_every_s,))
    (tmp_path / "tiny.toml").write_text(TINY.replace("depth = 2", "depth = 1"))
    words = ["matrix", "--simulated", "--smoke", "--config", str(tmp_path / "tiny.toml")]
    words += ["--tensorboard", "--runs", str(tmp_path), "--out", str(tmp_path / "out")]

    class Killed(BaseException):
        pass

    def logs_then_dies(folder: Path, writes: bool) -> OnEpoch:
        hook = tensorboard(folder, writes)

        def log(epoch: Epoch) -> None:
            hook(epoch)
            if epoch.epoch == 2:
                raise Killed

        return log

    with monkeypatch.context() as patch:
        patch.setattr("training.requests.tensorboard", logs_then_dies)
        with pytest.raises(Killed):
            run.main(words)
    assert run.main(words) == 0
    folders = [path.parent for path in (tmp_path / "out" / "tensorboard").rglob("events*")]
    assert len(folders) == len(set(folders)) + 1, "two processes logged the cell that was killed"
    for folder in folders:
        assert logged(folder) == {name: [0, 1, 2, 3] for name in ("loss", "nll", "macro_f1")}


@pytest.mark.slow
def test_a_report_is_about_all_seeds_that_its_folder_holds(tmp_path: Path) -> None:
    config = TINY.replace("depth = 2", "depth = 1").replace("epochs = 4", "epochs = 1")
    (tmp_path / "tiny.toml").write_text(config)
    words = ["matrix", "--simulated", "--smoke", "--config", str(tmp_path / "tiny.toml")]
    words += ["--runs", str(tmp_path), "--out", str(tmp_path / "out")]
    for seeds in (["--seeds", "2"], ["--seed", "1"]):
        assert run.main([*words, *seeds]) == 0
        report = (tmp_path / "out" / "report.md").read_text()
        (line,) = [row for row in report.splitlines() if row.startswith("| seeds |")]
        assert line.split("|")[2].strip() in ("0, 1", "0 and 1"), seeds
    held = json.loads((tmp_path / "out" / "config.json").read_text())
    assert held["seeds"] == [0, 1]


def chips_of(folder: Path, **ships: list[str]) -> Path:
    """Class folders; each class has a chip of each of the ships named."""
    chips = {
        f"{label}/{n}.tif": tiff(100 * k + n)
        for k, (label, names) in enumerate(ships.items())
        for n in range(len(names))
    }
    chips["groups.csv"] = b"path,group\n" + b"".join(
        f"{label}/{n}.tif,{name}\n".encode()
        for label, names in ships.items()
        for n, name in enumerate(names)
    )
    return write_folder(folder / "own", chips)


@pytest.mark.parametrize("folds", [0, 2])
def test_an_empty_class_folder_is_refused_before_anything_is_trained(
    folds: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chips = chips_of(tmp_path, Cargo=[str(n) for n in range(8)])
    (chips / "Tanker").mkdir()
    assert run.main(few(chips, tmp_path, folds)) == 1
    assert "data_invalid: the chips to train on are of 1 class (Cargo)" in capsys.readouterr().err
    assert not list(tmp_path.glob("runs/ship-*"))


def test_one_ship_of_a_class_is_refused_before_anything_is_trained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    many = [str(n) for n in range(8)]
    chips = chips_of(tmp_path, Cargo=many, Tanker=["x", "y", "z"])
    assert run.main(few(chips, tmp_path, folds=0)) == 1
    reported = "data_invalid: the chips to train on show one Tanker ship; at least two are needed"
    assert reported in capsys.readouterr().err
    assert not list(tmp_path.glob("runs/ship-*"))


def few(chips: Path, folder: Path, folds: int) -> list[str]:
    """The command that trains a tiny network on them."""
    config = f'folds = {folds}\nmembers = 1\n[model]\nname = "cnn"\n[input]\nsize = 16\n'
    config += '[[stages]]\nname = "only"\nepochs = 1\nlr = 1e-3\n'
    (folder / "few.toml").write_text(config)
    words = ["--data", str(chips), "--config", str(folder / "few.toml")]
    return [*words, "--runs", str(folder / "runs")]


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


def test_a_killed_pretraining_does_not_go_on_with_other_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = {f"{k}/{n}.tif": tiff(1000 * k + n) for k in range(2) for n in range(40)}
    chips = write_folder(tmp_path / "other", other)
    (tmp_path / "c.toml").write_text(
        'batch_size = 8\n[input]\nsize = 32\n[pretrain]\nname = "p"\nepochs = 2\nlr = 1e-3\n'
    )
    words = ["pretrain", str(chips), "--model", "cnn", "--config", str(tmp_path / "c.toml")]
    words += ["--runs", str(tmp_path / "runs")]

    class Killed(BaseException):
        pass

    def dies(*_: object) -> None:
        raise Killed

    monkeypatch.setattr(Checkpoint.__init__, "__defaults__", (0.0,))
    monkeypatch.setattr("training.pretrain.CODE", "a" * 40)
    with monkeypatch.context() as patch:
        patch.setattr("training.pretrain.save_features", dies)
        with pytest.raises(Killed):
            run.main(words)
    monkeypatch.setattr("training.pretrain.CODE", "b" * 40)
    assert run.main(words) == 1
    message = rf"is of \w+ by {'a' * 12}, expected \w+ by {'b' * 12}; delete it"
    assert re.search(message, capsys.readouterr().err)


@pytest.mark.slow
def test_the_matrix_runs_all_five_models_and_writes_the_report(tmp_path: Path) -> None:
    words = ["matrix", "--simulated", "--smoke", "--runs", str(tmp_path)]
    assert run.main([*words, "--config", str(shallow(tmp_path))]) == 0
    folder = tmp_path / "matrix-simulated-smoke"
    models = {path.parts[-4] for path in folder.glob("cells/*/*/*/*/result.json")}
    assert models == set(MODELS)
    for name in ("report.html", "report.md"):
        assert "vgg16-pretrained" in (folder / name).read_text()


@pytest.mark.slow
def test_a_smoke_matrix_is_twelve_trainings_and_says_that_its_figures_mean_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run.main(["matrix", "--simulated", "--smoke", "--runs", str(tmp_path)]) == 0
    folder = tmp_path / "matrix-simulated-smoke"
    assert len(list(folder.glob("cells/*/*/*/*/result.json"))) == 12
    reported = capsys.readouterr().err
    for text in (reported, *((folder / name).read_text() for name in ("report.html", "report.md"))):
        assert "smoke: these figures mean nothing" in text
    summary = reported[reported.index("smoke: these figures") :].splitlines()
    assert len(summary) == 1 + 10 + 1  # the warning, the summary, the path of the report
    assert "not measured" not in reported


def test_a_smoke_run_of_a_config_of_ones_own_is_one_too(tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text(TINY)
    words = ["matrix", "--simulated", "--config", str(tmp_path / "tiny.toml")]
    for given, expected in (([], False), (["--smoke"], True)):
        options = vars(run.parser("run").parse_args([*words, *given]))
        options.pop("command")
        assert MatrixRequest(**options).matrix_config().smoke is expected


def shallow(folder: Path) -> Path:
    """TINY with all models, each trained for an epoch on the mix alone, in few steps."""
    content = TINY.replace('models = ["cnn"]\n', "vgg_width = 0.05\n")
    content = content.replace("depth = 2", "depth = 1").replace("epochs = 4", "epochs = 1")
    content = content.replace('simulated-fine = ["simulated-fine"]\n', "")
    content = content.replace("batch_size = 16", "batch_size = 64")
    content = content.replace("size = 40\nspacing_m = 8.0", "size = 33\nspacing_m = 10.0")
    content += '[run.pretrain]\nname = "pretrain"\nepochs = 1\nlr = 1e-3\n'
    (folder / "shallow.toml").write_text(content)
    return folder / "shallow.toml"


# Three networks of two stages.
BRIEF = """
folds = 2
members = 1
batch_size = 16
[experts]
share = 0.75
[model]
name = "vgg16_bn"
width = 0.05
[input]
size = 32
spacing_m = 9.0
[[stages]]
name = "base"
sources = ["simulated-fine"]
epochs = 3
lr = 2e-3
[[stages]]
name = "fine-tune"
sources = ["*"]
epochs = 2
lr = 2e-3
"""


@pytest.mark.slow
def test_a_run_killed_at_any_moment_ends_with_the_same_model(tmp_path: Path) -> None:
    """SIGKILL at another moment of each try, until the run is through."""
    config, undisturbed, killed = (tmp_path / name for name in ("c.toml", "undisturbed", "killed"))
    config.write_text(BRIEF)
    assert ended(train(config, undisturbed)) == 0
    for stages in (1, 4):
        process = train(config, killed)
        while len(list(killed.glob("*.half/stages/**/*.safetensors"))) < stages:
            assert process.is_alive(), "it was to be killed before its end"
            time.sleep(0.01)
        time.sleep(0.1 * stages)  # within the next stage
        process.kill()
        assert ended(process) == -signal.SIGKILL
    assert ended(train(config, killed)) == 0
    histories = [next(f.glob("ship-*/history.jsonl")) for f in (undisturbed, killed)]
    assert histories[0].read_text() == histories[1].read_text()
    metrics = [path.with_name("metrics.json").read_text() for path in histories]
    assert metrics[0] == metrics[1]
    assert not list(killed.glob("*.half"))


def train(config: Path, runs: Path) -> BaseProcess:
    """The command in a process of its own, forked where its modules are imported already."""
    context = get_context("forkserver")
    context.set_forkserver_preload(["training.commands"])
    words = ["--simulated", "--smoke", "--config", str(config), "--runs", str(runs)]
    process = context.Process(target=command, args=(words,))
    process.start()
    return process


def command(words: list[str]) -> None:
    torch.set_num_threads(1)
    sys.exit(run.main(words))


def ended(process: BaseProcess) -> int | None:
    process.join(240)
    return process.exitcode
