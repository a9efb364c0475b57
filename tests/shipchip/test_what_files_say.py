"""What a file says about its samples is applied, or the file is refused for what it is."""

import math
from typing import Any

import imagecodecs
import numpy as np
import pytest

from shipchip import ChipError, decode, prepare
from shipchip.chip import Chip
from shipchip.errors import (
    Negative,
    NoData,
    NotBackscatter,
    NotGrey,
    PolarisationMissing,
)
from tests.shipchip.inputs import (
    bordered,
    complex_scene,
    control_points,
    gdal_tags,
    geo_tags,
    grey8,
    npy,
    scene,
    sigma0,
    spec,
    tiff,
    with_negatives,
)

ANGLE = np.full((40, 48), 38.5, np.float32)


def stacked(*planes: np.ndarray, **options: Any) -> bytes:
    if len(planes) == 1:
        return tiff(planes[0], **options)
    return tiff(np.stack(planes, axis=-1), planarconfig="contig", **options)


def named(names: list[str], *planes: np.ndarray) -> bytes:
    return stacked(*planes, extratags=gdal_tags(names))


def same_plane(chip: Chip, expected: np.ndarray, plane: int = 0) -> None:
    np.testing.assert_allclose(chip.amplitude[plane], expected, rtol=1e-6)


VV, VH = sigma0(7), sigma0(8)


# Names of bands


@pytest.mark.parametrize(
    "names",
    [
        ["VV", "VH"],
        ["vv", "vh"],
        ["Sigma0_VV", "Sigma0_VH"],
        ["Amplitude_VV", "Amplitude_VH"],
        ["Gamma0_VV_mst_05Jan2024", "Gamma0_VH_mst_05Jan2024"],
        ["SigmaVV", "SigmaVH"],
    ],
)
def test_names_decide_which_plane_is_which(names: list[str]) -> None:
    chip = decode(named(names, VV, VH))
    assert chip.polarisations == ("VV", "VH")
    expected = VV if "Amplitude" in names[0] else np.sqrt(VV)
    same_plane(chip, expected)
    assert chip.quantity == ("amplitude" if "Amplitude" in names[0] else "sigma0")


def test_a_polarisation_that_the_names_deny_is_missing() -> None:
    with pytest.raises(PolarisationMissing, match="VV asked for"):
        decode(named(["HH", "HV"], VV, VH), polarisation="VV")


@pytest.mark.parametrize(
    "foreign",
    [
        "angle",
        "localIncidenceAngle",
        "VV_db",
        "VV dB",
        "VVdB",
        "Phase_VV",
        "VV/VH",
        "coh_VV",
        "LIA",
        "VV_stdDev",
        "NESZ_VV",
        "VV_noise",
        "Sigma0_VV_log",
    ],
)
@pytest.mark.parametrize("first", [True, False])
def test_bands_that_are_no_backscatter_are_dropped(foreign: str, first: bool) -> None:
    names, planes = ["VV", foreign], [VV, ANGLE]
    if first:
        names, planes = names[::-1], planes[::-1]
    chip = decode(named(names, *planes))
    assert chip.polarisations == ("VV",)
    same_plane(chip, np.sqrt(VV))


def test_five_bands_are_read_if_their_names_say_what_they_are() -> None:
    chip = decode(named(["VV", "VH", "ratio", "angle", "mask"], VV, VH, VH, ANGLE, ANGLE))
    assert chip.polarisations == ("VV", "VH")


@pytest.mark.parametrize(("name", "error"), [("angle", NotBackscatter), ("VV_db", Negative)])
def test_a_file_without_backscatter_is_refused(name: str, error: type[ChipError]) -> None:
    with pytest.raises(error, match="expected"):
        decode(named([name], VV))


def test_names_of_snap_are_read_too() -> None:
    info = "<Spectral_Band_Info><BAND_NAME>Sigma0_{}</BAND_NAME></Spectral_Band_Info>"
    xml = f"<Dimap_Document>{info.format('VV')}{info.format('VH')}</Dimap_Document>"
    chip = decode(stacked(VV, VH, extratags=[(65000, "s", 0, xml, True)]))
    assert chip.polarisations == ("VV", "VH")


def test_parts_of_a_complex_plane_are_paired_by_name() -> None:
    z = complex_scene()
    chip = decode(named(["q_VV", "i_VV", "Intensity_VV"], z.imag, z.real, abs(z) ** 2))
    assert (chip.polarisations, chip.quantity) == (("VV",), "complex")
    same_plane(chip, abs(z))


def test_names_that_say_nothing_leave_the_order() -> None:
    assert decode(named(["Band 1", "Band 2"], VH, VV)).polarisations == ("VH", "VV")


# Scale, offset and unit


def test_scale_and_offset_are_applied() -> None:
    packed = ((VV - 0.5) / 0.001).round().astype(np.int32)
    chip = decode(tiff(packed, extratags=gdal_tags(scale=(0.001, 0.5))))
    assert chip.quantity == "sigma0"
    np.testing.assert_allclose(chip.amplitude[0], np.sqrt(packed * 0.001 + 0.5), rtol=1e-5)


def test_decibels_after_scaling_are_refused() -> None:
    decibels = (10 * np.log10(VV / VV.max()) / 0.01 - 1).round().astype(np.int16)
    with pytest.raises(Negative, match="decibels"):
        decode(tiff(decibels, extratags=gdal_tags(scale=(0.01, 0.0))))


def test_a_unit_of_decibels_is_refused() -> None:
    with pytest.raises(Negative, match="decibels"):
        decode(tiff(VV, extratags=gdal_tags(unit="dB")))


def test_a_scale_that_is_no_number_is_corrupt() -> None:
    with pytest.raises(ChipError, match="scale is 'nan'; expected a number") as error:
        decode(tiff(VV, extratags=gdal_tags(scale=(math.nan, 0))))
    assert error.value.code == "corrupt"


# No data


@pytest.mark.parametrize("value", ["-9999", "0", "nan", "99999", "-3.4028234663852886e+38"])
@pytest.mark.parametrize("planes", [1, 2])
def test_no_data_is_masked(value: str, planes: int) -> None:
    given = [bordered(plane, float(value)) for plane in (VH, VV)[-planes:]]
    chip = decode(stacked(*given, extratags=gdal_tags(nodata=value)))
    assert chip.quantity == "sigma0"
    assert chip.valid is not None
    assert not chip.valid[:, :, :4].any()
    assert chip.valid[:, :, 4:].all()
    assert not chip.amplitude[:, :, :4].any()
    same_plane(chip, np.where(chip.valid[-1], np.sqrt(VV), 0), plane=-1)


def test_bright_no_data_of_integers_is_masked() -> None:
    chip = decode(
        tiff(bordered(grey8().astype(np.uint16), 65535), extratags=gdal_tags(nodata="65535"))
    )
    assert chip.amplitude.max() == grey8().max()


def test_no_data_does_not_move_the_clutter() -> None:
    """The sea is at 0 whether a fifth of the chip is missing or not."""
    missing = tiff(bordered(VV, 99999), extratags=gdal_tags(nodata="99999"))
    plain, masked = (prepare(decode(content), spec()).input for content in (tiff(VV), missing))
    assert np.abs(plain - masked)[0, :, 16:].max() < 0.05


def test_a_window_that_is_mostly_no_data_is_refused() -> None:
    samples = VV.copy()
    samples[:, :30] = -9999
    chip = decode(tiff(samples, extratags=gdal_tags(nodata="-9999")))
    with pytest.raises(NoData, match="63% of the ship's window"):
        prepare(chip, spec())


def test_nothing_but_no_data_is_refused() -> None:
    with pytest.raises(NoData):
        decode(tiff(np.full((40, 48), -9999, np.float32), extratags=gdal_tags(nodata="-9999")))


def test_no_data_that_is_not_declared_is_named() -> None:
    with pytest.raises(Negative, match=r"160 samples are -9999: a no-data value .*gdal_edit"):
        decode(tiff(bordered(VV)))


@pytest.mark.parametrize("planes", [1, 2, 3])
def test_alpha_is_a_mask_however_many_planes_it_follows(planes: int) -> None:
    opaque = bordered(np.full((40, 48), 255, np.uint8), 0)
    names = ["VV", "VH", "HV"][:planes]
    content = stacked(
        *[grey8()] * planes,
        opaque,
        extrasamples=["unspecified"] * (planes - 1) + ["unassalpha"],
        extratags=gdal_tags([*names, ""]),
    )
    chip = decode(content)
    assert chip.polarisations == tuple(names)
    assert chip.valid is not None
    assert not chip.valid[:, :, :4].any()


# Negative samples


def test_a_few_negatives_of_sigma0_are_clipped_and_counted() -> None:
    chip = decode(stacked(with_negatives(VH), with_negatives(VV)))
    assert (chip.quantity, chip.polarisations) == ("sigma0", ("VH", "VV"))
    assert chip.clipped == pytest.approx(0.01, abs=0.001)
    assert chip.amplitude.min() == 0


def test_many_negatives_are_refused_for_what_they_are() -> None:
    denoised = VV - np.float32(np.quantile(VV, 0.3))
    with pytest.raises(Negative, match=r"slightly negative.*noise was removed"):
        decode(stacked(denoised, denoised))


@pytest.mark.parametrize("planes", [1, 2])
def test_wrapped_integers_are_named(planes: int) -> None:
    wrapped = (scene() * 200).astype(np.uint16).view(np.int16)
    assert wrapped.min() < 0
    with pytest.raises(Negative, match=r"int16.*wrapped.*uint16"):
        decode(stacked(*[wrapped] * planes))


@pytest.mark.parametrize("of", ["sigma0", "decibels"])
@pytest.mark.parametrize("kind", ["own", "data set's"])
def test_standardised_planes_are_no_complex_pair(of: str, kind: str) -> None:
    planes = [plane if of == "sigma0" else 10 * np.log10(plane) for plane in (VH, VV)]
    standard = [(plane - plane.mean()) / plane.std() for plane in planes]
    if kind != "own":
        standard = [plane * 0.9 + 0.05 for plane in standard]
    with pytest.raises(Negative, match="standardised"):
        decode(npy(np.stack(standard).astype(np.float32)))


def test_decibels_with_a_border_of_zeros_are_decibels() -> None:
    planes = [bordered(10 * np.log10(plane / plane.max()), 0) for plane in (VH, VV)]
    with pytest.raises(Negative, match="decibels"):
        decode(stacked(*planes))


@pytest.mark.parametrize("seed", range(20))
def test_complex_pairs_are_found_by_their_looks(seed: int) -> None:
    z = complex_scene(seed)
    chip = decode(stacked(z.real, z.imag))
    assert chip.quantity == "complex"
    np.testing.assert_allclose(chip.amplitude[0], abs(z), rtol=1e-5)


# Colour


def test_four_byte_planes_as_gdal_writes_them_say_what_to_set() -> None:
    planes = [grey8(seed) for seed in range(4)]
    content = stacked(*planes, photometric="rgb", extrasamples=["unassalpha"])
    with pytest.raises(NotGrey, match="PHOTOMETRIC=MINISBLACK and ALPHA=NO"):
        decode(content)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16])
def test_min_is_white_is_turned_by_bits_and_sign(dtype: type[np.integer[Any]]) -> None:
    samples = grey8().astype(dtype)
    white = np.iinfo(dtype).max - samples if dtype is not np.int16 else -1 - samples
    same_plane(decode(tiff(white, photometric="miniswhite")), grey8())


def test_min_is_white_of_12_bits() -> None:
    samples = (scene() * 16).astype(np.uint16)
    white = tiff(4095 - samples, photometric="miniswhite", bitspersample=12)
    same_plane(decode(white), samples)


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("planes", [1, 3])
def test_pictures_of_16_bits_keep_them(planes: int, alpha: bool) -> None:
    samples = (scene() * 200).astype(np.uint16)
    layers = [samples] * planes + [np.full_like(samples, 65535)] * alpha
    content = imagecodecs.png_encode(np.stack(layers, axis=-1) if len(layers) > 1 else samples)
    same_plane(decode(bytes(content)), samples)


# Metres on the ground

MERCATOR_60 = (1113194.0, 8399737.0)  # 10 degrees east, 60 degrees north


@pytest.mark.parametrize(
    ("scale", "tie", "keys", "expected"),
    [
        ((20.0, 20.0), MERCATOR_60, {"k3072": 3857}, 10.0),
        ((20.0, 20.0), (1113194.0, 8362698.0), {"k3072": 3395}, 10.0),
        ((10.0, 10.0), (500000.0, 6651411.0), {"k3072": 32632}, 10.0),
        ((0.01, 0.01), (500.0, 6651.411), {"k3072": 32632, "k3076": 9036}, 10.0),
        ((32.80833, 32.80833), (0.0, 0.0), {"k3076": 9003}, 10.0),
    ],
    ids=["web mercator", "world mercator", "utm", "utm in kilometres", "feet"],
)
def test_metres_are_those_on_the_ground(
    scale: tuple[float, float], tie: tuple[float, float], keys: dict[str, int], expected: float
) -> None:
    chip = decode(tiff(VV, extratags=geo_tags(scale, model=1, tie=tie, **keys)))
    assert chip.pixel_spacing_m == pytest.approx((expected, expected), rel=0.01)
    assert chip.pixel_spacing_from == "file"


def test_equal_area_squeezes_rows_and_stretches_columns() -> None:
    """EPSG:6933 at 60 degrees north: true to area, and far from true to length."""
    tags = geo_tags((10.0, 10.0), model=1, tie=(964862.8, 6363885.3), k3072=6933)
    rows, columns = decode(tiff(VV, extratags=tags)).pixel_spacing_m or (0, 0)
    assert rows * columns == pytest.approx(100, rel=0.01)
    assert rows / columns == pytest.approx(3.0, rel=0.02)


def test_control_points_give_metres_and_a_position() -> None:
    chip = decode(tiff(VV, extratags=control_points(10.0, 60.0, 40.0)))
    assert chip.pixel_spacing_m == pytest.approx((40, 40), rel=0.005)
    assert chip.position == pytest.approx((10, 60), abs=1e-4)


def test_rational_polynomials_give_metres_and_a_position() -> None:
    """A linear model: 0.1 degrees are 1,000 lines or samples."""
    zeros = [0.0] * 20
    one, lon, lat = [1.0, *zeros[1:]], [0.0, 1.0, *zeros[2:]], [0.0, 0.0, -1.0, *zeros[3:]]
    scales = [1000.0, 1000.0, 0.1, 0.1, 500.0]
    values = [0.0, 0.0, 20.0, 24.0, 60.0, 10.0, 0.0, *scales, *lat, *one, *lon, *one]
    chip = decode(tiff(VV, extratags=[(50844, "d", 92, tuple(values), True)]))
    assert chip.position == pytest.approx((10, 60), abs=1e-4)
    assert chip.pixel_spacing_m == pytest.approx((11.14, 5.58), rel=0.01)


def test_the_centre_is_the_position() -> None:
    chip = decode(tiff(VV, extratags=geo_tags((1e-4, 1e-4), model=2, tie=(10.0, 60.0))))
    assert chip.position == pytest.approx((10.0024, 59.998), abs=1e-7)


def test_a_caller_knows_better_than_the_file() -> None:
    content = tiff(VV, extratags=geo_tags((10.0, 10.0), model=1, k3072=32632))
    assert decode(content, pixel_spacing_m=3.0).pixel_spacing_from == "request"
    assert decode(tiff(VV)).pixel_spacing_from is None


def test_control_points_on_a_line_say_nothing() -> None:
    tags = control_points(10.0, 60.0, 40.0)
    points = np.array(tags[0][3]).reshape(-1, 6)
    points[:, [0, 3]] = 0
    content = tiff(VV, extratags=[(33922, "d", points.size, tuple(points.ravel()), True), tags[1]])
    assert decode(content).pixel_spacing_m is None
