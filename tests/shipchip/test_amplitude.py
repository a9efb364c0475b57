"""What a sample means: amplitude by the table in shipchip.decode, worked out by hand."""

import io

import numpy as np
import pytest
import tifffile
from PIL import Image

from shipchip import decode
from shipchip.chip import Quantity
from tests.shipchip.inputs import npy, picture, tiff

SIDE = (8, 8)


def plane(first: float, rest: float, dtype: str = "float32") -> np.ndarray:
    """(8, 8) of `rest` with `first` at the top left."""
    samples = np.full(SIDE, rest, dtype)
    samples[0, 0] = first
    return samples


def swing(first: float, rest: float) -> np.ndarray:
    """`plane`, negative in its lower half: re and im of radar swing about zero."""
    samples = plane(first, rest)
    samples[4:] *= -1
    return samples


def bands(*planes: np.ndarray) -> bytes:
    return tiff(np.stack(planes, axis=-1), planarconfig="contig")


def test_8bit_grey_is_amplitude_as_it_is() -> None:
    chip = decode(picture(plane(200, 3, "uint8")))
    assert chip.amplitude.dtype == np.float32
    assert chip.amplitude.shape == (1, 8, 8)
    assert (chip.amplitude[0, 0, 0], chip.amplitude[0, 7, 7]) == (200, 3)
    assert (chip.polarisations, chip.encoding) == (("unknown",), "integer")
    assert chip.pixel_spacing_m is None


@pytest.mark.parametrize("make", [picture, tiff, npy])
def test_16bit_is_not_clipped(make) -> None:
    chip = decode(make(plane(60_000, 300, "uint16")))
    assert (chip.amplitude[0, 0, 0], chip.amplitude[0, 7, 7]) == (60_000, 300)


def test_rgb_and_palette_pictures_of_grey_are_that_grey() -> None:
    grey = plane(200, 3, "uint8")
    colour = decode(picture(np.stack([grey] * 3, axis=-1)))
    transparent = decode(picture(np.stack([grey] * 3 + [np.full_like(grey, 255)], axis=-1)))
    two = decode(picture(np.stack([grey, np.full_like(grey, 255)], axis=-1)))
    for chip in (colour, transparent, two):
        np.testing.assert_array_equal(chip.amplitude[0], grey)


def test_rgb_tiffs_of_equal_planes_are_grey() -> None:
    grey = plane(200, 3, "uint8")
    opaque = np.full_like(grey, 255)
    for bands_of in ([grey] * 3, [grey] * 3 + [opaque]):
        chip = decode(tiff(np.stack(bands_of, axis=-1), photometric="rgb"))
        np.testing.assert_array_equal(chip.amplitude, grey[None])


def test_overviews_behind_a_tiffs_page_are_passed_over() -> None:
    out = io.BytesIO()
    with tifffile.TiffWriter(out) as writer:
        writer.write(plane(200, 3, "uint8"), photometric="minisblack", metadata=None)
        half = plane(90, 3, "uint8")
        writer.write(half, photometric="minisblack", metadata=None, subfiletype=1)
    assert decode(out.getvalue()).amplitude[0, 0, 0] == 200


@pytest.mark.parametrize("compression", [None, "lzw"])
def test_a_microscopes_tag_changes_nothing(compression: str | None) -> None:
    lsm = [(34412, "B", 600, bytes(600), True)]
    chip = decode(tiff(plane(200, 3, "uint8"), compression=compression, extratags=lsm))
    assert chip.amplitude[0, 0, 0] == 200


def test_a_tiffs_opaque_alpha_band_is_no_polarisation() -> None:
    grey = plane(200, 3, "uint8")
    opaque = np.stack([grey, np.full_like(grey, 255)], axis=-1)
    chip = decode(tiff(opaque, planarconfig="contig", extrasamples=["unassalpha"]))
    np.testing.assert_array_equal(chip.amplitude, grey[None])
    assert chip.polarisations == ("unknown",)


def test_white_is_zero_is_inverted() -> None:
    chip = decode(tiff(plane(255, 15, "uint8"), photometric="miniswhite"))
    assert (chip.amplitude[0, 0, 0], chip.amplitude[0, 7, 7]) == (0, 240)


@pytest.mark.parametrize("make", [tiff, npy])
@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_complex_is_its_magnitude(make, dtype: str) -> None:
    chip = decode(make(plane(0, -3 + 4j, dtype)))
    assert (chip.amplitude[0, 0, 0], chip.amplitude[0, 7, 7]) == (0, 5)
    assert (chip.polarisations, chip.encoding) == (("unknown",), "complex")


def test_two_bands_with_negatives_are_one_re_im_pair() -> None:
    chip = decode(bands(swing(0, 8), swing(12, -6)), quantity="complex_pairs")
    assert (chip.amplitude[0, 0, 0], chip.amplitude[0, 7, 7]) == (12, 10)
    assert (chip.polarisations, chip.encoding) == (("unknown",), "complex")


def test_four_bands_with_negatives_are_vh_and_vv_pairs() -> None:
    given = bands(swing(0, 3), swing(1, -4), swing(0, 5), swing(2, -12))
    chip = decode(given, quantity="complex_pairs")
    assert chip.polarisations == ("VH", "VV")
    assert [p[7, 7] for p in chip.amplitude] == [5, 13]
    assert [p[0, 0] for p in chip.amplitude] == [1, 2]


def test_float_tiff_with_fractions_is_sigma0() -> None:
    chip = decode(tiff(plane(0.25, 9.0)))
    assert (chip.amplitude[0, 0, 0], chip.amplitude[0, 7, 7]) == (0.5, 3)
    assert chip.encoding == "float"


def test_float_tiff_of_whole_numbers_is_amplitude() -> None:
    chip = decode(tiff(plane(25, 9)))
    assert (chip.amplitude[0, 0, 0], chip.amplitude[0, 7, 7]) == (25, 9)


def test_a_fraction_in_any_band_makes_all_of_them_sigma0() -> None:
    chip = decode(bands(plane(16, 9), plane(0.25, 4)))
    assert [p[7, 7] for p in chip.amplitude] == [3, 2]


def test_float_npy_with_fractions_is_amplitude() -> None:
    chip = decode(npy(plane(0.25, 9.0)))
    assert (chip.amplitude[0, 0, 0], chip.amplitude[0, 7, 7]) == (0.25, 9)


@pytest.mark.parametrize(
    ("quantity", "expected"), [("auto", 3), ("amplitude", 9), ("sigma0", 3), ("complex_pairs", 15)]
)
def test_quantity_overrides_the_table(quantity: Quantity, expected: float) -> None:
    chip = decode(bands(plane(0.25, 9), plane(0.25, 12)), quantity=quantity)
    assert chip.amplitude[0, 7, 7] == expected


def test_quantity_sigma0_holds_for_integers_too() -> None:
    assert decode(picture(plane(4, 49, "uint8")), quantity="sigma0").amplitude[0, 7, 7] == 7


def test_quantity_that_is_none_of_the_table_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="power"):
        decode(picture(plane(4, 49, "uint8")), quantity="power")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("count", "names"),
    [(1, ("unknown",)), (2, ("VH", "VV")), (4, ("HH", "HV", "VH", "VV"))],
)
def test_planes_are_named_by_their_number(count: int, names: tuple[str, ...]) -> None:
    planes = [plane(1, 10 * (i + 1)) for i in range(count)]
    first = decode(npy(np.stack(planes)))
    last = decode(npy(np.stack(planes, axis=-1)))
    both = (first, last) if count == 1 else (first, last, decode(bands(*planes)))
    for chip in both:
        assert chip.polarisations == names
        assert [p[7, 7] for p in chip.amplitude] == [10 * (i + 1) for i in range(count)]


def test_polarisation_keeps_one_plane() -> None:
    content = bands(plane(1, 10), plane(1, 20))
    assert decode(content, polarisation="vv").amplitude[:, 7, 7].tolist() == [20]
    kept = decode(content, polarisation="VH")
    assert (kept.amplitude[:, 7, 7].tolist(), kept.polarisations) == ([10], ("VH",))


def test_grey_jpegs_in_three_planes_may_differ_by_rounding() -> None:
    """One step of chroma, as rounding leaves it, is up to 3 levels between the planes."""
    grey = plane(200, 30, "uint8")
    content = picture(np.stack([grey, grey, grey + 2], axis=-1), "JPEG", quality=95)
    apart = int(np.ptp(np.asarray(Image.open(io.BytesIO(content))).astype(int), axis=-1).max())
    assert 0 < apart <= 3
    assert np.abs(decode(content).amplitude[0] - grey).max() <= 8


def test_grey_jpegs_keep_their_tolerance_with_a_preview_in_them() -> None:
    """Cameras and phones write such a file; Pillow calls its format MPO."""
    grey = plane(200, 30, "uint8")
    first = Image.fromarray(np.stack([grey, grey, grey + 2], axis=-1))
    out = io.BytesIO()
    first.save(out, "MPO", save_all=True, append_images=[first], quality=95)
    assert np.abs(decode(out.getvalue()).amplitude[0] - grey).max() <= 8


def test_magnitude_of_large_numbers_does_not_overflow() -> None:
    chip = decode(npy(plane(0, 3e37 + 4e37j, "complex64")))
    assert chip.amplitude[0, 7, 7] == np.float32(5e37)
