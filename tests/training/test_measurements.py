"""Measurements of drawn ships are what a ruler would say."""

import math

import numpy as np
import pytest
import torch

from training.config import DEFAULT_INPUT
from training.network.measurements import LEVELS_DB, NAMES, Measurements

SPEC = DEFAULT_INPUT.model_copy(update={"size": 64, "spacing_m": 6.0})


def drawn(
    length: int, width: int, decibels: float = 20.0, turned: bool = False, noise: float = 0.0
) -> torch.Tensor:
    """A bright bar of so many pixels at the centre of a calm sea: (1, 1, 64, 64)."""
    chip = noise * np.random.default_rng(0).standard_normal((64, 64))
    rows, columns = (width, length) if turned else (length, width)
    top, left = 32 - rows // 2, 32 - columns // 2
    chip[top : top + rows, left : left + columns] = decibels / SPEC.db_scale
    return torch.from_numpy(chip[None, None].astype(np.float32))


def measured(chip: torch.Tensor) -> dict[str, float]:
    values = Measurements(SPEC)(chip)[0]
    return dict(zip(NAMES, values.tolist(), strict=True))


def test_every_measurement_has_a_name() -> None:
    assert Measurements(SPEC)(drawn(20, 4)).shape == (1, len(NAMES))
    assert len(set(NAMES)) == len(NAMES)


def test_length_and_width_are_the_spread_of_a_bar_in_metres() -> None:
    # A uniform bar of n pixels has the variance (n**2 - 1) / 12 pixels; the weight towards the
    # chip's centre takes a little off the long side.
    reported = measured(drawn(20, 4))
    expected = 6.0 * math.sqrt((20**2 - 1) / 12)
    assert math.exp(reported["length above 12 dB"]) == pytest.approx(expected, rel=0.04)
    assert math.exp(reported["width above 12 dB"]) == pytest.approx(
        6.0 * math.sqrt((4**2 - 1) / 12), rel=0.01
    )
    assert math.exp(reported["area above 12 dB"]) == pytest.approx(20 * 4 * 36 + 100, rel=0.08)


def test_a_turned_ship_measures_the_same() -> None:
    along, across = measured(drawn(20, 4)), measured(drawn(20, 4, turned=True))
    for name in NAMES:
        assert across[name] == pytest.approx(along[name], abs=1e-4), name


def test_brightness_is_in_decibels_over_the_scale() -> None:
    reported = measured(drawn(20, 4, decibels=26.0))
    assert reported["maximum"] == pytest.approx(26.0 / SPEC.db_scale)
    assert reported["mean above 18 dB"] == pytest.approx(26.0 / SPEC.db_scale, rel=1e-3)
    assert reported["quantile 0.5"] == 0.0  # the sea


@pytest.mark.parametrize("level", LEVELS_DB)
def test_nothing_above_a_level_is_finite_and_the_same_for_every_sea(level: float) -> None:
    calm = measured(torch.zeros(1, 1, 64, 64))
    for name, value in calm.items():
        assert math.isfinite(value), name
    assert calm[f"area above {level:g} dB"] == pytest.approx(math.log(100))


def test_a_ship_at_the_edge_counts_less_than_one_at_the_centre() -> None:
    centre, edge = drawn(10, 4), drawn(10, 4)
    edge = torch.roll(edge, 26, dims=3)
    area = "area above 12 dB"
    # 156 m off, the weight is exp(-156**2 / (2 * (0.35 * 384)**2)), about a half.
    assert measured(edge)[area] == pytest.approx(measured(centre)[area] + math.log(0.54), abs=0.02)


def test_the_clutters_correlation_separates_an_interpolated_sea_from_a_fine_one() -> None:
    rng = np.random.default_rng(1)
    fine = rng.normal(0, 0.15, (64, 64)).astype(np.float32)
    coarse = np.kron(rng.normal(0, 0.15, (16, 16)), np.ones((4, 4))).astype(np.float32)
    reported = [
        measured(torch.from_numpy(sea[None, None]))["clutter correlation"] for sea in (fine, coarse)
    ]
    assert reported[0] == pytest.approx(0.0, abs=0.05)
    assert reported[1] == pytest.approx(0.75, abs=0.08)  # three of four neighbours are the same
