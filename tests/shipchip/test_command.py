"""The command `shipchip`: its help, what it hands on, and what it says if an extra is missing."""

import os
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from PIL import Image

from serving.batch.request import parse_merge, parse_request
from shipchip.command import COMMANDS, EXTRAS, main
from tests.tiny_model import draw_chip
from training.run import parser

ROOT = Path(__file__).parent.parent.parent
BATCH = ("classify", "merge")
TRAINING = ("train", "evaluate", "export", "promote", "matrix")
# The distributions whose module has another name.
MODULES = {
    "markdown-it-py": "markdown_it",
    "scikit-learn": "sklearn",
    "prometheus-client": "prometheus_client",
}


def run(*words: str, python: tuple[str, ...] = (), **variables: str) -> tuple[int, str, str]:
    """Exit status, output and messages of a process of its own, in the current folder."""
    done = subprocess.run(
        [sys.executable, *python, "-m", "shipchip.command", *words],
        env={**os.environ, "PYTHONPATH": str(ROOT), **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def help_of(name: str, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as end:
        main([name, "--help"])
    assert end.value.code == 0
    return capsys.readouterr().out


def test_help_shows_every_command_with_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    for name, command in COMMANDS.items():
        assert f"\n  {name} " in text
        assert f" shipchip {name} {command.example}\n" in text
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command_fits_80_columns_and_ends_with_its_example(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    text = help_of(name, capsys)
    assert text.startswith(f"usage: shipchip {name} [-h]")
    assert max(map(len, text.splitlines())) <= 80
    assert text.endswith(f"\nexample:\n  shipchip {name} {COMMANDS[name].example}\n")


@pytest.mark.parametrize("module", ["serving.batch", "training.run"])
def test_help_of_the_modules_fits_80_columns(module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", module, "--help"],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "80"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith(f"usage: python -m {module} ")
    assert max(map(len, done.stdout.splitlines())) <= 80


@pytest.mark.parametrize(
    ("words", "heavy"),
    [
        (["--help"], {"numpy", "rich", "pydantic", "onnxruntime", "bentoml", "torch"}),
        (["serve", "--help"], {"bentoml", "torch"}),
        (["classify", "--help"], {"bentoml", "torch", "ray", "pyarrow"}),
        (["train", "--help"], {"torch", "onnx", "sklearn", "matplotlib", "bentoml"}),
    ],
)
def test_help_waits_for_nothing_heavy(words: list[str], heavy: set[str]) -> None:
    script = f"""
import atexit, sys
from shipchip.command import main
atexit.register(lambda: print(*sys.modules, file=sys.stderr))
main({words!r})
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert set(done.stderr.split()) & heavy == set()


@pytest.mark.parametrize("name", BATCH + TRAINING)
def test_the_example_of_a_command_is_one_that_it_takes(name: str) -> None:
    words = shlex.split(COMMANDS[name].example)
    if name == "classify":
        assert parse_request(words).sources == ("chips/",)
    elif name == "merge":
        assert len(parse_merge(words, "shipchip merge").shards) == 2
    else:
        assert parser("shipchip").parse_args([name, *words]).command == name


def test_the_version_is_that_of_the_project(capsys: pytest.CaptureFixture[str]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"shipchip {project['version']}\n"


@pytest.mark.parametrize(
    ("words", "found"), [([], "no command given"), (["clasify"], "unknown command 'clasify'")]
)
def test_an_unknown_command_is_refused_with_those_that_there_are(
    words: list[str], found: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    said = capsys.readouterr().err
    assert said == f"shipchip: {found}; expected one of {', '.join(COMMANDS)}\n"


def test_the_rest_of_the_line_and_the_exit_status_are_those_of_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_model_file: Path
) -> None:
    """A relative SHIPCHIP_MODEL starts at the current folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.onnx").write_bytes(tiny_model_file.read_bytes())
    (tmp_path / "chips").mkdir()
    Image.fromarray(draw_chip("Cargo")).save(tmp_path / "chips" / "ship.png")
    (tmp_path / "chips" / "text.txt").write_text("no chip")
    words = ("classify", "chips", "--out", "-", "--format", "jsonl", "--workers", "1")
    status, out, _ = run(*words, SHIPCHIP_MODEL="own.onnx")
    assert status == 1
    assert out.count('"status": "ok"') == out.count('"status": "error"') == 1


def test_a_refusal_starts_with_the_command_that_was_given() -> None:
    status, _, said = run("classify", "--out", "answers.csv")
    assert (status, said.splitlines()) == (
        2,
        ["shipchip classify: no chips named; give a folder, an archive or --list"],
    )
    status, _, said = run("merge", "a.csv", "--out", "a.csv")
    assert status == 2
    assert said.startswith("shipchip merge: the output a.csv is one of the shards")


@pytest.mark.parametrize("name", [name for name, command in COMMANDS.items() if command.extras])
def test_a_missing_extra_is_one_line_with_the_command_that_installs_it(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`-S` leaves out every installed package."""
    monkeypatch.chdir(tmp_path)
    extras = COMMANDS[name].extras
    status, out, said = run(name, python=("-S",))
    assert (status, out) == (2, "")
    modules = ", ".join(module for extra in extras for module in EXTRAS[extra])
    assert said == (
        f"shipchip {name} needs {modules}; to install: "
        f"{sys.executable} -m pip install 'shipchip[{','.join(extras)}]'\n"
    )


def test_an_extra_that_is_there_is_not_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in (*EXTRAS["cpu"], *EXTRAS["serve"]):
        if name != "bentoml":
            (tmp_path / f"{name}.py").touch()
    status, _, said = run("serve", python=("-S",))
    assert status == 2
    assert said.startswith("shipchip serve needs bentoml; to install: ")
    assert said.endswith(" -m pip install 'shipchip[serve]'\n")


@pytest.mark.parametrize("extra", ["serve", "train"])
def test_the_modules_of_an_extra_are_those_of_the_project_file(extra: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = [line.partition(">=")[0] for line in project["optional-dependencies"][extra]]
    assert [MODULES.get(name, name) for name in names] == list(EXTRAS[extra])
