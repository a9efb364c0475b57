"""The table of docs/formats.md of what else a file may say, and what is then done."""

from collections.abc import Callable, Sequence

import numpy as np

from shipchip import Chip
from tests.docs.formats import bands, one, outcome
from tests.shipchip.inputs import (
    KINDS,
    bordered,
    gdal_tags,
    grey8,
    npy,
    picture,
    scene,
    sigma0,
    tiff,
    with_negatives,
)
from tests.shipchip.pages import FULL, MASK, REDUCED, pages

_POWER = [sigma0(seed) for seed in range(4)]
_DATA = bordered(np.full((40, 48), 255, np.uint8), 0)
_WRAPPED = (scene() * 200).astype(np.uint16).view(np.int16)

Check = Callable[[Chip], bool]


def _scaled(chip: Chip) -> bool:
    return chip.quantity == "sigma0" and float(chip.amplitude.max()) < 10


def _masked(chip: Chip) -> bool:
    return chip.valid is not None and not chip.valid[:, :, :4].any() and chip.valid[:, :, 4:].all()


def _clipped(chip: Chip) -> bool:
    return 0 < chip.clipped <= 0.05


def _grey(chip: Chip) -> bool:
    return bool((chip.amplitude[0] == grey8()).all())


# What is in the file, what is done with it ("" if it is refused), how to see that, and files.
_SAYS: Sequence[tuple[str, str, Check | None, Sequence[bytes]]] = (
    (
        "scale and offset of a band, or of all bands (GDAL, SNAP)",
        "applied; the result is read as a float TIFF",
        _scaled,
        [KINDS["tiff_16bit_scaled_sigma0"]()],
    ),
    (
        "a scale of 0, or metadata of bands that are not there",
        "",
        None,
        [
            tiff(_POWER[0], extratags=gdal_tags(scale=(0, 0))),
            tiff(_POWER[0], extratags=gdal_tags(["VV", "VH"])),
        ],
    ),
    (
        "no-data value (GDAL, SNAP; also `nan`), alpha band, internal mask",
        "these samples are missing: they count neither as sea nor as ship",
        _masked,
        [
            bands([bordered(_POWER[0])], nodata="-9999"),
            bands([bordered(_POWER[0], np.nan)], nodata="nan"),
            KINDS["tiff_alpha"](),
            pages((grey8(), FULL), (_DATA, MASK)),
        ],
    ),
    ("a no-data value that is no number", "", None, [bands(_POWER[:1], nodata="none")]),
    (
        "no data in more than half of the model's window, or anywhere",
        "",
        None,
        [
            bands([np.where(np.arange(48) < 30, -1, _POWER[0])], nodata="-1"),
            bands([np.full((40, 48), -1, np.float32)], nodata="-1"),
        ],
    ),
    (
        "up to 5 % negative samples in sigma0 or amplitude, smaller than the brightest",
        "set to 0; the answer tells the share (`clipped`)",
        _clipped,
        [tiff(with_negatives(_POWER[0])), npy(with_negatives(scene()))],
    ),
    (
        "more negative samples, decibels, standardised arrays (z-scores)",
        "",
        None,
        [
            tiff(_POWER[0] - np.float32(np.quantile(_POWER[0], 0.3))),
            tiff(10 * np.log10(_POWER[0] / _POWER[0].max())),
            npy((_POWER[0] - _POWER[0].mean()) / _POWER[0].std()),
        ],
    ),
    ("integers with a wrapped sign (uint16 stored as int16)", "", None, [tiff(_WRAPPED)]),
    (
        "one negative value again and again that is not declared as no-data",
        "",
        None,
        [tiff(bordered(_POWER[0], value)) for value in (-1, -9999)],
    ),
    (
        "only foreign bands (angle, phase, mask …)",
        "",
        None,
        [bands(_POWER[:2], ["angle", "mask"])],
    ),
    (
        "grey stored as RGB with equal planes, 8 or 16 bits",
        "read as grey",
        None,
        [KINDS["png_rgb_of_equal_planes"](), KINDS["png_16bit_rgb"]()],
    ),
    (
        "other colour; four byte planes that GDAL flagged as RGB and alpha",
        "",
        None,
        [
            picture(np.stack([grey8(seed) for seed in range(3)], axis=-1)),
            tiff(
                np.stack([grey8(seed) for seed in range(4)], axis=-1),
                photometric="rgb",
                extrasamples=["unassalpha"],
            ),
        ],
    ),
    (
        "least value is white, any number of bits, signed or not",
        "inverted",
        _grey,
        [
            tiff(255 - grey8(), photometric="miniswhite"),
            tiff(-1 - grey8().astype(np.int16), photometric="miniswhite"),
        ],
    ),
    (
        "overviews and thumbnails flagged as reduced, before or after the one full page",
        "the full page is read",
        _grey,
        [
            pages((grey8(), FULL), (grey8()[::2, ::2], REDUCED)),
            pages((grey8()[::2, ::2], REDUCED), (grey8(), FULL)),
        ],
    ),
    (
        "several full pages; only reduced ones; a larger image behind a thumbnail",
        "",
        None,
        [
            pages((grey8(), FULL), (grey8()[::2, ::2], REDUCED), (grey8(1), FULL)),
            pages((grey8(), REDUCED)),
            pages((grey8()[::4, ::4], FULL), (grey8(), REDUCED)),
        ],
    ),
)


def declared_rows() -> list[tuple[str, str]]:
    """What else is in a file -> what is done."""
    rows = []
    for said, done, check, contents in _SAYS:
        found = [outcome(content) for content in contents]
        if check is not None and not all(isinstance(c, Chip) and check(c) for c in found):
            raise ValueError(f"{said}: {done!r} is not what happens")
        rows.append((said, one([c if isinstance(c, str) else done for c in found], said)))
    return rows
