"""What the report says of fine-tuning, merging, calibration, sweeps and mistakes."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from tests.training.test_report import SEEDS, SIDE, made_up_cell, made_up_matrix, tables
from training.evaluation.metrics import expected_calibration_error, paired_difference
from training.matrix.config import Cell
from training.matrix.report.confidence import calibration, mistakes
from training.matrix.report.document import Gallery, Paragraph, Table, difference
from training.matrix.report.effects import fine_tuning, merging, sweeps
from training.matrix.report.overview import chosen_lines, overview
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
    rows = tables(fine_tuning(answers))["cnn: difference of macro-F1"].rows
    assert len(rows) == 12  # six first fine-tunings, six second ones
    for parent, last in ((("fusar",), "mix"), (("fusar", "mix"), "opensarship")):
        before, after = (Line("default", "cnn", path) for path in (parent, (*parent, last)))
        expected = paired_difference(
            answers.probs(before, "fusar"),
            answers.probs(after, "fusar"),
            SIDE.labels[FUSAR],
            answers.groups("fusar"),
        )
        (row,) = (r for r in rows if (r[0].text, r[1].text) == (" → ".join(parent), last))
        assert row[2] == difference(expected)


def test_a_step_that_repairs_everything_is_marked_as_a_rise() -> None:
    changed = [
        made_up_cell(Cell("default", "cnn", s, path), said, sure=99)
        for s in SEEDS
        for path, said in ((("fusar",), (SIDE.labels + 1) % 3), (("fusar", "mix"), SIDE.labels))
    ]
    section = fine_tuning(MatrixScores.of(made_up_matrix(*changed)))
    rows = tables(section)["cnn: difference of macro-F1"].rows
    (row,) = (row for row in rows if (row[0].text, row[1].text) == ("fusar", "mix"))
    assert row[2].text == "+1.00 (+1.00 to +1.00)"
    assert [mark.sign for mark in row[2].marks] == ["+"]


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
    rows = tables(merging(answers))["F1 by class, 95 %"].rows
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
    (row,) = (row for row in rows if [entry.text for entry in row[:3]] == wanted)
    assert row[5] == difference(expected)


def test_calibration_error_is_told_before_and_after_the_temperature() -> None:
    answers = MatrixScores.of(made_up_matrix(paths=(("fusar",),)))
    row = tables(calibration(answers))["Expected calibration error, 95 %"].rows[0]
    line = Line("default", row[0].text, tuple(row[1].text.split(" → ")))
    assert row[3].text == "1.50, 1.50"
    for entry, calibrated in ((row[4], False), (row[5], True)):
        runs = answers.probs(line, "fusar", calibrated)
        each = [expected_calibration_error(run, SIDE.labels[FUSAR]) for run in runs]
        assert entry.text.startswith(f"{np.mean(each):.2f} (")
    assert row[4].text != row[5].text


def test_a_sweep_sets_each_variant_against_the_first_of_the_config() -> None:
    found = MatrixScores.of(
        made_up_matrix(variants=("plain", "focal"), paths=(("fusar",), ("mix",)))
    )
    table = tables(sweeps(found))["Tested on opensarship, 95 %"]
    assert table.head[-3:] == ("recall of Cargo", "recall of Tanker", "against plain")
    first, second = table.rows[:2]
    assert [entry.text for entry in first[:3]] == ["cnn", "fusar", "plain"]
    assert [entry.text for entry in second[:3]] == ["cnn", "fusar", "focal"]
    lines = [Line(name, "cnn", ("fusar",)) for name in ("plain", "focal")]
    assert first[-1].text == ""
    assert second[-1] == difference(found.difference(*lines, "opensarship"))


def test_mistakes_are_those_made_with_most_confidence_first() -> None:
    said = SIDE.labels.copy()
    said[[3, 20]] = 2, 1
    cells = [made_up_cell(Cell("default", "vgg16", s, ("mix",)), said, nll=0.1) for s in SEEDS]
    for result in cells:
        result.logits[:] = np.eye(3)[said] * 8
        result.logits[3] /= 4  # less sure of chip 3 than of chip 20
    section = mistakes(MatrixScores.of(made_up_matrix(*cells)))
    (gallery,) = (block for block in section.blocks if isinstance(block, Gallery))
    assert [fact["key"] for fact in gallery.facts] == ["chip 20", "chip 3"]
    assert gallery.facts[0] == {
        "truth": "Cargo",
        "answer": "Fishing",
        "confidence": "99%",
        "source": "opensarship",
        "key": "chip 20",
    }
    text = section.blocks[0]
    assert isinstance(text, Paragraph)
    assert "vgg16" in text.text
    assert "2 of 28 chips are wrong" in text.text
    pixels = np.asarray(Image.open(io.BytesIO(gallery.png)))
    chip = (np.clip((SIDE.inputs[3, 0] + 0.5) / 2.3, 0, 1) * 255).astype(np.uint8)
    np.testing.assert_array_equal(pixels[:8, 8:16], chip)  # the second square of the first row


def test_a_report_to_pass_on_names_mistakes_and_shows_no_chip(answers: MatrixScores) -> None:
    (shown,) = (b for b in mistakes(answers).blocks if isinstance(b, Gallery))
    told = mistakes(answers, chips=False).blocks
    assert not [block for block in told if isinstance(block, Gallery)]
    (table,) = (block for block in told if isinstance(block, Table))
    assert [tuple(e.text for e in row) for row in table.rows] == [
        tuple(fact.values()) for fact in shown.facts
    ]


def test_a_model_without_a_mistake_has_no_gallery() -> None:
    perfect = [
        made_up_cell(Cell("default", "cnn", s, ("mix",)), SIDE.labels, nll=0.1, sure=99)
        for s in SEEDS
    ]
    section = mistakes(MatrixScores.of(made_up_matrix(*perfect)))
    assert not [block for block in section.blocks if isinstance(block, Gallery)]


def test_the_overview_counts_the_test_chips_and_names_absent_classes(answers: MatrixScores) -> None:
    rows = tables(overview(answers))["The test sets"].rows
    assert [[entry.text for entry in row] for row in rows] == [
        ["fusar", "16", "8", "8", "4", "4"],
        ["opensarship", "12", "6", "8", "none", "4"],
        ["mix", "28", "14", "16", "4", "8"],
    ]
