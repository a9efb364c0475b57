"""Pixel spacing in metres from GeoTIFF tags, by hand, and from the caller."""

import math

import pytest

from shipchip import ChipError, decode
from shipchip.errors import BadPixelSpacing
from shipchip.spacing import check_spacing, parse_spacing, spacing_text
from tests.shipchip.inputs import geo_tags, scene, sigma0, tiff


def spacing(tags: list) -> tuple[float, float] | None:
    return decode(tiff(sigma0(), extratags=tags)).pixel_spacing_m


def transformation(a: float, b: float, d: float, e: float, model: int = 1) -> list:
    """ModelTransformation: x = a column + b row + 500, y = d column + e row + 60."""
    matrix = (a, b, 0, 500, d, e, 0, 60, 0, 0, 0, 0, 0, 0, 0, 1)
    directory = [1, 1, 0, 1, 1024, 0, 1, model]
    return [(34264, "d", 16, matrix, True), (34735, "H", 8, directory, True)]


def test_projected_scale_is_metres() -> None:
    assert spacing(geo_tags((2.5, 10.0), model=1)) == (10.0, 2.5)


def test_projected_scale_in_feet_is_converted() -> None:
    assert spacing(geo_tags((10.0, 20.0), model=1, k3076=9002)) == pytest.approx((6.096, 3.048))
    us_survey = spacing(geo_tags((3937.0 / 1200, 3937.0 / 600), model=1, k3076=9003))
    assert us_survey == pytest.approx((2.0, 1.0))


def test_degrees_at_latitude_60_are_half_as_wide_as_high() -> None:
    # On the ellipsoid of WGS 84 a degree at 60 degrees is 111,412 m high and 55,800 m wide.
    given = spacing(geo_tags((1e-4, 1e-4), model=2, tie=(10.0, 60.0)))
    assert given == pytest.approx((11.1412, 5.5800), rel=1e-3)


def test_degrees_on_the_equator_are_almost_square() -> None:
    given = spacing(geo_tags((1e-4, 1e-4), model=2))
    assert given == pytest.approx((11.0574, 11.1320), rel=1e-3)


def test_transformation_of_a_rotated_grid_gives_the_length_of_its_steps() -> None:
    # A column step is (6, 8), a row step (-4, 3).
    assert spacing(transformation(6, -4, 8, 3)) == pytest.approx((5.0, 10.0))


def test_transformation_in_degrees_takes_its_own_latitude() -> None:
    given = spacing(transformation(1e-4, 0, 0, -1e-4, model=2))
    assert given == pytest.approx((11.1412, 5.5800), rel=1e-3)


@pytest.mark.parametrize(
    "tags",
    [
        [],
        geo_tags((10.0, 10.0), model=3),  # geocentric
        geo_tags((10.0, 10.0), model=1, k3076=9030),  # nautical miles are not in the table
        geo_tags((1e-4, 1e-4), model=2, k2054=9101),  # radians
        geo_tags((10.0, 10.0), model=1)[:2],  # no key directory
        geo_tags((0.0, 0.0), model=1),
        geo_tags((20.0, 20.0), model=1, k3072=32767),  # user-defined: it may be Mercator
    ],
    ids=["none", "geocentric", "unit", "radians", "keyless", "zero", "user-defined"],
)
def test_spacing_is_unknown_where_the_tags_do_not_say_metres(tags: list) -> None:
    assert spacing(tags) is None


@pytest.mark.parametrize("scale", [1e-6, 5000.0])
def test_a_file_of_absurd_spacing_is_refused_unless_the_caller_knows(scale: float) -> None:
    content = tiff(sigma0(), extratags=geo_tags((scale, scale), model=1))
    with pytest.raises(BadPixelSpacing):
        decode(content)
    assert decode(content, pixel_spacing_m=10).pixel_spacing_m == (10.0, 10.0)


def test_a_key_whose_value_is_in_another_tag_is_left_out() -> None:
    tags = geo_tags((2.5, 10.0), model=1)
    directory = [1, 1, 0, 2, 1024, 0, 1, 1, 3076, 34736, 1, 9002]  # an offset, not a unit
    assert spacing([*tags[:2], (34735, "H", len(directory), directory, True)]) == (10.0, 2.5)


def test_the_caller_overrides_the_file() -> None:
    content = tiff(sigma0(), extratags=geo_tags((2.5, 10.0), model=1))
    assert decode(content, pixel_spacing_m=(13.93, 3.9)).pixel_spacing_m == (13.93, 3.9)


@pytest.mark.parametrize(
    "value", [0, -1.0, math.nan, math.inf, 0.009, 1001, (10.0, 0.0), (math.nan, 10.0)]
)
def test_bad_spacing_is_an_error_of_the_chip(value: float | tuple[float, float]) -> None:
    with pytest.raises(ChipError) as caught:
        decode(tiff(scene()), pixel_spacing_m=value)
    assert caught.value.code == "bad_pixel_spacing"


def test_one_number_is_both_axes() -> None:
    assert check_spacing(10) == (10.0, 10.0)
    assert check_spacing((13.93, 3.9)) == (13.93, 3.9)


@pytest.mark.parametrize(
    ("text", "spacing"),
    [("10", (10, 10)), ("10.5", (10.5, 10.5)), ("13.93x3.87", (13.93, 3.87)), (" 5 X 7 ", (5, 7))],
)
def test_a_spacing_is_read_as_it_is_written(text: str, spacing: tuple[float, float]) -> None:
    assert parse_spacing(text) == spacing
    assert parse_spacing(spacing_text(spacing)) == spacing


@pytest.mark.parametrize("text", ["10,5", "13,93x3,87", "13.93,3.87", ","])
def test_a_comma_is_refused_with_the_way_to_write_it(text: str) -> None:
    with pytest.raises(ChipError, match=r"has a comma; write .*13\.93x3\.87") as caught:
        parse_spacing(text)
    assert caught.value.code == "bad_pixel_spacing"


@pytest.mark.parametrize("text", ["", "ten", "x", "10x", "1x2x3", "[1 2]"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ChipError, match="expected metres as one number"):
        parse_spacing(text)
