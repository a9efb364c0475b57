"""A small hostile file costs little time and memory, and opens nothing else."""

import io
import json
import struct
import subprocess
import sys
import time
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from shipchip import ChipError, decode
from tests.robustness.files import burdened_jpeg, burdened_png, chunk, exif, packed_text
from tests.shipchip.inputs import grey8, npy, picture, raw_tiff, tiff

SECONDS = 1.0
BYTES = 300 * 2**20
HUGE = 100_000


def png(width: int, height: int, depth: int = 8, colour: int = 0, data: bytes = b"") -> bytes:
    def chunk(name: bytes, content: bytes) -> bytes:
        crc = struct.pack(">L", zlib.crc32(name + content))
        return struct.pack(">L", len(content)) + name + content + crc

    head = chunk(b"IHDR", struct.pack(">LLBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def page(width: int, height: int, *, bits: int = 8, bands: int = 1, **more: int) -> bytes:
    """A TIFF head of one strip that is not there."""
    tags = {256: width, 257: height, 259: 1, 262: 1, 273: 8, 277: bands, 278: height, 279: 8}
    tags |= {int(name[1:]): value for name, value in more.items()}
    entries = {tag: ("L", (value,)) for tag, value in tags.items()}
    return raw_tiff(entries | {258: ("H", (bits,) * bands)}, tail=bytes(64))


def npy_head(shape: str, descr: str = "'|u1'") -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


def jpeg_of(height: int, width: int) -> bytes:
    """A JPEG whose frame header announces another size than its data have."""
    content = bytearray(picture(grey8(), "JPEG"))
    frame = content.index(b"\xff\xc0")
    content[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(content)


def outcome(content: bytes) -> str:
    """The error code of decoding `content`, or "ok"."""
    try:
        decode(content)
    except ChipError as error:
        return error.code
    return "ok"


def memory(content: bytes) -> int:
    """The most bytes held at once while `content` is decoded."""
    tracemalloc.start()
    try:
        outcome(content)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def cost(content: bytes) -> tuple[str, float, int]:
    """(code or "ok", processor seconds, most bytes held) of decoding `content`.

    Processor seconds do not count what other programs on the machine take. They are measured in a
    pass of their own because tracing memory makes many small allocations ten times slower.
    """
    start = time.process_time()
    code = outcome(content)
    seconds = time.process_time() - start
    return code, seconds, memory(content)


ANNOUNCED = {
    "png": lambda: png(HUGE, HUGE),
    "png 16 bit": lambda: png(HUGE, HUGE, depth=16),
    "png colour": lambda: png(HUGE, HUGE, colour=2),
    "jpeg": lambda: jpeg_of(65_000, 65_000),
    "tiff": lambda: page(HUGE, HUGE),
    "tiff of many bands": lambda: page(64, 64, bands=60_000),
    "tiff of wide samples": lambda: page(2048, 2048, bits=64, bands=4, _339=3),
    "tiff of a huge tile": lambda: page(64, 64, _322=HUGE - 32, _323=HUGE - 32, _324=8, _325=8),
    "npy": lambda: npy_head(f"({HUGE}, {HUGE})"),
    "npy of wide samples": lambda: npy_head("(4, 2048, 2048)", "'<c16'"),
    "npy beyond 64 bits": lambda: npy_head(f"({10**30}, {10**30})"),
}


@pytest.mark.parametrize("name", ANNOUNCED)
def test_announced_pixels_are_refused_by_the_header_alone(name: str) -> None:
    code, seconds, most = cost(ANNOUNCED[name]())
    assert code == "too_many_pixels"
    assert seconds < SECONDS / 2
    assert most < 4 * 2**20, "nothing was set aside for the announced pixels"


def bomb_of_strips() -> bytes:
    """A deflate strip of zeros that unpacks to 16384 times what it should hold."""
    strip = zlib.compress(bytes(2**26), 9)
    tags = {256: 64, 257: 64, 259: 8, 262: 1, 273: 0, 277: 1, 278: 64, 279: len(strip)}
    entries = {tag: ("L", (value,)) for tag, value in tags.items()} | {258: ("H", (8,))}
    start = len(raw_tiff(entries))
    return raw_tiff(entries | {273: ("L", (start,))}, tail=strip)


def wide_of_many() -> bytes:
    """A width of 500 numbers, which multiplied by a height of 10 million is a list of billions."""
    tags = {257: 10**7, 259: 1, 262: 1, 273: 8, 277: 1, 278: 40, 279: 8}
    entries = {tag: ("L", (value,)) for tag, value in tags.items()}
    return raw_tiff(entries | {256: ("L", (64,) * 500), 258: ("H", (8,))}, tail=bytes(64))


def wide_as_a_fraction() -> bytes:
    """The same by a width of RATIONAL type, which is two numbers."""
    content = bytearray(page(64, 10**9))
    at = content.index(struct.pack("<HH", 256, 4))
    content[at : at + 12] = struct.pack("<HHLL", 256, 5, 1, 8)
    return bytes(content)


def strips_too_many() -> bytes:
    """One strip, and half a million offsets of strips that are not there."""
    content = page(64, 64)
    tags = {256: 64, 257: 64, 259: 8, 262: 1, 277: 1, 278: 64}
    entries = {tag: ("L", (value,)) for tag, value in tags.items()} | {258: ("H", (8,))}
    many = ("L", (8,) * 500_000)
    return raw_tiff(entries | {273: many, 279: many}, tail=content)


def tags_too_many() -> bytes:
    """A BigTIFF of a million tags, all the same."""
    count = 10**6
    tags = struct.pack("<HHQQ", 700, 4, 1, 0) * count
    return struct.pack("<2sHHHQQ", b"II", 43, 8, 0, 16, count) + tags + bytes(8)


def progressive(scans: int) -> bytes:
    """A progressive JPEG of the largest size, its last scan repeated: each passes all pixels."""
    out = io.BytesIO()
    Image.new("L", (2048, 2048), 9).save(out, "JPEG", progressive=True)
    content = out.getvalue()
    last = content.rindex(b"\xff\xda")
    return content[:last] + content[last:-2] * scans + content[-2:]


def geo_keys(count: int) -> bytes:
    """A GeoTIFF whose key directory promises far more keys than it has."""
    extra = [
        (33550, "d", 3, (1.0, 1.0, 0.0), True),
        (34735, "H", 4, (1, 1, 0, count), True),
    ]
    return tiff(grey8(), extratags=extra)


def described(start: str, repeated: str, *, tag: int = 42112, characters: int = 2**20) -> bytes:
    """A TIFF with metadata of as many characters as are read; an item or band ends once."""
    end = "></Item>" if tag == 42112 else "</Spectral_Band_Info>"
    times = (characters - len(start) - len(end)) // len(repeated)
    return tiff(grey8(), extratags=[(tag, "s", 0, start + repeated * times + end, True)])


def directories(count: int, tags: int) -> bytes:
    """Pages that follow each other, of tags that say nothing."""
    content = b"II*\0" + struct.pack("<L", 8)
    size = 2 + 12 * tags + 4
    for number in range(count):
        entries = b"".join(struct.pack("<HHLL", 40_000 + tag, 4, 1, 0) for tag in range(tags))
        following = len(content) + size if number < count - 1 else 0
        content += struct.pack("<H", tags) + entries + struct.pack("<L", following)
    return content


def deflated(shape: tuple[int, ...], dtype: str) -> bytes:
    """A TIFF of some kilobytes, all zero but for one sigma0 sample."""
    samples = np.zeros(shape, dtype)
    samples[0, 0, -1] = 0.5
    return tiff(samples, compression="zlib", planarconfig="contig")


EXPENSIVE: dict[str, tuple[Callable[[], bytes], str]] = {
    "a deflate strip that unpacks to more than it should": (bomb_of_strips, "corrupt"),
    "a TIFF of many strips for one": (strips_too_many, "corrupt"),
    "a TIFF of many tags": (tags_too_many, "corrupt"),
    "a TIFF of many widths": (wide_of_many, "corrupt"),
    "a TIFF as wide as a fraction": (wide_as_a_fraction, "corrupt"),
    "a progressive JPEG of 5000 scans": (lambda: progressive(5000), "corrupt"),
    "a PNG of a million chunks": (lambda: burdened_png(chunk(b"teXt", b"") * 10**6), "corrupt"),
    "a PNG of a million pieces of pixels": (
        lambda: burdened_png(chunk(b"IDAT", b"") * 10**6),
        "corrupt",
    ),
    "a JPEG of a million comments": (lambda: burdened_jpeg(b"\xff\xfe\0\2" * 10**6), "corrupt"),
    "a JPEG of four million fill bytes": (lambda: burdened_jpeg(b"\xff" * 4 * 10**6), "ok"),
    "65535 geo keys": (lambda: geo_keys(65_535), "ok"),
    "the largest colour PNG": (
        lambda: png(2048, 2048, colour=2, data=zlib.compress(bytes(2048 * (1 + 3 * 2048)))),
        "blank",
    ),
    "the largest float64 TIFF": (lambda: deflated((1448, 1448, 4), "float64"), "ok"),
    "the largest sigma0 TIFF": (lambda: deflated((2048, 2048, 4), "float32"), "ok"),
    "an item of one word of a million letters": (lambda: described("<Item ", "a"), "ok"),
    "a million attributes without an end": (lambda: described("<Item ", 'a="'), "ok"),
    "items without end": (lambda: described("", "<Item role='scale'>1</Item>"), "ok"),
    "bands of SNAP without an end": (
        lambda: described("", "<Spectral_Band_Info>", tag=65000, characters=2**22),
        "unsupported_bands",
    ),
    "fields of SNAP without end": (
        lambda: described("<Spectral_Band_Info>", "<BAND_NAME>x</", tag=65000, characters=2**22),
        "ok",
    ),
    "64 directories of 64 tags": (lambda: directories(64, 64), "unsupported_bands"),
    "64 directories of 4000 tags": (lambda: directories(64, 4000), "corrupt"),
    "16384 tiles": (lambda: tiff(np.zeros((2048, 2048), np.uint8), tile=(16, 16)), "blank"),
    "a .npy header of nested signs": (lambda: npy_head("-" * 60), "corrupt"),
    "the largest complex .npy": (lambda: npy(np.eye(1400, dtype="complex64")), "ok"),
}


@pytest.mark.parametrize("name", EXPENSIVE)
def test_a_small_file_costs_little(name: str) -> None:
    make, expected = EXPENSIVE[name]
    code, seconds, most = cost(make())
    assert code == expected
    assert seconds < 2 * SECONDS, "caches shared with busy neighbours may double the second"
    assert most < BYTES


BESIDE: dict[str, Callable[[], bytes]] = {
    "compressed text in a PNG": lambda: burdened_png(packed_text(b"zTXt")),
    "international text in a PNG": lambda: burdened_png(packed_text(b"iTXt")),
    "colour profiles in a PNG": lambda: burdened_png(packed_text(b"iCCP")),
    "text after the pixels of a PNG": lambda: (
        burdened_png(b"")[:-12] + packed_text(b"zTXt") + chunk(b"IEND", b"")
    ),
    "an EXIF block of a JPEG": lambda: burdened_jpeg(exif(2500)),
    "an EXIF block behind bytes that belong to nothing": lambda: burdened_jpeg(
        b"\xff\xfe\0\2junk\xff\0" + exif(2500)
    ),
}


@pytest.mark.parametrize("name", BESIDE)
def test_what_stands_beside_the_pixels_is_not_unpacked(name: str) -> None:
    """Pillow warns of each entry of such an EXIF block, and a warning is an error in these tests.

    31 kB of text are 30 MB once unpacked.
    """
    content = BESIDE[name]()
    plain = burdened_png(b"") if name.endswith("PNG") else burdened_jpeg(b"")
    assert outcome(content) == "ok"
    assert memory(content) < memory(plain) + 10 * len(content)
    assert (decode(content).amplitude == decode(plain).amplitude).all()


def test_pixels_are_the_same_with_all_that_may_stand_beside_them() -> None:
    image = Image.fromarray(grey8())
    notes = PngInfo()
    notes.add_text("Comment", "a ship", zip=True)
    tags = Image.Exif()
    tags[0x010E] = "a ship"
    png_beside = {"pnginfo": notes, "icc_profile": b"profile" * 99, "exif": tags, "dpi": (72, 72)}
    jpeg_beside = {"comment": "a ship", "icc_profile": b"profile" * 20_000, "exif": tags}
    for kind, beside in (("PNG", png_beside), ("JPEG", jpeg_beside)):
        bare, full = io.BytesIO(), io.BytesIO()
        image.save(bare, kind)
        image.save(full, kind, **beside)
        assert len(full.getvalue()) > len(bare.getvalue())
        amplitude = decode(full.getvalue()).amplitude
        assert (amplitude == decode(bare.getvalue()).amplitude).all()


def test_decoding_opens_no_other_file_and_no_connection(tmp_path: Path) -> None:
    """OME-TIFF may name further files: here a real one beside the chip, and one elsewhere."""
    tifffile.imwrite(tmp_path / "other.ome.tif", grey8(), ome=True)
    ome = (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
        '<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint8" SizeX="48" '
        'SizeY="40" SizeC="1" SizeZ="2" SizeT="1"><TiffData IFD="0" FirstZ="1"><UUID FileName='
        f'"{tmp_path}/other.ome.tif">urn:uuid:1</UUID></TiffData></Pixels></Image></OME>'
    )
    chip = tmp_path / "chip.ome.tif"
    chip.write_bytes(tiff(grey8(), description=ome))
    script = f"""
import json, sys
from shipchip import decode
decode({str(chip)!r})  # whatever is imported late is imported now
seen = []
sys.addaudithook(lambda event, args: seen.append([event, str(args[0])])
    if event == "open" or event.startswith(("socket.", "subprocess.", "os.")) else None)
decode({str(chip)!r})
print(json.dumps(seen))
"""
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert json.loads(ran.stdout) == [["open", str(chip)]]
