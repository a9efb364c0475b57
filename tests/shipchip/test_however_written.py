"""A chip gives the same input however it is written."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Transformer

from shipchip import decode, prepare
from tests.shipchip.inputs import (
    control_points,
    gdal_tags,
    geo_tags,
    grey8,
    picture,
    sigma0,
    spec,
    tiff,
)

LIKE, CROSS = sigma0(7), sigma0(8)
ANGLE = np.full(LIKE.shape, 38.5, np.float32)
SCALE, OFFSET = 0.0005, -0.1  # of samples that are packed into 16 bits
Tags = list[tuple[int, str, int, Any, bool]]

# The ellipsoid of WGS 84: its axis in metres, and its eccentricity squared.
AXIS, ECCENTRICITY = 6378137.0, 0.0066943799901413165


def radii(latitude: float) -> tuple[float, float]:
    """Metres a radian to the north, and to the east."""
    bend = 1 - ECCENTRICITY * math.sin(math.radians(latitude)) ** 2
    north = AXIS * (1 - ECCENTRICITY) / bend**1.5
    return north, AXIS / math.sqrt(bend) * math.cos(math.radians(latitude))


def equal_area(latitude: float) -> tuple[float, float]:
    """Units of EPSG:6933, true to scale at 30 degrees, a metre to the north and to the east."""
    east = radii(30)[1] / radii(latitude)[1]
    return 1 / east, east


def mercator(latitude: float) -> tuple[float, float]:
    """Of EPSG:3395, which is the same to all sides."""
    return AXIS / radii(latitude)[1], AXIS / radii(latitude)[1]


def web_mercator(latitude: float) -> tuple[float, float]:
    """Of EPSG:3857, which takes latitudes of the ellipsoid for those of a sphere."""
    north, east = radii(latitude)
    return AXIS / (north * math.cos(math.radians(latitude))), AXIS / east


def degrees(latitude: float) -> tuple[float, float]:
    """Of EPSG:4326."""
    north, east = radii(latitude)
    return math.degrees(1 / north), math.degrees(1 / east)


def metres(_: float) -> tuple[float, float]:
    """Of a grid that is true to scale."""
    return 1.0, 1.0


def feet(_: float) -> tuple[float, float]:
    """Of a grid in US survey feet."""
    return 3937 / 1200, 3937 / 1200


def placed(
    code: int, lon: float, lat: float, units: Callable[[float], tuple[float, float]], **keys: int
) -> Tags:
    """Georeferencing of a chip with its centre at lon, lat, and 10 m on the ground a sample."""
    x, y = Transformer.from_crs(4326, code, always_xy=True).transform(lon, lat)
    rows, columns = (10 * units_a_metre for units_a_metre in units(lat))
    factor = 1 / 1000 if keys.get("k3076") == 9036 else 1.0
    geographic = units is degrees
    return geo_tags(
        (columns * factor, rows * factor),
        model=2 if geographic else 1,
        tie=((x - 24 * columns) * factor, (y + 20 * rows) * factor),
        **({"k2048": code} if geographic else {"k3072": code}),
        **keys,
    )


PLACES: dict[str, Callable[[], Tags]] = {
    "none": list,
    "utm": lambda: placed(32632, 9.5, 60, metres),
    "utm of the south, in kilometres": lambda: placed(32733, 15.5, -30, metres, k3076=9036),
    "web mercator at 60 degrees": lambda: placed(3857, 10, 60, web_mercator),
    # Within 1 %, the grid's own metres are kept.
    "web mercator on the equator": lambda: placed(3857, 10, 0, metres),
    "world mercator at -45 degrees": lambda: placed(3395, -120, -45, mercator),
    "equal area at 60 degrees": lambda: placed(6933, 10, 60, equal_area),
    "degrees at 70 degrees": lambda: placed(4326, 25, 70, degrees),
    "degrees on the equator": lambda: placed(4326, 0, 0, degrees),
    "US feet": lambda: placed(2263, -74, 40.5, feet, k3076=9003),
    "US feet, by the code alone": lambda: placed(2263, -74, 40.5, feet),
    "control points": lambda: control_points(0.0, 0.0, 10.0),
}
# A name of each plane, and whether it says amplitude.
NAMES = {
    "{}": False,
    "Sigma0_{}": False,
    "Gamma0_{}": False,
    "Beta0_{}_slv1_05Jan2024": False,
    "Sigma{}": False,
    "Intensity_{}": False,
    "Amplitude_{}": True,
    "{} amplitude": True,
}


@st.composite
def encodings(draw: st.DrawFn) -> dict[str, Any]:
    """How samples are stored."""
    compression = draw(st.sampled_from([None, "lzw", "zlib", "zstd", "lzma", "packbits"]))
    predicted = compression not in (None, "packbits") and draw(st.booleans())
    return {
        "compression": compression,
        # Horizontal differences of integers, and those of a float's bytes.
        "predictor": True if predicted else None,
        "byteorder": draw(st.sampled_from("<>")),
        "tile": draw(st.sampled_from([None, (16, 16), (32, 16)])),
        "bigtiff": draw(st.booleans()),
    }


@settings(max_examples=200, deadline=None)
@given(
    encoding=encodings(),
    planar=st.booleans(),
    order=st.permutations(["like", "cross", "angle"]),
    naming=st.tuples(
        st.sampled_from([("VV", "VH"), ("HH", "HV"), ("vv", "vh"), ("hh", "hv")]),
        st.sampled_from(sorted(NAMES)),
    ),
    packed=st.booleans(),
    border=st.sampled_from([None, "65000", "0", "-9999", "nan"]),
    place=st.sampled_from(sorted(PLACES)),
)
def test_a_chip_is_the_same_however_it_is_written(
    encoding: dict[str, Any],
    planar: bool,
    order: list[str],
    naming: tuple[tuple[str, str], str],
    packed: bool,
    border: str | None,
    place: str,
) -> None:
    """To 0.02 of the input's scale: 0.4 dB, where samples were packed into 16 bits."""
    pair, name = naming
    if name == "Sigma{}":
        pair = (pair[0].upper(), pair[1].upper())  # "Sigmavv" is one word
    root = np.sqrt if NAMES[name] else np.asarray
    samples = {"like": root(LIKE), "cross": root(CROSS), "angle": ANGLE}
    planes = np.stack([samples[kind] for kind in order]).astype(np.float32)
    if packed:
        planes = ((planes - OFFSET) / SCALE).round().astype(np.uint16)
        border = border and {"-9999": "65535", "nan": "0"}.get(border, border)
    if border is not None:
        planes[:, :, 0] = float(border)
    names = {"like": name.format(pair[0]), "cross": name.format(pair[1]), "angle": "angle"}
    tags = gdal_tags(
        [names[kind] for kind in order],
        scale=(SCALE, OFFSET) if packed else None,
        nodata=border,
    )
    content = tiff(
        planes if planar else planes.transpose(1, 2, 0),
        planarconfig="separate" if planar else "contig",
        extratags=tags + PLACES[place](),
        **encoding,
    )
    chip = decode(content, pixel_spacing_m=10.0 if place == "none" else None)
    expected = prepare(decode(tiff(LIKE), pixel_spacing_m=10.0), spec()).input
    prepared = prepare(chip, spec(polarisations=(pair[0].upper(),)))
    inner = np.s_[:, :, 4:] if border else np.s_[:, :, :]
    np.testing.assert_allclose(prepared.input[inner], expected[inner], atol=0.02)
    assert prepared.used.quantity == ("amplitude" if NAMES[name] else "sigma0")
    assert (chip.valid is None) == (border is None)


@pytest.mark.parametrize("place", sorted(PLACES.keys() - {"none"}))
def test_ten_metres_on_the_ground_are_ten_metres(place: str) -> None:
    chip = decode(tiff(LIKE, extratags=PLACES[place]()))
    assert chip.pixel_spacing_m == pytest.approx((10, 10), rel=1e-4)


def test_a_picture_and_a_tiff_of_one_chip_are_one_input() -> None:
    np.testing.assert_array_equal(
        prepare(decode(picture(grey8())), spec()).input,
        prepare(decode(tiff(grey8())), spec()).input,
    )


@pytest.mark.parametrize("code", [2263, 32632])
def test_a_unit_that_is_not_known_gives_no_metres(code: int) -> None:
    """Nautical miles: taken for the units of the EPSG code they would be metres or feet."""
    place = placed(code, 9.5 if code == 32632 else -74, 40.5, metres, k3076=9030)
    assert decode(tiff(LIKE, extratags=place)).pixel_spacing_m is None


@pytest.mark.parametrize(("unit", "a_metre"), [(None, 1.0), (9036, 1 / 1000), (9030, None)])
def test_control_points_are_in_the_unit_of_the_file(
    unit: int | None, a_metre: float | None
) -> None:
    """In UTM, on its central meridian."""
    points = [
        number
        for row in (0, 20, 40)
        for column in (0, 24, 48)
        for number in (
            column,
            row,
            0,
            *(np.array([5e5 + 10 * column, 66e5 - 10 * row]) * (a_metre or 1)),
            0,
        )
    ]
    keys = [1024, 0, 1, 1, 3072, 0, 1, 32632, *([] if unit is None else [3076, 0, 1, unit])]
    directory = [1, 1, 0, len(keys) // 4, *keys]
    tags = [
        (33922, "d", len(points), tuple(points), True),
        (34735, "H", len(directory), directory, True),
    ]
    spacing = decode(tiff(LIKE, extratags=tags)).pixel_spacing_m
    assert spacing == (None if a_metre is None else pytest.approx((10, 10), rel=1e-3))
