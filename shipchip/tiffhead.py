"""The first directories of a TIFF, read from the bytes alone, before tifffile sees them.

tifffile reports a cut file and a damaged one by the same errors; to the sender they differ, for a
cut upload can be sent again. And a width of several numbers, or a fraction, is a tuple to it, whose
product with the height is a tuple of gigabytes.
"""

import struct
from dataclasses import dataclass

# TIFF 6.0 and BigTIFF field types -> bytes each.
_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_TYPE_BYTES |= {16: 8, 17: 8, 18: 8}
_NUMBER_FORMATS = {1: "B", 3: "H", 4: "L", 13: "L", 16: "Q", 18: "Q"}

NEW_SUBFILE_TYPE = 254
# Width, length, compression, photometric, samples a pixel, rows a strip, planes, predictor,
# tile width and length, image and tile depth.
_SINGLE = (256, 257, 259, 262, 277, 278, 284, 317, 322, 323, 32997, 32998)
_REDUCED_OR_MASK = 1 | 4
_MOST_TAGS = 4096  # tifffile refuses more, too


@dataclass(frozen=True)
class Directory:
    """Of one page: how many values each tag has, those single numbers that stand in the directory
    itself, the end of the furthest value, and where the next directory is (0: there is none)."""

    counts: dict[int, int]
    numbers: dict[int, int]
    end: int
    following: int

    @property
    def malformed(self) -> list[int]:
        """Tags that should be one whole number, and are several, or of another type."""
        return [tag for tag in _SINGLE if tag in self.counts and tag not in self.numbers]

    @property
    def is_page(self) -> bool:
        """Whether it is a full image, not an overview or a mask of another."""
        return not self.numbers.get(NEW_SUBFILE_TYPE, 0) & _REDUCED_OR_MASK


def first_directory(data: bytes) -> Directory | None:
    """The first page's directory; None where the file ends before it does."""
    order, big = _form(data)
    try:
        (offset,) = struct.unpack_from(order + ("Q" if big else "L"), data, 8 if big else 4)
    except struct.error:
        return None
    return directory_at(data, offset)


def directory_at(data: bytes, offset: int) -> Directory | None:
    """The directory at a byte offset; None where the file ends before it does."""
    order, big = _form(data)
    pointer, counter, head = (order + f for f in (("Q", "Q", "HHQ") if big else ("L", "H", "HHL")))
    inline, top = struct.calcsize(pointer), struct.calcsize(head)
    if offset + struct.calcsize(counter) > len(data):
        return None
    (count,) = struct.unpack_from(counter, data, offset)
    if count > _MOST_TAGS:
        return Directory({}, {}, 0, 0)
    first, step = offset + struct.calcsize(counter), top + inline
    after = first + count * step
    if after + inline > len(data):
        return None
    counts, numbers, end = {}, {}, after
    for position in range(first, after, step):
        tag, kind, length = struct.unpack_from(head, data, position)
        counts[tag] = length
        size = length * _TYPE_BYTES.get(kind, 0)
        if size > inline:
            end = max(end, struct.unpack_from(pointer, data, position + top)[0] + size)
        elif length == 1 and kind in _NUMBER_FORMATS:
            form = order + _NUMBER_FORMATS[kind]
            numbers[tag] = struct.unpack_from(form, data, position + top)[0]
    return Directory(counts, numbers, end, struct.unpack_from(pointer, data, after)[0])


def _form(data: bytes) -> tuple[str, bool]:
    """(byte order, whether it is a BigTIFF)."""
    return "<" if data.startswith(b"II") else ">", data[2:4] in (b"+\x00", b"\x00+")
