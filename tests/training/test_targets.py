"""Every figure stands beside its target, and its verdict is that of the figure."""

import numpy as np
import pytest

from tests.training.test_figures import marked, metrics, records, said
from training.card.schema import ModelFigures
from training.evaluation import targets
from training.evaluation.figures import calibration_floor, measure


def rows_of(**changes: object) -> dict[str, targets.TargetRow]:
    return {
        row.what: row
        for row in targets.rows(ModelFigures.model_validate(metrics() | changes), 2**20)
    }


def test_every_target_has_a_row_whose_verdict_is_its_figures() -> None:
    rows = rows_of()
    verdicts = {what: (row.target.text(), row.verdict) for what, row in rows.items() if row.target}
    assert verdicts == {
        "worst change, fusar": ("≥ 0.6", ""),
        "fall to that, fusar": ("≤ 0.05", ""),
        "macro-F1, opensarship": ("≥ 0.66", "met"),  # 1.00
        "macro-F1, opensarship_slc": ("≥ 0.66", "missed"),  # 0.33
        "macro-F1, opensarship*": ("≥ 0.66", "met"),  # 0.73
        "ECE over floor, fusar": ("≤ 0.03", "met"),  # 3 of 4 right at 0.78
        "ECE over floor, opensarship": ("≤ 0.03", "met"),  # 2 of 3
        "ECE over floor, opensarship_slc": ("≤ 0.03", "met"),  # 1 of 2
        "sets hold Cargo": ("87% to 95%", "missed"),
        "sets hold Fishing": ("87% to 95%", "missed"),
        "sets hold Tanker": ("87% to 95%", "missed"),  # all of them: more than 95 %
        "mean size of sets": ("≤ 1.5", "met"),
        "AUROC, sea": ("≥ 0.98", "met"),
        "ships refused at 90 %": ("≤ 5%", "met"),
        "length, mean error": ("≤ 12 m", ""),
        "int8, macro-F1 lost": ("≤ 0.01", ""),
        "int8, times as fast": ("≥ 2.5", ""),
        "size": ("≤ 30 MB", "met"),
        "chips a second": ("≥ 60", ""),
    }
    assert rows["size"].value() == "1.0"
    assert rows["ECE, fusar"].note == f"floor {calibration_floor(np.full(4, 0.78)):.3f}"


def change(macro_f1: float, **changes: object) -> dict[str, object]:
    """The figures of a change that keeps every label and every set."""
    return {
        "macro_f1": macro_f1,
        "recall": {},
        "coverage": {"Cargo": 1.0, "Fishing": 1.0, "Tanker": 1.0},
        "set_size": 1.0,
        "same_label": 1.0,
        "sure": 4,
        "sure_changed": 0,
    } | changes


def test_the_worst_change_is_held_against_its_targets() -> None:
    rows = rows_of(
        presentations={
            "fusar": {
                "none": change(0.70, length_kept=1.0),
                "darker": change(0.62, same_label=0.9, length_kept=0.8),
                "turned": change(0.69, sure_changed=1, coverage={"Cargo": 0.5} | SETS),
            }
        }
    )
    assert (rows["worst change, fusar"].value(), rows["worst change, fusar"].verdict) == (
        "0.620",
        "met",
    )
    assert rows["same label, fusar"].value() == "90.0%"
    assert rows["sure changed, fusar"].value() == "25.0%"
    assert rows["length in interval, fusar"].value() == "80.0%"
    assert rows["sets hold Cargo, changed"].value() == "50.0%"
    assert rows["sets hold Tanker, changed"].verdict == "met"


SETS = {"Fishing": 1.0, "Tanker": 1.0}


def test_land_is_held_to_less_than_vehicles_and_other_ships_to_nothing() -> None:
    ood = metrics()["out_of_distribution"]
    ood["kinds"] = dict.fromkeys(("forest", "vehicles", "other ship types"), ood["kinds"]["sea"])
    rows = rows_of(out_of_distribution=ood)
    held = {what: row.target for what, row in rows.items() if what.startswith("AUROC")}
    assert held == {
        "AUROC, all OOD chips": None,
        "AUROC, forest": targets.AUROC_NEAR,
        "AUROC, vehicles": targets.AUROC,
        "AUROC, other ship types": None,
    }


def test_coverage_by_ship_stands_beside_coverage_by_chip() -> None:
    ships = ["a", "a", "a", "b"]
    held = measure(marked(said([0, 1, 1, 0]), [0] * 4, ships), records(*["own"] * 4), None, 0)
    rows = {row.what: row for row in targets.rows(held, 1)}
    by_chip, by_ship = rows["sets hold Cargo"], rows["sets hold Cargo, by ship"]
    assert (by_chip.value(), by_chip.note) == ("50.0%", "4 chips")
    assert (by_ship.value(), by_ship.note) == ("66.7%", "2 ships")  # (1/3 + 1) / 2


def test_a_card_without_coverage_by_ship_has_no_such_row() -> None:
    older = metrics()
    for share in older["sets"]["coverage"].values():
        del share["by_ship"]
    assert not [
        row.what
        for row in targets.rows(ModelFigures.model_validate(older), 1)
        if "by ship" in row.what
    ]


@pytest.mark.parametrize(("value", "met"), [(0.87, True), (0.95, True), (0.869, False), (1, False)])
def test_limits_belong_to_a_target(value: float, met: bool) -> None:
    assert targets.COVERAGE.met(value) is met


def test_what_was_not_measured_is_neither_met_nor_missed() -> None:
    rows = rows_of(out_of_distribution=None, sources={}, pooled=None)
    for what in ("AUROC, OOD chips", "macro-F1, fusar*", "macro-F1, opensarship*"):
        assert (rows[what].value(), rows[what].verdict) == ("-", ""), what
        assert rows[what].note in ("not given", "no such chips")


def test_three_classes_are_three() -> None:
    two = measure(marked(said([0, 2]), [0, 2]), records("fusar", "fusar"), None, 0)
    rows = {row.what: row for row in targets.rows(two, 1)}
    assert (rows["macro-F1, fusar"].verdict, rows["macro-F1, fusar"].note) == ("", "no Fishing")
