"""Tables in a terminal of 80 columns: no name and no figure is cut."""

import io
import re

import pytest
from rich.console import Console, RenderableType

from tests.training.test_figures import measured
from training.card.schema import ChangeFigures, Interval
from training.data.presentation import CHANGES, NONE
from training.evaluation import targets
from training.evaluation.presentations import presentations_table
from training.evaluation.tables import counts_table, evaluation_table, scores_table
from training.int8.quantise import Comparison

LONG = "opensarship_slc_of_the_year_2016_and_after"
SIDES = {"train": 1000, "validation": 100, "test": 200}


def printed(table: RenderableType) -> str:
    """What is printed at 80 columns, cells that go over several lines put together."""
    out = io.StringIO()
    Console(file=out, width=80).print(table)
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert "…" not in out.getvalue()
    return out.getvalue()


def first_column(text: str) -> str:
    rows = [line for line in text.splitlines() if line.startswith("│")]
    return "".join(row.split("│")[1].strip() for row in rows)


def test_the_score_table_shows_names_and_intervals() -> None:
    sources = measured().sources
    scores = sources | {LONG: sources["fusar"]}
    text = printed(scores_table(scores))
    assert LONG in first_column(text)
    for score in scores.values():
        for figure in ("macro_f1", "balanced_accuracy", "accuracy", "ece"):
            reported = getattr(score.headline, figure)
            row = f"{reported.value:.2f}", f"{reported.low:.2f} to {reported.high:.2f}"
            assert re.search(rf"│ {figure} +│ {row[0]} +│ {row[1]} +│", text), figure


def test_the_table_of_chips_shows_names_and_counts() -> None:
    counts = {LONG: {"Cargo": SIDES, "Fishing": dict.fromkeys(SIDES, 0)}}
    text = printed(counts_table(counts, {LONG: {"Cargo": 1400, "Fishing": 0}}))
    assert LONG in first_column(text)
    for number in ("1400", "1000", "100", "200", "1300"):
        assert number in text


@pytest.mark.parametrize("speed", [None, Interval(value=512.0, low=500.0, high=520.0)])
def test_the_table_of_targets_shows_values_and_intervals(speed: Interval | None) -> None:
    rows = targets.rows(measured(), 3 * 2**20, speed, absent="run `evaluate`")
    text = printed(evaluation_table(rows, "ship 0.1.0+0123456789ab"))
    for row in rows:
        assert row.value() in text
        assert row.interval() in text


def test_the_table_of_the_int8_file_shows_names_and_figures() -> None:
    figures = {f"macro-F1, validation, {LONG}": (0.512, 0.498), "bytes": (11_000_000.0, 3e6)}
    text = printed(Comparison(figures, 0.991, 0.001, 0.02, 2.9).table())
    assert LONG in first_column(text).replace(" ", "")
    for reported in ("0.512", "0.498", "11,000,000", "0.9910"):
        assert reported in text


def test_a_presentation_is_one_line_with_all_its_figures() -> None:
    by_class = {"Cargo": 0.91, "Fishing": 0.82, "Tanker": 1.0}
    figures = ChangeFigures(
        macro_f1=0.87,
        recall=by_class,
        coverage=by_class,
        set_size=1.7,
        same_label=0.934,
        sure=993,
        sure_changed=112,
        length_kept=1.0,
    )
    changes = dict.fromkeys((NONE, *CHANGES), figures)
    text = printed(presentations_table({LONG: changes, "fusar": changes}))
    assert f"{LONG} (Cargo, Fishing, Tanker)" in " ".join(text.split())
    for change in changes:
        rest = "0.87 0.91 0.82 1.00 0.934 112/993 91 82 100 1.70 100%"
        lines = [" ".join(line.split()) for line in text.splitlines()]
        assert sum(line in (f"{change} {rest}", f"{change}* {rest}") for line in lines) == 2
