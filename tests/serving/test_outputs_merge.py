"""Shards of a run, merged, are the run: the same bytes, or a line that says what is missing."""

import argparse
import itertools
from pathlib import Path
from typing import Any

import pytest

from serving.batch.command import main
from serving.batch.outputs.job import merge, read_output_record, record_path, shard_range
from serving.batch.outputs.staging import Staging
from serving.batch.request import parse_shard
from serving.batch.rows import OutputError
from tests.serving.outputs import job_for, names_of, run

ENDINGS = (".csv", ".jsonl", ".parquet")


def make_shards(
    folder: Path, total: int, ending: str, count: int = 21, **changes: Any
) -> list[Path]:
    names = names_of(count)
    paths = [folder / f"part-{i}-of-{total}{ending}" for i in range(1, total + 1)]
    for i, path in enumerate(paths, 1):
        run(path, names, job_for(names, shard=(i, total), **changes))
    return paths


def whole_run(folder: Path, ending: str, count: int = 21) -> bytes:
    names = names_of(count)
    run(folder / f"whole{ending}", names, job_for(names))
    return (folder / f"whole{ending}").read_bytes()


@pytest.mark.parametrize("total", [1, 2, 3, 7])
@pytest.mark.parametrize(("source", "target"), [*itertools.product(ENDINGS, ENDINGS)])
def test_merged_shards_are_the_run(tmp_path: Path, total: int, source: str, target: str) -> None:
    """Seven shards of six chunks: one has no rows."""
    shards = make_shards(tmp_path, total, source)
    out = tmp_path / f"out{target}"
    assert merge(out, shards[::-1]) == 21
    assert out.read_bytes() == whole_run(tmp_path, target)


def test_shards_of_several_formats_are_merged(tmp_path: Path) -> None:
    names = names_of(21)
    paths = [tmp_path / f"part{ending}" for ending in ENDINGS]
    for i, path in enumerate(paths, 1):
        run(path, names, job_for(names, shard=(i, 3)))
    merge(tmp_path / "out.csv", paths)
    assert (tmp_path / "out.csv").read_bytes() == whole_run(tmp_path, ".csv")


def test_a_shard_killed_and_resumed_is_the_same_shard(tmp_path: Path) -> None:
    shards = make_shards(tmp_path, 2, ".csv")
    names, job = names_of(21), job_for(names_of(21), shard=(2, 2))
    before = shards[1].read_bytes(), record_path(shards[1]).read_bytes()
    run(shards[1], names, job, existing="overwrite", most=1)
    with pytest.raises(OutputError, match=r"shard .*part-2-of-2.csv is not finished"):
        merge(tmp_path / "out.csv", shards)
    assert run(shards[1], names, job, existing="resume") == 2
    assert (shards[1].read_bytes(), record_path(shards[1]).read_bytes()) == before
    assert run(shards[1], names, job, existing="resume") == 0
    with pytest.raises(OutputError, match=r"which is finished: the shard is 1/2, was 2/2"):
        Staging.open(shards[1], job_for(names, shard=(1, 2)), names, existing="resume")


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ([0, 3, 4], "missing of 5 shards: 2, 3;"),
        ([0, 1, 2, 3, 4, 2], r"more than once there: shard 3 \(.*part-3.* and .*part-3.*\)"),
    ],
)
def test_shards_are_there_once_each(tmp_path: Path, chosen: list[int], message: str) -> None:
    shards = make_shards(tmp_path, 5, ".csv")
    with pytest.raises(OutputError, match=message):
        merge(tmp_path / "out.csv", [shards[i] for i in chosen])
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize(
    ("total", "changes", "message"),
    [
        (2, {"model_sha256": "0"}, "the model is 0, was abababababab"),
        (2, {"options": {"quantity": "sigma0"}}, 'quantity is "sigma0", was "auto"'),
        (2, {"count": 22}, "there are 22 chips, were 21; the chips have other names"),
        (3, {}, "is shard 2/3, but .* one of 2"),
    ],
)
def test_a_shard_of_another_run_is_named(
    tmp_path: Path, total: int, changes: dict[str, Any], message: str
) -> None:
    shards = make_shards(tmp_path, 2, ".csv")
    (tmp_path / "foreign").mkdir()
    foreign = make_shards(tmp_path / "foreign", total, ".csv", **changes)
    with pytest.raises(OutputError, match=rf"foreign/part-2-of-{total}.csv.*{message}"):
        merge(tmp_path / "out.csv", [shards[0], foreign[1]])


def test_what_is_no_shard_is_named(tmp_path: Path) -> None:
    shards = make_shards(tmp_path, 2, ".csv")
    whole_run(tmp_path, ".csv")
    with pytest.raises(OutputError, match=r"whole.csv is the output of a whole run"):
        merge(tmp_path / "out.csv", [shards[0], tmp_path / "whole.csv"])
    record_path(shards[1]).write_text("{}")
    with pytest.raises(OutputError, match=r"part-2-of-2.csv.job.json is no record"):
        merge(tmp_path / "out.csv", shards)
    record_path(shards[1]).unlink()
    with pytest.raises(OutputError, match=r"part-2-of-2.csv.job.json beside it: No such file"):
        merge(tmp_path / "out.csv", shards)


@pytest.mark.parametrize("damage", ["cut", "a line less", "swapped", "gone"])
def test_a_shard_that_is_not_as_it_was_is_named_and_an_earlier_output_stays(
    tmp_path: Path, damage: str
) -> None:
    shards = make_shards(tmp_path, 2, ".jsonl")
    lines = shards[1].read_bytes().splitlines(keepends=True)
    if damage == "gone":
        shards[1].unlink()
    else:
        ends = {"cut": [lines[-2], lines[-1][:20]], "a line less": lines[-2:-1]}
        lines[-2:] = ends.get(damage, lines[:-3:-1])
        shards[1].write_bytes(b"".join(lines))
    out = tmp_path / "out.csv"
    out.write_text("earlier")
    with pytest.raises(OutputError, match=r"part-2-of-2\.jsonl"):
        merge(out, shards, "overwrite")
    assert out.read_text() == "earlier"
    assert not (tmp_path / ".out.csv.new").exists()


def test_shards_of_copies_of_a_folder_are_merged(tmp_path: Path) -> None:
    """Copies need not have the times of their originals: a shard compares them when it is resumed,
    on its own machine, and merging does not."""
    names = names_of(21)
    paths = [tmp_path / f"{i}.csv" for i in (1, 2)]
    for i, path in enumerate(paths, 1):
        run(path, names, job_for(names, shard=(i, 2), chips_sha256=f"machine {i}"))
    assert merge(tmp_path / "out.csv", paths) == 21


def test_an_output_that_exists_is_replaced_only_when_asked(tmp_path: Path) -> None:
    shards = make_shards(tmp_path, 2, ".csv")
    out = tmp_path / "out.csv"
    out.write_text("precious")
    with pytest.raises(OutputError, match=r"out\.csv exists; .* or --overwrite to replace it"):
        merge(out, shards)
    assert out.read_text() == "precious"
    assert merge(out, shards, "overwrite") == 21
    assert out.read_bytes() == whole_run(tmp_path, ".csv")


def test_a_merged_output_has_the_record_of_the_whole_run(tmp_path: Path) -> None:
    """It is known as an output, but cannot be resumed: no machine has seen all chips."""
    names, out = names_of(21), tmp_path / "out.csv"
    merge(out, make_shards(tmp_path, 2, ".csv"))
    record = read_output_record(out)
    assert (record.job.shard, record.first, record.rows) == (None, 0, 21)
    with pytest.raises(OutputError, match="sizes and times of its chips were not recorded"):
        Staging.open(out, job_for(names), names, existing="resume")


def test_the_output_is_none_of_the_shards(tmp_path: Path) -> None:
    shards = make_shards(tmp_path, 2, ".csv")
    before = shards[0].read_bytes()
    with pytest.raises(OutputError, match="is one of the shards"):
        merge(shards[0].parent / "." / shards[0].name, shards)
    assert shards[0].read_bytes() == before


def test_the_record_says_where_the_rows_stand(tmp_path: Path) -> None:
    records = [read_output_record(path) for path in make_shards(tmp_path, 3, ".csv")]
    assert [(record.first, record.rows) for record in records] == [(0, 8), (8, 8), (16, 5)]


@pytest.mark.parametrize("chunks", [0, 1, 6, 100, 1001])
@pytest.mark.parametrize("total", [1, 2, 3, 7, 64])
def test_shards_are_contiguous_even_and_all(chunks: int, total: int) -> None:
    ranges = [shard_range(i, total, chunks) for i in range(1, total + 1)]
    assert [chunk for part in ranges for chunk in part] == list(range(chunks))
    sizes = [len(part) for part in ranges]
    assert max(sizes) - min(sizes) <= 1


def test_a_shard_is_i_of_n() -> None:
    assert parse_shard("2/8") == (2, 8)
    for text in ("0/8", "9/8", "2", "2/", "a/b", "-1/8", "1/0", "1/2/3", " 1/2", "1/1\n"):
        with pytest.raises(argparse.ArgumentTypeError, match="expected i/n with i from 1 to n"):
            parse_shard(text)


def test_the_command_line_says_what_it_did_and_why_it_could_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shards = make_shards(tmp_path, 2, ".csv")
    out = tmp_path / "out.parquet"
    arguments = ["merge", *map(str, shards), "--out", str(out)]
    assert main(arguments) == 0
    assert capsys.readouterr().err == f"21 rows of 2 shards -> {out}\n"
    assert out.read_bytes() == whole_run(tmp_path, ".parquet")
    assert main([*arguments, "--overwrite"]) == 0
    capsys.readouterr()
    assert main(["merge", *arguments[2:-1], str(tmp_path / "o.csv")]) == 2
    assert capsys.readouterr().err == (
        "serving.batch merge: missing of 2 shards: 1; run them, or give them too\n"
    )
    assert main([*arguments[:-1], str(tmp_path / "no" / "o.csv")]) == 2
    assert "cannot write" in capsys.readouterr().err
