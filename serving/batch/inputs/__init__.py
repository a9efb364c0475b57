"""What a batch run reads: folders, archives and lists.

entries.py   one chip to be read: its name, its scene, its class
listing.py   sources and lists of names -> sorted entries; an entry -> bytes
folders.py   what a folder holds; which of it earlier runs wrote; globs
archives.py  zip and tar archives: members as entries, and what damage means
tars.py      members of a tar; the store for the chips of compressed tars
tables.py    CSV and GeoJSON lists: names or positions, with columns to carry
ais.py       MMSI, size and position of the ships of OpenSARShip scenes
scenes.py    positions in scenes -> entries; a window of a scene -> bytes

with TarStore(limits) as store:
    for entry in list_entries(["chips/"], store=store):
        chip = decode(read_entry(entry, limits), ...)  # here or in any other process
"""

from serving.batch.inputs.ais import COLUMNS as AIS_COLUMNS
from serving.batch.inputs.ais import with_ais
from serving.batch.inputs.entries import (
    ChipEntry,
    InputError,
    SceneWindow,
    identity_of,
    label_of,
    options_of,
    sort_key,
    stamp_of,
)
from serving.batch.inputs.listing import list_entries, read_entry, read_list, unmarked
from serving.batch.inputs.scenes import SceneRequest, read_chip, scene_entries
from serving.batch.inputs.tables import (
    Table,
    names_in,
    read_table,
    table_of_names,
    with_cells,
)
from serving.batch.inputs.tars import TarStore

__all__ = [
    "AIS_COLUMNS",
    "ChipEntry",
    "InputError",
    "SceneRequest",
    "SceneWindow",
    "Table",
    "TarStore",
    "identity_of",
    "label_of",
    "list_entries",
    "names_in",
    "options_of",
    "read_chip",
    "read_entry",
    "read_list",
    "read_table",
    "scene_entries",
    "sort_key",
    "stamp_of",
    "table_of_names",
    "unmarked",
    "with_ais",
    "with_cells",
]
