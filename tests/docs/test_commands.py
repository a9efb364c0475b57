"""Every ```sh block of docs/*.md is run in a copy of the checkout, or at least parsed by a shell.

The blocks are run in order, as a reader would: one may use the files of an earlier one.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.docs.blocks import ROOT, Block, blocks
from tests.serving.server import serving
from tests.tiny_model import draw_chip, write_tiny_model

KEY = "a-key-for-the-documents"
# A block with one of these words is only parsed, for this reason. All others are run.
ONLY_READ = {
    "make image": "builds an image: minutes, a container engine, the network",
    "docker run": "needs a container engine and the image",
    "docker compose": "needs a container engine and fetches images",
    "kubectl set image": "needs a cluster",
    "kubectl create": "needs a cluster",
    "kubectl apply": "needs a cluster",
    "pip install": "fetches packages",
}
NOT_COPIED = shutil.ignore_patterns(
    ".*", "__pycache__", "*.egg-info", "runs", "build", "dist", "experiments", "tests"
)
BLOCKS = blocks("sh")
RUN = [block for block in BLOCKS if not any(word in block.text for word in ONLY_READ)]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy with the environments that `make` creates, and the files that the documents name."""
    place = tmp_path_factory.mktemp("checkout") / "shipchip"
    shutil.copytree(ROOT, place, ignore=NOT_COPIED)
    for name in ("dev", "serve"):
        (place / ".venv").mkdir(exist_ok=True)
        (place / ".venv" / name).symlink_to(sys.prefix)
    for folder, labels in (("chips", ("",)), ("my-chips", ("Cargo", "Fishing", "Tanker"))):
        for label in labels:
            (place / folder / label).mkdir(parents=True)
            for n in range(8):
                chip = draw_chip(label or "Cargo", seed=sum(label.encode()) * 10 + n)
                Image.fromarray(chip).save(place / folder / label / f"ship{n // 2}_{n % 2}.png")
    Image.fromarray(draw_chip("Cargo")).save(place / "chip.tiff")
    np.save(place / "other.npy", draw_chip("Tanker"), allow_pickle=False)
    return place


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[bool], str]]:
    """HOST:PORT of a service with or without a key, started at first use."""
    folder = tmp_path_factory.mktemp("services")
    model = write_tiny_model(folder / "tiny.onnx")
    started: dict[bool, str] = {}
    with ExitStack() as stack:

        def start(with_key: bool) -> str:
            if with_key not in started:
                key = {"api_key": KEY} if with_key else {}
                service = serving(model, folder / f"{with_key}.txt", **key)
                started[with_key] = stack.enter_context(service).base_url.netloc.decode()
            return started[with_key]

        yield start


def bash(script: str, place: Path, *options: str) -> subprocess.CompletedProcess[str]:
    slurm = {"CPUS_PER_TASK": "1", "ARRAY_TASK_ID": "1", "ARRAY_TASK_COUNT": "1"}
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("SHIPCHIP_", "SLURM_"))}
    given = {f"SLURM_{name}": value for name, value in slurm.items()} | {"KEY": KEY}
    return subprocess.run(
        ["bash", "-euo", "pipefail", *options, "-c", script],
        cwd=place,
        env={**kept, **given, "BENTOML_DO_NOT_TRACK": "True"},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )


@pytest.mark.parametrize("block", RUN, ids=str)
@pytest.mark.slow
def test_a_documented_command_succeeds(
    block: Block, checkout: Path, address: Callable[[bool], str]
) -> None:
    script = block.text
    if "kubectl" in script and not shutil.which("kubectl"):
        pytest.skip("kubectl is not there")
    if "localhost:3000" in script:
        script = script.replace("localhost:3000", address("$KEY" in script))
    ran = bash(script, checkout)
    assert ran.returncode == 0, f"{script}\n{ran.stdout}\n{ran.stderr}"


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_a_documented_command_is_valid_for_a_shell(block: Block, tmp_path: Path) -> None:
    ran = bash(block.text, tmp_path, "-n")
    assert ran.returncode == 0, ran.stderr
    assert not ran.stderr


@pytest.mark.parametrize("word", ONLY_READ)
def test_every_exception_is_still_needed(word: str) -> None:
    assert any(word in block.text for block in BLOCKS)


def test_most_commands_are_run() -> None:
    assert len(RUN) > len(BLOCKS) / 2


def test_every_make_target_that_is_named_is_there() -> None:
    """The targets are only looked up: `make` itself would install packages."""
    targets = {line.split(":")[0] for line in (ROOT / "Makefile").read_text().splitlines()}
    for block in BLOCKS:
        for line in block.text.splitlines():
            if line.startswith("make "):
                assert line.split()[1] in targets, block
