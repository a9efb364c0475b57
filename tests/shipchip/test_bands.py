"""Names of bands that leave open what a plane is: read for what they say, or refused."""

import numpy as np
import pytest

from shipchip import decode
from shipchip.chip import Chip
from shipchip.errors import ChipError, Negative, NotBackscatter, UnsupportedBands
from tests.shipchip.inputs import complex_scene, gdal_tags, sigma0, tiff

PLANES = [sigma0(seed) for seed in (7, 8, 9, 10)]
Z, Z2 = complex_scene(7), complex_scene(8)


def named(names: list[str], *planes: np.ndarray) -> Chip:
    given = planes or PLANES[: len(names)]
    stacked = np.stack(given, axis=-1) if len(given) > 1 else given[0]
    layout = "contig" if len(given) > 1 else None
    return decode(tiff(stacked, planarconfig=layout, extratags=gdal_tags(names)))


# A band of backscatter that is dropped


@pytest.mark.parametrize(
    ("names", "error"),
    [
        (["sigma0_vh_db", "x"], Negative),
        (["x", "sigma0_vh_db"], Negative),
        (["Phase_VV", ""], NotBackscatter),
        (["coh_VV", "Band 2"], NotBackscatter),
        (["", "", "VV/VH"], NotBackscatter),
        (["Sigma0_dB", "x"], Negative),
    ],
)
def test_what_is_left_is_not_taken_for_the_plane_that_was_dropped(
    names: list[str], error: type[ChipError]
) -> None:
    with pytest.raises(error, match=r"nothing says that .* is backscatter: name it"):
        named(names)


@pytest.mark.parametrize(
    ("names", "planes"),
    [
        (["sigma0_vh_db", "Sigma0_VH"], ("VH",)),
        (["VV/VH", "VV", "VH"], ("VV", "VH")),
        (["sigma0_vh_db", "sigma0"], ("unknown",)),
        (["angle", ""], ("unknown",)),
    ],
)
def test_what_is_left_is_read_if_its_name_says_so_or_the_others_are_unrelated(
    names: list[str], planes: tuple[str, ...]
) -> None:
    assert named(names).polarisations == planes


# Elements of a matrix


@pytest.mark.parametrize(
    "names",
    [
        ["C11", "C22"],
        ["c22", "c11"],
        ["T11", "T22"],
        ["C11", "C12_real", "C12_imag", "C22"],
        ["C11", "C22", "C33"],
        ["C11", "x"],
        ["s11", "s12"],
    ],
)
def test_elements_of_a_matrix_say_no_polarisation(names: list[str]) -> None:
    """Neither (VH, VV) nor (VV, VH): which one C11 is differs from product to product."""
    with pytest.raises(UnsupportedBands, match="elements of a matrix do not say which polar"):
        named(names)


@pytest.mark.parametrize("name", ["C11", "T22", "Sigma0_C11"])
def test_one_diagonal_element_is_power_of_an_unknown_polarisation(name: str) -> None:
    whole = PLANES[0].round() + 1  # by the table alone, whole numbers would be amplitude
    chip = named([name], whole)
    assert (chip.polarisations, chip.quantity) == (("unknown",), "sigma0")
    np.testing.assert_allclose(chip.amplitude[0], np.sqrt(whole), rtol=1e-6)


@pytest.mark.parametrize("names", [["C12_real", "C12_imag"], ["C12"], ["T13re", "T13im"]])
def test_products_of_two_polarisations_are_no_backscatter(names: list[str]) -> None:
    with pytest.raises(NotBackscatter, match="expected backscatter"):
        named(names, *(Z.real, Z.imag)[: len(names)])


def test_elements_that_name_their_polarisation_are_planes() -> None:
    whole = [plane.round() + 1 for plane in PLANES[:2]]
    chip = named(["C22_VV", "C11_VH"], *whole)
    assert (chip.polarisations, chip.quantity) == (("VV", "VH"), "sigma0")


@pytest.mark.parametrize("name", ["VV_T32UME", "VV_T33", "VV_T32", "S1A_VV", "VV_C111"])
def test_names_of_tiles_and_missions_are_no_elements(name: str) -> None:
    whole = [plane.round() + 1 for plane in PLANES[:2]]
    chip = named([name, "VH"], *whole)
    assert (chip.polarisations, chip.quantity) == (("VV", "VH"), "amplitude")


# Planes of different kinds beside each other


@pytest.mark.parametrize("names", [["Amplitude_VV", "Sigma0_VH"], ["Intensity_VV", "VH amplitude"]])
def test_amplitude_beside_power_is_refused(names: list[str]) -> None:
    with pytest.raises(UnsupportedBands, match="amplitude beside power"):
        named(names)


@pytest.mark.parametrize("names", [["VV", "Sigma0_VH"], ["Sigma0_VV", "VH"]])
def test_one_name_says_the_quantity_of_all(names: list[str]) -> None:
    whole = [plane.round() + 1 for plane in PLANES[:2]]
    assert named(names, *whole).quantity == "sigma0"


@pytest.mark.parametrize(
    "names", [["i_VV", "q_VV", "VH"], ["real", "x"], ["i", "re"], ["i", "q", "Sigma0"]]
)
def test_parts_without_their_counterpart_are_refused(names: list[str]) -> None:
    with pytest.raises(UnsupportedBands, match="the real and the imaginary part of each"):
        named(names, *(Z.real, Z.imag, PLANES[0])[: len(names)])


def test_parts_without_a_polarisation_are_paired_in_their_order() -> None:
    chip = named(["i", "q", "i", "q"], Z2.real, Z2.imag, Z.real, Z.imag)
    assert (chip.polarisations, chip.quantity) == (("VH", "VV"), "complex")
    np.testing.assert_allclose(chip.amplitude, abs(np.stack([Z2, Z])), rtol=1e-5)


def test_a_message_does_not_repeat_a_name_at_length() -> None:
    with pytest.raises(NotBackscatter) as error:
        named(["angle " * 150])
    assert len(str(error.value)) < 300
