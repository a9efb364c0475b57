"""Positions in scenes -> one entry per position: a window of its scene, or why there is none."""

import math
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from serving.batch.inputs.entries import ChipEntry, Fault, InputError, SceneWindow, Stamp
from serving.batch.inputs.tables import DEGREES, PIXELS, CellText, Table, position_in
from serving.chips import ChipOptions
from shipchip import Chip
from shipchip.errors import ChipError, OnLand, OutsideScene, Unreadable

if TYPE_CHECKING:  # it needs an extra, which is imported only where a scene is given
    from shipchip.scene import Land, Place, Scene

WINDOW_M = 512.0  # the model sees 384 m; the rest is margin

_NEAR_M = 1000.0  # no ship is longer; neighbours further away are not looked for
_SCENE_COLUMN = "scene"


@dataclass(frozen=True)
class SceneRequest:
    """Positions to be classified in whole scenes.

    scenes     paths of scenes
    window_m   side of the window around each position
    land       path of a land mask or of polygons, if positions on land are to be refused
    columns    the two columns that hold the position, if they are named: degrees or pixels
    in_pixels  whether these are (column, row) in pixels
    spacing_m  (row, column) metres, if the caller knows them
    """

    scenes: tuple[str, ...]
    window_m: float = WINDOW_M
    land: str | None = None
    columns: tuple[str, str] | None = None
    in_pixels: bool = False
    spacing_m: tuple[float, float] | None = None


def scene_entries(
    request: SceneRequest, table: Table, max_pixels: int
) -> tuple[list[ChipEntry], tuple[str, ...]]:
    """The entries of all positions, by scene and row, and the names of their carried columns.

    A position in degrees is looked for in every scene, unless its row names one in the column
    `scene`. If no scene holds it, it is one entry that fails. Raises InputError for scenes, land or
    tables that cannot be used.
    """
    geo = _geo()
    pair, in_pixels = _position_columns(request, table)
    # The output's own lon and lat are those of the window's centre.
    own = {k for name in DEGREES[0] if (k := table.index(name)) is not None}
    carried = table.without(own)
    try:
        scenes = [
            _Candidate(geo, name, request, in_pixels) for name in dict.fromkeys(request.scenes)
        ]
        land: Land | None = None if request.land is None else geo.open_land(request.land)
        found: list[tuple[int, int, ChipEntry]] = []
        for number, (row, kept) in enumerate(zip(table.rows, carried.rows, strict=True), 1):
            allowed = _allowed(table, row, number, scenes, in_pixels)
            at = position_in(row, pair)
            name = f"{number:0{len(str(len(table.rows)))}d}.tif"
            places = [(k, scenes[k].place(at)) for k in allowed] if at else []
            inside = [(k, place) for k, place in places if place is not None]
            for k, place in inside:
                where, degrees = scenes[k].where(place, land, max_pixels)
                entry = ChipEntry(scenes[k].path, name, where, scenes[k].stamp, kept, degrees)
                found.append((k, number, entry))
            if not inside:
                missing = _missing(at, [table.columns[k] for k in pair])
                first, degrees = allowed[0], None if in_pixels else at
                one = scenes[first]
                entry = ChipEntry(one.path, name, missing, one.stamp, kept, degrees)
                found.append((first, number, entry))
    except ChipError as error:
        raise InputError(str(error)) from error
    found.sort(key=lambda item: item[:2])
    entries = [entry for _, _, entry in found]
    return _with_neighbours(entries), carried.columns


def read_window(scene: str, window: SceneWindow, stamp: Stamp | None) -> bytes:
    """A window as a GeoTIFF; `stamp` is that of the scene when its positions were listed.

    Raises ChipError: NoData, Corrupt, NotFound, or Unreadable, also for a scene that was replaced.
    """
    opened = _opened(scene, stamp)
    content: bytes = opened.window(_geo().Place(window.column, window.row), window.size)
    return content


def read_chip(scene: str, window: SceneWindow, stamp: Stamp | None, options: ChipOptions) -> Chip:
    """The chip that such a GeoTIFF is, with these options. Raises ChipError."""
    place = _geo().Place(window.column, window.row)
    return _opened(scene, stamp).chip(
        place,
        window.size,
        polarisation=options.polarisation,
        pixel_spacing_m=options.pixel_spacing_m,
        quantity=options.quantity,
    )


def _opened(scene: str, stamp: Stamp | None) -> "Scene":
    """The scene; Unreadable if it was replaced since its positions were listed."""
    geo = _geo()
    if geo.stamps_of(Path(scene)) != stamp:
        raise Unreadable(f"{scene} was replaced after its positions were listed; run it again")
    opened: Scene = geo.open_scene(scene)
    return opened


class _Candidate:
    """A scene that may hold a position."""

    def __init__(self, geo: ModuleType, path: str, request: SceneRequest, in_pixels: bool) -> None:
        self.path = path
        self.scene: Scene = geo.open_scene(path)
        self._geo = geo
        self._request, self._in_pixels = request, in_pixels
        self.stamp: Stamp = geo.stamps_of(Path(path))
        if self.scene.ground is None and not in_pixels:
            raise Unreadable(
                f"{path} is not georeferenced, so positions in degrees cannot be found in it; give "
                "positions in pixels"
            )
        if self.scene.ground is None and request.spacing_m is None:
            raise Unreadable(f"{path} does not say its pixel spacing; give --pixel-spacing")

    def place(self, at: tuple[float, float]) -> "Place | None":
        """The place of a position in this scene; None if it is outside."""
        ground = self.scene.ground
        pixel = at if self._in_pixels or ground is None else ground.pixel_of(*at)
        if pixel is None:
            return None
        place: Place = self._geo.Place(*pixel)
        return place if self.scene.holds(place) else None

    def where(
        self, place: "Place", land: "Land | None", max_pixels: int
    ) -> tuple[SceneWindow | Fault, tuple[float, float] | None]:
        """The window around a place, or why there is none; and the place in degrees."""
        ground = self.scene.ground
        at = None if ground is None else ground.place(place.column, place.row)
        degrees = None if at is None else at.position
        if land is not None and degrees is not None and land.holds(*degrees):
            message = "the position is on land, by --land; expected one at sea"
            return Fault(OnLand, message), degrees
        spacing = self._request.spacing_m or (None if at is None else at.spacing_m)
        if spacing is None:
            raise Unreadable(f"{self.path} does not say its pixel spacing; give --pixel-spacing")
        size = self._geo.window_size(self._request.window_m, spacing, max_pixels)
        return SceneWindow(place.column, place.row, size, spacing), degrees


def _geo() -> ModuleType:
    try:  # an extra
        return import_module("shipchip.scene")
    except ModuleNotFoundError as error:
        raise InputError(
            f"--scene needs rasterio ({error}); to install: "
            f"{sys.executable} -m pip install 'shipchip[geo]'"
        ) from error


def _position_columns(request: SceneRequest, table: Table) -> tuple[tuple[int, int], bool]:
    """The numbers of the two columns that hold the position, and whether it is in pixels."""
    shown = ", ".join(table.columns[:20])
    if request.columns is not None:
        found = table.pair([request.columns])
        if found is None:
            raise InputError(f"the positions have no columns {request.columns}; they have {shown}")
        return found, request.in_pixels
    degrees, pixels = table.pair(DEGREES), table.pair(PIXELS)
    if degrees and pixels:
        raise InputError(
            "the positions have columns for degrees and for pixels; say which by --lon-lat or "
            "--pixels"
        )
    if degrees:
        return degrees, False
    if pixels:
        return pixels, True
    raise InputError(
        f"the positions have no coordinates: columns {shown}; expected lon and lat, x and y, or "
        "col and row, or --lon-lat or --pixels"
    )


def _allowed(
    table: Table,
    row: tuple[CellText, ...],
    number: int,
    scenes: list[_Candidate],
    in_pixels: bool,
) -> list[int]:
    """The numbers of the scenes in which a position may be."""
    column = table.index(_SCENE_COLUMN)
    if column is None:
        if in_pixels and len(scenes) > 1:
            raise InputError(
                "positions in pixels of several scenes need a column `scene` with the scene's name"
            )
        return list(range(len(scenes)))
    name = row[column]
    found = [k for k, one in enumerate(scenes) if name in (one.path, Path(one.path).name)]
    if not found:
        known = ", ".join(one.path for one in scenes)
        raise InputError(f"row {number} of the positions is in scene {name!r}; --scene is {known}")
    return found


def _missing(at: tuple[float, float] | None, names: Sequence[str]) -> Fault:
    if at is None:
        return Fault(OutsideScene, f"no position: {' and '.join(names)} are not two numbers")
    return Fault(OutsideScene, f"{names[0]} {at[0]:g}, {names[1]} {at[1]:g} is in no scene")


def _with_neighbours(entries: list[ChipEntry]) -> list[ChipEntry]:
    """The entries with the distance to the nearest other position of the same scene."""
    cells: defaultdict[tuple[str, int, int], list[tuple[int, float, float]]] = defaultdict(list)
    places = []
    for number, entry in enumerate(entries):
        where = entry.where
        if isinstance(where, SceneWindow):
            x, y = where.column * where.spacing_m[1], where.row * where.spacing_m[0]
            places.append((number, entry.path, x, y))
            cells[entry.path, int(x // _NEAR_M), int(y // _NEAR_M)].append((number, x, y))
    for number, path, x, y in places:
        column, row = int(x // _NEAR_M), int(y // _NEAR_M)
        others = [
            math.hypot(x - other_x, y - other_y)
            for dc in (-1, 0, 1)
            for dr in (-1, 0, 1)
            for other, other_x, other_y in cells.get((path, column + dc, row + dr), ())
            if other != number
        ]
        where = entries[number].where
        if others and min(others) <= _NEAR_M and isinstance(where, SceneWindow):
            entries[number] = replace(entries[number], where=where._replace(nearest_m=min(others)))
    return entries
