"""The matrix beside the published figures: partners, marks on hand-made cells, and their counts."""

from collections.abc import Sequence

import numpy as np
import pytest

from tests.training.test_metrics import CLASSES, SAID, TRUE, certain
from tests.training.test_report import (
    SEEDS,
    SIDE,
    figure,
    made_up_cell,
    made_up_matrix,
    signs,
    tables,
)
from training.card.schema import Interval
from training.evaluation.metrics import macro_f1, scores
from training.matrix.config import Cell
from training.matrix.folder import CellResult
from training.matrix.report.comparison import ClaimVerdict, PublishedScores, comparison
from training.matrix.report.page import Page
from training.matrix.report.scores import MatrixScores

ALL_CARGO = np.zeros(28, dtype=np.int64)
PUBLISHED = PublishedScores()
Tables = dict[str, list[list[str]]]
COUNTS = "Cells with each mark"


def sure(model: str, path: Sequence[str], said: np.ndarray) -> list[CellResult]:
    """Cells of all seeds that answer `said` beyond doubt."""
    return [made_up_cell(Cell("default", model, s, tuple(path)), said, sure=99) for s in SEEDS]


@pytest.fixture(scope="module")
def answers() -> MatrixScores:
    right_on_fusar_only = np.where(SIDE.sets["fusar"], SIDE.labels, 0)
    changed = [
        *sure("cnn", ("fusar",), SIDE.labels),
        *sure("cnn", ("fusar", "mix"), ALL_CARGO),
        *sure("vgg16", ("fusar",), right_on_fusar_only),
        *sure("vgg16", ("mix",), np.ones(28, dtype=np.int64)),
    ]
    return MatrixScores.of(made_up_matrix(*changed))


@pytest.fixture(scope="module")
def shown(answers: MatrixScores) -> Tables:
    return compared(answers)


def compared(answers: MatrixScores) -> Tables:
    return tables(lambda page: comparison(page, answers, PUBLISHED))


def place(shown: Tables, model: str, path: str, column: int) -> str:
    """Columns 1 and 2 are fusar and published, 3 and 4 opensarship, 5 and 6 mix."""
    rows = shown[f"{model}: macro-F1 (95 %), weighted F1"]
    (row,) = (row for row in rows if figure(row[0]) == path)
    return row[column]


def test_64_of_the_135_published_rows_are_one_class() -> None:
    rows = [
        PUBLISHED.find(model, path, test)
        for model in ("cnn", "resnet50", "vgg16", "resnet50-pretrained", "vgg16-pretrained")
        for base in ("fusar", "opensarship", "mix")
        for path in ((base,), *((base, s) for s in ("fusar", "opensarship", "mix") if s != base))
        for test in ("fusar", "opensarship", "mix")
    ]
    assert len(rows) == len(PUBLISHED) == 135
    assert sum(row is not None and row.one_class for row in rows) == 64


def test_a_partner_has_the_same_model_base_last_set_and_test_set() -> None:
    found = PUBLISHED.find("cnn", ("fusar", "mix"), "opensarship")
    assert found is not None
    assert (found.macro_f1, found.weighted_f1) == (0.2528, 0.5257)
    assert PUBLISHED.find("cnn", ("fusar", "opensarship", "mix"), "opensarship") == found
    base = PUBLISHED.find("cnn", ("fusar",), "fusar")
    assert base is not None
    assert base.macro_f1 == 0.3898
    assert PUBLISHED.find("swin", ("fusar",), "fusar") is None


def test_the_published_value_stands_beside_ours(shown: Tables) -> None:
    entry = place(shown, "cnn", "fusar", 2)
    assert entry == "0.39<br>weighted F1 0.58"


@pytest.mark.parametrize(
    ("low", "value", "high", "sign"),
    [
        (0.40, 0.50, 0.60, "▲▲"),
        (0.30, 0.50, 0.60, "▲"),
        (0.30, 0.38, 0.60, None),
        (0.30, 0.35, 0.38, "▼▼"),
    ],
)
def test_a_mark_says_on_which_side_of_published_the_interval_lies(
    low: float, value: float, high: float, sign: str | None
) -> None:
    score = scores(certain(SAID), TRUE, list(map(str, TRUE)), CLASSES)
    macro_f1 = Interval(value=value, low=low, high=high)
    headline = score.headline.model_copy(update={"macro_f1": macro_f1})
    changes = {"headline": headline, "majority_macro_f1": 0.2}
    verdict = ClaimVerdict(
        score.model_copy(update=changes), PUBLISHED.find("cnn", ("fusar",), "fusar")
    )  # 0.3898
    assert [mark.sign for mark in verdict.marks] == ([sign] if sign else [])


def test_a_perfect_cell_is_higher_than_published_beyond_its_interval(shown: Tables) -> None:
    entry = place(shown, "cnn", "fusar", 1)
    assert figure(entry) == "1.00 (1.00 to 1.00)"
    assert signs(entry) == ["▲▲"]


def test_a_cell_that_says_cargo_only_is_no_better_than_the_majority(shown: Tables) -> None:
    entry = place(shown, "cnn", "fusar → mix", 1)
    assert entry.startswith("0.22 ")  # Cargo 8 of 16: F1 2/3, over three classes
    assert "=M" in signs(entry)
    last = place(shown, "cnn", "majority class alone", 1)
    assert last == f"{macro_f1(SIDE.labels[:16], ALL_CARGO[:16]):.2f}" == "0.22"


def test_a_cell_whose_interval_lies_below_published_is_marked(shown: Tables) -> None:
    entry = place(shown, "vgg16", "mix", 5)  # everything is Fishing
    assert signs(entry) == ["▼▼", "=M"]


def test_a_published_row_that_is_all_cargo_is_marked(shown: Tables) -> None:
    assert signs(place(shown, "vgg16", "fusar", 2)) == ["P=M"]
    assert signs(place(shown, "cnn", "fusar", 2)) == []


def test_other_classes_are_said_and_not_compared_by_macro_f1(
    answers: MatrixScores, shown: Tables
) -> None:
    # vgg16 on opensarship says Cargo only: macro-F1 0.40 of two classes is over the published
    # 0.28 of three, but mean recall is 0.5 for both.
    ours, theirs = place(shown, "vgg16", "fusar", 3), place(shown, "vgg16", "fusar", 4)
    assert ours.startswith("0.40 ")
    assert signs(ours) == ["=M"]
    assert "mean recall 0.50 (0.50 to 0.50)" in ours
    assert figure(theirs) == "0.28 over 3 classes"
    assert "mean recall 0.50 of these 2" in theirs
    page = Page("a report")
    comparison(page, answers, PUBLISHED)
    lines = page.markdown().splitlines()
    (note,) = (line for line in lines if line.startswith("Not the same classes"))
    assert "“opensarship” here has no Fishing" in note


def test_the_counts_are_those_of_the_marks_in_the_tables(shown: Tables) -> None:
    count = {
        (row[0], row[1], column): row[column + 2]
        for row in shown[COUNTS][1:]
        for column in range(3)
    }
    # 2 models, 9 paths of length 1 or 2, 6 of length 3.
    for protocol, lengths, total in (
        ("base and independent", (0, 1), 18),
        ("sequential", (2,), 12),
    ):
        for column in range(3):
            entries = [
                row[1 + 2 * column]
                for title, rows in shown.items()
                if title != COUNTS
                for row in rows[1:-1]
                if row[0].count("→") in lengths
            ]
            assert len(entries) == total
            for what, wanted in (
                ("higher than published (▲ or ▲▲)", {"▲", "▲▲"}),
                ("… and the interval excludes it (▲▲)", {"▲▲"}),
                ("lower, and the interval excludes it (▼▼)", {"▼▼"}),
                ("no better than the majority (=M)", {"=M"}),
            ):
                marked = sum(bool(wanted & set(signs(entry))) for entry in entries)
                assert count[protocol, what, column] == f"{marked} of {total} cells"


def test_a_seed_that_is_not_finished_is_said() -> None:
    results = made_up_matrix(paths=(("fusar",), ("mix",)))
    gone = Cell("default", "cnn", 1, ("fusar",))
    kept = tuple(result for result in results.cells if result.cell != gone)
    answers = MatrixScores.of(type(results)(results.record, SIDE, kept))
    assert answers.left_out == ("default/cnn/seed-1/fusar (not finished)",)
    assert place(compared(answers), "cnn", "fusar", 0) == "fusar<br>1 of 2 seeds"


def test_a_cell_whose_answers_are_not_numbers_is_left_out_and_said() -> None:
    broken = made_up_cell(Cell("default", "cnn", 1, ("fusar",)))
    broken.logits[3, 1] = np.nan
    answers = MatrixScores.of(made_up_matrix(broken))
    assert answers.left_out == ("default/cnn/seed-1/fusar (its answers are not finite numbers)",)
    assert list(next(iter(answers.lines.values()))) == [0]
