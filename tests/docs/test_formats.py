"""Every row of the tables in docs/formats.md, tried on a file of its kind."""

import io
from collections.abc import Callable

import imagecodecs
import numpy as np
import pytest
import tifffile

from shipchip import Chip, ChipError, decode, prepare
from tests.docs.blocks import ROOT
from tests.shipchip.inputs import (
    bordered,
    complex_scene,
    gdal_tags,
    grey8,
    npy,
    pairs,
    picture,
    scene,
    sigma0,
    spec,
    tiff,
    with_negatives,
)

GREY, POWER, OTHER = grey8(), sigma0(7), sigma0(8)
AMPLITUDE, COMPLEX = scene().astype(np.float32), complex_scene()


def bands(*planes: np.ndarray, **options: object) -> bytes:
    return tiff(np.stack(planes, axis=-1), planarconfig="contig", **options)


def read_as(quantity: str, amplitude: np.ndarray, content: bytes) -> None:
    chip = decode(content)
    assert chip.quantity == quantity
    np.testing.assert_allclose(chip.amplitude[-1], amplitude, rtol=1e-5, atol=1e-5)


def refused(code: str, content: bytes, use: Callable[[Chip], object] = lambda chip: chip) -> None:
    with pytest.raises(ChipError) as error:
        use(decode(content))
    assert error.value.code == code


def named(name: str, content: np.ndarray) -> bytes:
    return tiff(content, extratags=gdal_tags([name]))


def masked(content: bytes) -> None:
    valid = decode(content).valid
    assert valid is not None
    assert not valid[0, :, :4].any()
    assert valid[0, :, 4:].all()


def pages(*kinds: tuple[int, int]) -> bytes:
    """A TIFF of a page for each (step, subfile type): the chip at every step-th sample."""
    out = io.BytesIO()
    with tifffile.TiffWriter(out) as writer:
        for step, kind in kinds:
            samples = GREY[::step, ::step]
            writer.write(samples, photometric="minisblack", metadata=None, subfiletype=kind)
    return out.getvalue()


def read_names(content: bytes, expected: tuple[str, ...]) -> None:
    assert decode(content).polarisations == expected


ALPHA = bordered(np.full((40, 48), 255, np.uint8), 0)
MOSTLY = np.where(np.arange(48) < 30, np.float32(-9999), POWER)
ZSCORED = npy(((AMPLITUDE - AMPLITUDE.mean()) / AMPLITUDE.std()).astype(np.float32))
WRAPPED = (scene() * 300).astype(np.uint16).view(np.int16)

PLANES = {
    "1": lambda: read_names(tiff(POWER), ("unknown",)),
    "2": lambda: read_names(bands(OTHER, POWER), ("VH", "VV")),
    "4": lambda: read_names(bands(*[POWER] * 4), ("HH", "HV", "VH", "VV")),
    "4, as (re, im) pairs": lambda: read_names(bands(*pairs(COMPLEX, COMPLEX).T.swapaxes(1, 2)),
                                               ("VH", "VV")),
}  # fmt: skip
SAMPLES = {
    "integers": lambda: read_as("amplitude", GREY, tiff(GREY)),
    "complex": lambda: read_as("complex", abs(COMPLEX), tiff(COMPLEX)),
    "float, whole numbers only": lambda: read_as("amplitude", GREY, tiff(GREY.astype(np.float32))),
    "float TIFF with fractions": lambda: read_as("sigma0", np.sqrt(POWER), tiff(POWER)),
    "float `.npy` with fractions": lambda: read_as("amplitude", AMPLITUDE, npy(AMPLITUDE)),
    "named `Amplitude…`": lambda: read_as("amplitude", POWER, named("Amplitude_VV", POWER)),
    "named `Sigma0…`, `Gamma0…`, `Beta0…`, `Intensity…`": lambda: [
        read_as("sigma0", np.sqrt(GREY.astype(np.float32)), named(f"{name}_VV", GREY))
        for name in ("Sigma0", "Gamma0", "Beta0", "Intensity")
    ],
    "named `i_VV` and `q_VV`": lambda: read_as(
        "complex",
        abs(COMPLEX),
        bands(COMPLEX.imag, COMPLEX.real, extratags=gdal_tags(["q_VV", "i_VV"])),
    ),
    "2 or 4 real planes that look complex: half of the samples negative, mean near 0, alike in "
    "spread, not skewed, independent": lambda: read_as(
        "complex", abs(COMPLEX), bands(COMPLEX.real, COMPLEX.imag)
    ),
}
ELSE = {
    "scale and offset of a band (GDAL)": lambda: read_as(
        "sigma0",
        np.sqrt(GREY / np.float32(2) + 1),
        tiff(GREY, extratags=gdal_tags(scale=(0.5, 1.0))),
    ),
    "no-data value (GDAL, also `nan`), alpha band, internal mask": lambda: [
        masked(tiff(bordered(POWER), extratags=gdal_tags(nodata="-9999"))),
        masked(tiff(bordered(POWER, np.nan), extratags=gdal_tags(nodata="nan"))),
        masked(bands(GREY, ALPHA, extrasamples=["unassalpha"])),
    ],
    "a no-data value or a scale that is no number; a scale of 0": lambda: [
        refused("corrupt", tiff(POWER, extratags=gdal_tags(nodata="none"))),
        refused("corrupt", tiff(POWER, extratags=gdal_tags(scale=(0, 0)))),
    ],
    "more than half of the model's window missing": lambda: refused(
        "no_data",
        tiff(MOSTLY, extratags=gdal_tags(nodata="-9999")),
        lambda chip: prepare(chip, spec()),
    ),
    "up to 5 % negative samples in sigma0 or amplitude, smaller than the brightest": lambda: [
        read_as("sigma0", np.sqrt(np.maximum(with_negatives(POWER), 0)),
                tiff(with_negatives(POWER))),
    ],
    "more negative samples, decibels, standardised arrays (z-scores)": lambda: [
        refused("negative", tiff(10 * np.log10(POWER / 100))),
        refused("negative", ZSCORED),
    ],
    "integers with a wrapped sign (uint16 stored as int16)": lambda: refused(
        "negative", tiff(WRAPPED)
    ),
    "a repeated very low value that is not declared as no-data": lambda: refused(
        "negative", tiff(bordered(POWER))
    ),
    "only foreign bands (angle, phase, mask …)": lambda: refused(
        "not_backscatter", named("angle", POWER)
    ),
    "elements of a covariance matrix (`C11`, `C22`), which name no polarisation": lambda: refused(
        "unsupported_bands", bands(POWER, OTHER, extratags=gdal_tags(["C11", "C22"]))
    ),
    "grey stored as RGB with equal planes, 8 or 16 bits": lambda: [
        read_as("amplitude", GREY, picture(np.repeat(GREY[..., None], 3, axis=-1))),
        read_as("amplitude", GREY * 200.0, bytes(imagecodecs.png_encode(
            np.repeat((GREY.astype(np.uint16) * 200)[..., None], 3, axis=-1)))),
    ],
    "other colour; four byte planes that GDAL flagged as RGB and alpha": lambda: [
        refused("not_grey", picture(np.stack([GREY, 255 - GREY, GREY], axis=-1))),
        refused("not_grey", bands(*(grey8(k) for k in range(4)), photometric="rgb",
                                  extrasamples=["unassalpha"])),
    ],
    "least value is white, any number of bits, signed or not": lambda: read_as(
        "amplitude", GREY, tiff(255 - GREY, photometric="miniswhite")
    ),
    "reduced images and masks beside one full page": lambda: read_as(
        "amplitude", GREY, pages((2, 1), (1, 0), (4, 1))
    ),
    "a reduced image alone; several full pages": lambda: [
        refused("unsupported_bands", tiff(GREY, subfiletype=1)),
        refused("unsupported_bands", tiff(np.stack([GREY, GREY]))),
    ],
}  # fmt: skip


def rows_under(heading: str) -> list[str]:
    """The first cells of the table below a heading."""
    text = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")
    section = text.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [line.split("|")[1].strip() for line in lines[2:]]


TABLES = {
    "Planes and polarisations": PLANES,
    "What a sample means": SAMPLES,
    "What else a file says": ELSE,
}


@pytest.mark.parametrize("heading", TABLES)
def test_every_row_is_tried_here(heading: str) -> None:
    assert rows_under(heading) == list(TABLES[heading])


@pytest.mark.parametrize(
    ("heading", "row"), [(heading, row) for heading, rows in TABLES.items() for row in rows]
)
def test_a_file_of_its_kind_is_read_as_the_row_says(heading: str, row: str) -> None:
    TABLES[heading][row]()
