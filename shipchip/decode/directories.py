"""The directories of a TIFF, read before any library sees the file: which page is the chip.

There are three reasons. A chip is one image, but the first page may be a thumbnail of it. tifffile
reports a cut file and a damaged one by the same errors, but to the sender they differ: a cut upload
can be sent again. And if the width is several numbers, or a fraction, tifffile takes it as a tuple,
whose product with the height is a tuple of gigabytes.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from shipchip.errors import Corrupt, Truncated, UnsupportedBands

# TIFF 6.0 and BigTIFF field types -> bytes each.
_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_TYPE_BYTES |= {16: 8, 17: 8, 18: 8}
_NUMBER_FORMATS = {1: "B", 3: "H", 4: "L", 13: "L", 16: "Q", 18: "Q"}

_NEW_SUBFILE_TYPE, _OLD_SUBFILE_TYPE, _WIDTH, _LENGTH, _SUB_IFDS = 254, 255, 256, 257, 330
_REDUCED, _MASK = 1, 4
_OLD_REDUCED = 2
# Compression, photometric, samples a pixel, rows a strip, planes, predictor, tile width and length,
# image and tile depth.
_SINGLE = frozenset((259, 262, 277, 278, 284, 317, 322, 323, 32997, 32998))
_SINGLE |= {_NEW_SUBFILE_TYPE, _OLD_SUBFILE_TYPE, _WIDTH, _LENGTH}
# GDAL writes a dozen directories at most: the image, its overviews, and a mask for each.
_MOST_DIRECTORIES = 64
_MOST_TAGS = 4096  # in all directories; tifffile refuses as many in one

_THUMBNAIL = (
    "the TIFF begins with a thumbnail, and a larger image follows; put that one first, and leave "
    "the others out"
)


class _Form(NamedTuple):
    """How numbers are packed in a TIFF: offsets, the count of tags, a tag, and values by type."""

    pointer: struct.Struct
    counter: struct.Struct
    entry: struct.Struct
    numbers: dict[int, struct.Struct]


def _form(order: str, pointer: str, counter: str) -> _Form:
    size = struct.calcsize(order + pointer)
    return _Form(
        struct.Struct(order + pointer),
        struct.Struct(order + counter),
        struct.Struct(f"{order}HH{pointer}{size}s"),
        {kind: struct.Struct(order + letter) for kind, letter in _NUMBER_FORMATS.items()},
    )


_FORMS = {
    b"II*\0": _form("<", "L", "H"),
    b"MM\0*": _form(">", "L", "H"),
    b"II+\0": _form("<", "Q", "Q"),
    b"MM\0+": _form(">", "Q", "Q"),
}
MAGICS = tuple(_FORMS)


class Content(Protocol):
    """Bytes of a TIFF: all of them, or a file of which only the slices asked for are read."""

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice, /) -> bytes: ...


class Pages(NamedTuple):
    """Numbers of pages in a TIFF: the image, and its mask or None."""

    image: int
    mask: int | None


@dataclass(frozen=True)
class Directory:
    """One directory, as far as it tells which image it is.

    numbers    values of the tags that should hold one whole number
    malformed  those of them that hold several, another type, or are there twice
    end        of the last value, in bytes
    tags       how many there are
    following  offset of the next directory, 0 if there is none
    children   offsets of its sub-directories (SubIFDs)
    """

    numbers: dict[int, int]
    malformed: tuple[int, ...]
    end: int
    tags: int
    following: int
    children: tuple[int, ...]

    @property
    def samples(self) -> int:
        """Width times height; 0 if it has none."""
        return self.numbers.get(_WIDTH, 0) * self.numbers.get(_LENGTH, 0)

    @property
    def size(self) -> str:
        """Height x width, for messages."""
        return f"{self.numbers.get(_LENGTH, 0)} x {self.numbers.get(_WIDTH, 0)}"

    @property
    def kind(self) -> int:
        """Whether it is reduced, a mask, or both: bits of NewSubfileType; 0 for a full image."""
        old = self.numbers.get(_OLD_SUBFILE_TYPE) == _OLD_REDUCED
        return (self.numbers.get(_NEW_SUBFILE_TYPE, 0) or old) & (_REDUCED | _MASK)


def find_pages(data: Content) -> Pages:
    """Which page is the chip, and which its mask.

    Raises Truncated, Corrupt, or UnsupportedBands if it is not plain which page is the chip.
    """
    chain = _chain(data)
    for directory in chain:
        if directory.malformed:
            tags = list(directory.malformed)
            raise Corrupt(f"the TIFF's tags {tags} should be one whole number each, there once")
    children = _children(data, chain)
    full = [number for number, directory in enumerate(chain) if directory.kind == 0]
    masks = [number for number, directory in enumerate(chain) if directory.kind == _MASK]
    if len(full) > 1:
        sizes = " and ".join(dict.fromkeys(chain[number].size for number in full))
        raise UnsupportedBands(
            f"the TIFF has several full pages of {sizes} pixels; expected one chip a file. Write "
            "the planes of one chip as its bands (tifffile: planarconfig='separate'), and flag "
            "smaller copies as reduced (NewSubfileType 1)"
        )
    if not full:
        _refuse_reduced(chain, children)
    image = chain[full[0]]
    pictures = [d for d in (*chain, *children) if not d.kind & _MASK]
    if any(other.samples > image.samples for other in pictures):
        raise UnsupportedBands(_THUMBNAIL)
    if any(other.kind == 0 and other.samples == image.samples for other in children):
        raise UnsupportedBands(
            f"the TIFF has a second full image of {image.size} in a sub-directory; expected one "
            "chip a file"
        )
    if len(masks) > 1 or any(child.kind == _MASK for child in children):
        raise UnsupportedBands(
            "the TIFF has several masks, or one in a sub-directory; expected one mask as a page of "
            "its own (GDAL: GDAL_TIFF_INTERNAL_MASK=YES)"
        )
    return Pages(full[0], masks[0] if masks else None)


def _refuse_reduced(chain: Sequence[Directory], children: Sequence[Directory]) -> None:
    """UnsupportedBands for a file without a full page."""
    if any(child.kind == 0 for child in children):
        raise UnsupportedBands(_THUMBNAIL)
    raise UnsupportedBands(
        f"the TIFF's page of {chain[0].size} is flagged as a reduced copy or a mask "
        f"(NewSubfileType {chain[0].kind}), and there is no full page; send the full image. If "
        "this is the chip itself, write it with NewSubfileType 0"
    )


def _chain(data: Content) -> list[Directory]:
    """The directories of the pages, in order."""
    form = _FORMS[data[:4]]
    head = 4 if form.pointer.size == 4 else 8
    if head + form.pointer.size > len(data):
        raise Truncated(f"the TIFF ends within its header, at byte {len(data)}")
    (offset,) = form.pointer.unpack(data[head : head + form.pointer.size])
    chain: list[Directory] = []
    seen: set[int] = set()
    while offset or not chain:
        if offset in seen:
            raise Corrupt("the TIFF's directories follow each other in a circle")
        seen.add(offset)
        directory = _directory_at(data, offset)
        if directory.end > len(data):
            raise Truncated(
                f"the TIFF ends within its directory {len(chain) + 1}, at byte {len(data)}"
            )
        chain.append(directory)
        _check_number(chain)
        offset = directory.following
    return chain


def _children(data: Content, chain: Sequence[Directory]) -> list[Directory]:
    """The sub-directories at any depth, and those that follow them."""
    found: list[Directory] = []
    seen: set[int] = set()
    ahead = [offset for directory in chain for offset in directory.children]
    while ahead:
        offset = ahead.pop()
        if offset and offset not in seen:
            seen.add(offset)
            found.append(_directory_at(data, offset))
            _check_number([*chain, *found])
            ahead += [*found[-1].children, found[-1].following]
    return found


def _check_number(found: Sequence[Directory]) -> None:
    """Corrupt if there are too many directories or tags: each costs time."""
    if len(found) > _MOST_DIRECTORIES or sum(d.tags for d in found) > _MOST_TAGS:
        raise Corrupt(
            f"the TIFF has more than {_MOST_DIRECTORIES} directories or {_MOST_TAGS} tags; "
            "expected one chip a file"
        )


def _directory_at(data: Content, offset: int) -> Directory:
    """The directory at a byte offset; Truncated if the file ends first."""
    form = _FORMS[data[:4]]
    first = offset + form.counter.size
    if first > len(data):
        raise Truncated(f"a directory of the TIFF is at byte {offset}, its end at {len(data)}")
    (count,) = form.counter.unpack(data[offset:first])
    if count > _MOST_TAGS:
        raise Corrupt(f"the TIFF has a directory of {count} tags, at most {_MOST_TAGS} are read")
    after = first + count * form.entry.size
    inline, end = form.pointer.size, after + form.pointer.size
    if end > len(data):
        raise Truncated(f"the TIFF ends within a directory, at byte {len(data)}")
    numbers: dict[int, int] = {}
    single: set[int] = set()
    malformed: set[int] = set()
    children: tuple[int, ...] = ()
    for tag, kind, length, value in form.entry.iter_unpack(data[first:after]):
        size, place = length * _TYPE_BYTES.get(kind, 0), 0
        if size > inline:
            (place,) = form.pointer.unpack(value)
            end = max(end, place + size)
        number = form.numbers.get(kind)
        if tag in _SINGLE:
            if length == 1 and number and size <= inline and tag not in single:
                (numbers[tag],) = number.unpack_from(value)
            else:
                malformed.add(tag)
            single.add(tag)
        elif tag == _SUB_IFDS and number and place + size <= len(data):
            most = min(size, (_MOST_DIRECTORIES + 1) * number.size)
            values = data[place : place + most] if size > inline else value[:most]
            children = tuple(child for (child,) in number.iter_unpack(values))
    (following,) = form.pointer.unpack(data[after : after + inline])
    return Directory(numbers, tuple(sorted(malformed)), end, count, following, children)
