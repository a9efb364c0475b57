"""Changes of presentation: they change the picture and leave the ship's metres as they are."""

import numpy as np
import pytest

from shipchip.chip import Chip
from shipchip.prepare import prepare
from training.config import DEFAULT_INPUT
from training.data.presentation import CHANGES, as_jpeg, averaged, cut, gained, presented

SPEC = DEFAULT_INPUT.model_copy(update={"db_max": 25.0, "clutter_window_m": 384.0})


def fusar_like(seed: int = 0, spacing: tuple[float, float] = (2.0, 2.5)) -> Chip:
    """A sea of 8 bits, 512 pixels a side, and a ship of 160 m by 30 m along the rows."""
    rng = np.random.default_rng(seed)
    sea = rng.rayleigh(6.0, (512, 512))
    half_rows, half_columns = (round(m / s / 2) for m, s in zip((160, 30), spacing, strict=True))
    sea[256 - half_rows : 256 + half_rows, 256 - half_columns : 256 + half_columns] = 240
    amplitude = np.rint(np.minimum(sea, 255)).astype(np.float32)[None]
    return Chip(amplitude, ("unknown",), spacing, "integer")


def metres_of_ship(chip: Chip) -> tuple[float, float]:
    """Length and width in metres of what is at least half as bright as the brightest rows."""
    assert chip.pixel_spacing_m is not None
    bright = chip.amplitude[0] > chip.amplitude.max() / 2
    sides = [
        bright.any(axis=1 - axis).sum() * spacing
        for axis, spacing in enumerate(chip.pixel_spacing_m)
    ]
    return float(max(sides)), float(min(sides))


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_leaves_the_ships_metres_as_they_are(name: str) -> None:
    length, width = metres_of_ship(CHANGES[name](fusar_like()))
    assert length == pytest.approx(160, abs=6)
    assert width == pytest.approx(30, abs=6)


@pytest.mark.parametrize("name", sorted(set(CHANGES) - {"turned", "mirrored", "moved by 34 m"}))
def test_the_model_sees_nearly_the_same_ship_after_a_change(name: str) -> None:
    chips = fusar_like(), CHANGES[name](fusar_like())
    plain, changed = (prepare(chip, SPEC).input for chip in chips)
    ship = plain > 15 / SPEC.db_scale
    assert ship.sum() > 100
    assert np.abs(plain - changed)[ship].mean() * SPEC.db_scale < 1.0


def test_gain_rounds_and_saturates_where_the_type_ends() -> None:
    chip = Chip(np.array([[[1, 3], [100, 200]]], np.float32), ("VV",), (1, 1), "integer")
    assert gained(chip, 2).amplitude.tolist() == [[[2, 6], [200, 255]]]
    assert gained(chip, 0.5).amplitude.tolist() == [[[0, 2], [50, 100]]]


def test_gain_of_complex_samples_is_exact() -> None:
    chip = Chip(np.array([[[0.3, 300.5]]], np.float32), ("VV",), (1, 1), "complex")
    assert gained(chip, 2).amplitude == pytest.approx(np.array([[[0.6, 601.0]]]))


def test_looks_keep_the_power_and_give_the_spacing() -> None:
    chip = fusar_like()
    looked = averaged(chip, 2, 1)
    assert looked.amplitude.shape == (1, 256, 512)
    assert looked.pixel_spacing_m == (4.0, 2.5)
    before, after = (np.square(c.amplitude).mean() for c in (chip, looked))
    assert after == pytest.approx(before, rel=0.02)


def test_a_small_chip_is_not_averaged_down() -> None:
    chip = Chip(np.arange(40 * 20, dtype=np.float32).reshape(1, 40, 20), ("VV",), (10, 10), "float")
    assert averaged(chip, 2, 2).amplitude.shape == (1, 20, 20)


def test_a_cut_is_a_square_of_metres_around_the_centre() -> None:
    smaller = cut(fusar_like(), 440)
    assert smaller.amplitude.shape == (1, 220, 176)
    bright = np.argwhere(smaller.amplitude[0] == 240).mean(axis=0)
    assert bright == pytest.approx([110, 88], abs=1)


def test_a_side_that_a_move_would_shorten_below_384_m_is_not_moved() -> None:
    chip = Chip(np.ones((1, 64, 64), np.float32), ("VV",), (13.93, 3.87), "complex")
    assert cut(chip, np.inf, (34, 34)).amplitude.shape == (1, 60, 64)


def test_a_jpeg_of_wide_samples_has_8_bits() -> None:
    chip = Chip(fusar_like().amplitude * 11.5, ("VV",), (2, 2), "complex")
    saved = as_jpeg(chip, 95)
    assert saved.encoding == "integer"
    assert saved.amplitude.max() <= 255


def test_a_change_needs_a_spacing() -> None:
    chip = Chip(np.ones((1, 40, 40), np.float32), ("VV",), None, "float")
    with pytest.raises(ValueError, match="known spacing"):
        cut(chip, 100)


def test_equal_seeds_give_equal_presentations_and_others_do_not() -> None:
    one, same, other = (presented(fusar_like(), np.random.default_rng(s)) for s in (1, 1, 2))
    assert np.array_equal(one.amplitude, same.amplitude)
    assert one.pixel_spacing_m == same.pixel_spacing_m
    assert one.amplitude.shape != other.amplitude.shape or not np.array_equal(
        one.amplitude, other.amplitude
    )


@pytest.mark.parametrize("seed", range(10))
def test_a_random_presentation_keeps_the_ship(seed: int) -> None:
    length, width = metres_of_ship(presented(fusar_like(), np.random.default_rng(seed)))
    assert length == pytest.approx(160, abs=15)
    assert width == pytest.approx(30, abs=10)
