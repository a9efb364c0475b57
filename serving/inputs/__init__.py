"""serving.inputs: what a batch run reads, from folders, archives and lists.

entries.py   an entry: a chip to be, with its name; errors about inputs
listing.py   sources -> sorted entries; an entry -> bytes
lists.py     a list of names, in whatever encoding it says
folders.py   what stands in a folder; the outputs of runs in it
globs.py     patterns over paths
archives.py  zip and tar archives: members as entries, and what damage means
zips.py      members of a zip
tars.py      members of a tar; the store for those of compressed ones
scenes.py    what a path tells: the OpenSARShip scene, the class

with TarStore(limits) as store:
    for entry in list_entries(["chips/"], store=store):
        chip = decode(read_entry(entry, limits), ...)  # here or in any other process
"""

from serving.inputs.entries import Entry, InputError, sort_key, stamp_of
from serving.inputs.listing import list_entries, read_entry
from serving.inputs.lists import read_list
from serving.inputs.scenes import label_of, options_of
from serving.inputs.tars import TarStore

__all__ = [
    "Entry",
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
