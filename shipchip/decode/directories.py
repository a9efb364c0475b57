"""The directories of a TIFF, read before any library sees the file.

There are two reasons. tifffile reports a cut file and a damaged one by the same errors, but to the
sender they differ: a cut upload can be sent again. And if the width is several numbers, or a
fraction, tifffile takes it as a tuple, whose product with the height is a tuple of gigabytes.
"""

import struct
from dataclasses import dataclass

from shipchip.errors import Corrupt, Truncated, UnsupportedBands

# TIFF 6.0 and BigTIFF field types -> bytes each.
_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_TYPE_BYTES |= {16: 8, 17: 8, 18: 8}
_NUMBER_FORMATS = {1: "B", 3: "H", 4: "L", 13: "L", 16: "Q", 18: "Q"}

_NEW_SUBFILE_TYPE = 254
# Width, length, compression, photometric, samples a pixel, rows a strip, planes, predictor,
# tile width and length, image and tile depth.
_SINGLE = (256, 257, 259, 262, 277, 278, 284, 317, 322, 323, 32997, 32998)
_REDUCED_OR_MASK, _MASK = 1 | 4, 4
_SUB_IFDS, _MOST_SUB_IFDS = 330, 16
_MOST_TAGS = 4096  # tifffile refuses more, too


def check_directories(data: bytes) -> "Directory | None":
    """The second directory; files that tifffile must not see are refused before it sees them."""
    first = _first_directory(data)
    if first is None or first.end > len(data):
        raise Truncated(f"the TIFF ends within its first directory, at byte {len(data)}")
    if first.malformed:
        raise Corrupt(f"the TIFF's tags {first.malformed} should be one whole number each")
    second = _directory_at(data, first.following) if first.following else None
    if second is not None and second.is_page:
        raise UnsupportedBands(
            "the TIFF has several full pages; expected one chip a file. Write the planes of one "
            "chip as its bands (tifffile: planarconfig='separate')"
        )
    others = [second, *(_directory_at(data, offset) for offset in first.sub_directories)]
    if any(other is not None and other.samples > first.samples for other in others):
        raise UnsupportedBands(
            "the TIFF begins with a thumbnail, and a larger image follows; put that one first"
        )
    return second


@dataclass(frozen=True)
class Directory:
    """One page: the count of values per tag, the single numbers stored in the directory itself, the
    end of the last value, the offset of the next directory (0: none), and of sub-directories."""

    counts: dict[int, int]
    numbers: dict[int, int]
    end: int
    following: int
    sub_directories: tuple[int, ...] = ()

    @property
    def samples(self) -> int:
        """Width times height; 0 if it has none."""
        return self.numbers.get(256, 0) * self.numbers.get(257, 0)

    @property
    def malformed(self) -> list[int]:
        """Tags that should be one whole number, but are several or of another type."""
        return [tag for tag in _SINGLE if tag in self.counts and tag not in self.numbers]

    @property
    def is_mask(self) -> bool:
        """Whether it is the mask of a full image."""
        return self.numbers.get(_NEW_SUBFILE_TYPE, 0) & _REDUCED_OR_MASK == _MASK

    @property
    def is_page(self) -> bool:
        """Whether it is a full image, not an overview or a mask."""
        return not self.numbers.get(_NEW_SUBFILE_TYPE, 0) & _REDUCED_OR_MASK


def _first_directory(data: bytes) -> Directory | None:
    """The first page's directory; None if the file ends first."""
    order, big = _form(data)
    try:
        (offset,) = struct.unpack_from(order + ("Q" if big else "L"), data, 8 if big else 4)
    except struct.error:
        return None
    return _directory_at(data, offset)


def _directory_at(data: bytes, offset: int) -> Directory | None:
    """The directory at a byte offset; None if the file ends first."""
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
    counts, numbers, end, subs = {}, {}, after, ()
    for position in range(first, after, step):
        tag, kind, length = struct.unpack_from(head, data, position)
        counts[tag] = length
        size, place = length * _TYPE_BYTES.get(kind, 0), position + top
        if size > inline:
            (place,) = struct.unpack_from(pointer, data, position + top)
            end = max(end, place + size)
        elif length == 1 and kind in _NUMBER_FORMATS:
            form = order + _NUMBER_FORMATS[kind]
            numbers[tag] = struct.unpack_from(form, data, position + top)[0]
        if tag == _SUB_IFDS and kind in _NUMBER_FORMATS and place + size <= len(data):
            form = f"{order}{min(length, _MOST_SUB_IFDS)}{_NUMBER_FORMATS[kind]}"
            subs = struct.unpack_from(form, data, place)
    return Directory(counts, numbers, end, struct.unpack_from(pointer, data, after)[0], subs)


def _form(data: bytes) -> tuple[str, bool]:
    """(byte order, whether it is a BigTIFF)."""
    return "<" if data.startswith(b"II") else ">", data[2:4] in (b"+\x00", b"\x00+")
