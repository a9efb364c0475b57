"""No byte string, however bad, makes decode raise anything but a ChipError.

Bytes at random, after each format's magic, and valid files of every kind with bytes flipped,
inserted, deleted, copied and cut. What passes decode must also pass prepare.
"""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shipchip import Chip, ChipError, decode, prepare
from shipchip.decode import npy as npy_module
from shipchip.decode import picture as picture_module
from shipchip.decode import tiff as tiff_module
from tests.shipchip.inputs import KINDS, grey8, picture, sigma0, spec, tiff

# Warnings are errors in these tests, but a third party's warning is no wrong answer of ours.
pytestmark = [
    pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning:tifffile"),
    pytest.mark.filterwarnings("ignore:Reading `.npy`:UserWarning"),
    pytest.mark.filterwarnings("ignore:Data type alias:DeprecationWarning"),
]

MAGICS = (*picture_module.MAGICS, *tiff_module.MAGICS, npy_module.MAGIC)
COLOUR = np.stack([grey8(1), grey8(2), grey8(3)], axis=-1)
VALID = [make() for make in KINDS.values()] + [
    picture(grey8(), "JPEG", progressive=True),
    tiff(grey8(), compression="zstd"),
    tiff(grey8(), compression="lzma"),
    tiff(sigma0(), compression="zlib", predictor=3),
    tiff(grey8(), tile=(16, 16)),
    tiff(grey8(), rowsperstrip=3),
]
MUTABLE = [*VALID, picture(COLOUR), tiff(COLOUR, photometric="rgb")]
# Numbers that lengths, counts and offsets stumble over.
TOKENS = (
    b"\0",
    b"\xff",
    b"\x80",
    b"\0\0",
    b"\xff\xff",
    b"\0\0\0\1",
    b"\1\0\0\0",
    b"\xff" * 4,
    b"\x7f" * 4,
)

quick = settings(
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def check(content: bytes) -> None:
    """decode gives a chip as its docstring promises, or raises a ChipError."""
    try:
        chip = decode(content)
        seen = prepare(chip, spec()).input
    except ChipError:
        return
    assert isinstance(chip, Chip)
    assert chip.amplitude.dtype == np.float32
    assert chip.amplitude.shape[0] == len(chip.polarisations)
    assert np.isfinite(chip.amplitude).all()
    assert chip.amplitude.min() >= 0
    assert np.isfinite(seen).all()


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """One of the valid files after one to six changes, most of them near its head."""
    content = bytearray(draw(st.sampled_from(MUTABLE)))
    for _ in range(draw(st.integers(1, 6))):
        if not content:
            break
        head = min(len(content), draw(st.sampled_from([64, 512, 10**9])))
        at = draw(st.integers(0, head - 1))
        change = draw(st.sampled_from(["flip", "set", "token", "insert", "delete", "copy", "cut"]))
        if change == "flip":
            content[at] ^= 1 << draw(st.integers(0, 7))
        elif change == "set":
            content[at] = draw(st.integers(0, 255))
        elif change == "token":
            token = draw(st.sampled_from(TOKENS))
            content[at : at + len(token)] = token
        elif change == "insert":
            content[at:at] = draw(st.binary(min_size=1, max_size=12))
        elif change == "delete":
            del content[at : at + draw(st.sampled_from([1, 2, 4, 12, 100]))]
        elif change == "copy":
            origin = draw(st.integers(0, len(content) - 1))
            content[at : at + 4] = content[origin : origin + 4]
        else:
            del content[at:]
    return bytes(content)


@settings(quick, max_examples=300)
@given(st.binary(max_size=400))
def test_random_bytes(content: bytes) -> None:
    check(content)


@settings(quick, max_examples=1500)
@given(st.sampled_from(MAGICS), st.binary(max_size=300))
def test_random_bytes_after_a_magic(magic: bytes, content: bytes) -> None:
    check(magic + content)


@pytest.mark.slow
@settings(quick, max_examples=4000)
@given(mutated())
def test_mutated_files(content: bytes) -> None:
    check(content)


def test_the_files_that_are_mutated_are_valid() -> None:
    """Else mutation would only try what is refused at once."""
    for content in VALID:
        assert decode(content).amplitude.any()
