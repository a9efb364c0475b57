"""Tables of docs/formats.md: each line is what `decode` does with files made for it."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from shipchip import Chip, ChipError, ShipClassifier, decode, prepare
from shipchip.chip import PLANE_NAMES, ReadQuantity
from tests.docs.blocks import ROOT
from tests.shipchip.inputs import (
    KINDS,
    complex_scene,
    gdal_tags,
    npy,
    pairs,
    scene,
    sigma0,
    spec,
    tiff,
)

_WHOLE = [scene(seed).round().astype(np.float32) + 1 for seed in range(4)]
_POWER = [sigma0(seed) for seed in range(4)]
_TAKEN: Mapping[ReadQuantity, str] = {
    "amplitude": "amplitude",
    "sigma0": "sigma0, linear; amplitude is its square root",
    "complex": "single-look complex; amplitude is the modulus",
}
TIMES = " \N{MULTIPLICATION SIGN} "


def bands(
    planes: Sequence[np.ndarray], names: Sequence[str] = (), nodata: str | None = None
) -> bytes:
    """A TIFF of planes with GDAL's metadata."""
    stacked = np.stack(planes, axis=-1) if len(planes) > 1 else planes[0]
    layout = "contig" if len(planes) > 1 else None
    return tiff(stacked, planarconfig=layout, extratags=gdal_tags(names, nodata=nodata))


def outcome(content: bytes) -> Chip | str:
    """The chip, or what the table says of its refusal."""
    try:
        chip = decode(content)
        prepare(chip, spec())
        return chip
    except ChipError as error:
        return f"refused, `{error.code}`"


def one(found: Iterable[str], row: str) -> str:
    """The one outcome of all files of a line."""
    (only, *others) = dict.fromkeys(found)
    if others:
        raise ValueError(f"{row}: {[only, *others]} differ")
    return only


def plane_rows() -> list[tuple[str, str]]:
    """Number of planes -> their order, if the file does not name them."""
    rows = []
    for count in PLANE_NAMES:
        chip = decode(bands(_POWER[:count]))
        known = ", ".join(chip.polarisations)
        rows.append(
            (
                str(count),
                "any polarisation; unknown if the file does not name it" if count == 1 else known,
            )
        )
    chip = decode(KINDS["tiff_4band_pairs"]())
    return [*rows, ("4, as (re, im) pairs", ", ".join(chip.polarisations))]


_NAMES: Sequence[tuple[str, ...]] = (
    ("VV",),
    ("vh", "vv"),
    ("Sigma0_VV", "Sigma0_VH"),
    ("Gamma0_HH",),
    ("Beta0_VV",),
    ("Intensity_VH",),
    ("Amplitude_HH", "Amplitude_HV"),
    ("i_VV", "q_VV"),
    ("VV", "angle"),
    ("VV", "VH", "VV/VH"),
    ("VV", "VH_db"),
    ("VH_db", "x"),
    ("Sigma0_VV_db",),
    ("Sigma0_VV", "Amplitude_VH"),
    ("C22_VV", "C11_VH"),
    ("C11",),
    ("C11", "C22"),
    ("C12_real", "C12_imag"),
    ("angle", "mask"),
    ("Band 1", "Band 2"),
)


def name_rows() -> list[tuple[str, str]]:
    """Names of bands -> the planes, and what their samples are."""
    return [(", ".join(f"`{name}`" for name in names), named(names)) for names in _NAMES]


def named(names: Sequence[str]) -> str:
    """What is read by names; the samples alone would be amplitude, then sigma0."""
    found = [outcome(bands(planes[: len(names)], names)) for planes in (_WHOLE, _POWER)]
    refused = [text for text in found if isinstance(text, str)]
    if refused:
        return one([str(text) for text in found], str(names))
    chips = [chip for chip in found if isinstance(chip, Chip)]
    quantities = {chip.quantity for chip in chips}
    quantity = quantities.pop() if len(quantities) == 1 else "by its samples"
    return one([f"{', '.join(chip.polarisations)}; {quantity}" for chip in chips], str(names))


_SAMPLES: Mapping[str, Sequence[bytes]] = {
    "integers": [KINDS[kind]() for kind in ("png_8bit", "tiff_16bit", "npy_uint8")],
    "complex": [KINDS[kind]() for kind in ("tiff_complex64", "npy_complex64")],
    "float, whole numbers only": [tiff(_WHOLE[0]), npy(_WHOLE[0])],
    "float TIFF with fractions": [tiff(_POWER[0]), tiff(_POWER[0].astype(np.float64))],
    "float `.npy` with fractions": [npy(_POWER[0])],
    "samples with a scale, with fractions once it is applied": [
        KINDS["tiff_16bit_scaled_sigma0"]()
    ],
    "named `Amplitude…`": [bands(_POWER[:1], ["Amplitude_VV"])],
    "named `Sigma0…`, `Gamma0…`, `Beta0…`, `Intensity…`, or `C11`, `T22` and the like": [
        bands(_WHOLE[:1], [name])
        for name in ("Sigma0_VV", "Gamma0_VV", "Beta0_VV", "Intensity_VV", "C11", "T22")
    ],
    "named `i_VV` and `q_VV`": [
        bands([complex_scene().real, complex_scene().imag], ["i_VV", "q_VV"])
    ],
    "2 or 4 real planes that look complex: half of the samples negative, mean near 0, alike in "
    "spread, not skewed, independent": [
        KINDS["tiff_2band_pairs"](),
        npy(pairs(complex_scene(8), complex_scene(7)).transpose(2, 0, 1)),
    ],
}


def sample_rows() -> list[tuple[str, str]]:
    """How samples are stored -> what they are taken as."""
    return [
        (stored, one([_TAKEN[decode(content).quantity] for content in contents], stored))
        for stored, contents in _SAMPLES.items()
    ]


def rule_rows() -> list[tuple[str, str, str]]:
    """The default model's spacing rules."""
    rules = ShipClassifier(ROOT / "models" / "ship.onnx", device="cpu").card.input.spacing_rules
    rows = []
    for rule in rules:
        chip = {"any": "any other"}.get(rule.encoding, rule.encoding)
        longer = f", longer side of at least {rule.min_side} pixels" if rule.min_side else ""
        sides = dict.fromkeys(f"{round(metres, 2):g}" for metres in rule.spacing_m)
        rows.append((chip + longer, f"{TIMES.join(sides)} m", rule.why))
    return rows
