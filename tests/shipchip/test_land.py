"""Land: inside polygons, or where a mask is not 0."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from pyproj import Transformer

from shipchip.errors import Unreadable
from shipchip.scene import open_land
from tests.shipchip.test_scene import CORNER, GEO, write

RING = [[8.0, 45.0], [8.2, 45.0], [8.2, 45.2], [8.0, 45.2], [8.0, 45.0]]
LAKE = [[8.05, 45.05], [8.1, 45.05], [8.1, 45.1], [8.05, 45.1], [8.05, 45.05]]
LANDS: list[dict[str, Any]] = [
    {"type": "Polygon", "coordinates": [RING, LAKE]},
    {"type": "MultiPolygon", "coordinates": [[RING, LAKE]]},
    {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [RING, LAKE]}},
]


@pytest.mark.parametrize("value", LANDS)
def test_land_is_inside_a_polygon_and_not_in_its_holes(value: Any, tmp_path: Path) -> None:
    path = tmp_path / "land.geojson"
    path.write_text(json.dumps(value))
    land = open_land(str(path))
    places = [(8.01, 45.01), (8.07, 45.07), (8.15, 45.15), (8.3, 45.1), (8.1, 44.9)]
    assert [land.holds(*place) for place in places] == [True, False, True, False, False]


def test_land_is_where_a_mask_is_not_0(tmp_path: Path) -> None:
    mask = np.zeros((1, 100, 100), np.uint8)
    mask[:, :, :50] = 1
    path = write(tmp_path / "mask.tif", mask)
    land = open_land(str(path))
    to_degrees = Transformer.from_crs(32632, 4326, always_xy=True)
    for column, expected in ((10, True), (49.5, True), (50.5, False), (200, False)):
        place = to_degrees.transform(CORNER[0] + 10 * column, CORNER[1] - 500)
        assert land.holds(*place) is expected


def test_where_a_mask_has_no_data_is_no_land(tmp_path: Path) -> None:
    mask = np.full((1, 10, 10), 9, np.float32)
    mask[0, 0, :2] = -1, np.nan
    grid = {"crs": GEO, "transform": rasterio.Affine(0.1, 0, 8, 0, -0.1, 45)}
    land = open_land(str(write(tmp_path / "mask.tif", mask, nodata=-1, **grid)))
    assert [land.holds(lon, 44.95) for lon in (8.05, 8.15, 8.25)] == [False, False, True]


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "[]",
        "no JSON",
        '{"type": "Point", "coordinates": [1, 2]}',
        '{"type": "Polygon", "coordinates": [[[1, 2], [3]]]}',
        '{"type": "Polygon", "coordinates": [[[1, 2], [3, 4], [5, 6]]]}',
        '{"type":"FeatureCollection","features":' + "[" * 50_000,
        '{"type":"FeatureCollection","features":[],"crs":{"properties":{"name":"EPSG:32632"}}}',
    ],
)
def test_what_are_no_polygons_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "land.geojson"
    path.write_text(text)
    with pytest.raises(Unreadable, match=r"expected Polygon or MultiPolygon"):
        open_land(str(path))
