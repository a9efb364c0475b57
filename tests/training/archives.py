"""Data sets in their real layouts, made tiny: zips and rars of small chips, with known faults."""

import io
import zipfile
import zlib
from pathlib import Path

import numpy as np
import tifffile

GRD = "S1A_IW_GRDH_1SDV_20160131T101646_20160131T101715_009737_00E392_36F7"
SLC = "S1A_IW_SLC__1SSV_20150217T204257_20150217T204324_004668_005C34_2DC9"
# The GRD scene's data-take once more, as the other product.
SLC_OF_GRD = "S1A_IW_SLC__1SDV_20160131T101645_20160131T101715_009737_00E392_1F2E"

META_HEADER = "id,mmsi,length,width,polarMode,centerLookAngle,heightspace,widthspace,path"

_RAR_SIGNATURE = b"Rar!\x1a\x07\x01\x00"


def tiff(seed: int, bands: int = 1, dtype: str = "uint8") -> bytes:
    """A chip of noise, 32 x 32 samples."""
    rng = np.random.default_rng(seed)
    shape = (32, 32) if bands == 1 else (32, 32, bands)
    stream = io.BytesIO()
    tifffile.imwrite(
        stream,
        rng.integers(1, 99, shape).astype(dtype),
        photometric="minisblack",
        planarconfig="contig" if bands > 1 else None,
    )
    return stream.getvalue()


def amplitude(seed: int) -> bytes:
    """A dual-polarised GRD chip as `Patch/` holds it: float32, two bands."""
    return tiff(seed, 2, "float32")


def write_zip(path: Path, members: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def write_folder(path: Path, members: dict[str, bytes]) -> Path:
    for name, content in members.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


def write_rar(path: Path, members: dict[str, bytes], method: int = 0, locked: bool = False) -> Path:
    """A RAR 5 archive by hand. `method` 0 stores; any other says "compressed", content as given;
    `locked` puts the encryption header first, after which nothing can be read."""
    blocks = [_rar_block(4, b"\0\0\x0f" + bytes(16))] if locked else []
    blocks.append(_rar_block(1, b"\0"))
    for name, content in members.items():
        has_crc32, unix = b"\x04", b"\x01"
        head = has_crc32 + _vint(len(content)) + _vint(0o100644)
        head += zlib.crc32(content).to_bytes(4, "little") + _vint(method << 7) + unix
        head += _vint(len(name.encode())) + name.encode()
        blocks.append(_rar_block(2, head, content))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_RAR_SIGNATURE + b"".join(blocks) + _rar_block(5, b"\0"))
    return path


def _rar_block(kind: int, fields: bytes, data: bytes | None = None) -> bytes:
    has_data = b"\0" if data is None else b"\x02" + _vint(len(data))
    header = _vint(kind) + has_data + fields
    sized = _vint(len(header)) + header
    return zlib.crc32(sized).to_bytes(4, "little") + sized + (data or b"")


def _vint(number: int) -> bytes:
    """Seven bits a byte, the lowest first; the high bit says that more follow."""
    low = bytes([number & 0x7F | (0x80 if number > 0x7F else 0)])
    return low + _vint(number >> 7) if number > 0x7F else low


def tankers(numbers: list[int]) -> dict[str, bytes]:
    """FUSAR-Ship members: Tanker chips of these index numbers, and a chip of another category."""
    folder = "FUSAR_Ship1.0/Tanker/Tanker"
    chips = {f"{folder}/Ship_C12S09N{n:04d}.tiff": tiff(n) for n in numbers}
    return chips | {"FUSAR_Ship1.0/Dredger/Dredger/Ship_C02S01N0001.tiff": tiff(999)}


def fusar(folder: Path, numbers: list[int], meta: str = "") -> Path:
    """FUSAR_Ship1.0.zip with these Tanker chips, and meta.csv where rows are given."""
    table = {"FUSAR_Ship1.0/meta.csv": f"{META_HEADER}\r\n{meta}".encode()} if meta else {}
    return write_zip(folder / "FUSAR_Ship1.0.zip", tankers(numbers) | table)


def ship_xml(ships: dict[tuple[int, int], str], end: str = "</ShipList>", name: str = "A") -> bytes:
    """Ship.xml of ships by centre (x, y), with their MMSI."""
    listed = "".join(
        f"<ship><SARShipInformation><Center_x>{x}</Center_x><Center_y>{y}</Center_y>"
        f"<Incidence>30.0</Incidence></SARShipInformation><AISShipInformation><MMSI>{mmsi}</MMSI>"
        f"<Name>{name}</Name></AISShipInformation></ship>"
        for (x, y), mmsi in ships.items()
    )
    return f'<?xml version="1.0" encoding="UTF-8"?><ShipList>{listed}{end}'.encode()


def own_chips(folder: Path, each: int) -> Path:
    """Class folders with `each` chips of a Cargo and of a Tanker, all different."""
    chips = {
        f"{label}/{n}.tif": tiff(100 * k + n)
        for k, label in enumerate(("Cargo", "Tanker"))
        for n in range(each)
    }
    return write_folder(folder / "own", chips)
