"""A CSV opens correctly in a spreadsheet, and gives back what was written."""

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.batch.outputs.formats import format_of
from serving.batch.outputs.job import merge
from serving.batch.rows import MARK, BatchRow, guarded, unguarded
from tests.serving.outputs import COLUMNS, job_for, names_of, rows_of, run, undisturbed

STARTS = "=+-@\t\r"
# Names of all kinds, most of them with the characters that matter at their start.
TEXTS = st.builds("{}{}".format, st.text(f"'{STARTS}", max_size=4), st.text(max_size=4))
PATHS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)


@pytest.mark.parametrize("start", STARTS)
def test_a_cell_that_would_be_a_formula_starts_with_an_apostrophe(start: str) -> None:
    assert guarded(f"{start}1+1.png") == f"'{start}1+1.png"


@pytest.mark.parametrize("text", ["", "a=1", " =1", "a'", "'quoted'", "船.png", "./=1.png"])
def test_any_other_cell_is_as_it_was(text: str) -> None:
    assert guarded(text) == text


@given(TEXTS)
def test_no_cell_is_a_formula_and_each_gives_its_text_back(text: str) -> None:
    assert not guarded(text).startswith(tuple(STARTS))
    assert unguarded(guarded(text)) == text


@given(TEXTS, TEXTS)
def test_two_texts_are_never_one_cell(one: str, other: str) -> None:
    assert (guarded(one) == guarded(other)) == (one == other)


@given(st.lists(TEXTS.filter(len) | PATHS, max_size=5), st.booleans())
def test_rows_of_any_names_come_back_from_either_csv(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], plain: bool
) -> None:
    rows = rows_of(names)
    path = tmp_path_factory.mktemp("csv") / "out.csv"
    with path.open("wb") as file:
        format_of(path, plain_csv=plain).write(file, COLUMNS, rows)
    assert list(format_of(path).read(path, COLUMNS)) == rows
    assert path.read_bytes().startswith(MARK.encode()) != plain


def test_messages_and_labels_are_cells_too_and_numbers_are_numbers(tmp_path: Path) -> None:
    row: BatchRow = rows_of(["a.png"])[0] | {
        "label": "@ship",
        "prediction_set": ["=x", "y"],
        "ood_score": -1.5,
    }
    path = tmp_path / "out.csv"
    with path.open("wb") as file:
        format_of(path).write(file, COLUMNS, [row])
    cells = next(csv.DictReader(io.StringIO(path.read_text("utf-8-sig"), newline="")))
    assert (cells["label"], cells["prediction_set"]) == ("'@ship", "'=x|y")
    assert cells["ood_score"] == "-1.5"
    assert list(format_of(path).read(path, COLUMNS)) == [row]


@pytest.mark.parametrize("plain", [False, True])
def test_a_run_keeps_its_form_in_shards_and_merged(tmp_path: Path, plain: bool) -> None:
    names = names_of(20)
    form = {"plain_csv": plain}
    shards = [tmp_path / f"{i}.csv" for i in (1, 2)]
    for i, shard in enumerate(shards, 1):
        run(shard, names, job_for(names, options=form, shard=(i, 2)))
    merge(tmp_path / "merged.csv", shards)
    whole = undisturbed(tmp_path, ".csv", names, options=form)
    assert (tmp_path / "merged.csv").read_bytes() == whole
    assert whole.startswith(MARK.encode()) != plain
