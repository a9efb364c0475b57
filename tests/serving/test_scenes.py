"""`classify --scene`: each ship comes back at its place, with its answer as a file."""

import csv
import json
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
from pyproj import Geod, Transformer

from serving.batch.command import main
from shipchip.samples.large_scene import FALSE_ALARMS, SHIPS, write_large_scene
from shipchip.scene import Place, open_scene
from tests.serving.server import ROOT

COUNT = sum(SHIPS.values())
TO_METRES = Transformer.from_crs(4326, 32650, always_xy=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The simulated scene, its list of ships, and the coast."""
    place = tmp_path_factory.mktemp("scene")
    write_large_scene(place / "in")
    return place / "in"


def run(*words: object) -> int:
    return main([*map(str, words), "--workers", "1"])


def classify(folder: Path, out: Path, *words: object, status: int = 1) -> Path:
    given = ["--scene", folder / "scene.tif", "--positions", folder / "ships.csv"]
    land = ["--land", folder / "land.geojson"]
    assert run(*given, *land, "--out", out, *words) == status
    return out


def listed(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "ships.csv").read_text().splitlines()))


def features(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(path.read_text())["features"]
    return found


@pytest.fixture(scope="module")
def answers(folder: Path) -> Path:
    return classify(folder, folder.parent / "ships.geojson")


@pytest.mark.slow
def test_forty_ships_come_back_at_their_places(folder: Path, answers: Path) -> None:
    frame = geopandas.read_file(answers)
    assert frame.crs.to_epsg() == 4326
    assert list(frame["status"]) == ["ok"] * COUNT + ["error"] * FALSE_ALARMS
    assert list(frame["error_code"][COUNT:]) == ["on_land"] * FALSE_ALARMS
    for ship, point in zip(listed(folder), frame.geometry, strict=True):
        there = TO_METRES.transform(float(ship["lon"]), float(ship["lat"]))
        here = TO_METRES.transform(point.x, point.y)
        assert np.abs(np.subtract(here, there)).max() <= 5.01, "half a pixel of 10 m"


@pytest.mark.slow
def test_columns_of_the_list_come_last_as_they_were(folder: Path, answers: Path) -> None:
    for ship, feature in zip(listed(folder), features(answers), strict=True):
        found = feature["properties"]
        assert list(found)[-3:] == ["id", "true_class", "true_length_m"]
        assert found["id"] == int(ship["id"]), "a number that is written as one"
        assert (found["true_class"] or "") == ship["true_class"]
        assert found["path"].endswith(f"scene.tif/{int(ship['id']):02}.tif")


@pytest.mark.slow
def test_a_ship_has_the_answer_of_its_chip_as_a_file(
    folder: Path, answers: Path, tmp_path: Path
) -> None:
    scene = open_scene(str(folder / "scene.tif"))
    chips = tmp_path / "chips"
    chips.mkdir()
    assert scene.ground is not None
    for ship in listed(folder)[:COUNT]:
        pixel = scene.ground.pixel_of(float(ship["lon"]), float(ship["lat"]))
        assert pixel is not None
        content = scene.window(Place(*pixel), (51, 51))
        (chips / f"{int(ship['id']):02}.tif").write_bytes(content)
    assert run(chips, "--out", tmp_path / "chips.jsonl") == 0
    rows = [json.loads(line) for line in (tmp_path / "chips.jsonl").read_text().splitlines()]
    same = ("label", "confidence", "prediction_set", "verdict", "length_m", "width_m", "lon", "lat")
    for row, feature in zip(rows, features(answers), strict=False):
        assert {name: row[name] for name in same} == {
            name: feature["properties"][name] for name in same
        }


@pytest.mark.slow
def test_shards_merged_and_a_run_resumed_give_the_same_bytes(
    folder: Path, answers: Path, tmp_path: Path
) -> None:
    for ending in (".geojson", ".gpkg"):
        whole = classify(folder, tmp_path / f"whole{ending}", "--batch-size", 8)
        parts = [
            classify(
                folder,
                tmp_path / f"part-{i}{ending}",
                *("--batch-size", 8, "--shard", f"{i}/2"),
                status=0 if i == 1 else 1,
            )
            for i in (1, 2)
        ]
        merged = tmp_path / f"merged{ending}"
        assert main(["merge", *map(str, parts), "--out", str(merged)]) == 0
        assert merged.read_bytes() == whole.read_bytes()
    assert features(tmp_path / "whole.geojson")[0]["geometry"] == features(answers)[0]["geometry"]


@pytest.mark.slow
def test_a_geopackage_opens_as_the_layer_ships(folder: Path, answers: Path, tmp_path: Path) -> None:
    frame = geopandas.read_file(classify(folder, tmp_path / "a.gpkg"), layer="ships")
    other = geopandas.read_file(answers)
    assert frame.crs.to_epsg() == 4326
    assert list(frame["label"].fillna("")) == list(other["label"].fillna(""))
    for one, two in zip(frame.geometry, other.geometry, strict=True):
        assert (one.x, one.y) == (two.x, two.y)
    with sqlite3.connect(tmp_path / "a.gpkg") as base:
        assert base.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def small(folder: Path, rows: list[str], name: str = "few.csv") -> Path:
    path = folder.parent / name
    path.write_text("\n".join(rows) + "\n")
    return path


def test_pixels_degrees_and_geojson_name_the_same_place(folder: Path, tmp_path: Path) -> None:
    scene = open_scene(str(folder / "scene.tif"))
    ship = listed(folder)[0]
    assert scene.ground is not None
    column, row = scene.ground.pixel_of(float(ship["lon"]), float(ship["lat"])) or (0, 0)
    point = {"type": "Point", "coordinates": [float(ship["lon"]), float(ship["lat"])]}
    geojson = tmp_path / "ships.geojson"
    feature = {"type": "Feature", "geometry": point, "properties": {"score": 0.5}}
    geojson.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    tables = [
        (small(folder, ["lon,lat", f"{ship['lon']},{ship['lat']}"], "a.csv"), ()),
        (small(folder, ["x,y", f"{column},{row}"], "b.csv"), ()),
        (small(folder, ["s,t", f"{column},{row}"], "c.csv"), ("--pixels", "s,t")),
        (small(folder, ["e,n", f"{ship['lon']},{ship['lat']}"], "d.csv"), ("--lon-lat", "e,n")),
        (geojson, ()),
    ]
    found = []
    for number, (table, words) in enumerate(tables):
        out = tmp_path / f"{number}.jsonl"
        where = ["--scene", folder / "scene.tif", "--positions", table, "--out", out]
        assert run(*where, *words) == 0
        found.append(json.loads(out.read_text()))
    for row_found in found[1:]:
        assert row_found["confidence"] == found[0]["confidence"]
        assert row_found["lon"] == found[0]["lon"]
    assert found[-1]["score"] == "0.5"


def test_ships_within_a_length_of_each_other_are_marked(folder: Path, tmp_path: Path) -> None:
    ship = listed(folder)[0]
    lon, lat = float(ship["lon"]), float(ship["lat"])
    beside = Geod(ellps="WGS84").fwd(lon, lat, 90, 30)
    far = Geod(ellps="WGS84").fwd(lon, lat, 180, 600)
    rows = [f"{place[0]},{place[1]}" for place in ((lon, lat), beside, far)]
    table = small(folder, ["lon,lat", *rows])
    out = tmp_path / "a.jsonl"
    assert run("--scene", folder / "scene.tif", "--positions", table, "--out", out) == 0
    first, second, third = (json.loads(line) for line in out.read_text().splitlines())
    assert first["nearest_m"] == second["nearest_m"] == pytest.approx(30, abs=0.2)
    assert third["nearest_m"] == pytest.approx(600, abs=3)
    assert (first["near_another"], third["near_another"]) == (True, False)
    alone = small(folder, ["lon,lat", rows[0]], "alone.csv")
    where = ["--scene", folder / "scene.tif", "--positions", alone, "--out", tmp_path / "b.jsonl"]
    assert run(*where) == 0
    row = json.loads((tmp_path / "b.jsonl").read_text())
    assert (row["nearest_m"], row["near_another"]) == (None, False)


def test_a_position_in_two_scenes_is_a_row_of_each_and_outside_all_one_row(
    folder: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.tif"
    with rasterio.open(folder / "scene.tif") as file:
        shift = rasterio.Affine.translation(0, 1000)
        profile = file.profile | {"transform": file.transform * shift}
        with rasterio.open(other, "w", **profile) as moved:
            moved.write(file.read())
    ships = listed(folder)
    table = small(
        folder, ["lon,lat,id", f"{ships[0]['lon']},{ships[0]['lat']},a", "0,0,b", "east,north,c"]
    )
    out = tmp_path / "a.jsonl"
    scenes = ["--scene", folder / "scene.tif", "--scene", other]
    assert run(*scenes, "--positions", table, "--out", out) == 1
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(row["id"], row["error_code"]) for row in rows] == [
        ("a", None),
        ("b", "outside_scene"),
        ("c", "outside_scene"),
    ]
    assert (rows[1]["lon"], rows[2]["lon"]) == (0, None)


REFUSED = {
    "no coordinates": (["id,name", "1,a"], (), "the positions have no coordinates"),
    "both kinds": (["x,y,lon,lat", "1,2,3,4"], (), "say which by --lon-lat or"),
    "a column that is not there": (["x,y", "1,2"], ("--pixels", "a,b"), "no columns"),
    "a name of ours": (["x,y,label", "1,2,b"], (), "label; rename them"),
    "a ragged row": (["x,y", "1,2,3"], (), "row 2 of the table has 3 cells"),
    "an unknown scene": (["x,y,scene", "1,2,b.tif"], (), "is in scene 'b.tif'"),
    "no rows": (["x,y"], (), "no positions"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_positions_that_cannot_be_used_are_one_line(
    kind: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows, words, message = REFUSED[kind]
    table = small(folder, rows)
    out = tmp_path / "a.csv"
    where = ["--scene", folder / "scene.tif", "--positions", table, "--out", out]
    assert run(*where, *words) == 2
    printed = capsys.readouterr().err
    assert message in " ".join(printed.split())
    assert printed.count("\n") == 1
    assert not out.exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--scene", "a.tif"], "--scene needs --positions"),
        (["--positions", "a.csv", "chips"], "need --scene"),
        (["--scene", "a.tif", "--positions", "a.csv", "chips"], "leave out other sources"),
        (["--scene", "a.tif", "--positions", "a.csv", "--labelled"], "--labelled needs chips"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*words, "--out", tmp_path / "a.csv") == 2
    assert message in " ".join(capsys.readouterr().err.split())


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_scene_without_georeferencing_takes_pixels_and_a_spacing(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = tmp_path / "bare.tif"
    with rasterio.open(folder / "scene.tif") as file:
        profile = {k: v for k, v in file.profile.items() if k not in ("crs", "transform")}
        with rasterio.open(bare, "w", **profile) as out:
            out.write(file.read())
    degrees = small(folder, ["lon,lat", "116,39"], "a.csv")
    pixels = small(folder, ["x,y", "250,100"], "b.csv")
    out_file = tmp_path / "a.jsonl"
    assert run("--scene", bare, "--positions", degrees, "--out", out_file) == 2
    assert "give positions in pixels" in " ".join(capsys.readouterr().err.split())
    assert run("--scene", bare, "--positions", pixels, "--out", out_file) == 2
    assert "give --pixel-spacing" in " ".join(capsys.readouterr().err.split())
    words = ["--scene", bare, "--positions", pixels, "--out", out_file, "--pixel-spacing", "10"]
    assert run(*words) == 0
    row = json.loads(out_file.read_text())
    assert (row["pixel_spacing_from"], row["lon"]) == ("request", None)


def test_other_positions_or_another_scene_are_not_resumed(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ship = listed(folder)[0]
    table = small(folder, ["lon,lat,id", f"{ship['lon']},{ship['lat']},1"])
    out = tmp_path / "a.csv"
    where = ["--scene", folder / "scene.tif", "--positions", table, "--out", out]
    assert run(*where) == 0
    assert run(*where, "--resume") == 0
    assert run(*where, "--resume", "--window", "600") == 2
    small(folder, ["lon,lat,id", f"{ship['lon']},{ship['lat']},2"])
    capsys.readouterr()
    assert run(*where, "--resume") == 2
    assert "other names, positions or columns" in " ".join(capsys.readouterr().err.split())


def test_without_rasterio_a_line_says_what_to_install(folder: Path) -> None:
    words = ["--scene", "a.tif", "--positions", str(folder / "ships.csv"), "--out", "a.csv"]
    code = (
        "import sys; sys.modules['rasterio'] = None; from serving.batch.command import main; "
        f"sys.exit(main({words!r}))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert found.returncode == 2
    assert "pip install 'shipchip[geo]'" in " ".join(found.stderr.split())
    assert found.stderr.count("\n") == 1


def test_a_scene_given_twice_is_one_and_degrees_beside_pixels_are_not_carried(
    folder: Path, tmp_path: Path
) -> None:
    table = small(folder, ["x,y,lon,lat,id", "250,100,1,2,a"])
    out = tmp_path / "a.jsonl"
    scene = folder / "scene.tif"
    words = ["--scene", scene, "--scene", scene, "--positions", table, "--pixels", "x,y"]
    assert run(*words, "--out", out) == 0
    (row,) = (json.loads(line) for line in out.read_text().splitlines())
    assert (row["x"], row["id"]) == ("250", "a")
    assert row["lon"] == pytest.approx(116.02, abs=0.1)
