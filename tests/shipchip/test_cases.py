"""Small files of real programs that were once misread: each is read as what it is, or refused."""

import os
from pathlib import Path

import numpy as np
import pytest

from shipchip import ChipError, decode
from shipchip.chip import Chip

pytestmark = pytest.mark.data
ROOT = Path(__file__).parent.parent.parent
DATA = Path(os.environ.get("SHIPCHIP_DATA", ROOT.parent / "shared" / "data"))
CASES = DATA.parent / "cases"


@pytest.fixture(autouse=True)
def there() -> None:
    if not CASES.is_dir():
        pytest.skip(f"no folder {CASES}")


def read(name: str) -> Chip:
    return decode(CASES / name)


def amplitude_vv(chip: Chip) -> np.ndarray:
    """The VV plane, or the only one."""
    return chip.amplitude[chip.polarisations.index("VV") if "VV" in chip.polarisations else 0]


@pytest.mark.parametrize(
    "name",
    [
        "nodata-dual/03_nodata-9999_dual.tif",
        "nodata-dual/30_quad_nodata.tif",
        "nodata-bright/03_nodata65535.tif",
        "nodata-bright/03_nodata1e5.tif",
        "messages/03_nodata-9999_single.tif",
    ],
)
def test_the_border_is_masked(name: str) -> None:
    reference = "nodata-bright/00_ref_amp.tif"
    if "dual" in name and "single" not in name:
        reference = "nodata-dual/00_ref_vhvv.tif"
    chip = read(name)
    assert chip.valid is not None
    share = chip.valid.mean()
    assert 0.8 < share < 0.95
    assert chip.quantity != "complex"
    if "quad" not in name:
        valid = chip.valid[-1]
        expected = amplitude_vv(read(reference))[valid]
        seen = amplitude_vv(chip)[valid]
        # The single-band ones are sigma0 of the same ship: alike up to a factor.
        assert np.corrcoef(seen, expected)[0, 1] > 0.99


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("decibels-dual/32_db_dual_nodata0.tif", "negative"),
        ("int16-wrapped/02_int16_wrapped_dual.tif", "negative"),
        ("messages/02_int16_wrapped_single.tif", "negative"),
        ("messages/11_u8_4band_quadpol.tif", "not_grey"),
        ("messages/23_tifffile_2hw.tif", "unsupported_bands"),
        ("not-pairs/25_2hw_zscore.npy", "negative"),
        ("small-negatives/04_denoised_dual.tif", "negative"),
        ("thumbnail-first/40_thumb_then_subifd.tif", "unsupported_bands"),
    ],
)
def test_what_cannot_be_read_is_refused(name: str, code: str) -> None:
    with pytest.raises(ChipError) as error:
        read(name)
    assert error.value.code == code


@pytest.mark.parametrize(
    ("name", "planes"),
    [
        ("band-names/06_hh_hv.tif", ("HH", "HV")),
        ("band-names/06_vv_vh_named.tif", ("VV", "VH")),
        ("foreign-bands/11_float_vv_angle.tif", ("VV",)),
        ("foreign-bands/30_vv_vh_ratio_angle.tif", ("VV", "VH")),
        ("int16-wrapped/02_uint16_right_dual.tif", ("VH", "VV")),
    ],
)
def test_planes_are_those_that_the_file_names(name: str, planes: tuple[str, ...]) -> None:
    assert read(name).polarisations == planes


@pytest.mark.parametrize(
    ("name", "metres"),
    [
        ("projections/07_3857_lat60.tif", 10.0),
        ("projections/07_4326_lat60.tif", 10.0),
        ("gcps/20_gcps_40m.tif", 40.0),
    ],
)
def test_spacing_is_in_metres_on_the_ground(name: str, metres: float) -> None:
    assert read(name).pixel_spacing_m == pytest.approx((metres, metres), rel=0.005)


def test_a_few_negatives_are_clipped_and_counted() -> None:
    chip = read("small-negatives/28_warp_cubic_dual.tif")
    assert (chip.quantity, chip.polarisations) == ("sigma0", ("VH", "VV"))
    assert 0 < chip.clipped < 0.01


def test_packed_sigma0_is_scaled() -> None:
    chip, reference = (
        read(f) for f in ("scale-offset/08_amp_scaled.tif", "nodata-dual/00_ref_vhvv.tif")
    )
    assert chip.quantity == "sigma0"
    assert chip.amplitude.max() < 100 < read("nodata-bright/00_ref_amp.tif").amplitude.max()
    assert reference.quantity == "sigma0"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("png16-colour/14_grey16.png", "png16-colour/14_rgb16.png"),
        ("nodata-bright/00_ref_amp.tif", "min-is-white/12_miniswhite_12bit.tif"),
    ],
)
def test_two_ways_to_write_a_chip_are_one_chip(one: str, other: str) -> None:
    a, b = (read(name).amplitude[0] for name in (one, other))
    assert np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.999
