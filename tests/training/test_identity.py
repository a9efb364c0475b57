"""A run's identity: what may go on in its folder, what a finished one may answer for, and how the
model that it leaves is named."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from rich.console import Console

from shipchip.classifier import ShipClassifier
from tests.training.archives import own_chips, tiff, write_folder
from tests.training.test_processes import ROOT
from training import commands, run
from training import identity as provenance
from training.config import ModelConfig
from training.identity import locked
from training.network.models import build, copy_state
from training.network.weight_files import write_tensors

pytestmark = pytest.mark.slow

TINY = """
folds = 0
members = 1
batch_size = 8
[experts]
share = 0
[model]
name = "cnn"
[input]
size = 16
spacing_m = 18.0
[[stages]]
name = "first"
epochs = 2
lr = 1e-3
[[stages]]
name = "second"
epochs = 2
lr = 1e-3
[[stages]]
name = "third"
sources = ["opensarship*"]
epochs = 2
lr = 1e-3
"""


class Killed(BaseException):
    """Stands for SIGKILL: nothing of the process is left but its files."""


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "console", Console(stderr=True, width=400))
    monkeypatch.setattr(provenance, "CODE", "a" * 40)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Chips and a config; a run in the folder `runs`, finished by the code "aaaa…"."""
    folder = tmp_path_factory.mktemp("home")
    own_chips(folder, 10)
    other = {f"sea/{n}.tif": tiff(500 + n) for n in range(3)}
    write_folder(folder / "other", other)
    (folder / "tiny.toml").write_text(TINY)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(provenance, "CODE", "a" * 40)
        assert run.main(words(folder, folder / "runs")) == 0
    return folder


def words(home: Path, runs: Path, *more: str) -> list[str]:
    given = ["--data", str(home / "own"), "--config", str(home / "tiny.toml")]
    return [*given, "--runs", str(runs), *more]


@pytest.fixture
def finished(home: Path, tmp_path: Path) -> Path:
    """A copy of the finished run's `runs`."""
    return Path(shutil.copytree(home / "runs", tmp_path / "runs"))


@pytest.fixture
def killed(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`runs` with a run that was killed when everything but the export was done."""
    with monkeypatch.context() as patch:
        patch.setattr(commands, "finish_run", dies)
        with pytest.raises(Killed):
            run.main(words(home, tmp_path / "runs"))
    return tmp_path / "runs"


def dies(*_: object, **__: object) -> None:
    raise Killed


def message(capsys: pytest.CaptureFixture[str], pattern: str) -> str:
    (line,) = [text for text in capsys.readouterr().err.splitlines() if re.search(pattern, text)]
    return line


def folder_of(runs: Path) -> Path:
    (folder,) = runs.glob("ship-*")
    return folder


def test_a_killed_run_does_not_go_on_with_other_code(
    home: Path, killed: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provenance, "CODE", "b" * 40)
    assert run.main(words(home, killed)) == 1
    line = message(capsys, "^run_changed: ")
    assert f"code {'a' * 12} (now {'b' * 12})" in line
    assert "delete the folder to start anew, or add --accept-changes" in line
    assert not list(killed.glob("ship-*/ship.onnx"))


def test_a_killed_run_goes_on_with_other_code_where_that_is_accepted_and_its_card_names_both(
    home: Path, killed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provenance, "CODE", "b" * 40)
    assert run.main(words(home, killed, "--accept-changes")) == 0
    training = ShipClassifier(folder_of(killed) / "ship.onnx").card.training
    assert [maker["code"] for maker in training["made_by"]] == ["a" * 40, "b" * 40]


def test_a_killed_run_does_not_go_on_with_another_torch(
    home: Path, killed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = folder_of(killed) / "run.json"
    content = json.loads(record.read_text())
    content["made_by"][0]["torch"] = "1.0.0"
    record.write_text(json.dumps(content))
    assert run.main(words(home, killed)) == 1
    assert "torch 1.0.0 (now " in message(capsys, "^run_changed: ")


def test_a_killed_run_that_does_not_say_its_code_is_refused(
    home: Path, killed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder_of(killed) / "run.json").unlink()
    assert run.main(words(home, killed, "--accept-changes")) == 1
    assert "does not say which code began it" in message(capsys, "^run_changed: ")


def test_a_finished_run_does_not_answer_for_other_code(
    home: Path,
    finished: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(provenance, "CODE", "b" * 40)
    assert run.main(words(home, finished)) == 1
    assert f"code {'a' * 12} (now {'b' * 12})" in message(capsys, "^run_changed: ")


def test_a_finished_run_is_measured_on_other_chips_when_they_are_given_later(
    home: Path, finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = folder_of(finished) / "ship.onnx"
    before = ShipClassifier(file).card
    ood = ("--ood", str(home / "other"))
    assert run.main(words(home, finished, *ood)) == 0
    after = ShipClassifier(file).card
    assert before.metrics["out_of_distribution"] is None
    assert after.metrics["out_of_distribution"]["kinds"]["sea"]["chips"] == 3
    assert json.loads((file.parent / "metrics.json").read_text()) == after.metrics
    assert after.metrics["sources"] == before.metrics["sources"]
    assert after.version != before.version
    written = file.read_bytes()
    capsys.readouterr()
    for more in (ood, ()):  # the figures are there, and stay
        assert run.main(words(home, finished, *more)) == 0
        assert "is finished already; delete it" in message(capsys, "finished already")
        assert file.read_bytes() == written


def test_the_card_names_the_stages_that_ran(finished: Path) -> None:
    folder = folder_of(finished)
    protocol = ShipClassifier(folder / "ship.onnx").card.training["protocol"]
    assert protocol.startswith("first then second; ")
    assert protocol.endswith("; third skipped: no training chip of opensarship*")
    lines = (folder / "history.jsonl").read_text().splitlines()
    assert {json.loads(line)["stage"] for line in lines} == {"first", "second"}


def test_models_of_other_seeds_have_other_versions(
    home: Path, tmp_path: Path, finished: Path
) -> None:
    assert run.main(words(home, tmp_path / "second", "--seed", "1")) == 0
    files = [folder_of(runs) / "ship.onnx" for runs in (finished, tmp_path / "second")]
    versions = {ShipClassifier(file).card.version for file in files}
    assert len(versions) == 2
    assert all(re.fullmatch(r"0\.1\.0\+[0-9a-f]{12}", version) for version in versions)


def test_runs_from_other_weights_are_other_runs(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file keeps its name, and what it holds changes between two calls."""
    monkeypatch.setattr(commands, "train_networks", dies)
    weights, runs = tmp_path / "features.safetensors", tmp_path / "runs"
    for seed in (1, 2):
        torch.manual_seed(seed)
        write_tensors(weights, copy_state(build(ModelConfig(name="cnn", width=1.0), 2)))
        for _ in range(2):
            with pytest.raises(Killed):
                run.main(words(home, runs, "--pretrained", str(weights)))
    assert len(list(runs.glob("ship-*"))) == 2


def test_a_model_file_names_no_folder_of_the_machine(finished: Path) -> None:
    content = (folder_of(finished) / "ship.onnx").read_bytes()
    assert str(ROOT).encode() not in content
    assert sys.prefix.encode() not in content


def test_a_run_killed_once_it_is_finished_is_not_trained_again(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(commands, "clear_stages", dies)
        with pytest.raises(Killed):
            run.main(words(home, tmp_path / "runs"))
    capsys.readouterr()
    monkeypatch.setattr(commands, "train_networks", dies)
    assert run.main(words(home, tmp_path / "runs")) == 0
    assert "is finished already" in capsys.readouterr().err
    folder = folder_of(tmp_path / "runs")
    assert not (folder / "stages").exists()
    assert not folder.name.endswith(".half")


@pytest.mark.parametrize("state", ["killed", "finished"])
def test_two_runs_at_once_in_one_folder_are_refused(
    state: str, home: Path, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    runs: Path = request.getfixturevalue(state)
    capsys.readouterr()
    with locked(folder_of(runs)):
        assert run.main(words(home, runs)) == 1
    assert "another process is at work in" in message(capsys, "^run_busy: ")


def test_a_matrix_folder_in_use_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["matrix", "--simulated", "--smoke", "--models", "cnn", "--runs", str(tmp_path)]
    with locked(tmp_path / "out"):
        assert run.main([*given, "--out", str(tmp_path / "out")]) == 1
    assert "another process is at work in" in message(capsys, "^run_busy: ")


def git(folder: Path, *more: str) -> None:
    who = ["-c", "user.name=n", "-c", "user.email=e", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *who, *more], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout of two tiny packages and a README."""
    for name in ("shipchip/a.py", "training/b.py", "README.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x = 1\n")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "first")
    return tmp_path


def test_code_is_identified_by_its_commit(checkout: Path) -> None:
    first = provenance.code_of(checkout)
    assert re.fullmatch("[0-9a-f]{40}", first)
    (checkout / "README.md").write_text("other words")
    assert provenance.code_of(checkout) == first, "no result depends on it"
    git(checkout, "commit", "-qam", "second")
    assert provenance.code_of(checkout) != first


@pytest.mark.parametrize("file", ["training/b.py", "shipchip/a.py", "training/new.py"])
def test_code_that_is_not_as_committed_is_other_code(file: str, checkout: Path) -> None:
    commit = provenance.code_of(checkout)
    (checkout / file).write_text("x = 2\n")
    changed = provenance.code_of(checkout)
    (checkout / file).write_text("x = 3\n")
    again = provenance.code_of(checkout)
    assert changed != again
    assert all(code.startswith(f"{commit}+changed.") for code in (changed, again))
    assert provenance.short(changed) == commit[:12] + changed[40:]


@pytest.mark.parametrize("where", ["outside", "inside another checkout"])
def test_code_without_a_checkout_is_identified_by_its_sources(where: str, checkout: Path) -> None:
    if where == "outside":
        shutil.rmtree(checkout / ".git")
        root = checkout
    else:
        (checkout / ".gitignore").write_text("installed\n")
        root = checkout / "installed"
        for package in ("shipchip", "training"):
            shutil.copytree(checkout / package, root / package)
    before = provenance.code_of(root)
    assert re.fullmatch(r"0\.1\.0\+[0-9a-f]{12}", before)
    (root / "training" / "__pycache__").mkdir()
    (root / "training" / "__pycache__" / "b.pyc").write_text("compiled")
    assert provenance.code_of(root) == before
    (root / "training" / "b.py").write_text("x = 2\n")
    assert provenance.code_of(root) != before


def test_sigkill_then_a_commit_then_the_same_command(home: Path, tmp_path: Path) -> None:
    """With real processes and a real checkout: the second code does not go on with the first's."""
    source, runs = tmp_path / "source", tmp_path / "runs"
    for package in ("shipchip", "training"):
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, source / package, ignore=ignore)
    git(source, "init", "-q")
    git(source, "add", ".")
    git(source, "commit", "-qm", "first")
    (tmp_path / "long.toml").write_text(TINY.replace("epochs = 2", "epochs = 5000", 1))

    given = ["--data", str(home / "own"), "--config", str(tmp_path / "long.toml")]
    command = [sys.executable, "-m", "training.run", *given, "--runs", str(runs)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(source)}

    def refused(code: str) -> bool:
        done = subprocess.run(
            command, cwd=source, env=environment, capture_output=True, text=True, check=False
        )
        return done.returncode == 1 and f"{code}: " in done.stderr

    with subprocess.Popen(
        command, cwd=source, env=environment, stderr=subprocess.PIPE, text=True
    ) as first:
        try:
            wait_for(lambda: bool(list(runs.glob("ship-*.half/run.json"))), first)
            assert refused("run_busy")
        finally:
            first.send_signal(signal.SIGKILL)
    with (source / "training" / "network" / "losses.py").open("a") as file:
        file.write("\n# another formula\n")
    git(source, "commit", "-qam", "second")
    assert refused("run_changed")


def wait_for(there: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 120
    while not there():
        assert process.poll() is None, process.stderr and process.stderr.read()
        assert time.monotonic() < end
        time.sleep(0.1)
