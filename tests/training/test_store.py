"""Prepared chips on disk: two commands at once, a full disk, a file that was changed."""

import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from shipchip.prepare import prepare
from training.config import DEFAULT_INPUT
from training.data.simulated import SimulatedSource
from training.data.store import prepare_all
from training.errors import DataInvalid

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SPEC = DEFAULT_INPUT
SOURCE = SimulatedSource({"Cargo": 100, "Fishing": 50, "Tanker": 50}, size=32)

# What a command does with the store: fill or read it, and look at every chip. It stops at its first
# chip until the file that is named second is there.
PREPARE = """
import sys, time
from pathlib import Path
from tests.training.test_store import SOURCE, SPEC
from training.data.store import prepare_all
store, go = map(Path, sys.argv[1:])
def on_chip():
    print("chip", flush=True)
    while not go.exists():
        time.sleep(0.01)
print("start", flush=True)
data = prepare_all([SOURCE], SOURCE.index(), SPEC, store, on_chip)
print("empty", sum(not chip.any() for chip in data.inputs))
"""


def command(store: Path, go: Path = ROOT, limit: int | None = None) -> subprocess.Popen[str]:
    def limited() -> None:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    return subprocess.Popen(
        [sys.executable, "-c", PREPARE, str(store), str(go)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=limited,  # noqa: PLW1509 - the child starts no threads before exec
    )


def said(process: subprocess.Popen[str], word: str) -> None:
    assert process.stdout
    assert process.stdout.readline() == f"{word}\n"


def test_two_commands_at_once_prepare_each_chip_once(tmp_path: Path) -> None:
    store, go = tmp_path / "store", tmp_path / "go"
    first = command(store, go)
    said(first, "start")
    said(first, "chip")  # it has begun, and waits
    second = command(store, go)
    said(second, "start")
    time.sleep(0.5)  # whatever the second does about the first one's half-done chips
    go.touch()
    reported = [process.communicate(timeout=60) for process in (first, second)]
    assert [first.returncode, second.returncode] == [0, 0], reported
    assert "".join(out for out, _ in reported).count("chip\n") == len(SOURCE.index()) - 1
    assert all(out.endswith("empty 0\n") for out, _ in reported)
    prepared = prepare_all([SOURCE], SOURCE.index(), SPEC, store).inputs
    for row, record in enumerate(SOURCE.index()[::20]):
        assert np.array_equal(prepared[20 * row], prepare(SOURCE.read(record), SPEC).input)


def test_a_disk_without_room_is_reported_before_anything_is_decoded(tmp_path: Path) -> None:
    size = 4 * SPEC.size**2 * len(SOURCE.index())
    process = command(tmp_path / "store", limit=size // 2)
    out, error = process.communicate(timeout=60)
    assert process.returncode == 1  # not a signal
    assert f"prepared chips take {size / 2**20:.1f} MB" in error.splitlines()[-1]
    assert out == "start\n"
    assert not list((tmp_path / "store").glob("*.npy*"))


def test_a_full_file_system_is_an_error_and_no_signal(tmp_path: Path) -> None:
    mount = ["mount", "-t", "tmpfs", "-o", "size=1M", "tmpfs", str(tmp_path)]
    mounted = subprocess.run(mount, capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"a file system cannot be mounted here: {mounted.stderr.decode().strip()}")
    try:
        process = command(tmp_path / "store")
        _, error = process.communicate(timeout=60)
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
    assert process.returncode == 1
    assert "No space left on device: prepared chips take" in error.splitlines()[-1]


def test_chips_that_were_changed_on_disk_are_refused(tmp_path: Path) -> None:
    source = SimulatedSource({"Cargo": 2}, size=32)
    prepare_all([source], source.index(), SPEC, tmp_path)
    (path,) = tmp_path.glob("chips-*.npy")
    content = bytearray(path.read_bytes())
    content[-4 * SPEC.size**2 :] = bytes(4 * SPEC.size**2)  # the last chip is all zeros
    path.write_bytes(content)
    with pytest.raises(DataInvalid, match=r"is not what was written there .*; delete it, and run"):
        prepare_all([source], source.index(), SPEC, tmp_path)


def test_what_a_killed_command_left_is_prepared_again(tmp_path: Path) -> None:
    store = tmp_path / "store"
    killed = command(store, tmp_path / "never")
    said(killed, "start")
    said(killed, "chip")
    killed.kill()
    killed.communicate()
    assert not list(store.glob("*.npy"))
    out, _ = command(store).communicate(timeout=60)
    assert out.endswith("empty 0\n")
    assert not list(store.glob(".*"))
