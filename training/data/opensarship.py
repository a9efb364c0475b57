"""OpenSARShip 1 and 2 (Sentinel-1; Huang et al. 2017, doi 10.1109/JSTARS.2017.2755672).

One archive per scene, zip or rar; shipchip.opensarship reads its names. `Ship.xml` gives a chip's
MMSI and incidence. Chips of unknown ships are one group per data-take, because the GRD and the SLC
product of one data-take show the same ships.
"""

import hashlib
from collections import Counter
from functools import cached_property
from operator import itemgetter
from pathlib import Path, PurePosixPath

from shipchip.chip import Chip
from shipchip.decode import decode
from shipchip.opensarship import parse_chip_name, scene_of
from training.data.archive import Archive, is_dataset_archive, located
from training.data.metadata import (
    ShipList,
    ShipRecord,
    parse_ships,
    polarisation_in_name,
    with_polarisations,
)
from training.data.record import CLASSES, Record
from training.errors import DataInvalid, DataMissing


class OpenSarShipScene:
    """One scene archive, or the folder it unpacks to.

    name            starts the keys of its chips
    of_other_types  take the ships that are of none of the three classes, instead of those that are
    """

    def __init__(self, path: Path, name: str | None = None, of_other_types: bool = False) -> None:
        scene = scene_of(path.name)
        if scene is None:
            raise DataInvalid(f"{path.name} is not named as a Sentinel-1 scene")
        self.archive = Archive(path)
        self.name = name or self.archive.path.name
        self.scene, self.data_take = scene, scene.data_take
        self._of_other_types = of_other_types

    @staticmethod
    def recognises(path: Path) -> bool:
        """Whether this path is named as a scene archive."""
        return scene_of(path.name) is not None and (path.is_dir() or is_dataset_archive(path))

    def index(self) -> list[Record]:
        """Chips of the three classes, or of the other types; a scene may well hold none.

        Raises DataInvalid if it has no chip of any kind of ship.
        """
        found = [(name, chip) for name in self.archive.names if (chip := parse_chip_name(name))]
        if not found:
            raise DataInvalid(
                f"{self.archive.path} holds no Patch/<type>_x<column>_y<row>.tif chips; expected a "
                "scene archive of OpenSARShip as it is downloaded, not the Sentinel-1 product"
            )
        return [
            self._record(name, chip.ship_type, self.ship_list.ships.get(chip.place))
            for name, chip in found
            if (chip.ship_type in CLASSES) is not self._of_other_types
        ]

    def _record(self, name: str, label: str, ship: ShipRecord | None) -> Record:
        group = (ship and ship.group) or f"data-take:{self.data_take}"
        digest = hashlib.sha256(self.archive.read(name)).hexdigest()
        size = ship.size_m if ship else None
        return Record(OpenSarShipSource.name, f"{self.name}!{name}", label, group, digest, size)

    def read(self, record: Record) -> Chip:
        """The chip with its spacing on the ground: GRD 10 m, SLC from slant range and incidence."""
        name = record.key.partition("!")[2]
        chip = decode(
            self.archive.read(name),
            pixel_spacing_m=self._spacing(name),
            quantity=self.scene.quantity,
        )
        own = polarisation_in_name(PurePosixPath(name).stem)
        return with_polarisations(chip, own or self.scene.planes)

    def _spacing(self, name: str) -> tuple[float, float]:
        if self.scene.product == "GRD":
            return self.scene.spacing_m()  # its Ship.xml need not be read
        chip = parse_chip_name(name)
        ship = self.ship_list.ships.get(chip.place) if chip else None
        return self.scene.spacing_m(ship.incidence_degrees if ship else None)

    @cached_property
    def ship_list(self) -> ShipList:
        """The ships in Ship.xml; a list with a fault if there is none that can be read."""
        found = [n for n in self.archive.names if PurePosixPath(n).name == "Ship.xml"]
        if not found:
            return ShipList(fault="is missing")
        return parse_ships(self.archive.read(found[0]), str(self.archive.path))


class OpenSarShipSource:
    """Scene archives, together; `of_other_types` as OpenSarShipScene takes it."""

    name = "opensarship"

    def __init__(self, paths: list[Path], of_other_types: bool = False) -> None:
        if not paths:
            raise DataMissing("no OpenSARShip scene archives (S1A_IW_*.zip)")
        self._wanted = ("any type but " if of_other_types else "") + ", ".join(CLASSES)
        scenes = (OpenSarShipScene(path, name, of_other_types) for path, name in _names(paths))
        self._scenes = {scene.name: scene for scene in scenes}

    def index(self) -> list[Record]:
        """Chips of all scenes in the order of their names.

        Raises DataInvalid if no scene has a chip of the three classes, or if a ship could
        get two groups (see `_check_data_takes`).
        """
        return list(self._records)

    def read(self, record: Record) -> Chip:
        """The chip, from the scene that its key names."""
        return self._scenes[record.key.partition("!")[0]].read(record)

    def context(self) -> str:
        """The ships of every scene, whose incidence gives the spacing of SLC chips."""
        ships = {name: sorted(s.ship_list.ships.items()) for name, s in self._scenes.items()}
        return hashlib.sha256(repr(sorted(ships.items())).encode()).hexdigest()

    def notes(self) -> list[str]:
        """Ship lists that were mended or are missing, and chips of unknown ships."""
        scenes = self._scenes.values()
        mended = [scene.name for scene in scenes if scene.ship_list.mended]
        lines = [f"Ship.xml was not valid XML and was mended in {_some(mended)}"] if mended else []
        unknown = [record for record in self._records if not record.ship_known]
        in_scene = Counter(record.key.partition("!")[0] for record in unknown)
        lines += [
            f"Ship.xml of {scene.name} {scene.ship_list.fault}: its {in_scene[scene.name]} chips "
            "stand together; their ships cannot be matched to those of other scenes"
            for scene in scenes
            if scene.ship_list.fault
        ]
        if unknown:
            takes = len({record.group for record in unknown})
            lines.append(
                f"{len(unknown)} chips have no MMSI, so each data-take ({takes}) counts as a ship"
            )
        return lines

    @cached_property
    def _records(self) -> list[Record]:
        _check_data_takes(list(self._scenes.values()))
        records = [record for scene in self._scenes.values() for record in scene.index()]
        if not records:
            raise DataInvalid(
                f"{_some(list(self._scenes))} hold no chip of {self._wanted}; fetch more"
            )
        return records


def _check_data_takes(scenes: list[OpenSarShipScene]) -> None:
    """DataInvalid if one product of a data-take names its ships and another cannot.

    The same ships would stand in one by their MMSI and in the other by the data-take, and could
    come apart in a split.
    """
    named = {scene.data_take: scene for scene in scenes if not scene.ship_list.fault}
    for scene in scenes:
        other = named.get(scene.data_take)
        if scene.ship_list.fault and other:
            raise DataInvalid(
                f"Ship.xml of {scene.archive.path} {scene.ship_list.fault}, and {other.name} shows "
                "the same ships by their MMSI; fetch the first again or leave one of the two out"
            )


def _names(paths: list[Path]) -> list[tuple[Path, str]]:
    """Paths by unique names: as few parts from the end as are needed to distinguish them, so that
    a name does not depend on where the data are kept."""
    parts = [located(path).parts for path in paths]

    def name_of(own: tuple[str, ...]) -> str:
        lengths = range(1, len(own) + 1)
        tail = next(n for n in lengths if sum(p[-n:] == own[-n:] for p in parts) == 1)
        return "/".join(own[-tail:])

    named = [(path, name_of(own)) for path, own in zip(paths, parts, strict=True)]
    return sorted(named, key=itemgetter(1))


def _some(names: list[str]) -> str:
    """How many scenes, and the first of them by name."""
    return names[0] if len(names) == 1 else f"{len(names)} scenes ({names[0]}, …)"
