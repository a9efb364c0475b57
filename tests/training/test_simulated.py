"""Simulated chips: repeatable, and ships of their class's size."""

import numpy as np
import pytest

from training.data.simulated import SimulatedSource, hull_of


def test_simulated_chips_are_repeatable_and_hulls_have_their_class_length() -> None:
    source = SimulatedSource({"Cargo": 3, "Fishing": 3}, seed=5)
    again = SimulatedSource({"Cargo": 3, "Fishing": 3}, seed=5)
    assert source.index() == again.index()
    assert source.index() != SimulatedSource({"Cargo": 3, "Fishing": 3}, seed=6).index()
    rng = np.random.default_rng(0)
    lengths = {
        c: np.median([hull_of(c, rng)[0] for _ in range(400)])
        for c in ("Cargo", "Fishing", "Tanker")
    }
    assert lengths["Cargo"] == pytest.approx(175, rel=0.05)
    assert lengths["Fishing"] == pytest.approx(45, rel=0.05)


def test_a_simulated_ship_stands_out_by_its_length() -> None:
    source = SimulatedSource({"Cargo": 1, "Fishing": 1}, seed=0)
    extent = {}
    for record in source.index():
        power = source.read(record).amplitude[0] ** 2
        extent[record.label] = (power > 8).sum()
    assert extent["Cargo"] > 3 * extent["Fishing"]
