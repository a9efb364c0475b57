"""Runs that are killed, cut into shards, or spread: in the end the same rows, byte for byte."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from serving.batch.command import main
from serving.batch.outputs.pictures import MARKER
from tests.serving.server import ROOT, environment

pytestmark = pytest.mark.slow

CHIPS = 150


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory, png: dict[str, bytes]) -> Path:
    """A folder of good chips with a bad one here and there."""
    folder = tmp_path_factory.mktemp("many")
    contents = [*png.values(), b"", *png.values(), png["Cargo"][:200]]
    for number in range(CHIPS):
        (folder / f"{number:04d}.png").write_bytes(contents[number % len(contents)])
    return folder


@pytest.fixture(scope="module")
def whole(many: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The CSV of an undisturbed run."""
    out = tmp_path_factory.mktemp("whole") / "out.csv"
    assert run(many, model, out).wait(60) == 1
    return out.read_bytes()


@pytest.fixture(autouse=True)
def _model(batch_model: None) -> None:
    """Batches of this module run the tiny model."""


def run(folder: Path, model: Path, out: Path, *more: str) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "serving.batch", str(folder), "--out", str(out)]
    return subprocess.Popen(
        [*command, "--batch-size", "3", "--workers", "2", *more],
        cwd=ROOT,
        env=environment(model),
        stderr=subprocess.DEVNULL,
    )


def test_killed_again_and_again_and_resumed_it_gives_the_same_bytes(
    many: Path, model: Path, whole: bytes, tmp_path: Path
) -> None:
    out, draw = tmp_path / "out.csv", random.Random(0)
    partial = tmp_path / ".out.csv.partial"
    cut: list[int] = []
    for _ in range(8):
        process = run(many, model, out, "--resume")
        # From its very start to well into its rows: most of the time goes by before the first.
        end = time.monotonic() + draw.choice([draw.uniform(0, 1), 60])
        before = partial.stat().st_size if partial.exists() else 0
        step = draw.randrange(1, 3000)
        while time.monotonic() < end and process.poll() is None:
            if partial.exists() and partial.stat().st_size > before + step:
                break
            time.sleep(0.002)
        workers = psutil.Process(process.pid).children(recursive=True) if not process.poll() else []
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        _, alive = psutil.wait_procs(workers, timeout=10)
        assert alive == []  # workers do not outlive it
        cut.append(partial.stat().st_size if partial.exists() else -1)
        assert not out.exists() or out.read_bytes() == whole
    assert run(many, model, out, "--resume").wait(60) == 1
    assert out.read_bytes() == whole
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.csv", "out.csv.job.json"]
    assert len(set(cut)) > 2  # it was killed in several places


def test_a_resumed_run_that_was_finished_does_nothing(
    many: Path, model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.csv"
    assert run(many, model, out).wait(60) == 1
    before = out.stat().st_mtime_ns
    assert run(many, model, out, "--resume").wait(60) == 1
    assert out.stat().st_mtime_ns == before


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_shards_merged_are_the_whole(many: Path, tmp_path: Path, ending: str) -> None:
    size = ["--batch-size", "8", "--workers", "1"]
    alone = tmp_path / f"alone.{ending}"
    assert main([str(many), "--out", str(alone), *size]) == 1
    shards = [str(tmp_path / f"{i}.{ending}") for i in (3, 1, 2)]
    for i, shard in zip((3, 1, 2), shards, strict=True):
        assert main([str(many), "--out", shard, "--shard", f"{i}/3", *size]) == 1
    merged = tmp_path / f"merged.{ending}"
    assert main(["merge", *shards, "--out", str(merged)]) == 0
    assert merged.read_bytes() == alone.read_bytes()
    merged.unlink()
    assert main(["merge", *shards[:2], "--out", str(merged)]) == 2
    assert not merged.exists()


def test_any_number_of_workers_gives_the_same_bytes(
    many: Path, whole: bytes, tmp_path: Path
) -> None:
    for workers in ("1", "3"):
        out = tmp_path / f"{workers}.csv"
        assert main([str(many), "--out", str(out), "--workers", workers, "--batch-size", "3"]) == 1
        assert out.read_bytes() == whole


def test_a_worker_that_dies_ends_the_run_in_one_line_and_loses_no_row(
    many: Path, model: Path, whole: bytes, tmp_path: Path
) -> None:
    out = tmp_path / "out.csv"
    process = run(many, model, out)
    partial = tmp_path / ".out.csv.partial"
    while not (partial.exists() and partial.stat().st_size):
        time.sleep(0.005)
    for worker in psutil.Process(process.pid).children():
        if "spawn_main" in " ".join(worker.cmdline()):
            worker.send_signal(signal.SIGKILL)
            break
    assert process.wait(60) == 2
    assert run(many, model, out, "--resume").wait(60) == 1
    assert out.read_bytes() == whole


def test_interrupted_it_says_how_to_go_on(
    many: Path, model: Path, whole: bytes, tmp_path: Path
) -> None:
    out = tmp_path / "out.csv"
    command = [sys.executable, "-m", "serving.batch", str(many), "--out", str(out)]
    process = subprocess.Popen(
        [*command, "--batch-size", "3", "--workers", "2"],
        cwd=ROOT,
        env=environment(model),
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    partial = tmp_path / ".out.csv.partial"
    while not (partial.exists() and partial.stat().st_size):
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does it: to the workers, too
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert said == f"serving.batch: interrupted; {out} is not finished; continue with --resume\n"
    assert run(many, model, out, "--resume").wait(60) == 1
    assert out.read_bytes() == whole


def test_rows_in_a_pipe_are_those_of_the_file_and_a_closed_pipe_is_quiet(
    many: Path, model: Path, whole: bytes
) -> None:
    command = [sys.executable, "-m", "serving.batch", str(many), "--out", "-", "--batch-size", "3"]
    done = subprocess.run(
        command, cwd=ROOT, env=environment(model), capture_output=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, whole)
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment(model),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(30) == 0


def test_a_disk_that_fills_up_is_one_line_and_loses_no_row(
    many: Path, model: Path, whole: bytes, tmp_path: Path
) -> None:
    script = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000));"
        "from serving.batch.command import main; sys.exit(main(sys.argv[1:]))"
    )
    out = tmp_path / "out.csv"
    options = ["--out", str(out), "--batch-size", "3", "--workers", "1"]
    # A measurement of coverage would write a file, too, and fill the disk at another place.
    env = {k: v for k, v in environment(model).items() if not k.startswith("COVERAGE")}
    done = subprocess.run(
        [sys.executable, "-B", "-c", script, str(many), *options],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f"serving.batch: cannot write {out}: File too large; ")
    assert done.stderr.endswith(" rows are kept; continue with --resume\n")
    assert not out.exists()
    assert run(many, model, out, "--resume").wait(60) == 1
    assert out.read_bytes() == whole


def test_maps_and_sorted_chips_are_beside_the_rows_and_are_no_chips_themselves(
    tmp_path: Path, png: dict[str, bytes]
) -> None:
    folder = tmp_path / "chips"
    folder.mkdir()
    for label, content in png.items():
        (folder / f"{label}.png").write_bytes(content)
    (folder / "cut.png").write_bytes(png["Cargo"][:200])
    maps, crops = folder / "maps", folder / "crops"
    more = ["--maps", str(maps), "--crops-by-label", str(crops), "--batch-size", "2"]
    for _ in range(2):
        assert main([str(folder), "--out", str(tmp_path / "out.csv"), "--overwrite", *more]) == 1
    assert sorted(path.name for path in maps.iterdir()) == [
        MARKER,
        "00000000-Cargo.png.png",
        "00000001-Fishing.png.png",
        "00000002-Tanker.png.png",
    ]
    sorted_chips = {str(path.relative_to(crops)): path.resolve() for path in crops.rglob("*.png")}
    assert sorted_chips == {
        "Cargo/00000000-Cargo.png": folder / "Cargo.png",
        "Fishing/00000001-Fishing.png": folder / "Fishing.png",
        "Tanker/00000002-Tanker.png": folder / "Tanker.png",
        "failed/00000003-cut.png": folder / "cut.png",
    }
