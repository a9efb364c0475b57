"""However a batch ends, its exit status can be trusted and nothing is left behind."""

import csv
import io
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

import psutil
import pytest

from tests.serving.archives import write_tar, write_zip
from tests.serving.server import ROOT, environment

pytestmark = pytest.mark.slow

COMMAND = [sys.executable, "-m", "serving.batch"]
# As a bare server has it: Python keeps to ASCII instead of turning to UTF-8.
ASCII = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}


@pytest.fixture(scope="module")
def chips(tmp_path_factory: pytest.TempPathFactory, png: dict[str, bytes]) -> Path:
    """Good chips, enough of them for several processes and a while."""
    folder = tmp_path_factory.mktemp("chips")
    for number in range(400):
        (folder / f"{number:04d}.png").write_bytes(png["Cargo"])
    return folder


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory, png: dict[str, bytes]) -> Path:
    folder = tmp_path_factory.mktemp("few")
    for label, content in png.items():
        (folder / f"{label}.png").write_bytes(content)
    return folder


@pytest.fixture
def start(model: Path) -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Starts a batch in a session of its own, as a terminal does; it ends with the test."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: object, **env: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [*COMMAND, *map(str, arguments), "--workers", "2", "--batch-size", "3"],
            cwd=ROOT,
            env=environment(model) | env,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def batch(
    model: Path, *arguments: str, cwd: Path = ROOT, env: Mapping[str, str] = MappingProxyType({})
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*COMMAND, *arguments],
        cwd=cwd,
        env={**environment(model), "PYTHONPATH": str(ROOT), **env},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def shell(model: Path, redirection: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """A batch with its streams redirected as a shell does."""
    return subprocess.run(
        ["sh", "-c", f'exec "$@" {redirection}', "sh", *COMMAND, *arguments],
        cwd=ROOT,
        env=environment(model),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def wait_for(what: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not what():
        assert time.monotonic() < end
        time.sleep(0.002)


def workers(process: "subprocess.Popen[str]") -> list[psutil.Process]:
    return [
        child
        for child in psutil.Process(process.pid).children()
        if "spawn_main" in " ".join(child.cmdline())
    ]


@pytest.mark.parametrize("stuck", [True, False])
def test_ctrl_c_twice_while_workers_start_ends_the_run_and_its_workers(
    start: Callable[..., "subprocess.Popen[str]"], chips: Path, tmp_path: Path, stuck: bool
) -> None:
    process = start(chips, "--out", tmp_path / "out.csv")
    wait_for(lambda: len(workers(process)) == 2)
    children = psutil.Process(process.pid).children()
    for worker in workers(process):
        if stuck:
            worker.suspend()
    time.sleep(0.2)
    os.killpg(process.pid, signal.SIGINT)
    time.sleep(0.3)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGINT)
    # The kernel acts on a second one: a shell says 130 then, too.
    assert process.wait(20) in (130, -signal.SIGINT)
    _, alive = psutil.wait_procs(children, timeout=20)
    assert alive == []


def test_ctrl_c_once_ends_the_run_though_its_workers_are_stuck(
    start: Callable[..., "subprocess.Popen[str]"], chips: Path, tmp_path: Path
) -> None:
    process = start(chips, "--out", tmp_path / "out.csv")
    wait_for(lambda: len(workers(process)) == 2)
    for worker in workers(process):
        worker.suspend()
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 130
    assert said.startswith("serving.batch: interrupted; ")
    assert said.count("\n") == 1


def test_a_second_ctrl_c_ends_even_a_run_that_takes_no_notice_of_the_first(model: Path) -> None:
    script = """
import sys, time
import serving.batch.command as command
from serving.batch.ending import run_guarded

def take_no_notice(*_):
    for _ in range(2):
        try:
            print("ready", flush=True)
            time.sleep(60)
        except BaseException:
            pass

command.run_batch = take_no_notice
sys.exit(run_guarded())
"""
    with subprocess.Popen(
        [sys.executable, "-c", script, "chips", "--out", "-"],
        cwd=ROOT,
        env=environment(model),
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        for _ in range(2):
            assert process.stdout.readline() == "ready\n"
            process.send_signal(signal.SIGINT)
        assert process.wait(20) == -signal.SIGINT


def test_ctrl_c_while_modules_are_imported_is_one_line(
    start: Callable[..., "subprocess.Popen[str]"], few: Path, tmp_path: Path
) -> None:
    process = start(few, "--out", tmp_path / "out.csv")
    maps = Path(f"/proc/{process.pid}/maps")
    wait_for(lambda: "numpy" in maps.read_text())  # the first of what takes time
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=20)
    assert (process.returncode, said.count("\n")) == (130, 1)
    assert said.startswith("serving.batch: interrupted")


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
def test_nothing_is_left_of_a_compressed_tar_however_the_run_ends(
    start: Callable[..., "subprocess.Popen[str]"],
    tmp_path: Path,
    png: dict[str, bytes],
    stop: signal.Signals,
) -> None:
    members = {f"{number:04d}.png": png["Cargo"] for number in range(400)}
    tar = write_tar(tmp_path / "chips.tgz", members, "w:gz")
    (tmp_path / "tmp").mkdir()
    out = tmp_path / "out.csv"
    process = start(tar, "--out", out, TMPDIR=str(tmp_path / "tmp"))
    partial = tmp_path / ".out.csv.partial"
    wait_for(lambda: partial.exists() and partial.stat().st_size)  # workers read the copy
    children = psutil.Process(process.pid).children()
    process.send_signal(stop)
    _, said = process.communicate(timeout=20)
    _, alive = psutil.wait_procs(children, timeout=20)
    assert alive == []
    assert list((tmp_path / "tmp").glob("*.chips")) == []
    if stop is not signal.SIGKILL:
        assert process.returncode == 128 + stop
        assert said == (
            f"serving.batch: interrupted; {out} is not finished; continue with --resume\n"
        )


def test_an_error_that_nobody_foresaw_is_exit_2_with_a_line_and_its_traceback(
    model: Path, few: Path, tmp_path: Path
) -> None:
    script = (
        "import serving.batch.command as c; c.run_batch = lambda *_: 1 / 0;"
        "from serving.batch.ending import run_guarded; raise SystemExit(run_guarded())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(few), "--out", str(tmp_path / "out.csv")],
        cwd=ROOT,
        env=environment(model),
        capture_output=True,
        text=True,
        check=False,
    )
    first, *rest = done.stderr.splitlines()
    assert done.returncode == 2
    assert first == ("serving.batch: a fault of the program: ZeroDivisionError: division by zero")
    assert rest[0] == "Traceback (most recent call last):"


def test_a_list_from_standard_input_that_is_closed_is_one_line(model: Path) -> None:
    done = shell(model, "<&-", "--list", "-", "--out", "-")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "serving.batch: cannot read the list: standard input is closed\n"


@pytest.mark.parametrize("redirection", ["2>&-", "2>/dev/full", "0<&- 2>&-"])
def test_standard_error_that_is_closed_or_full_changes_nothing(
    model: Path, few: Path, tmp_path: Path, redirection: str
) -> None:
    out = tmp_path / "out.csv"
    done = shell(model, redirection, str(few), "--out", str(out), "--batch-size", "1")
    assert (done.returncode, done.stdout) == (0, "")
    assert len(list(csv.DictReader(io.StringIO(out.read_text("utf-8-sig"))))) == 3
    done = shell(model, redirection, str(tmp_path / "missing"), "--out", str(out))
    assert done.returncode == 2
    assert shell(model, redirection, "--no-such-option").returncode == 2
    (few / "bad.txt").write_text("no chip")
    try:
        assert shell(model, redirection, str(few), "--out", "-").returncode == 1
    finally:
        (few / "bad.txt").unlink()


def test_folders_for_pictures_may_have_any_name(model: Path, few: Path, tmp_path: Path) -> None:
    maps, crops = (tmp_path / os.fsdecode(name) for name in (b"maps\xff", b"crops\xff"))
    out = tmp_path / "out.csv"
    more = ["--maps", str(maps), "--crops-by-label", str(crops)]
    done = batch(model, str(few), "--out", str(out), *more)
    assert done.returncode == 0, done.stderr
    assert len(list(maps.glob("*.png"))) == 3
    assert batch(model, str(few), "--out", str(out), *more, "--resume").returncode == 0


def test_an_archive_s_names_need_not_fit_the_locale(
    model: Path, tmp_path: Path, png: dict[str, bytes]
) -> None:
    archive = write_zip(tmp_path / "z.zip", {"船.png": png["Cargo"], "b.png": png["Tanker"]})
    (tmp_path / "list").write_text(f"{archive}/船.png\n{archive}/b.png\n", encoding="utf-8")
    written: list[tuple[list[Path], bytes]] = []
    for locale in (ASCII, {"LC_ALL": "C.UTF-8"}):
        for source in ([str(archive)], ["--list", str(tmp_path / "list")]):
            place = tmp_path / str(len(written))
            pictures = ["--maps", str(place / "maps"), "--crops-by-label", str(place / "crops")]
            place.mkdir()
            more = ["--out", str(place / "out.csv"), "--batch-size", "1", *pictures]
            done = batch(model, *source, *more, env=locale)
            assert (done.returncode, done.stderr.count("\n")) == (0, 1), done.stderr
            files = sorted(path.relative_to(place) for path in place.rglob("*.png"))
            written.append((files, (place / "out.csv").read_bytes()))
    assert written == written[:1] * 4
    assert len(written[0][0]) == 4


@pytest.mark.parametrize("bad", ["0.png", "./=0.png", "=0.png", "-0.png"])
def test_a_chip_whose_name_is_hard_on_spreadsheets_is_found_again_by_its_csv(
    model: Path, tmp_path: Path, png: dict[str, bytes], bad: str
) -> None:
    """From the folder of the chips, so that names start as the files do."""
    (tmp_path / bad).write_bytes(png["Cargo"])
    assert batch(model, "--out", "a.csv", "--", bad, cwd=tmp_path).returncode == 0
    assert batch(model, "--list", "a.csv", "--out", "b.csv", cwd=tmp_path).returncode == 0
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    plain = batch(model, "--plain-csv", "--out", "c.csv", "--", bad, cwd=tmp_path)
    assert plain.returncode == 0
    assert (tmp_path / "c.csv").read_text().splitlines()[1].startswith(f"{bad},ok,Cargo")


def test_a_zip_with_only_sidecars_has_no_chips(model: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
        archive.writestr("__MACOSX/._a.png", "x")
    done = batch(model, str(tmp_path / "z.zip"), "--out", "-")
    assert done.returncode == 2
    assert done.stderr.startswith(f"serving.batch: no files in {tmp_path}/z.zip; expected chips")
