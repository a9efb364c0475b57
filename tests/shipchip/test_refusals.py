"""A chip that cannot be classified is refused with the code that says why."""

import io
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from shipchip import ChipError, DecodeLimits, decode, errors
from tests.shipchip.inputs import KINDS, grey8, npy, picture, scene, tiff

COLOUR = np.stack([grey8(1), grey8(2), grey8(3)], axis=-1)


def code(source: bytes | str | Path, **options: Any) -> str:
    """The code of the ChipError that decode raises."""
    with pytest.raises(ChipError) as caught:
        decode(source, **options)
    assert type(caught.value).__name__ in errors.__doc__  # the docstring shows the whole tree
    assert len(str(caught.value)) > 10, "the message says what was found"
    return caught.value.code


def test_every_error_has_its_own_code_in_the_docstrings_tree() -> None:
    def below(base: type[errors.ShipchipError]) -> list[type[errors.ShipchipError]]:
        return [base] + [found for child in base.__subclasses__() for found in below(child)]

    # Other packages hang their own errors under the base; their codes are theirs to show.
    tree = [error for error in below(errors.ShipchipError) if error.__module__ == errors.__name__]
    assert len({error.code for error in tree}) == len(tree)
    branches = {errors.ShipchipError, errors.ChipError, errors.ModelError}
    leaves = [error for error in tree if error not in branches]
    for error in leaves:
        assert f"{error.__name__} " in errors.__doc__
        assert f" {error.code}\n" in errors.__doc__


def test_empty() -> None:
    assert code(b"") == "empty"


def test_not_found(tmp_path: Path) -> None:
    assert code(tmp_path / "none.tif") == "not_found"
    assert code(str(tmp_path / "none.tif")) == "not_found"


def test_a_folder_is_unreadable(tmp_path: Path) -> None:
    assert code(tmp_path) == "unreadable"


def test_a_fifo_is_unreadable_and_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.tif")
    assert code(tmp_path / "pipe.tif") == "unreadable"


@pytest.mark.parametrize("name", ["nul\0byte.tif", "x" * 5000])
def test_an_impossible_name_is_unreadable(tmp_path: Path, name: str) -> None:
    assert code(tmp_path / name) in ("unreadable", "not_found")


def test_too_large_is_seen_before_reading(tmp_path: Path) -> None:
    # A sparse file of a terabyte: reading it first would end this test.
    path = tmp_path / "large.tif"
    with path.open("wb") as file:
        file.write(b"II*\0")
        file.truncate(2**40)
    assert code(path) == "too_large"
    with pytest.raises(ChipError, match=str(2**40)):  # its true size, which reading cannot know
        decode(path)


def test_too_large_holds_for_bytes_to_the_byte() -> None:
    content = picture(grey8())
    assert code(content, limits=DecodeLimits(max_bytes=len(content) - 1)) == "too_large"
    assert decode(content, limits=DecodeLimits(max_bytes=len(content))).amplitude.any()


def test_the_pixel_limit_is_exact() -> None:
    for content in (picture(grey8()), tiff(grey8()), npy(grey8())):
        assert code(content, limits=DecodeLimits(max_pixels=40 * 48 - 1)) == "too_many_pixels"
        assert decode(content, limits=DecodeLimits(max_pixels=40 * 48)).amplitude.any()


@pytest.mark.parametrize("make", [picture, tiff, npy])
@pytest.mark.parametrize("shape", [(7, 40), (40, 7), (1, 1)])
def test_too_small(make: Any, shape: tuple[int, int]) -> None:
    assert code(make(grey8()[: shape[0], : shape[1]])) == "too_small"


def test_formats_that_are_no_chip() -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("chip.tif", tiff(grey8()))
    npz = io.BytesIO()
    np.savez(npz, chip=grey8())
    others = [
        picture(grey8(), "GIF"),
        picture(grey8(), "BMP"),
        picture(grey8(), "WEBP"),
        b"%PDF-1.7\n1 0 obj\n",
        b"<!DOCTYPE html><html></html>",
        b"GIF89a",
        archive.getvalue(),
        npz.getvalue(),
        b"\x00",
    ]
    for content in others:
        assert code(content) == "unsupported_format"


def test_samples_that_are_no_amplitude_are_an_unsupported_format() -> None:
    bilevel = grey8() > 20
    jpeg = tiff(grey8(), compression="jpeg", tile=(16, 16))
    text = npy(np.full((9, 9), "sea"))
    fields = npy(np.zeros((9, 9), dtype=[("re", "f4"), ("im", "f4")]))
    four = io.BytesIO()
    Image.fromarray(COLOUR).convert("CMYK").save(four, "JPEG")
    cmyk = four.getvalue()
    for content in (picture(bilevel), tiff(bilevel), npy(bilevel), jpeg, text, fields, cmyk):
        assert code(content) == "unsupported_format"


class _Burn:
    """Unpickling one would raise SystemExit, which no handler of ours catches."""

    def __reduce__(self) -> tuple[type, tuple[str]]:
        return SystemExit, ("unpickled",)


def test_a_pickled_npy_is_refused_unread() -> None:
    objects = np.empty((9, 9), dtype=object)
    objects[:] = _Burn()
    assert code(npy(objects)) == "unsupported_format"


def test_colour_is_not_grey() -> None:
    palette = io.BytesIO()
    Image.fromarray(COLOUR).quantize(32).save(palette, "PNG")
    for content in (
        picture(COLOUR),
        picture(COLOUR, "JPEG", quality=95),
        palette.getvalue(),
        tiff(COLOUR, photometric="rgb"),
        npy(COLOUR),
        npy(COLOUR.transpose(2, 0, 1)),
    ):
        assert code(content) == "not_grey"


def test_one_coloured_pixel_is_colour() -> None:
    almost = np.repeat(grey8()[..., None], 3, axis=-1)
    almost[5, 5, 1] ^= 1
    assert code(picture(almost)) == code(tiff(almost, photometric="rgb")) == "not_grey"


def test_transparency_is_not_grey() -> None:
    fade = np.stack([grey8(), grey8(4)], axis=-1)
    assert code(picture(fade)) == "not_grey"
    alpha = tiff(fade, planarconfig="contig", extrasamples=["unassalpha"])
    assert code(alpha) == "not_grey"


@pytest.mark.parametrize("count", [3, 5])
def test_unsupported_bands(count: int) -> None:
    bands = np.stack([scene(seed) for seed in range(count)], axis=-1).astype(np.float32)
    assert code(tiff(bands, planarconfig="contig")) == "unsupported_bands"
    assert code(tiff(bands.transpose(2, 0, 1), planarconfig="separate")) == "unsupported_bands"
    assert code(npy(bands.transpose(2, 0, 1))) == "unsupported_bands"


def test_unsupported_bands_of_other_shapes() -> None:
    pages = tiff(np.stack([grey8(1), grey8(2)]))
    assert code(pages) == "unsupported_bands"
    for shape in [(64,), (2, 2, 16, 16), (0, 16, 16)]:
        assert code(npy(np.ones(shape, np.uint8))) == "unsupported_bands"
    assert code(npy(np.float32(1.0))) == "unsupported_bands"
    assert code(tiff(scene()), quantity="complex_pairs") == "unsupported_bands"


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64"])
def test_non_finite(bad: float, dtype: str) -> None:
    samples = scene().astype(dtype)
    samples[3, 3] = bad
    assert code(tiff(samples)) == code(npy(samples)) == "non_finite"


def test_beyond_float32_is_non_finite() -> None:
    large = scene() * 1e60
    assert code(npy(large)) == code(npy(large * 1j)) == "non_finite"
    assert code(npy(np.stack([large, large])), quantity="complex_pairs") == "non_finite"


def test_decibels_are_negative() -> None:
    decibels = (20 * np.log10(scene() / 400)).astype(np.float32)  # the ship, too, is below 0 dB
    assert code(tiff(decibels)) == code(npy(decibels)) == "negative"


def test_decibels_in_two_bands_are_not_taken_for_re_and_im() -> None:
    ship_above_zero = 20 * np.log10(np.stack([scene(1), scene(2)]) / 120).astype(np.float32)
    assert (ship_above_zero > 0).any()
    assert code(npy(ship_above_zero)) == "negative"
    assert code(tiff(ship_above_zero, planarconfig="separate")) == "negative"


def test_blank() -> None:
    for content in (picture(np.full((9, 9), 7, np.uint8)), npy(np.zeros((2, 9, 9), np.float32))):
        assert code(content) == "blank"


def test_one_blank_plane_of_two_is_not_blank() -> None:
    chip = decode(npy(np.stack([np.zeros((40, 48)), scene()])))
    assert chip.polarisations == ("VH", "VV")


def test_polarisation_missing() -> None:
    assert code(KINDS["tiff_2band_sigma0"](), polarisation="HH") == "polarisation_missing"
    assert code(KINDS["png_8bit"](), polarisation="VV") == "polarisation_missing"
