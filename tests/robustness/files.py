"""Files for attacks: good ones of every format, and the pieces of bad ones."""

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import tifffile
from PIL import Image

from tests.tiny_model import draw_chip


def formats() -> list[bytes]:
    """A good chip in every format that is read, and in some that are not."""
    chip = draw_chip("Tanker")
    made = [
        saved(lambda f, k=kind: np.save(f, chip.astype(k))) for kind in ("u1", "f4", "c8", ">u2")
    ]
    for kind in ("png", "jpeg", "tiff", "bmp", "gif", "webp"):
        made.append(saved(lambda f, k=kind: Image.fromarray(chip).save(f, k)))
    made.append(saved(lambda f: Image.fromarray(chip.astype("u2") * 200).save(f, "png")))
    planes = np.stack([chip, chip]).astype("f4")
    for options in ({}, {"compression": "lzw"}, {"compression": "zlib"}, {"bigtiff": True}):
        made.append(saved(lambda f, o=options: tifffile.imwrite(f, planes, **o)))
    made.append(saved(lambda f: tifffile.imwrite(f, chip, tile=(16, 16), compression="zstd")))
    return made


def saved(save: Callable[[io.BytesIO], Any]) -> bytes:
    """What `save` writes to the file that it is given."""
    file = io.BytesIO()
    save(file)
    return file.getvalue()


def png(width: int, height: int, pixels: bytes, extra: bytes = b"") -> bytes:
    """A PNG that tells of 8-bit grey of this size, whatever `pixels` unpacks to."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    data = chunk(b"IDAT", zlib.compress(pixels, 9))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + data + chunk(b"IEND", b"")


def burdened_png(chunks: bytes) -> bytes:
    """A good chip of Cargo, with these chunks before its pixels."""
    plain = saved(lambda f: Image.fromarray(draw_chip("Cargo")).save(f, "png"))
    at = plain.index(b"IDAT") - 4
    return plain[:at] + chunks + plain[at:]


def burdened_jpeg(segments: bytes) -> bytes:
    """The same as JPEG, with these segments at its start."""
    plain = saved(lambda f: Image.fromarray(draw_chip("Cargo")).save(f, "jpeg"))
    return plain[:2] + segments + plain[2:]


def packed_text(kind: bytes, count: int = 29) -> bytes:
    """Chunks of 1 kB that unpack to a MiB each: zTXt, iTXt or iCCP."""
    head = b"%d\0\1\0\0\0" if kind == b"iTXt" else b"%d\0\0"
    packed = zlib.compress(bytes(2**20 - 1), 9)
    return b"".join(chunk(kind, head % number + packed) for number in range(count))


def exif(entries: int) -> bytes:
    """An EXIF segment of so many entries, up to 5,400, each of which lies far beyond its end."""
    rows = b"".join(struct.pack(">HHLL", tag, 7, 10**6, 8) for tag in range(1, entries + 1))
    content = b"Exif\0\0MM\0*" + struct.pack(">LH", 8, entries) + rows + bytes(4)
    return b"\xff\xe1" + struct.pack(">H", len(content) + 2) + content


def chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk of a PNG, with its check sum."""
    check = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + check


def npy_header(kind: str, shape: tuple[int, ...]) -> bytes:
    """The head of a .npy file without its samples."""
    header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header
