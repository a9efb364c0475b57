"""Which page of a TIFF is the chip: the one full page, never a thumbnail or an overview."""

import io
import struct

import numpy as np
import pytest
import tifffile

from shipchip import decode
from shipchip.errors import Corrupt, Truncated, UnsupportedBands
from tests.shipchip.inputs import bordered, geo_tags, grey8, raw_tiff, sigma0, tiff
from tests.shipchip.pages import FULL, MASK, REDUCED, REDUCED_MASK, pages

IMAGE, OTHER = grey8(), grey8(8)
SMALL, TINY = IMAGE[::2, ::2], IMAGE[::4, ::4]
DATA = bordered(np.full(IMAGE.shape, 255, np.uint8), 0)


def is_read(content: bytes, image: np.ndarray = IMAGE) -> None:
    np.testing.assert_array_equal(decode(content).amplitude[0], image)


@pytest.mark.parametrize("kind", [FULL, None])
@pytest.mark.parametrize("old", [False, True])
def test_overviews_after_the_image_are_not_in_the_way(kind: int | None, old: bool) -> None:
    is_read(pages((IMAGE, kind), (SMALL, REDUCED), (TINY, REDUCED), old=old))


@pytest.mark.parametrize("old", [False, True])
def test_a_full_page_after_reduced_ones_is_taken(old: bool) -> None:
    is_read(pages((TINY, REDUCED), (SMALL, REDUCED), (IMAGE, FULL), old=old))


def test_georeferencing_is_that_of_the_page_that_is_taken() -> None:
    out = io.BytesIO()
    with tifffile.TiffWriter(out) as writer:
        for step, scale, kind in ((4, 40.0, REDUCED), (1, 10.0, FULL)):
            tags = geo_tags((scale, scale), model=1, k3072=32632)
            writer.write(
                sigma0()[::step, ::step],
                photometric="minisblack",
                metadata=None,
                subfiletype=kind,
                extratags=tags,
            )
    assert decode(out.getvalue()).pixel_spacing_m == (10.0, 10.0)


@pytest.mark.parametrize("last", [FULL, REDUCED, None])
def test_a_thumbnail_that_is_not_flagged_is_never_taken(last: int | None) -> None:
    with pytest.raises(UnsupportedBands, match=r"thumbnail|several full pages"):
        decode(pages((TINY, None), (TINY, REDUCED), (IMAGE, last)))


@pytest.mark.parametrize("kinds", [(FULL, REDUCED, FULL), (None, None, None), (FULL, 2, 2)])
def test_several_full_pages_are_refused_wherever_they_are(
    kinds: tuple[int | None, int | None, int | None],
) -> None:
    content = pages(*zip((IMAGE, SMALL, OTHER), kinds, strict=True))
    with pytest.raises(UnsupportedBands, match=r"several full pages.*planarconfig='separate'"):
        decode(content)


def test_planes_written_as_pages_say_what_to_set() -> None:
    with pytest.raises(UnsupportedBands, match="planarconfig='separate'"):
        decode(tiff(np.stack([IMAGE, OTHER])))


@pytest.mark.parametrize("old", [False, True])
def test_a_reduced_page_alone_is_refused(old: bool) -> None:
    with pytest.raises(UnsupportedBands, match=r"40 x 48 is flagged as a reduced copy.*Type 0"):
        decode(pages((IMAGE, REDUCED), old=old))


@pytest.mark.parametrize("kind", [MASK, REDUCED_MASK])
def test_a_mask_alone_is_refused(kind: int) -> None:
    with pytest.raises(UnsupportedBands, match="a reduced copy or a mask"):
        decode(pages((DATA, kind)))


# Sub-directories


@pytest.mark.parametrize("first", [FULL, REDUCED, None])
@pytest.mark.parametrize("second", [FULL, REDUCED, None])
def test_a_thumbnail_before_an_image_in_a_sub_directory_is_refused(
    first: int | None, second: int | None
) -> None:
    """Unless both say that they are reduced, which leaves no image at all."""
    with pytest.raises(UnsupportedBands, match=r"begins with a thumbnail|no full page"):
        decode(pages((TINY, first), (IMAGE, second), sub_ifds=1))


@pytest.mark.parametrize("kind", [REDUCED, None])
def test_an_overview_in_a_sub_directory_is_not_in_the_way(kind: int | None) -> None:
    is_read(pages((IMAGE, FULL), (SMALL, kind), sub_ifds=1))


def test_a_second_image_in_a_sub_directory_is_refused() -> None:
    with pytest.raises(UnsupportedBands, match="second full image of 40 x 48"):
        decode(pages((IMAGE, FULL), (OTHER, FULL), sub_ifds=1))


# Masks


@pytest.mark.parametrize("overviews", [0, 1, 2])
def test_the_mask_is_applied_wherever_its_page_is(overviews: int) -> None:
    between = [(SMALL, REDUCED), (TINY, REDUCED)][:overviews]
    chip = decode(pages((IMAGE, FULL), *between, (DATA, MASK), (DATA[::2, ::2], REDUCED_MASK)))
    assert chip.valid is not None
    assert not chip.valid[:, :, :4].any()
    assert chip.valid[:, :, 4:].all()


def test_two_masks_are_refused() -> None:
    with pytest.raises(UnsupportedBands, match="several masks"):
        decode(pages((IMAGE, FULL), (DATA, MASK), (DATA, MASK)))


def test_a_mask_in_a_sub_directory_is_refused() -> None:
    with pytest.raises(UnsupportedBands, match="one in a sub-directory"):
        decode(pages((IMAGE, FULL), (DATA, MASK), sub_ifds=1))


def test_a_mask_of_another_size_is_corrupt() -> None:
    with pytest.raises(Corrupt, match="mask has the shape"):
        decode(pages((IMAGE, FULL), (DATA[1:], MASK)))


# Broken chains

PAGE = {256: 48, 257: 40, 259: 1, 262: 1, 273: 8, 277: 1, 278: 40, 279: 40 * 48}
ENTRIES = {tag: ("L", (value,)) for tag, value in PAGE.items()} | {258: ("H", (8,))}


def followed(offset: int) -> bytes:
    """A page whose directory is followed by one at `offset`."""
    content = bytearray(raw_tiff(ENTRIES, tail=IMAGE.tobytes()))
    struct.pack_into("<L", content, 10 + 12 * len(ENTRIES), offset)
    return bytes(content)


def test_a_page_beyond_the_end_of_the_file_is_truncated() -> None:
    assert decode(followed(0)).amplitude.any()
    with pytest.raises(Truncated, match="directory of the TIFF is at byte 1000000"):
        decode(followed(10**6))


def test_a_circle_of_pages_is_corrupt() -> None:
    with pytest.raises(Corrupt, match="in a circle"):
        decode(followed(8))


def test_pages_without_end_are_corrupt() -> None:
    content = followed(0)
    chain = b""
    for number in range(100):
        chain += struct.pack("<HL", 0, len(content) + 6 * (number + 1) if number < 99 else 0)
    with pytest.raises(Corrupt, match="more than 64 directories"):
        decode(followed(len(content)) + chain)


def test_a_width_of_eight_bytes_in_a_classic_tiff_is_corrupt() -> None:
    content = bytearray(followed(0))
    at = content.index(struct.pack("<HH", 256, 4))
    struct.pack_into("<H", content, at + 2, 16)
    with pytest.raises(Corrupt, match=r"tags \[256\]"):
        decode(bytes(content))


def test_more_sub_directories_than_are_read_are_corrupt() -> None:
    """Half a million of them, each time the same."""
    content = raw_tiff(ENTRIES | {330: ("L", (8,) * 500_000)}, tail=IMAGE.tobytes())
    with pytest.raises(UnsupportedBands, match="second full image"):
        decode(content)
    offsets = range(10_000, 10_000 + 6 * 100, 6)
    content = raw_tiff(ENTRIES | {330: ("L", tuple(offsets))}, tail=bytes(20_000))
    with pytest.raises(Corrupt, match="more than 64 directories"):
        decode(content)


@pytest.mark.parametrize("page", [0, 1])
def test_a_width_that_is_there_twice_is_corrupt(page: int) -> None:
    """A reader may take the first or the last one."""
    twice = sorted([*ENTRIES.items(), (256, ("L", (8,)))], key=lambda entry: entry[0])
    body = b"".join(struct.pack("<HHLL", tag, 4, 1, v[0]) for tag, (_, v) in twice)
    directory = struct.pack("<H", len(twice)) + body + bytes(4)
    content = followed(0)
    if page == 0:
        content = content[:4] + struct.pack("<L", len(content)) + content[8:]
    else:
        content = followed(len(content))
    with pytest.raises(Corrupt, match=r"tags \[256\]"):
        decode(content + directory)
