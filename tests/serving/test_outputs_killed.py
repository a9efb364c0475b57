"""Locked, stopped, killed, on a full disk: a run that ends badly loses nothing."""

import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest

from serving.batch.outputs import place as place_module
from serving.batch.outputs import staging as staging_module
from serving.batch.outputs.place import Existing, job_path, open_locked
from serving.batch.outputs.staging import Staging
from serving.batch.rows import OutputError, partial_of
from tests.serving.outputs import job_for, names_of, row_of, run, undisturbed
from tests.serving.server import ROOT


def test_two_runs_on_one_output_do_not_mix(tmp_path: Path) -> None:
    names = names_of(10)
    out, job = tmp_path / "out.csv", job_for(names)
    with Staging.open(out, job, names):
        for existing in get_args(Existing):
            with pytest.raises(OutputError, match="another run is writing"):
                Staging.open(out, job, names, existing=existing)
        with Staging.open(tmp_path / "other.csv", job, names):
            pass
    assert run(out, names, job, existing="resume") == 3


def test_a_lock_on_a_file_that_is_gone_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run before ended between our opening of its staging and our locking of it."""
    path = tmp_path / "staging"
    path.write_text("old")
    taken, flock = [], place_module.fcntl.flock

    def late(descriptor: int, how: int) -> None:
        if not taken:
            path.unlink()
        taken.append(descriptor)
        flock(descriptor, how)

    monkeypatch.setattr(place_module.fcntl, "flock", late)
    descriptor = open_locked(path)
    assert len(taken) == 2
    with os.fdopen(descriptor, "rb") as file:
        assert file.read() == b""
    assert path.exists()


def _power_off(*_: object) -> None:
    raise RuntimeError("power off")


@pytest.mark.parametrize(
    "place", ["write_locked", "write_output_record", "sync_folder", "partial", "job"]
)
@pytest.mark.parametrize("shard", [None, (1, 1)])
def test_stopped_at_any_step_of_the_end_it_ends_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, shard: tuple[int, int] | None
) -> None:
    names = names_of(10)
    out, job = tmp_path / "out.csv", job_for(names, shard=shard)
    with monkeypatch.context() as patch, Staging.open(out, job, names) as staging:
        for first in (0, 4, 8):
            staging.write([row_of(i, names[i]) for i in range(first, min(first + 4, 10))])
        if place in ("partial", "job"):
            stop = {"partial": partial_of, "job": job_path}[place](out)
            unlink = Path.unlink

            def unlink_but(path: Path, missing_ok: bool = False) -> None:
                if path == stop:
                    raise RuntimeError("power off")
                unlink(path, missing_ok)

            patch.setattr(Path, "unlink", unlink_but)
        else:
            patch.setattr(staging_module, place, _power_off)
        with pytest.raises(RuntimeError, match="power off"):
            staging.finish()
    assert run(out, names, job, existing="resume") == 0
    assert out.read_bytes() == undisturbed(tmp_path, ".csv", names)
    left = {path.name for path in tmp_path.glob("*out.csv*")}
    assert left == {"out.csv", "out.csv.job.json"}


def test_a_fault_halfway_keeps_the_rows_and_the_earlier_output(tmp_path: Path) -> None:
    names = names_of(10)
    out = tmp_path / "out.csv"
    out.write_text("earlier")
    with pytest.raises(KeyboardInterrupt):
        _interrupted(out, names)
    assert out.read_text() == "earlier"
    assert run(out, names, job_for(names), existing="resume") == 2


def _interrupted(out: Path, names: list[str]) -> None:
    with Staging.open(out, job_for(names), names, existing="overwrite") as staging:
        staging.write([row_of(i, names[i]) for i in range(4)])
        raise KeyboardInterrupt


SCRIPT = """
import sys, time
from pathlib import Path
from serving.batch.outputs.staging import Staging
from tests.serving import outputs

class Slow(Staging):
    def write(self, rows):
        time.sleep(float(sys.argv[2]))
        super().write(rows)

outputs.Staging = Slow
names = outputs.names_of(int(sys.argv[3]))
print("begun", flush=True)
outputs.run(Path(sys.argv[1]), names, outputs.job_for(names, chunk=32), existing="resume")
"""


def _process(out: Path, pause: float, count: int) -> list[str]:
    return [sys.executable, "-c", SCRIPT, str(out), str(pause), str(count)]


@pytest.mark.slow
def test_killed_at_random_moments_and_resumed_it_is_the_same_output(tmp_path: Path) -> None:
    names = names_of(1000)
    expected = undisturbed(tmp_path, ".csv", names, chunk=32)
    out, moments = tmp_path / "out.csv", random.Random(6)
    kills = finished = 0
    while kills < 20:
        with subprocess.Popen(
            _process(out, 0.003, len(names)), cwd=ROOT, stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(moments.uniform(0, 0.06))
            process.send_signal(signal.SIGKILL)
        kills += process.returncode == -signal.SIGKILL
        if out.exists():
            assert out.read_bytes() == expected
        if process.returncode == 0:
            finished += 1
            out.unlink()
            assert finished < 20
    run(out, names, job_for(names, chunk=32), existing="resume")
    assert out.read_bytes() == expected
    assert {path.name for path in tmp_path.glob("*out.csv*")} == {"out.csv", "out.csv.job.json"}


def _small_disk(size: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


@pytest.mark.parametrize("size", [100, 30_000, 40_000])
def test_a_disk_that_fills_up_is_reported_and_what_was_done_is_kept(
    tmp_path: Path, size: int
) -> None:
    """At the job, which is not half written then, and at the rows."""
    names = names_of(200)
    out = tmp_path / "out.csv"
    done = subprocess.run(
        _process(out, 0, len(names)),
        cwd=ROOT,
        preexec_fn=_small_disk(size),
        capture_output=True,
        text=True,
        check=False,
    )
    assert f"OutputError: cannot write {out}: File too large" in done.stderr
    assert not out.exists()
    if size == 100:
        assert list(tmp_path.iterdir()) == []
    else:
        assert "rows are kept; continue with --resume" in done.stderr
        kept = partial_of(out).read_bytes().count(b"\n")
        assert run(out, names, job_for(names, chunk=32), existing="resume") == 7 - kept // 32 < 7
    run(out, names, job_for(names, chunk=32), existing="resume")
    assert out.read_bytes() == undisturbed(tmp_path, ".csv", names, chunk=32)


def test_a_disk_that_fills_up_at_the_end_keeps_all_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = names_of(10)
    out, job = tmp_path / "out.csv", job_for(names)
    with Staging.open(out, job, names) as staging:
        for first in (0, 4, 8):
            staging.write([row_of(i, names[i]) for i in range(first, min(first + 4, 10))])
        with monkeypatch.context() as patch:
            patch.setattr(place_module.os, "fsync", _full)
            with pytest.raises(OutputError, match="No space left on device; 10 rows are kept"):
                staging.finish()
    assert not out.exists()
    assert not (tmp_path / ".out.csv.new").exists(), "the disk is full"
    assert run(out, names, job, existing="resume") == 0
    assert out.read_bytes() == undisturbed(tmp_path, ".csv", names)


def _full(_: int) -> None:
    raise OSError(28, "No space left on device")
