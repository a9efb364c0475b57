"""prepare as a specification: what the model sees of a chip, and what it must not see."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipchip import Chip, ChipError, decode, prepare
from shipchip.card import SpacingRule
from shipchip.chip import Encoding
from shipchip.prepare import clutter_power, spacing_of, window_clutter
from tests.shipchip.inputs import npy, scene, sigma0, spec, tiff

SQUARE = (SpacingRule(encoding="any", spacing_m=(10.0, 10.0), why="a test"),)


def chip_of(
    *planes: np.ndarray,
    names: tuple[str, ...] = ("VV",),
    spacing: tuple[float, float] | None = None,
    encoding: Encoding = "float",
) -> Chip:
    return Chip(np.stack(planes).astype(np.float32), names, spacing, encoding)


def bar(
    height: int, width: int, rows: int, columns: int, sea: float = 1.0, ship: float = 10.0
) -> np.ndarray:
    """Flat sea with a bright bar of rows x columns at the middle: 20 dB above it, by default."""
    image = np.full((height, width), sea)
    top, left = (height - rows) // 2, (width - columns) // 2
    image[top : top + rows, left : left + columns] = ship
    return image


def extent(image: np.ndarray) -> tuple[float, float]:
    """(rows, columns) that the bar fills, from the power it adds to the middle column and row."""
    power = 10 ** (image[0] * 20.0 / 10) - 1
    middle = image.shape[1] // 2
    return power[:, middle].sum() / power.max(), power[middle].sum() / power.max()


def test_the_input_has_the_specs_shape_type_and_range() -> None:
    for size in (16, 32, 100):
        given_input = prepare(chip_of(scene() * 50), spec(size=size)).input
        assert given_input.shape == (1, size, size)
        assert given_input.dtype == np.float32


def test_decibels_are_clipped_to_the_specs_range_and_divided_by_its_scale() -> None:
    image = bar(32, 32, 8, 8, ship=1000.0)  # 60 dB above the sea
    image[0:4] = 0.01  # 40 dB below it
    plain = spec(spacing_m=10.0, spacing_rules=SQUARE)
    seen = prepare(chip_of(image), plain).input
    assert seen.min() == np.float32(-10 / 20)
    assert seen.max() == np.float32(25 / 20)
    wider = spec(spacing_m=10.0, spacing_rules=SQUARE, db_min=-80.0, db_max=80.0, db_scale=10.0)
    # The dark rows are an eighth of the chip, so the mean of the dimmest 75 % is 5/6 or so of it.
    clutter = clutter_power(np.float64(image) ** 2)
    seen = prepare(chip_of(image), wider).input
    assert seen.max() == pytest.approx((60 - 10 * math.log10(clutter)) / 10, abs=1e-5)
    assert seen.min() == pytest.approx((-40 - 10 * math.log10(clutter)) / 10, abs=1e-5)


def test_clutter_is_zero_and_a_ship_of_20_db_is_one() -> None:
    seen = prepare(chip_of(bar(64, 64, 6, 20)), spec(spacing_m=10.0, spacing_rules=SQUARE)).input
    assert seen[0, 0, 0] == 0
    assert seen[0, 16, 16] == pytest.approx(1.0, abs=1e-6)


def test_clutter_is_the_mean_power_of_the_dimmest_three_quarters_of_positive_samples() -> None:
    power = np.array([[0.0, 0.0, 1.0, 2.0], [3.0, 4.0, 5.0, 900.0]])
    # The positive ones are 1 2 3 4 5 900; their 75th percentile is 4.75, so 1 2 3 4 count.
    assert clutter_power(power) == 2.5
    assert clutter_power(np.zeros((3, 3))) == 1.0


@settings(derandomize=True, deadline=None, max_examples=60)
@given(factor=st.floats(1e-6, 1e6))
def test_calibration_does_not_matter(factor: float) -> None:
    expected = prepare(chip_of(scene()), spec()).input
    np.testing.assert_allclose(
        prepare(chip_of(scene() * factor), spec()).input, expected, atol=2e-5
    )


def test_amplitude_and_its_sigma0_are_one_input() -> None:
    as_sigma0 = prepare(decode(tiff(sigma0())), spec()).input
    as_amplitude = prepare(decode(npy(scene().astype(np.float32))), spec()).input
    np.testing.assert_allclose(as_sigma0, as_amplitude, atol=2e-5)


@pytest.mark.parametrize("factor", [0.01, 0.5, 7.0])
def test_integers_of_sigma0_are_the_input_of_the_same_numbers_as_floats(factor: float) -> None:
    """Their amplitudes are square roots: cut to whole numbers, clutter would be 1 dB too low."""
    levels = np.clip(scene() ** 2 * factor, 1, 65535).astype(np.uint16)
    as_integers = decode(npy(levels), quantity="sigma0")
    as_floats = decode(npy(levels.astype(np.float64)), quantity="sigma0")
    np.testing.assert_array_equal(as_integers.amplitude, as_floats.amplitude)
    np.testing.assert_allclose(
        prepare(as_integers, spec()).input, prepare(as_floats, spec()).input, atol=1e-6
    )


@pytest.mark.parametrize("rows_m", [2.33, 5.0, 10.0, 12.5, 20.0])
@pytest.mark.parametrize("columns_m", [3.9, 10.0, 13.93])
def test_a_bar_of_known_metres_has_its_true_extent(rows_m: float, columns_m: float) -> None:
    """100 m by 200 m are 10 by 20 pixels of a 10 m input, whatever the chip's own spacing."""
    height, width = 2 * round(400 / rows_m / 2), 2 * round(400 / columns_m / 2)
    rows, columns = 2 * round(50 / rows_m), 2 * round(100 / columns_m)
    image = bar(height, width, rows, columns, ship=30.0)
    wide = spec(size=40, spacing_m=10.0, db_max=60.0)
    seen = extent(prepare(chip_of(image, spacing=(rows_m, columns_m)), wide).input)
    true = (rows * rows_m / 10, columns * columns_m / 10)
    assert seen == pytest.approx(true, rel=0.06)


def test_slc_without_tags_takes_the_rules_anisotropic_spacing() -> None:
    """10 rows of 13.93 m by 36 columns of 3.9 m are nearly square on the ground: 139 by 140 m."""
    image = bar(64, 240, 10, 36, ship=30.0)
    wide = spec(size=64, spacing_m=5.0, db_max=60.0)
    seen = extent(prepare(chip_of(image, encoding="complex"), wide).input)
    assert seen == pytest.approx((27.86, 28.08), rel=0.06)


def test_a_smaller_chip_is_padded_with_clutter_not_with_black() -> None:
    image = 3.0 * bar(16, 12, 4, 6)
    seen = prepare(chip_of(image), spec(spacing_m=10.0, spacing_rules=SQUARE)).input[0]
    inside = np.zeros((32, 32), bool)
    inside[8:24, 10:22] = True
    assert (seen[~inside] == 0).all()
    assert seen[15, 15] == pytest.approx(1.0, abs=1e-6)


def test_a_padded_chip_stays_at_the_centre() -> None:
    seen = prepare(chip_of(bar(9, 9, 1, 1)), spec(spacing_m=10.0, spacing_rules=SQUARE)).input[0]
    row, column = np.unravel_index(seen.argmax(), seen.shape)
    assert (row, column) in {(15, 15), (16, 16)}


def test_a_larger_chip_is_cropped_around_its_centre() -> None:
    image = bar(64, 64, 4, 8)
    image[:4] = image[-4:] = 77.0  # land at two edges, beyond the field of view
    seen = prepare(chip_of(image), spec(spacing_m=10.0, spacing_rules=SQUARE)).input[0]
    shown = image[16:48, 16:48] > 1
    assert ((seen > 0.5) == shown).all()


def test_no_data_zeros_are_clutter_not_darkness() -> None:
    image = scene(shape=(32, 32))
    image[:, :9] = 0
    seen = prepare(chip_of(image), spec(spacing_m=10.0, spacing_rules=SQUARE)).input[0]
    assert (seen[:, :9] == 0).all()
    assert (seen[:, 9:] != 0).mean() > 0.99


def test_no_data_zeros_do_not_darken_the_clutter() -> None:
    image = scene(shape=(64, 64))
    half = image.copy()
    half[:20] = 0
    plain = spec(spacing_m=10.0, spacing_rules=SQUARE)
    whole, cut = prepare(chip_of(image), plain).input, prepare(chip_of(half), plain).input
    assert abs(float((whole - cut)[0, 8:].mean())) < 0.03


def test_going_down_keeps_the_mean_power() -> None:
    rng = np.random.default_rng(5)
    sea = rng.rayleigh(1.0, (128, 128))
    wide = spec(spacing_m=40.0, spacing_rules=SQUARE, db_min=-60.0, db_max=60.0)
    seen = prepare(chip_of(sea), wide).input
    mean = (10 ** (seen * 20 / 10)).mean()
    assert mean == pytest.approx((sea**2).mean() / clutter_power(sea**2), rel=0.01)
    assert seen.std() < 0.1, "16 looks leave about 1 dB of speckle"


@pytest.mark.parametrize(
    ("encoding", "side", "expected"),
    [
        ("complex", 50, (1.0, 1.0)),
        ("complex", 49, (2.0, 2.0)),
        ("integer", 500, (3.0, 3.0)),
        ("integer", 49, (4.0, 4.0)),
        ("float", 500, (4.0, 4.0)),
    ],
)
def test_the_first_spacing_rule_that_applies_wins(
    encoding: Encoding, side: int, expected: tuple[float, float]
) -> None:
    rules = (
        SpacingRule(encoding="complex", min_side=50, spacing_m=(1, 1), why="large"),
        SpacingRule(encoding="complex", spacing_m=(2, 2), why="small"),
        SpacingRule(encoding="integer", min_side=500, spacing_m=(3, 3), why="FUSAR"),
        SpacingRule(encoding="any", spacing_m=(4, 4), why="others"),
    )
    chip = chip_of(np.ones((20, side)), encoding=encoding)
    assert spacing_of(chip, spec(spacing_rules=rules)) == (expected, "rule")


def test_what_the_chip_says_goes_before_the_rules() -> None:
    chip = chip_of(scene(), spacing=(7.0, 8.0), encoding="complex")
    assert spacing_of(chip, spec()) == ((7.0, 8.0), "request")


def test_the_first_polarisation_of_the_spec_that_the_chip_has_is_taken() -> None:
    vh, vv = scene(1), scene(2)
    both = chip_of(vh, vv, names=("VH", "VV"))
    for order, expected in ((("VV", "VH"), vv), (("VH", "VV"), vh), (("HH", "VH"), vh)):
        np.testing.assert_array_equal(
            prepare(both, spec(polarisations=order)).input, prepare(chip_of(expected), spec()).input
        )


def test_a_chip_of_other_polarisations_is_refused() -> None:
    with pytest.raises(ChipError) as caught:
        prepare(chip_of(scene(), names=("HH",)), spec(polarisations=("VV", "VH")))
    assert caught.value.code == "polarisation_missing"


def test_a_chip_whose_taken_plane_is_blank_is_refused() -> None:
    """decode lets it pass for its other plane, but the model would answer to nothing."""
    chip = chip_of(scene(), np.full((40, 48), 3.0), names=("VH", "VV"))
    with pytest.raises(ChipError) as caught:
        prepare(chip, spec())
    assert caught.value.code == "blank"
    assert prepare(chip, spec(polarisations=("VH",))).input.any()


@settings(derandomize=True, deadline=None, max_examples=150)
@given(
    height=st.integers(8, 90),
    width=st.integers(8, 90),
    spacing=st.tuples(st.floats(0.01, 1000), st.floats(0.01, 1000)),
    low=st.floats(-37, 0),
    high=st.floats(0.5, 37),
)
def test_any_chip_that_decode_lets_pass_gives_a_finite_input_in_range(
    height: int, width: int, spacing: tuple[float, float], low: float, high: float
) -> None:
    image = np.full((height, width), 10.0**low)
    image[height // 2, width // 2] = 10.0**high
    image[0] = 0
    seen = prepare(chip_of(image, spacing=spacing), spec()).input
    assert seen.shape == (1, 32, 32)
    assert np.isfinite(seen).all()
    assert seen.min() >= -0.5
    assert seen.max() <= 1.25


def test_the_clutter_of_a_window_does_not_depend_on_what_was_cut_out() -> None:
    rng = np.random.default_rng(3)
    sea = rng.rayleigh(5.0, (96, 96))
    sea[:24] *= 4  # a rougher sea, more than 200 m from the ship
    sea[44:52, 40:56] = 200
    windowed = spec(spacing_m=10.0, size=32, spacing_rules=SQUARE, clutter_window_m=320.0)
    full, cut = (prepare(chip_of(image), windowed).input for image in (sea, sea[28:68, 28:68]))
    assert full == pytest.approx(cut, abs=1e-6)
    of_chip = spec(spacing_m=10.0, size=32, spacing_rules=SQUARE)
    full, cut = (prepare(chip_of(image), of_chip).input for image in (sea, sea[28:68, 28:68]))
    assert np.abs(full - cut).max() > 0.01


def test_of_equal_samples_at_three_quarters_only_as_many_count_as_are_needed() -> None:
    image = np.array([[1, 1, 1, 2], [2, 2, 2, 2]], dtype=np.float32)
    assert window_clutter(image, (10.0, 10.0), 1000.0) == (1 * 3 + 4 * 3) / 6
    assert window_clutter(np.zeros((4, 4), np.float32), (10.0, 10.0), 20.0) == 1.0
