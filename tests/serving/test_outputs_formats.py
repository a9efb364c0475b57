"""CSV, JSON lines and Parquet say the same, give it back, and do not depend on how rows came."""

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from serving.batch.outputs.formats import Renderer, format_of
from serving.batch.rows import MARK, BatchRow, OutputError, column_kind, csv_writer, jsonl_writer
from tests.serving.outputs import COLUMNS, names_of, rows_of
from tests.serving.server import ROOT

ENDINGS = (".csv", ".jsonl", ".parquet")


def write(path: Path, rows: list[BatchRow]) -> Path:
    with path.open("wb") as file:
        format_of(path).write(file, COLUMNS, iter(rows))
        file.flush()
    return path


@pytest.mark.parametrize("ending", ENDINGS)
def test_what_is_written_is_read_again(tmp_path: Path, ending: str) -> None:
    rows = rows_of(names_of(60))
    path = write(tmp_path / f"out{ending}", rows)
    assert list(format_of(path).read(path, COLUMNS)) == rows


@pytest.mark.parametrize("ending", [".csv", ".jsonl"])
def test_bytes_are_those_of_the_plain_writers(tmp_path: Path, ending: str) -> None:
    rows = rows_of(names_of(1100))
    path = write(tmp_path / f"out{ending}", rows)
    plain = io.StringIO(newline="")
    write_row = {".csv": csv_writer, ".jsonl": jsonl_writer}[ending](plain, COLUMNS)
    for row in rows:
        write_row(row)
    assert path.read_bytes() == plain.getvalue().encode()


def test_csv_is_rfc_4180_with_joined_sets_and_small_booleans(tmp_path: Path) -> None:
    path = write(tmp_path / "out.csv", rows_of(names_of(9)))
    assert path.read_bytes().count(b"\r\n") >= 10
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[3]["prediction_set"] == "Cargo|Fishing|Tanker"
    assert (rows[0]["in_distribution"], rows[1]["in_distribution"]) == ("false", "true")
    assert (rows[2]["label"], rows[2]["error_code"]) == ("", "empty")


def test_parquet_has_types_of_its_own_and_standard_readers_read_it(tmp_path: Path) -> None:
    rows = rows_of(names_of(9))
    path = write(tmp_path / "out.parquet", rows)
    table = pyarrow.parquet.read_table(path)
    types = {field.name: str(field.type) for field in table.schema}
    assert list(types) == list(COLUMNS)
    assert types["path"] == types["error_message"] == "string"
    assert types["confidence"] == types["p_cargo"] == types["ood_score"] == "double"
    assert types["in_distribution"] == "bool"
    assert types["prediction_set"].startswith("list<")
    assert table.to_pylist() == rows


@pytest.mark.parametrize("kept", [slice(0), slice(2, None, 3)])
def test_parquet_types_do_not_depend_on_the_rows(tmp_path: Path, kept: slice) -> None:
    """No rows at all, and rows that all failed: whole columns without a value."""
    full = write(tmp_path / "full.parquet", rows_of(names_of(9)))
    empty = write(tmp_path / "empty.parquet", rows_of(names_of(9))[kept])
    schemas = [pyarrow.parquet.read_schema(path) for path in (full, empty)]
    assert schemas[0].equals(schemas[1], check_metadata=True)


def test_parquet_comes_in_groups_of_one_size_and_the_same_bytes(tmp_path: Path) -> None:
    rows = rows_of(names_of(200)) * 100
    paths = [write(tmp_path / f"{i}.parquet", rows) for i in range(2)]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    reported = pyarrow.parquet.ParquetFile(paths[0]).metadata
    assert [reported.row_group(i).num_rows for i in range(reported.num_row_groups)] == [
        8192,
        8192,
        3616,
    ]


def test_without_pyarrow_parquet_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(OutputError, match=r"^Parquet needs pyarrow; .* -m pip install 'shipchip"):
        format_of(tmp_path / "out.parquet")
    assert format_of(tmp_path / "OUT.CSV") is format_of(tmp_path / "out.csv")


def test_pyarrow_is_imported_only_when_asked_for() -> None:
    script = (
        "import sys; from pathlib import Path;"
        "import serving.batch.outputs.job, serving.batch.outputs.staging;"
        "import serving.batch.outputs.formats as f;"
        "f.format_of(Path('a.csv')); print('pyarrow' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"


@pytest.mark.parametrize("ending", ENDINGS)
def test_other_columns_are_not_read(tmp_path: Path, ending: str) -> None:
    path = write(tmp_path / f"out{ending}", rows_of(names_of(5)))
    with pytest.raises(OutputError, match="columns"):
        list(format_of(path).read(path, COLUMNS[:-1]))


@pytest.mark.parametrize("ending", ENDINGS)
def test_damage_is_reported_with_its_file(tmp_path: Path, ending: str) -> None:
    path = write(tmp_path / f"out{ending}", rows_of(names_of(30)))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2 - 3])
    with pytest.raises(OutputError, match=rf"out{ending}.*write the file again"):
        list(format_of(path).read(path, COLUMNS))


@pytest.mark.parametrize(
    ("field", "message"),
    [("in_distribution", "maybe"), ("confidence", "high"), ("ood_score", "1,0")],
)
def test_a_csv_that_was_edited_is_reported_with_its_row(
    tmp_path: Path, field: str, message: str
) -> None:
    path = write(tmp_path / "out.csv", rows_of(names_of(5)))
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.reader(file))
    rows[2][COLUMNS.index(field)] = message
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        csv.writer(file).writerows(rows)
    with pytest.raises(OutputError, match=r"row 2: .*" + message):
        list(format_of(path).read(path, COLUMNS))


def test_long_names_come_through_csv(tmp_path: Path) -> None:
    row = rows_of(["x" * 300_000])[0]
    path = write(tmp_path / "out.csv", [row])
    assert list(format_of(path).read(path, COLUMNS)) == [row]


def test_a_renderer_goes_on_where_it_ended() -> None:
    rows = rows_of(names_of(9))
    render = Renderer("jsonl", COLUMNS)
    content = render(()) + render(rows[:2]) + render(()) + render(rows[2:])
    assert [json.loads(line) for line in content.splitlines()] == rows
    render = Renderer("csv", COLUMNS)
    assert render(()).decode() == MARK + ",".join(COLUMNS) + "\r\n"


def test_a_last_cell_that_is_cut_short_is_damage(tmp_path: Path) -> None:
    path = write(tmp_path / "out.csv", [rows_of(names_of(2))[1] | {"map_file": "a.png"}])
    content = path.read_bytes()
    assert content.endswith(b"a.png\r\n")
    path.write_bytes(content[:-3])
    with pytest.raises(OutputError, match="the last line has no end"):
        list(format_of(path).read(path, COLUMNS))


def test_every_column_has_a_kind() -> None:
    kinds = {name: column_kind(name) for name in COLUMNS}
    assert {name for name, kind in kinds.items() if kind == "number"} == {
        "confidence",
        "p_cargo",
        "p_fishing",
        "p_tanker",
        "ood_score",
        "pixel_spacing_row_m",
        "pixel_spacing_column_m",
        "length_m",
        "length_low_m",
        "length_high_m",
        "width_m",
        "width_low_m",
        "width_high_m",
        "lon",
        "lat",
    }
    assert kinds["in_distribution"] == kinds["length_validated"] == "flag"
    assert kinds["prediction_set"] == "set"


def test_reading_long_names_leaves_the_process_as_it_was(tmp_path: Path) -> None:
    path = write(tmp_path / "out.csv", rows_of(["a/" + "x" * 200_000]))
    before = csv.field_size_limit()
    assert len(list(format_of(path).read(path, COLUMNS))) == 1
    assert csv.field_size_limit() == before
