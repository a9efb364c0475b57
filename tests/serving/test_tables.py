"""Lists with columns: they come out with their chips, as they were written."""

import csv
import json
from pathlib import Path

import geopandas
import numpy as np
import pytest

from serving.batch.command import main
from serving.batch.inputs import InputError
from serving.batch.inputs.tables import read_table, table_of_names
from tests.tiny_model import draw_chip


@pytest.fixture
def chips(tmp_path: Path) -> Path:
    folder = tmp_path / "chips"
    folder.mkdir()
    for number in range(3):
        np.save(folder / f"{number}.npy", draw_chip("Cargo", seed=number))
    return folder


def classify(chips: Path, rows: list[str], out: Path, *words: str, model: Path) -> int:
    table = chips.parent / "list.csv"
    table.write_text("\n".join(rows) + "\n")
    given = ["--list", str(table), "--out", str(out), "--model", str(model), *words]
    return main([*given, "--workers", "1"])


def rows_of(out: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(out.read_text("utf-8-sig").splitlines()))


MMSI = ["mmsi,path,time,score", "007,{}/1.npy,2026-01-01,0.50", "219000123,{}/0.npy,,1e3"]


def mmsi(chips: Path) -> list[str]:
    return [row.format(chips) for row in MMSI]


def test_cells_follow_their_chip_as_they_were_written(
    chips: Path, tmp_path: Path, tiny_model_file: Path
) -> None:
    out = tmp_path / "out.csv"
    assert classify(chips, mmsi(chips), out, model=tiny_model_file) == 0
    first, second = rows_of(out)
    assert list(first)[-3:] == ["mmsi", "time", "score"]
    assert (first["path"], first["mmsi"], first["time"]) == (f"{chips}/0.npy", "219000123", "")
    assert (second["mmsi"], second["score"]) == ("007", "0.50")


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet", ".geojson", ".gpkg"])
def test_every_format_carries_them_through_shards(
    ending: str, chips: Path, tmp_path: Path, tiny_model_file: Path
) -> None:
    whole = tmp_path / f"whole{ending}"
    parts = [tmp_path / f"{i}{ending}" for i in (1, 2)]
    small = "--batch-size", "1"
    assert classify(chips, mmsi(chips), whole, *small, model=tiny_model_file) == 0
    for i, part in enumerate(parts, 1):
        words = *small, "--shard", f"{i}/2"
        assert classify(chips, mmsi(chips), part, *words, model=tiny_model_file) == 0
    merged = tmp_path / f"merged{ending}"
    assert main(["merge", *map(str, parts), "--out", str(merged)]) == 0
    assert merged.read_bytes() == whole.read_bytes()


def test_what_is_no_json_stays_text_in_geojson(
    chips: Path, tmp_path: Path, tiny_model_file: Path
) -> None:
    out = tmp_path / "out.geojson"
    cells = ["NaN", "-Infinity", "1e3", "007", "0.5", "true"]
    rows = [f"path,{','.join('abcdef')}", f"{chips}/0.npy,{','.join(cells)}"]
    assert classify(chips, rows, out, model=tiny_model_file) == 0

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    (feature,) = json.loads(out.read_text(), parse_constant=refuse)["features"]
    found = [feature["properties"][name] for name in "abcdef"]
    assert found == ["NaN", "-Infinity", "1e3", "007", 0.5, "true"]


def test_columns_called_as_a_geopackage_s_own_are_carried(
    chips: Path, tmp_path: Path, tiny_model_file: Path
) -> None:
    out = tmp_path / "out.gpkg"
    rows = ["path,fid,Geom,lon,lat", f"{chips}/0.npy,7,old,8.5,54.25"]
    assert classify(chips, rows, out, model=tiny_model_file) == 0
    assert classify(chips, rows, out, "--resume", model=tiny_model_file) == 0
    frame = geopandas.read_file(out, layer="ships")
    assert (frame["fid"][0], frame["Geom"][0], frame.geometry[0].x) == ("7", "old", 8.5)


def test_a_failed_chip_keeps_its_cells(chips: Path, tmp_path: Path, tiny_model_file: Path) -> None:
    out = tmp_path / "out.csv"
    rows = ["path,id", f"{chips}/none.npy,a", f"{chips}/0.npy,b"]
    assert classify(chips, rows, out, model=tiny_model_file) == 1
    assert [(row["error_code"], row["id"]) for row in rows_of(out)] == [
        ("", "b"),
        ("not_found", "a"),
    ]


def test_positions_of_a_list_are_those_of_chips_without_any(
    chips: Path, tmp_path: Path, tiny_model_file: Path
) -> None:
    out = tmp_path / "out.geojson"
    rows = ["path,lon,lat,id", f"{chips}/0.npy,8.5,54.25,a", f"{chips}/1.npy,,,b"]
    assert classify(chips, rows, out, model=tiny_model_file) == 0
    first, second = geopandas.read_file(out).geometry
    assert (first.x, first.y) == (8.5, 54.25)
    assert second is None


def test_a_list_of_geojson_gives_names_positions_and_cells(
    chips: Path, tmp_path: Path, tiny_model_file: Path
) -> None:
    feature = {
        "type": "Feature",
        "geometry": {"type": "Point", "coordinates": [8.5, 54.25, 0]},
        "properties": {"file": f"{chips}/0.npy", "id": 17, "tags": ["a"], "note": None, "Lon": 1},
    }
    out = tmp_path / "out.jsonl"
    text = json.dumps({"type": "FeatureCollection", "features": [feature]})
    assert classify(chips, [text], out, model=tiny_model_file) == 0
    row = json.loads(out.read_text())
    assert (row["lon"], row["id"], row["tags"], row["note"]) == (8.5, "17", '["a"]', None)
    assert "Lon" not in row, "the point says where it is"


def test_other_cells_are_not_resumed(
    chips: Path, tmp_path: Path, tiny_model_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.csv"
    assert classify(chips, mmsi(chips), out, model=tiny_model_file) == 0
    assert classify(chips, mmsi(chips), out, "--resume", model=tiny_model_file) == 0
    other = [row.replace("007", "008") for row in mmsi(chips)]
    assert classify(chips, other, out, "--resume", model=tiny_model_file) == 2
    assert "positions or columns" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["path,label", "{}/0.npy,a"], "label; rename them"),
        (["path,p_cargo", "{}/0.npy,a"], "p_cargo; rename them"),
        (["path,Verdict", "{}/0.npy,a"], "Verdict; rename them"),
        (["path,file", "{}/0.npy,a"], "expected one of path, file, filename, chip"),
        (["path,id", "{}/0.npy,a", "{}/0.npy,b"], "again with other values"),
        (["path,id", ",a"], "row 2 of the list names no chip"),
        (["path,id", "{}/0.npy,a,b"], "row 2 of the table has 3 cells; expected 2"),
        (["path,id,ID", "{}/0.npy,a,b"], "the column 'id' twice"),
    ],
)
def test_a_list_that_cannot_be_used_is_one_line(
    rows: list[str],
    message: str,
    chips: Path,
    tmp_path: Path,
    tiny_model_file: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out.csv"
    given = [row.format(chips) for row in rows]
    assert classify(chips, given, out, model=tiny_model_file) == 2
    printed = capsys.readouterr().err
    assert message in " ".join(printed.split())
    assert printed.count("\n") == 1
    assert not out.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"a.png\nb.png\n",
        b"a,b.png\nc.png\n",
        b"path\na.png\n",
        b"a.png\0b.png\0",
        b"path,status,label,confidence\na.png,ok,Cargo,1\n",
        b"",
    ],
)
def test_plain_names_and_a_batch_s_own_csv_are_no_tables(content: bytes) -> None:
    assert table_of_names(content) is None


@pytest.mark.parametrize(
    "content",
    [
        b"a,b\n1,\xff\n",
        b"a,b\n\0,1\n",
        b'a,b\n"1,2\n',
        b"a,\n1,2\n",
        b"{",
        b"{}",
        b'{"features": 1}',
        b'{"features": [1]}',
        b'{"features": [{"geometry": {"type": "LineString", "coordinates": []}}]}',
        b'{"features": [{"geometry": {"type": "Point", "coordinates": ["x", 1]}}]}',
        b'{"features": [{"properties": [1]}]}',
        b'{"features": ' + b"[" * 100_000,
        b",".join(b"a%d" % k for k in range(600)) + b"\n",
    ],
)
def test_a_hostile_table_is_an_input_error(content: bytes) -> None:
    with pytest.raises(InputError):
        read_table(content)
