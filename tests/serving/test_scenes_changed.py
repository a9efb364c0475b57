"""Scenes that change under a run, and positions in other systems than degrees."""

import json
import os
from pathlib import Path

import pytest

from serving.batch.command import main
from serving.batch.inputs import read_entry, scene_entries
from serving.batch.inputs.scenes import SceneRequest
from serving.batch.inputs.tables import read_table
from shipchip import DecodeLimits
from shipchip.errors import Unreadable
from tests.shipchip.scenes import CORNER, SHIPS, UTM_32, control_points, levels, write

NAME = "s1a-iw-grd-{}-20200101t060000-20200101t060025-030600-0381a0-001.tiff"


@pytest.fixture(autouse=True)
def _model(batch_model: None) -> None:
    """Batches of this module run the tiny model."""


@pytest.fixture
def positions(tmp_path: Path) -> Path:
    path = tmp_path / "ships.csv"
    path.write_text("x,y\n" + "".join(f"{column},{row}\n" for column, row in SHIPS))
    return path


def product(folder: Path, seed: int = 3) -> Path:
    """A GRD product of VV and VH."""
    measurement = folder / "S1A_IW_GRDH_1SDV.SAFE" / "measurement"
    measurement.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(("vv", "vh")):
        place = {"gcps": control_points(), "crs": "EPSG:4326"}
        write(measurement / NAME.format(name), levels(seed + number), **place)
    return measurement.parent


def run(scene: Path, positions: Path, out: Path, *more: str) -> int:
    given = ["--scene", str(scene), "--positions", str(positions), "--out", str(out)]
    return main([*given, "--workers", "1", *more])


def test_a_measurement_that_was_replaced_in_its_product_is_not_resumed(
    tmp_path: Path, positions: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The folder of the product is as old as before."""
    scene, out = product(tmp_path), tmp_path / "out.csv"
    assert run(scene, positions, out) == 0
    assert run(scene, positions, out, "--resume") == 0
    times = scene.stat()
    product(tmp_path, seed=7)
    os.utime(scene, ns=(times.st_atime_ns, times.st_mtime_ns))
    capsys.readouterr()
    assert run(scene, positions, out, "--resume") == 2
    assert "chips were replaced or changed" in " ".join(capsys.readouterr().err.split())


def test_a_scene_that_is_replaced_while_it_is_read_fails_in_its_rows(
    tmp_path: Path, positions: Path
) -> None:
    scene = write(tmp_path / "scene.tif", levels(), crs=UTM_32, transform=CORNER)
    table = read_table(positions.read_bytes())
    entries, _ = scene_entries(SceneRequest((str(scene),)), table, 10**6)
    assert read_entry(entries[0], DecodeLimits())
    write(scene, levels(9)[:, ::-1].copy(), crs=UTM_32, transform=CORNER, compress="lzw")
    with pytest.raises(Unreadable, match="was replaced"):
        read_entry(entries[0], DecodeLimits())


def test_a_geojson_in_another_system_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scene = write(tmp_path / "scene.tif", levels(), crs=UTM_32, transform=CORNER)
    point = {"type": "Point", "coordinates": [401_000, 5_999_000]}
    content = {
        "type": "FeatureCollection",
        "crs": {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32632"}},
        "features": [{"type": "Feature", "properties": {}, "geometry": point}],
    }
    positions = tmp_path / "ships.geojson"
    positions.write_text(json.dumps(content))
    assert run(scene, positions, tmp_path / "out.csv") == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "is in urn:ogc:def:crs:EPSG::32632; GeoJSON is in degrees" in said
    assert not (tmp_path / "out.csv").exists()


def test_a_truncated_scene_is_one_line(
    tmp_path: Path, positions: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scene = write(tmp_path / "scene.tif", levels(), crs=UTM_32, transform=CORNER)
    scene.write_bytes(scene.read_bytes()[:-1000])
    assert run(scene, positions, tmp_path / "out.csv") == 2
    said = capsys.readouterr().err
    assert "the TIFF's pixel data ends at byte" in said
    assert said.count("\n") == 1
