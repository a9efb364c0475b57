"""What a batch run reads: folders, archives and lists.

entries.py   one chip to be read, with its name; errors about inputs
listing.py   sources -> sorted entries; an entry -> bytes
lists.py     a list of names, in any encoding with a byte order mark
folders.py   what a folder holds; which of it earlier runs wrote
globs.py     patterns over paths
archives.py  zip and tar archives: members as entries, and what damage means
zips.py      members of a zip
tars.py      members of a tar; the store for the chips of compressed tars
scenes.py    what a path says: the OpenSARShip scene, the class

with TarStore(limits) as store:
    for entry in list_entries(["chips/"], store=store):
        chip = decode(read_entry(entry, limits), ...)  # here or in any other process
"""

from serving.batch.inputs.entries import ChipEntry, InputError, sort_key, stamp_of
from serving.batch.inputs.listing import list_entries, read_entry
from serving.batch.inputs.lists import read_list
from serving.batch.inputs.scenes import label_of, options_of
from serving.batch.inputs.tars import TarStore

__all__ = [
    "ChipEntry",
    "InputError",
    "TarStore",
    "label_of",
    "list_entries",
    "options_of",
    "read_entry",
    "read_list",
    "sort_key",
    "stamp_of",
]
