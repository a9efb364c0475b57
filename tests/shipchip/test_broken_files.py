"""A file that ends early is `truncated`, one that contradicts itself is `corrupt`."""

import pytest

from shipchip import ChipError, decode
from tests.shipchip.inputs import KINDS, grey8, npy, picture, raw_tiff, tiff


def code(content: bytes) -> str:
    """The code of the ChipError that decode raises."""
    with pytest.raises(ChipError) as caught:
        decode(content)
    return caught.value.code


@pytest.mark.parametrize("kind", KINDS)
def test_truncated_wherever_the_file_is_cut(kind: str) -> None:
    whole = KINDS[kind]()
    after_magic = 8
    for cut in (after_magic, 20, len(whole) // 3, len(whole) // 2, len(whole) * 9 // 10):
        assert code(whole[:cut]) == "truncated", f"cut at byte {cut} of {len(whole)}"


@pytest.mark.parametrize("kind", ["geotiff_projected", "tiff_big", "tiff_16bit_big_endian"])
def test_truncated_by_any_cut_through_a_tiffs_directory_and_its_values(kind: str) -> None:
    whole = KINDS[kind]()
    for cut in range(8, 700):
        assert code(whole[:cut]) == "truncated", f"cut at byte {cut}"


def test_truncated_where_a_tiffs_values_stand_behind_its_pixels() -> None:
    """As in files edited in place: eight strips of eight samples, whose table is at the end."""
    tags = {256: 8, 257: 8, 259: 1, 262: 1, 277: 1, 278: 1}
    entries = {tag: ("L", (value,)) for tag, value in tags.items()} | {258: ("H", (8,))}
    table = {273: ("L", tuple(range(64, 0, -8))), 279: ("L", (8,) * 8)}
    whole = raw_tiff(entries | table)
    assert decode(whole).amplitude.shape == (1, 8, 8)
    for cut in (1, 20, 40, 60):
        assert code(whole[:-cut]) == "truncated"


def test_truncated_by_the_last_byte_of_a_plain_file() -> None:
    for kind in ("tiff_16bit", "tiff_complex64", "tiff_big", "npy_uint8", "npy_complex64"):
        assert code(KINDS[kind]()[:-1]) == "truncated"


def test_corrupt() -> None:
    png = bytearray(picture(grey8()))
    png[60:200] = bytes(140)
    jpeg = bytearray(picture(grey8(), "JPEG"))
    jpeg[160:-2] = b"\x01" * (len(jpeg) - 162)
    lzw = bytearray(tiff(grey8(), compression="lzw"))
    lzw[-800:-10] = b"\xff" * 790
    header = npy(grey8()).replace(b"'descr'", b"'dexcr'")
    version = npy(grey8()).replace(b"NUMPY\x01", b"NUMPY\x09")
    for content in (png, jpeg, lzw, header, version):
        assert code(bytes(content)) == "corrupt"


def test_corrupt_npy_shapes() -> None:
    negative = npy(grey8()).replace(b"(40, 48), ", b"(-40, 48),")
    assert code(negative) == "corrupt"
    unclosed = npy(grey8()).replace(b"(40, 48), }", b"(40, 48,   ")  # a tokenizer's error
    assert code(unclosed) == "corrupt"
