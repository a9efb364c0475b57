"""Rows outlive their run: cut anywhere, killed any time, resumed, the output has the same bytes."""

import hashlib
import json
import os
from collections.abc import Callable
from io import FileIO
from pathlib import Path
from typing import Any

import pytest

from serving.batch.outputs import place as place_module
from serving.batch.outputs import staging as staging_module
from serving.batch.outputs.job import Job, differences, read_output_record
from serving.batch.outputs.place import job_path, own_files, record_path
from serving.batch.outputs.staging import Staging
from serving.batch.rows import OutputError, partial_of
from tests.serving.outputs import job_for, names_of, row_of, run, undisturbed

ENDINGS = (".csv", ".jsonl", ".parquet")


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_finished_run_leaves_its_output_and_the_record_of_it_and_nothing_else(
    tmp_path: Path, ending: str
) -> None:
    names = names_of(10)
    out = tmp_path / f"out{ending}"
    out.write_text("earlier")
    job = job_for(names)
    with Staging.open(out, job, names, existing="overwrite") as staging:
        for first in (0, 4, 8):
            staging.write([row_of(i, names[i]) for i in range(first, min(first + 4, 10))])
            assert out.read_text() == "earlier"
        staging.finish()
        assert staging.finished
    assert sorted(tmp_path.iterdir()) == [out, record_path(out)]
    assert len(out.read_bytes()) > 500
    record = read_output_record(out)
    assert differences(record.job, job) == []
    assert (record.first, record.rows) == (0, 10)
    assert record.sha256 == hashlib.sha256(out.read_bytes()).hexdigest()


def test_an_output_without_rows_has_its_header(tmp_path: Path) -> None:
    run(tmp_path / "out.csv", [], job_for([]))
    assert (tmp_path / "out.csv").read_text("utf-8-sig").startswith("path,status,label,confidence,")
    run(tmp_path / "out.jsonl", [], job_for([]))
    assert (tmp_path / "out.jsonl").read_bytes() == b""


@pytest.mark.parametrize("ending", [".csv", ".jsonl"])
@pytest.mark.slow
def test_cut_at_every_byte_and_resumed_it_is_the_same_output(
    tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Thousands of them would take a while.
    monkeypatch.setattr(place_module.os, "fsync", lambda _: None)
    names = names_of(3)
    out, job = tmp_path / f"out{ending}", job_for(names, chunk=2)
    expected = undisturbed(tmp_path, ending, names, chunk=2)
    run(out, names, job, most=2)
    staged, said = partial_of(out).read_bytes(), job_path(out).read_bytes()
    lines = staged.splitlines(keepends=True)
    ends = [sum(map(len, lines[:count])) for count in (0, 2, 3)]
    for size in range(len(staged) + 1):
        out.unlink(missing_ok=True)
        partial_of(out).write_bytes(staged[:size])
        job_path(out).write_bytes(said)
        computed = run(out, names, job, existing="resume")
        assert out.read_bytes() == expected
        assert computed == 2 - max(k for k, end in enumerate(ends) if end <= size), size


def test_parquet_resumed_is_the_same_parquet(tmp_path: Path) -> None:
    names = names_of(20)
    out, job = tmp_path / "out.parquet", job_for(names)
    expected = undisturbed(tmp_path, ".parquet", names)
    for chunks in range(6):
        out.unlink(missing_ok=True)
        run(out, names, job, most=chunks)
        assert run(out, names, job, existing="resume") == 5 - chunks
        assert out.read_bytes() == expected


def test_a_hole_that_a_loss_of_power_left_is_cut_away_with_all_after_it(tmp_path: Path) -> None:
    names = names_of(20)
    out, job = tmp_path / "out.csv", job_for(names)
    run(out, names, job, most=4)
    content = partial_of(out).read_bytes()
    sixth = sum(len(line) for line in content.splitlines(keepends=True)[:5])
    partial_of(out).write_bytes(content[:sixth] + bytes(30) + content[sixth + 30 :])
    assert run(out, names, job, existing="resume") == 4
    assert out.read_bytes() == undisturbed(tmp_path, ".csv", names)


def test_whatever_stands_after_the_good_rows_is_cut_away(tmp_path: Path) -> None:
    names = names_of(10)
    out, job = tmp_path / "out.csv", job_for(names)
    run(out, names, job, most=2)
    with partial_of(out).open("ab") as file:
        file.write(b"torn" * 5000)
    assert run(out, names, job, existing="resume") == 1
    assert out.read_bytes() == undisturbed(tmp_path, ".csv", names)


def test_a_write_that_takes_only_a_part_is_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Slow(FileIO):
        def write(self, content: Any) -> int:
            return super().write(content[:100])

    monkeypatch.setattr(staging_module.os, "fdopen", lambda fd, *_, **__: Slow(fd, "r+"))
    names = names_of(10)
    with Staging.open(tmp_path / "out.csv", job_for(names), names) as staging:
        staging.write([row_of(i, names[i]) for i in range(4)])
    monkeypatch.undo()
    assert run(tmp_path / "out.csv", names, job_for(names), existing="resume") == 2


def test_resuming_a_finished_run_computes_nothing_and_changes_nothing(tmp_path: Path) -> None:
    names = names_of(10)
    for ending in ENDINGS:
        out = tmp_path / f"out{ending}"
        run(out, names, job_for(names))
        before = out.read_bytes(), out.stat().st_mtime_ns
        with Staging.open(out, job_for(names), names, existing="resume") as staging:
            assert staging.finished
            assert staging.done == 10
            staging.finish()
        assert (out.read_bytes(), out.stat().st_mtime_ns) == before


def test_resuming_what_never_began_begins(tmp_path: Path) -> None:
    names = names_of(10)
    assert run(tmp_path / "out.csv", names, job_for(names), existing="resume") == 3
    assert (tmp_path / "out.csv").read_bytes() == undisturbed(tmp_path, ".csv", names)


def test_an_output_that_exists_is_replaced_only_when_asked(tmp_path: Path) -> None:
    names = names_of(10)
    out = tmp_path / "out.csv"
    out.write_text("precious")
    with pytest.raises(OutputError, match=r"out\.csv exists; .* or --overwrite to replace it"):
        run(out, names, job_for(names))
    assert out.read_text() == "precious"
    assert list(tmp_path.iterdir()) == [out]
    assert run(out, names, job_for(names), existing="overwrite") == 3
    assert out.read_bytes() == undisturbed(tmp_path, ".csv", names)


def test_rows_of_an_unfinished_run_are_given_up_only_when_asked(tmp_path: Path) -> None:
    names = names_of(10)
    out = tmp_path / "out.csv"
    run(out, names, job_for(names), most=2)
    rows = partial_of(out).read_bytes()
    with pytest.raises(OutputError, match=r"unfinished run; .* --resume, .* --overwrite"):
        run(out, names, job_for(names))
    assert partial_of(out).read_bytes() == rows
    assert run(out, names, job_for(names), existing="overwrite") == 3
    assert out.read_bytes() == undisturbed(tmp_path, ".csv", names)


def test_an_output_that_another_run_finishes_between_the_look_and_the_lock_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = names_of(10)
    out = tmp_path / "out.csv"
    lock = staging_module.open_locked

    def late(path: Path) -> int:
        out.write_text("of the other run")
        return lock(path)

    monkeypatch.setattr(staging_module, "open_locked", late)
    with pytest.raises(OutputError, match=r"out\.csv exists"):
        run(out, names, job_for(names))
    assert out.read_text() == "of the other run"
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_sha256": "cd" * 32}, "the model is cdcdcdcdcdcd, was abababababab"),
        ({"model_version": "2"}, "the model's version is 2, was 0.0.1-test"),
        ({"options": {"quantity": "sigma0"}}, 'quantity is "sigma0", was "auto"'),
        ({"chunk": 8}, "the chunk size is 8, was 4"),
        ({"shard": (1, 2)}, "the shard is 1/2, was the whole"),
        ({"entries": 11}, "there are 11 chips, were 10"),
        ({"entries_sha256": ""}, "the chips have other names"),
        ({"chips_sha256": "new"}, "chips were replaced or changed (their size, time or checksum)"),
        ({"version": "0.2.0"}, "shipchip is 0.2.0, was 0.1.0"),
        ({"columns": ("path", "model_version")}, "the columns are path, model_version, were path,"),
    ],
)
@pytest.mark.parametrize("finished", [False, True])
def test_another_run_cannot_be_resumed_and_the_difference_is_named(
    tmp_path: Path, changes: dict[str, Any], message: str, finished: bool
) -> None:
    names = names_of(10)
    out = tmp_path / "out.csv"
    run(out, names, job_for(names), most=4 if finished else 2)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(OutputError, match="start again with --overwrite") as raised:
        Staging.open(out, job_for(names, **changes), names, existing="resume")
    assert message in str(raised.value)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert run(out, names, job_for(names), existing="resume") == (0 if finished else 1)


def test_rows_of_other_chips_are_not_resumed(tmp_path: Path) -> None:
    names = names_of(10)
    out = tmp_path / "out.csv"
    run(out, names, job_for(names), most=2)
    others = [*names[:6], "another.png", *names[7:]]
    with pytest.raises(OutputError, match=r"row 7 is .* and the chip there is 'another.png'"):
        Staging.open(out, job_for(names), others, existing="resume")


def test_rows_without_their_job_are_not_resumed(tmp_path: Path) -> None:
    names = names_of(10)
    out = tmp_path / "out.csv"
    run(out, names, job_for(names), most=2)
    job_path(out).write_text("{}")
    with pytest.raises(OutputError, match="no job of this version at"):
        Staging.open(out, job_for(names), names, existing="resume")
    job_path(out).unlink()
    with pytest.raises(OutputError, match="no job of this version at"):
        Staging.open(out, job_for(names), names, existing="resume")


def test_an_output_without_a_record_or_with_other_rows_is_not_taken_for_the_finished_run(
    tmp_path: Path,
) -> None:
    names = names_of(10)
    out = tmp_path / "out.csv"
    run(out, names, job_for(names))
    rows, record = out.read_bytes(), record_path(out).read_bytes()
    record_path(out).unlink()
    with pytest.raises(OutputError, match=r"out\.csv\.job\.json beside it: No such file"):
        Staging.open(out, job_for(names), names, existing="resume")
    record_path(out).write_bytes(b"{}")
    with pytest.raises(OutputError, match="is no record of a run by this version"):
        Staging.open(out, job_for(names), names, existing="resume")
    record_path(out).write_bytes(record)
    out.write_bytes(rows.replace(b"Cargo", b"Tanker", 1))
    with pytest.raises(OutputError, match="is not what its run has written"):
        Staging.open(out, job_for(names), names, existing="resume")


def test_a_chunk_that_is_not_whole_is_a_fault_of_the_program(tmp_path: Path) -> None:
    names = names_of(10)
    with Staging.open(tmp_path / "out.csv", job_for(names), names) as staging:
        with pytest.raises(ValueError, match="3 rows; expected a chunk of 4"):
            staging.write([row_of(i, names[i]) for i in range(3)])
        with pytest.raises(ValueError, match="0 rows; expected 10"):
            staging.finish()


def deep(place: Path) -> Path:
    """A folder in which out.csv may be, but no name that is ten bytes longer: paths end at 4095."""
    place /= "deep"
    while (left := 4085 - len(os.fsencode(place))) > 1:
        place /= "d" * min(left - 1, 200)
    place.mkdir(parents=True)
    return place


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda place: place / "out.txt", "expected an ending of .csv, .jsonl, .parquet"),
        (lambda place: place / "missing" / "out.csv", "No such file or directory"),
        (lambda place: place / "folder.csv", "is a folder"),
        (lambda place: place / ("x" * 250 + ".csv"), "File name too long"),
        (lambda place: place / ("x" * 238 + ".csv"), "File name too long"),  # its record's name is
        (lambda place: deep(place) / "out.csv", "File name too long"),  # its record's path is
    ],
)
def test_an_output_that_cannot_be_is_reported_at_once_and_leaves_nothing(
    tmp_path: Path, make: Callable[[Path], Path], message: str
) -> None:
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "deep").mkdir()
    with pytest.raises(OutputError, match=message):
        Staging.open(make(tmp_path), job_for([]), [])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["deep", "folder.csv"]
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_all_that_a_run_makes_is_among_its_own_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: set[Path] = set()
    replace = Path.replace

    def watched(path: Path, target: Path) -> Path:
        seen.update(tmp_path.iterdir())
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", watched)
    names = names_of(10)
    out = tmp_path / "out.csv"
    run(out, names, job_for(names, shard=(1, 1)))
    assert seen | set(tmp_path.iterdir()) == set(own_files(out))


def test_a_job_survives_its_file() -> None:
    job = job_for(names_of(3), shard=(2, 3))
    assert Job.model_validate_json(job.model_dump_json()).shard == (2, 3)
    assert json.loads(job.model_dump_json())["options"]["pixel_spacing"] == [10.0, 10.0]
