"""A grey PNG gives the samples that Pillow reads, however it is compressed; damaged ones fail."""

import io
import random

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from shipchip.chip import DecodeLimits
from shipchip.decode.picture import read_picture
from shipchip.errors import ChipError, Corrupt, TooManyPixels, Truncated

DATA = 41  # where the samples of a PNG begin, after its signature, IHDR and the head of IDAT
END = -16  # where they end, before a checksum and IEND


def sea(dtype: type[np.generic], seed: int = 0, side: int = 40) -> NDArray[np.generic]:
    scale = 40 if dtype is np.uint8 else 9000
    samples = np.random.default_rng(seed).rayleigh(scale, (side, side + 7))
    return samples.clip(0, np.iinfo(dtype).max).astype(dtype)  # type: ignore[type-var]


def png(samples: NDArray[np.generic], level: int = 6) -> bytes:
    file = io.BytesIO()
    Image.fromarray(samples).save(file, "PNG", compress_level=level)
    return file.getvalue()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("level", [0, 1, 6, 9])
def test_samples_come_back_as_they_were(dtype: type[np.generic], level: int) -> None:
    samples = sea(dtype)
    for content in (png(samples, level), imagecodecs.png_encode(samples, level=level)):
        raster = read_picture(bytes(content), DecodeLimits())
        np.testing.assert_array_equal(raster.planes[0], samples)
        assert raster.planes.dtype == dtype


@pytest.mark.parametrize("seed", range(40))
def test_damaged_samples_are_read_as_pillow_reads_them(seed: int) -> None:
    draw = random.Random(seed)
    content = bytearray(png(sea(np.uint8, seed), draw.randint(0, 9)))
    for _ in range(draw.randint(1, 3)):
        content[draw.randrange(DATA, len(content) + END)] ^= 1 << draw.randrange(8)
    try:
        expected = np.asarray(Image.open(io.BytesIO(content)))
    except (OSError, SyntaxError):
        with pytest.raises(ChipError):
            read_picture(bytes(content), DecodeLimits())
        return
    np.testing.assert_array_equal(read_picture(bytes(content), DecodeLimits()).planes[0], expected)


def test_one_that_ends_early_is_truncated_and_one_that_is_no_deflate_stream_corrupt() -> None:
    whole = png(sea(np.uint8))
    with pytest.raises(Truncated):
        read_picture(whole[: len(whole) // 2], DecodeLimits())
    with pytest.raises(Corrupt):
        read_picture(whole[:DATA] + b"\xff" * 200 + whole[DATA + 200 :], DecodeLimits())


def test_more_pixels_than_allowed_are_refused_before_they_are_inflated() -> None:
    with pytest.raises(TooManyPixels):
        read_picture(png(sea(np.uint8)), DecodeLimits(max_pixels=1000))
