"""A request -> the entries of its run: everything named on the command line and in lists."""

import sys
from collections.abc import Collection
from itertools import islice

from rich.console import Console

from serving.batch.inputs import ChipEntry, TarStore, list_entries, read_list
from serving.batch.outputs.place import own_files
from serving.batch.request import BatchRequest, CannotRun
from serving.batch.rows import readable


def entries_of(request: BatchRequest, store: TarStore, console: Console) -> list[ChipEntry]:
    """The sorted entries. CannotRun if there are none, InputError if they cannot be listed."""
    sources, listed = list(request.sources), _listed(request.list_name)
    if request.expand_list:
        sources, listed = [*sources, *listed], []
    own = () if request.out is None else own_files(request.out)
    left_out: list[str] = []
    entries = list_entries(
        sources,
        listed=listed,
        patterns=request.patterns,
        without=[*request.picture_folders, *own],
        left_out=left_out.append,
        store=store,
    )
    outputs = _few(dict.fromkeys(left_out))
    if not entries:
        other = f" but what earlier runs wrote ({outputs})" if outputs else ""
        asked = _few([*sources, *listed])
        raise CannotRun(f"no files in {asked}{other}; expected chips (PNG, JPEG, TIFF or .npy)")
    if outputs:
        console.print(f"left out, because earlier runs wrote it: {outputs}")
    return entries


def _few(names: Collection[str]) -> str:
    """The first names in one line."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return readable(" ".join(f"{', '.join(islice(names, 3))}{more}".split()))


def _listed(place: str | None) -> list[str]:
    if place is None:
        return []
    if place == "-":
        if sys.stdin is None:
            raise CannotRun("cannot read the list: standard input is closed")
        return read_list(sys.stdin.buffer)
    try:
        with open(place, "rb") as file:  # noqa: PTH123 (a name that need not be UTF-8)
            return read_list(file)
    except OSError as error:
        raise CannotRun(f"cannot read the list {place}: {error.strerror}") from error
