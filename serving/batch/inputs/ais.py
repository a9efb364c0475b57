"""What AIS says of the chips of OpenSARShip scenes: cells and positions from their Ship.xml."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from serving.batch.inputs.archives import all_members
from serving.batch.inputs.entries import ChipEntry, InputError
from serving.batch.inputs.listing import read_entry
from serving.batch.inputs.tars import TarStore
from shipchip.chip import DecodeLimits
from shipchip.errors import ChipError
from shipchip.opensarship import CHIP_FOLDER, parse_chip_name
from shipchip.ship_list import DoctypeFound, ListedShip, parse_ship_list

COLUMNS = ("mmsi", "ais_length_m", "ais_width_m")

_LIST = "Ship.xml"
_Place = tuple[str, str | None]  # a list's file, or its archive and its name there
_Ships = dict[tuple[int, int], ListedShip]


def with_ais(
    entries: Sequence[ChipEntry],
    limits: DecodeLimits,
    store: TarStore,
    without: Callable[[str], object],
) -> list[ChipEntry]:
    """Entries with the cells of COLUMNS after those they have, and positions where they have none.

    without  is called with a line about each scene whose list is missing or cannot be read

    Other chips than those of scenes, and ships that AIS does not name, have empty cells. Raises
    InputError for a list that declares a document type.
    """
    lists: dict[_Place, _Ships] = {}
    archives: dict[str, dict[str | None, ChipEntry]] = {}
    found = []
    for entry in entries:
        ship = None
        place, name = _list_of(entry)
        if place is not None:
            if place not in lists:
                file, member = place
                if member is not None and file not in archives:
                    archives[file] = _lists_in(file, store)
                listed = ChipEntry(file) if member is None else archives[file].get(member)
                lists[place] = _read(place, listed, limits, without)
            chip = parse_chip_name(name)
            ship = lists[place].get(chip.place) if chip else None
        cells: tuple[str | None, ...] = (None,) * len(COLUMNS)
        if ship is not None:
            cells = tuple(_cell(text) for text in (ship.mmsi, ship.length, ship.width))
        position = entry.position or (ship.position if ship else None)
        found.append(replace(entry, carried=(*entry.carried, *cells), position=position))
    return found


def _list_of(entry: ChipEntry) -> tuple[_Place | None, str]:
    """Where the list of an entry's scene would be, and the entry's name in the scene."""
    path = entry.path if entry.member is None else entry.member.replace("\\", "/")
    folders, _, _ = path.rpartition("/")
    parent, _, folder = folders.rpartition("/")
    if folder != CHIP_FOLDER:
        return None, path
    listed = f"{parent}/{_LIST}" if parent else _LIST
    place = (listed, None) if entry.member is None else (entry.path, listed)
    return place, path


def _lists_in(archive: str, store: TarStore) -> dict[str | None, ChipEntry]:
    """The lists of all scenes in an archive: it is read once."""
    members = all_members(archive, lambda name: PurePosixPath(name).name == _LIST, store)
    return {one.member: one for one in members}


def _read(
    place: _Place,
    entry: ChipEntry | None,
    limits: DecodeLimits,
    without: Callable[[str], object],
) -> _Ships:
    file, member = place
    shown = file if member is None else f"{file}/{member}"
    if entry is None or (member is None and not Path(file).exists()):
        without(f"no {shown}: its chips have no AIS cells")
        return {}
    try:
        ships, _ = parse_ship_list(read_entry(entry, limits))
        return ships
    except DoctypeFound as error:
        raise InputError(
            f"{shown} declares a document type or entities ({error}), which none of OpenSARShip "
            "does; fetch the scene again"
        ) from error
    except (ChipError, ValueError) as error:
        without(f"{shown} cannot be read ({error}): its chips have no AIS cells")
        return {}


def _cell(text: str) -> str | None:
    """A cell; AIS writes 0 for what is unknown."""
    return None if text.strip("0.") == "" else text
