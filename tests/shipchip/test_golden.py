"""Every kind of input file reaches the model as the same numbers for ever.

The expected inputs are in tests/golden, one file a kind. After an intended change of decode or
prepare, `pytest tests/shipchip/test_golden.py --accept-golden` writes them anew: look at the
difference, and say in the commit why it is right. Models trained before such a change are stale.
"""

from pathlib import Path

import numpy as np
import pytest

from shipchip import decode, prepare
from tests.shipchip.inputs import KINDS, spec

GOLDEN = Path(__file__).parent.parent / "golden"
TOLERANCE = 1e-4
MAX_BYTES = 200 * 1024


@pytest.mark.parametrize("kind", KINDS)
def test_input_is_the_golden_one(kind: str, accept_golden: bool) -> None:
    given = prepare(decode(KINDS[kind]()), spec()).input
    path = GOLDEN / f"{kind}.npy"
    if accept_golden:
        GOLDEN.mkdir(exist_ok=True)
        np.save(path, given)
    assert path.is_file(), f"{path} is missing; run pytest --accept-golden and look at it"
    expected = np.load(path)
    assert given.dtype == expected.dtype == np.float32
    np.testing.assert_allclose(given, expected, rtol=0, atol=TOLERANCE)


def test_golden_files_are_the_kinds_and_stay_small() -> None:
    files = sorted(GOLDEN.iterdir())
    assert [file.stem for file in files] == sorted(KINDS)
    assert sum(file.stat().st_size for file in files) <= MAX_BYTES


def test_one_scene_is_one_input_in_every_lossless_8bit_file() -> None:
    whole = ("png_rgb_of_equal_planes", "tiff_8bit_packbits", "tiff_8bit_lzw", "tiff_tiled")
    expected = np.load(GOLDEN / "png_8bit.npy")
    for kind in (*whole, "tiff_8bit_deflate_predicted", "tiff_big", "npy_uint8"):
        np.testing.assert_array_equal(np.load(GOLDEN / f"{kind}.npy"), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_golden_inputs_show_the_ship_and_the_sea(kind: str) -> None:
    """A golden file that holds nonsense would be kept for ever, so each is looked at."""
    image = np.load(GOLDEN / f"{kind}.npy")[0]
    middle = image[14:18, 12:20]
    border = np.concatenate([image[:4].ravel(), image[-4:].ravel()])
    assert image.shape == (32, 32)
    assert 0.6 < np.median(middle) < 1.5, "the ship is about 20 dB above its clutter"
    assert abs(np.median(border)) < 0.2, "the sea is about at clutter level"
