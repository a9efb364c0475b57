"""Rows on standard output: at once, and quiet when the reader goes."""

import json
import os
import select
import subprocess
import sys

import pytest

from serving.batch.outputs.formats import to_stdout
from serving.batch.rows import MARK, OutputError
from tests.serving.outputs import COLUMNS, names_of, rows_of
from tests.serving.server import ROOT

BUFFERED = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
SCRIPT = """
import itertools, sys
from serving.batch.outputs.formats import PipeClosed, to_stdout
from serving.batch.rows import OutputError
from tests.serving.outputs import COLUMNS, names_of, rows_of
rows = rows_of(names_of(3))
try:
    write = to_stdout(COLUMNS, sys.argv[1])
    if sys.argv[3:]:
        write(rows)
        sys.stdin.read()
    for _ in range(int(sys.argv[2])):
        write(rows)
except PipeClosed:
    sys.exit(141)
except OutputError as error:
    sys.exit(f"said: {error}")
"""


def command(kind: str, times: int) -> list[str]:
    return [sys.executable, "-c", SCRIPT, kind, str(times)]


def test_rows_come_as_csv_or_json_lines(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    rows = rows_of(names_of(9))
    write = to_stdout(COLUMNS)
    assert capsysbinary.readouterr().out.decode() == MARK + ",".join(COLUMNS) + "\r\n", "at once"
    write(rows[:4])
    first = capsysbinary.readouterr().out
    assert first.startswith(rows[0]["path"].encode()), "without waiting for more"
    write = to_stdout(COLUMNS, "jsonl")
    write(rows[:4])
    write(rows[4:])
    lines = capsysbinary.readouterr().out.splitlines()
    assert [json.loads(line) for line in lines] == rows


def test_rows_are_there_before_the_run_ends() -> None:
    with subprocess.Popen(
        [*command("jsonl", 0), "wait"],
        cwd=ROOT,
        env=BUFFERED,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        there, _, _ = select.select([process.stdout], [], [], 20)
        assert there
        assert process.stdout.readline().startswith(b'{"path"')
        process.communicate(b"")
    assert process.returncode == 0


@pytest.mark.parametrize("unbuffered", [{}, {"PYTHONUNBUFFERED": "1"}])
def test_a_reader_that_goes_ends_the_run_quietly(unbuffered: dict[str, str]) -> None:
    with subprocess.Popen(
        command("csv", 10**6),
        cwd=ROOT,
        env=BUFFERED | unbuffered,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith(MARK.encode() + b"path,status")
        process.stdout.close()
        said = process.stderr.read()
    assert (process.returncode, said) == (141, b"")


def test_a_full_disk_behind_standard_output_is_one_line() -> None:
    with open("/dev/full", "wb") as full:  # noqa: PTH123
        done = subprocess.run(
            command("jsonl", 1),
            cwd=ROOT,
            env=BUFFERED,
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr == b"said: cannot write to standard output: No space left on device\n"


def test_standard_output_that_is_closed_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(OutputError, match="it is closed"):
        to_stdout(COLUMNS)
