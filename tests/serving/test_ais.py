"""`--ais`: what Ship.xml of a scene says of its ships is in their rows."""

import csv
import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import tifffile

from serving.batch.command import main
from tests.tiny_model import draw_chip

SCENE = "S1A_IW_GRDH_1SDV_20150823T221233_20150823T221258_007396_00A2CA_54D0"
CHIPS = ("Cargo_x10_y20.tif", "Tanker_x30_y40.tif")
AIS = ("mmsi", "ais_length_m", "ais_width_m", "lon")


def ship(x: int, y: int, mmsi: str, length: str, width: str) -> str:
    return (
        f"<ship><SARShipInformation><Center_x>{x}</Center_x><Center_y>{y}</Center_y>"
        "<Center_longitude>1.19e+02</Center_longitude><Center_latitude>39.1</Center_latitude>"
        f"</SARShipInformation><AISShipInformation><MMSI>{mmsi}</MMSI><Length>{length}</Length>"
        f"<Width>{width}</Width></AISShipInformation></ship>"
    )


def ship_xml(*ships: str) -> bytes:
    return f'<?xml version="1.0"?><ShipList>{"".join(ships)}</ShipList>'.encode()


SOUND = ship_xml(ship(10, 20, "413338000", "190", "32"))


def files(xml: bytes | None, folder: str = "") -> dict[str, bytes]:
    found = {}
    for seed, name in enumerate(CHIPS):
        file = io.BytesIO()
        samples = draw_chip("Cargo", seed=seed).astype(np.uint16)
        tifffile.imwrite(file, samples, photometric="minisblack", metadata=None)
        found[f"{folder}Patch/{name}"] = file.getvalue()
    return found | ({} if xml is None else {f"{folder}Ship.xml": xml})


def as_folder(place: Path, content: dict[str, bytes]) -> Path:
    for name, data in content.items():
        path = place / SCENE / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return place / SCENE


def as_zip(place: Path, content: dict[str, bytes]) -> Path:
    path = place / f"{SCENE}.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return path


def as_tar(place: Path, content: dict[str, bytes]) -> Path:
    path = place / f"{SCENE}.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name, data in content.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def rows(source: Path, model: Path, *words: str) -> list[dict[str, str]]:
    out = source.parent / "out.csv"
    given = [str(source), "--out", str(out), "--model", str(model), "--workers", "1", "--ais"]
    assert main([*given, "--overwrite", *words]) == 0
    return list(csv.DictReader(out.read_text("utf-8-sig").splitlines()))


@pytest.mark.parametrize("kind", [as_folder, as_zip, as_tar])
@pytest.mark.parametrize("inner", ["", f"{SCENE}/"])
def test_ships_that_ais_names_have_its_cells_and_a_position(
    kind: type, inner: str, tmp_path: Path, tiny_model_file: Path
) -> None:
    first, second = rows(kind(tmp_path, files(SOUND, inner)), tiny_model_file)
    assert [first[name] for name in AIS] == ["413338000", "190", "32", "119.0"]
    assert [second[name] for name in AIS] == ["", "", "", ""]
    assert list(first)[-3:] == ["mmsi", "ais_length_m", "ais_width_m"]


def test_what_ais_leaves_out_is_empty(tmp_path: Path, tiny_model_file: Path) -> None:
    xml = ship_xml(ship(10, 20, "0", "0.0", ""), ship(30, 40, "000000000", "0", "8"))
    first, second = rows(as_zip(tmp_path, files(xml)), tiny_model_file)
    assert [first[name] for name in AIS] == ["", "", "", "119.0"]
    assert [second[name] for name in AIS] == ["", "", "8", "119.0"]


@pytest.mark.parametrize(
    ("xml", "message"), [(None, "no "), (b"<ShipList><ship>", "cannot be read (")]
)
def test_a_list_that_is_missing_or_damaged_is_said_once(
    xml: bytes | None,
    message: str,
    tmp_path: Path,
    tiny_model_file: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = rows(as_zip(tmp_path, files(xml)), tiny_model_file)
    assert [row["mmsi"] for row in found] == ["", ""]
    printed = capsys.readouterr().err
    assert printed.count("its chips have no AIS cells") == 1
    assert message in printed


def test_a_list_with_entities_is_refused(
    tmp_path: Path, tiny_model_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    xml = b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><ShipList>&b;</ShipList>'
    source = as_zip(tmp_path, files(xml))
    out = tmp_path / "out.csv"
    words = [str(source), "--out", str(out), "--model", str(tiny_model_file), "--ais"]
    assert main(words) == 2
    assert "declares a document type" in " ".join(capsys.readouterr().err.split())
    assert not out.exists()


def test_other_chips_have_empty_cells(tmp_path: Path, tiny_model_file: Path) -> None:
    folder = tmp_path / "chips"
    folder.mkdir()
    np.save(folder / "a.npy", draw_chip("Cargo"))
    (row,) = rows(folder, tiny_model_file)
    assert row["mmsi"] == ""
