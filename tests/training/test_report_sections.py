"""What the report says of fine-tuning, merging, calibration, sweeps and mistakes."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from tests.training.test_report import (
    SEEDS,
    SIDE,
    figure,
    made_up_cell,
    made_up_matrix,
    signs,
    tables,
)
from training.evaluation.metrics import expected_calibration_error, paired_difference
from training.matrix.config import Cell
from training.matrix.report.confidence import calibration, mistakes
from training.matrix.report.effects import fine_tuning, merging, sweeps
from training.matrix.report.overview import chosen_lines, overview
from training.matrix.report.page import Page, difference_cell
from training.matrix.report.scores import Line, MatrixScores

FUSAR = SIDE.sets["fusar"]


@pytest.fixture(scope="module")
def answers() -> MatrixScores:
    return MatrixScores.of(made_up_matrix())


def test_a_path_is_chosen_by_validation_among_those_with_the_same_last_set() -> None:
    path = ("mix", "opensarship", "fusar")
    wrong = (SIDE.labels + 1) % 3
    chosen = [made_up_cell(Cell("default", "cnn", s, path), wrong, nll=0.1) for s in SEEDS]
    found = chosen_lines(MatrixScores.of(made_up_matrix(*chosen)))
    assert Line("default", "cnn", path) in found  # though no answer of it is right
    assert [line.path[-1] for line in found] == 2 * ["fusar", "opensarship", "mix"]


def test_validation_loss_is_that_of_the_chosen_epoch() -> None:
    cell = Cell("default", "cnn", 0, ("fusar",))
    later = replace(made_up_cell(cell, nll=0.5), chosen=1)
    found = MatrixScores.of(made_up_matrix(later))
    # Seed 0: epoch 1, 0.6; seed 1: epoch 0, 0.5.
    assert found.nll(Line("default", "cnn", ("fusar",))) == pytest.approx(0.55)


def test_a_step_of_fine_tuning_is_the_paired_difference_to_its_parent(
    answers: MatrixScores,
) -> None:
    rows = tables(lambda page: fine_tuning(page, answers))["cnn: difference of macro-F1"][1:]
    assert len(rows) == 12  # six first fine-tunings, six second ones
    for parent, last in ((("fusar",), "mix"), (("fusar", "mix"), "opensarship")):
        before, after = (Line("default", "cnn", path) for path in (parent, (*parent, last)))
        expected = paired_difference(
            answers.probs(before, "fusar"),
            answers.probs(after, "fusar"),
            SIDE.labels[FUSAR],
            answers.groups("fusar"),
        )
        (row,) = (r for r in rows if (r[0], r[1]) == (" → ".join(parent), last))
        assert row[2] == difference_cell(expected)


def test_a_step_that_repairs_everything_is_marked_as_a_rise() -> None:
    changed = [
        made_up_cell(Cell("default", "cnn", s, path), said, sure=99)
        for s in SEEDS
        for path, said in ((("fusar",), (SIDE.labels + 1) % 3), (("fusar", "mix"), SIDE.labels))
    ]
    repaired = MatrixScores.of(made_up_matrix(*changed))
    rows = tables(lambda page: fine_tuning(page, repaired))["cnn: difference of macro-F1"][1:]
    (row,) = (row for row in rows if (row[0], row[1]) == ("fusar", "mix"))
    assert figure(row[2]) == "+1.00 (+1.00 to +1.00)"
    assert signs(row[2]) == ["+"]


def test_a_difference_is_over_the_seeds_that_both_have(answers: MatrixScores) -> None:
    base, tuned = Line("default", "cnn", ("fusar",)), Line("default", "cnn", ("fusar", "mix"))
    fewer = replace(answers, lines=answers.lines | {tuned: {1: answers.lines[tuned][1]}})
    second = [answers.probs(line, "mix")[1:] for line in (base, tuned)]
    expected = paired_difference(*second, SIDE.labels, SIDE.groups)
    assert fewer.difference(base, tuned, "mix") == expected


def test_a_step_without_a_seed_in_common_has_no_difference(answers: MatrixScores) -> None:
    base, tuned = Line("default", "cnn", ("fusar",)), Line("default", "cnn", ("fusar", "mix"))
    lines = answers.lines | {
        base: {0: answers.lines[base][0]},
        tuned: {1: answers.lines[tuned][1]},
    }
    assert replace(answers, lines=lines).difference(base, tuned, "fusar") is None


def test_merging_compares_base_trainings_on_the_part_class_by_class(answers: MatrixScores) -> None:
    part, whole = (Line("default", "vgg16", (name,)) for name in ("opensarship", "mix"))
    rows = tables(lambda page: merging(page, answers))["F1 by class, 95 %"][1:]
    # Three classes of fusar, two of opensarship, two models.
    assert len(rows) == 10
    expected = paired_difference(
        answers.probs(part, "opensarship"),
        answers.probs(whole, "opensarship"),
        SIDE.labels[~FUSAR],
        answers.groups("opensarship"),
        of_class=2,
    )
    wanted = ["vgg16", "opensarship", "Tanker"]
    (row,) = (row for row in rows if row[:3] == wanted)
    assert row[5] == difference_cell(expected)


def test_calibration_error_is_reported_before_and_after_the_temperature() -> None:
    answers = MatrixScores.of(made_up_matrix(paths=(("fusar",),)))
    row = tables(lambda page: calibration(page, answers))["Expected calibration error, 95 %"][1]
    line = Line("default", row[0], tuple(row[1].split(" → ")))
    assert row[3] == "1.50, 1.50"
    for entry, calibrated in ((row[4], False), (row[5], True)):
        runs = answers.probs(line, "fusar", calibrated)
        each = [expected_calibration_error(run, SIDE.labels[FUSAR]) for run in runs]
        assert entry.startswith(f"{np.mean(each):.2f} (")
    assert row[4] != row[5]


def test_a_sweep_sets_each_variant_against_the_first_of_the_config() -> None:
    found = MatrixScores.of(
        made_up_matrix(variants=("plain", "focal"), paths=(("fusar",), ("mix",)))
    )
    table = tables(lambda page: sweeps(page, found))["Tested on opensarship, 95 %"]
    head, first, second = table[:3]
    assert head[-3:] == ["recall of Cargo", "recall of Tanker", "against plain"]
    assert first[:3] == ["cnn", "fusar", "plain"]
    assert second[:3] == ["cnn", "fusar", "focal"]
    lines = [Line(name, "cnn", ("fusar",)) for name in ("plain", "focal")]
    assert first[-1] == ""
    assert second[-1] == difference_cell(found.difference(*lines, "opensarship"))


def test_mistakes_are_those_made_with_most_confidence_first() -> None:
    said = SIDE.labels.copy()
    said[[3, 20]] = 2, 1
    cells = [made_up_cell(Cell("default", "vgg16", s, ("mix",)), said, nll=0.1) for s in SEEDS]
    for result in cells:
        result.logits[:] = np.eye(3)[said] * 8
        result.logits[3] /= 4  # less sure of chip 3 than of chip 20
    page = Page("a report")
    mistakes(page, MatrixScores.of(made_up_matrix(*cells)))
    reported = page.markdown()
    assert "vgg16, mix, whose validation loss" in reported
    assert "2 of 28 chips are wrong" in reported
    rows = [line for line in reported.splitlines() if line.startswith("| ")][2:]
    assert rows[0] == (
        "| 1 ![chip 1](figures/mistake-1.png) | Cargo | Fishing | 99% | opensarship | chip 20 |"
    )
    assert rows[1].endswith("| chip 3 |")
    pixels = np.asarray(Image.open(io.BytesIO(page.pictures["mistake-2"])))
    chip = (np.clip((SIDE.inputs[3, 0] + 0.5) / 2.3, 0, 1) * 255).astype(np.uint8)
    np.testing.assert_array_equal(pixels, chip)


def test_a_report_to_pass_on_names_mistakes_and_shows_no_chip(answers: MatrixScores) -> None:
    shown, reported = Page("a report"), Page("a report")
    mistakes(shown, answers)
    mistakes(reported, answers, chips=False)
    assert shown.pictures
    assert not reported.pictures
    assert reported.markdown() == shown.markdown(figures=False)


def test_a_model_without_a_mistake_has_no_table_of_them() -> None:
    perfect = [
        made_up_cell(Cell("default", "cnn", s, ("mix",)), SIDE.labels, nll=0.1, sure=99)
        for s in SEEDS
    ]
    found = MatrixScores.of(made_up_matrix(*perfect))
    assert tables(lambda page: mistakes(page, found)) == {}


def test_the_overview_counts_the_test_chips_and_names_absent_classes(answers: MatrixScores) -> None:
    rows = tables(lambda page: overview(page, answers))["The test sets"][1:]
    assert rows == [
        ["fusar", "16", "8", "8", "4", "4"],
        ["opensarship", "12", "6", "8", "none", "4"],
        ["mix", "28", "14", "16", "4", "8"],
    ]
