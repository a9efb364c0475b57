"""Whose rows are they? An output holds the answers of one model, with one set of options, to the
chips as they are now; anything else is refused in one line."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from serving.batch.command import main
from serving.batch.outputs.job import read_output_record
from serving.batch.outputs.place import job_path, record_path
from serving.batch.rows import partial_of
from tests.serving.archives import write_tar, write_zip
from tests.serving.dozen import CHIPS, paths, write_dozen
from tests.serving.server import ROOT, environment
from tests.tiny_model import tiny_card, write_tiny_model


@pytest.fixture(autouse=True)
def _model(batch_model: None) -> None:
    """Batches of this module run the tiny model."""


@pytest.fixture
def chips(tmp_path: Path, png: dict[str, bytes]) -> Path:
    return write_dozen(tmp_path / "chips", png)


@pytest.fixture
def ship(tmp_path: Path) -> Path:
    """A model of the test's own, to be replaced."""
    return write_tiny_model(tmp_path / "ship.onnx")


def replace_while_it_starts(ship: Path, chips: Path, out: Path, *more: str) -> tuple[int, str]:
    """Exit status and standard error of a batch whose model file is replaced after it was opened.

    The list is a pipe: the run opens it when it has its own model, and waits there for the names.
    """
    names = out.parent / "names"
    os.mkfifo(names)
    command = [sys.executable, "-m", "serving.batch", "--list", str(names), "--out", str(out)]
    with subprocess.Popen(
        [*command, "--batch-size", "3", "--workers", "2", *more],
        cwd=ROOT,
        env=environment(ship, device="cpu"),
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        with names.open("w") as file:
            other = write_tiny_model(ship.with_name("new.onnx"), tiny_card(version="2"))
            other.replace(ship)
            file.writelines(f"{path}\n" for path in sorted(chips.iterdir()))
        _, said = process.communicate(timeout=120)
    return process.returncode, said


def test_a_model_that_is_replaced_while_the_workers_start_gives_no_rows(
    ship: Path, chips: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.csv"
    status, said = replace_while_it_starts(ship, chips, out)
    assert status == 2
    assert said.startswith(f"serving.batch: {ship} was replaced while it was being loaded: ")
    assert said.count("\n") == 1
    assert not out.exists()


@pytest.mark.slow
def test_the_actors_of_a_cluster_compare_the_model_as_well(
    ship: Path, chips: Path, tmp_path: Path
) -> None:
    pytest.importorskip("ray")
    out = tmp_path / "out.csv"
    status, said = replace_while_it_starts(ship, chips, out, "--engine", "ray")
    assert status == 2, said
    assert f"{ship} was replaced while it was being loaded: " in said.splitlines()[-1]
    assert not out.exists()


def refusal(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The line with which the batch refuses."""
    capsys.readouterr()
    assert main([str(argument) for argument in arguments]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    return said


def undo_the_end(out: Path) -> None:
    """Leave of a finished .jsonl what its run would have left if killed after its first chunk."""
    job = read_output_record(out).job
    lines = out.read_bytes().splitlines(keepends=True)
    partial_of(out).write_bytes(b"".join(lines[: job.chunk]))
    job_path(out).write_text(job.model_dump_json())
    out.unlink()
    record_path(out).unlink()


@pytest.mark.parametrize("shard", [[], ["--shard", "1/2"]], ids=["whole", "shard"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--pixel-spacing", "3"], "pixel_spacing is [3.0, 3.0], was null"),
        (["--quantity", "sigma0"], 'quantity is "sigma0", was "auto"'),
        (["--polarisation", "VV"], 'polarisation is "VV", was null'),
        (["--batch-size", "5"], "the chunk size is 5, was 3"),
        (["--maps", "maps"], 'maps is "maps", was null'),
        (["--model", "{other}"], "the model's version is 2, was 0.0.1-test"),
    ],
)
def test_a_finished_output_is_resumed_only_by_the_run_that_it_is_of(
    chips: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    shard: list[str],
    change: list[str],
    message: str,
) -> None:
    other = write_tiny_model(tmp_path / "other.onnx", tiny_card(version="2"))
    out = tmp_path / "out.csv"
    same = [chips, "--out", out, *shard, "--batch-size", "3", "--workers", "1"]
    assert main([*map(str, same)]) == 0
    before = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    changed = [*same, "--resume", *(word.format(other=other) for word in change)]
    said = refusal(capsys, *changed)
    assert said.startswith(f"serving.batch: cannot resume {out}, which is finished: ")
    assert message in said
    assert {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before
    assert main([*map(str, same), "--resume"]) == 0


@pytest.mark.parametrize("finished", [True, False], ids=["finished", "unfinished"])
@pytest.mark.parametrize("shard", [[], ["--shard", "1/1"]], ids=["whole", "shard"])
def test_a_chip_that_was_replaced_under_its_name_does_not_keep_its_old_row(
    chips: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    shard: list[str],
    finished: bool,
) -> None:
    out = tmp_path / "out.jsonl"
    options = [*shard, "--batch-size", "3", "--workers", "1"]
    assert main([str(chips), "--out", str(out), *options]) == 0
    if not finished:
        undo_the_end(out)
    first, second = chips / "00.png", chips / "01.png"
    first.write_bytes(second.read_bytes())
    said = refusal(capsys, chips, "--out", out, *options, "--resume")
    assert "chips were replaced or changed (their size, time or checksum)" in said
    assert main([str(chips), "--out", str(out), *options, "--overwrite"]) == 0


@pytest.mark.parametrize("archive", ["chips.zip", "chips.tar", "chips.tar.gz"])
def test_nor_does_a_member_of_an_archive(
    tmp_path: Path, png: dict[str, bytes], capsys: pytest.CaptureFixture[str], archive: str
) -> None:
    path, out = tmp_path / archive, tmp_path / "out.csv"

    def write(content: bytes) -> None:
        members = {"a.png": png["Cargo"], "b.png": content}
        if archive.endswith("zip"):
            write_zip(path, members)
        else:
            write_tar(path, members, "w:gz" if archive.endswith("gz") else "w")

    write(png["Fishing"])
    assert main([str(path), "--out", str(out)]) == 0
    os.utime(path)
    assert main([str(path), "--out", str(out), "--resume"]) == 0, "the same members, packed again"
    write(png["Tanker"])
    assert "chips were replaced" in refusal(capsys, path, "--out", out, "--resume")


def test_a_shard_looks_at_its_own_chips_only(
    chips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shards = [tmp_path / "1.csv", tmp_path / "2.csv"]
    for number, shard in enumerate(shards, 1):
        options = ["--shard", f"{number}/2", "--batch-size", "3", "--workers", "1"]
        assert main([str(chips), "--out", str(shard), *options]) == 0
    os.utime(chips / f"{CHIPS - 1:02d}.png", (0, 0))
    options = ["--batch-size", "3", "--resume"]
    assert main([str(chips), "--out", str(shards[0]), "--shard", "1/2", *options]) == 0
    said = refusal(capsys, chips, "--out", shards[1], "--shard", "2/2", *options)
    assert "chips were replaced" in said
    assert main(["merge", *map(str, shards), "--out", str(tmp_path / "out.csv")]) == 0


@pytest.mark.slow
def test_the_second_of_two_runs_on_one_output_is_refused(
    chips: Path, tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, command = tmp_path / "out.csv", [sys.executable, "-m", "serving.batch"]
    with subprocess.Popen(
        [*command, str(chips), "--out", str(out), "--batch-size", "3", "--workers", "2"],
        cwd=ROOT,
        env=environment(model, device="cpu"),
        stderr=subprocess.DEVNULL,
    ) as first:  # its workers need a while to start
        while not (tmp_path / ".out.csv.job").exists() and first.poll() is None:
            time.sleep(0.001)
        first.send_signal(signal.SIGSTOP)
        try:
            for how in ([], ["--resume"], ["--overwrite"], ["--shard", "1/2"]):
                assert "another run is writing" in refusal(capsys, chips, "--out", out, *how)
        finally:
            first.send_signal(signal.SIGCONT)
        assert first.wait(60) == 0
    assert len(paths(out)) == CHIPS


def test_shards_that_are_written_among_the_chips_are_no_chips(
    chips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shards = [str(chips / f"shard-{number}.jsonl") for number in (1, 2, 3)]
    for number, shard in enumerate(shards, 1):
        options = ["--shard", f"{number}/3", "--batch-size", "3", "--workers", "1"]
        assert main([str(chips), "--out", shard, *options]) == 0
        reported = f"left out, because earlier runs wrote it: {shards[0]}\n"
        assert (reported in capsys.readouterr().err) == (number > 1)
        if number == 2:
            undo_the_end(Path(shard))
    assert main([str(chips), "--out", shards[1], "--shard", "2/3", *options[2:], "--resume"]) == 0
    assert main(["merge", *shards, "--out", str(chips / "merged.csv")]) == 0
    assert main([str(chips), "--out", str(tmp_path / "again.csv")]) == 0
    assert len(paths(chips / "merged.csv")) == len(paths(tmp_path / "again.csv")) == CHIPS
