"""OpenSARShip 1 and 2 (Sentinel-1; Huang et al. 2017, doi 10.1109/JSTARS.2017.2755672).

One archive a scene. Chips are taken from `Patch/` (GRD amplitude, or SLC re/im pairs), never from
`Patch_RGB/`, which holds screenshots of plots. `Ship.xml` gives a chip's MMSI and incidence.
"""

import hashlib
import math
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from defusedxml import ElementTree

from shipchip.decode import Chip, decode
from training.errors import DataInvalid, DataMissing
from training.sources.archive import Archive
from training.sources.record import CLASSES, Record

GRD_SPACING_M = (10.0, 10.0)
SLC_AZIMUTH_M, SLC_SLANT_RANGE_M, MEAN_INCIDENCE_DEGREES = 13.93, 2.33, 37.0

_SCENE = re.compile(r"S1[ABCD]_\w\w_(GRD|SLC)\w?_+1S[DS][VH]_(?:\w+_){3}([0-9A-F]{6})_[0-9A-F]{4}")
_CHIP = re.compile(r"(?:^|/)Patch/(.+)_x(\d+)_y(\d+)(?:_[vh]{2})?\.tiff?$", re.IGNORECASE)


@dataclass(frozen=True)
class Ship:
    """What Ship.xml says of the ship at one place of the scene."""

    mmsi: str
    incidence_degrees: float | None


class OpenSarShipScene:
    """One scene archive, a zip or the folder it unpacks to."""

    name = "opensarship"

    def __init__(self, path: Path) -> None:
        match = _SCENE.search(path.name)
        if match is None:
            raise DataInvalid(f"{path.name} is not named as a Sentinel-1 scene")
        self.archive = Archive(path)
        self.product, self.data_take = match[1], match[2]

    @staticmethod
    def recognises(path: Path) -> bool:
        """Whether this path is named as a scene archive."""
        return bool(_SCENE.search(path.name)) and (path.is_dir() or path.suffix == ".zip")

    def index(self) -> list[Record]:
        """Chips of the three classes; a scene may well hold none."""
        found = ((name, _CHIP.search(name)) for name in self.archive.names)
        return [
            self._record(name, match[1], self._ships.get(_place(match)))
            for name, match in found
            if match and match[1] in CLASSES
        ]

    def _record(self, name: str, label: str, ship: Ship | None) -> Record:
        group = f"mmsi:{ship.mmsi}" if ship and ship.mmsi else f"data-take:{self.data_take}"
        digest = hashlib.sha256(self.archive.read(name)).hexdigest()
        return Record(self.name, f"{self.archive.path.name}!{name}", label, group, digest)

    def read(self, record: Record) -> Chip:
        """The chip with its spacing on the ground: GRD 10 m, SLC from slant range and incidence."""
        name = record.key.partition("!")[2]
        pairs = self.product == "SLC"
        return decode(
            self.archive.read(name),
            pixel_spacing_m=self._spacing(name),
            quantity="complex_pairs" if pairs else "amplitude",
        )

    def _spacing(self, name: str) -> tuple[float, float]:
        if self.product == "GRD":
            return GRD_SPACING_M
        match = _CHIP.search(name)
        ship = self._ships.get(_place(match)) if match else None
        return slc_spacing(ship.incidence_degrees if ship else None)

    @cached_property
    def _ships(self) -> dict[tuple[int, int], Ship]:
        """Ships by the (x, y) of their chip's centre in the scene."""
        found = [n for n in self.archive.names if PurePosixPath(n).name == "Ship.xml"]
        if not found:
            return {}
        return parse_ships(self.archive.read(found[0]), str(self.archive.path))


class OpenSarShipSource:
    """Scene archives, together."""

    name = OpenSarShipScene.name

    def __init__(self, paths: list[Path]) -> None:
        if not paths:
            raise DataMissing("no OpenSARShip scene archives (S1A_IW_*.zip)")
        self._scenes = {path.name: OpenSarShipScene(path) for path in sorted(paths)}

    def index(self) -> list[Record]:
        """Chips of all scenes in the order of their names."""
        return [record for scene in self._scenes.values() for record in scene.index()]

    def read(self, record: Record) -> Chip:
        """The chip, from the scene that its key names."""
        return self._scenes[record.key.partition("!")[0]].read(record)


def slc_spacing(incidence_degrees: float | None) -> tuple[float, float]:
    """(azimuth, ground range) metres of an IW SLC pixel; ground = slant / sin(incidence)."""
    incidence = math.radians(incidence_degrees or MEAN_INCIDENCE_DEGREES)
    return SLC_AZIMUTH_M, SLC_SLANT_RANGE_M / math.sin(incidence)


def parse_ships(xml: bytes, where: str) -> dict[tuple[int, int], Ship]:
    """Ships of a Ship.xml, by centre; its end tag `<\\ShipList>` in version 2 is mended first."""
    try:
        root = ElementTree.fromstring(xml.replace(b"<\\ShipList>", b"</ShipList>"))
    except ElementTree.ParseError as error:
        raise DataInvalid(f"{where}: Ship.xml cannot be parsed ({error})") from error
    ships = {}
    for node in root.iter("ship"):
        x, y = node.findtext(".//Center_x"), node.findtext(".//Center_y")
        if x is None or y is None:
            continue
        incidence = float(node.findtext(".//Incidence") or 0)
        mmsi = (node.findtext(".//MMSI") or "").strip()
        known = 10 < incidence < 80
        ships[int(x), int(y)] = Ship(mmsi.strip("0") and mmsi, incidence if known else None)
    return ships


def _place(match: re.Match[str]) -> tuple[int, int]:
    return int(match[2]), int(match[3])
