"""What a request names -> the entries of its run, and the columns that they carry."""

import sys
from collections.abc import Collection
from itertools import islice

from rich.console import Console

from serving.batch.inputs import (
    AIS_COLUMNS,
    ChipEntry,
    TarStore,
    list_entries,
    names_in,
    read_list,
    read_table,
    scene_entries,
    table_of_names,
    unmarked,
    with_ais,
    with_cells,
)
from serving.batch.outputs.place import own_files
from serving.batch.request import BatchRequest, CannotRun
from serving.batch.rows import readable


def entries_of(
    request: BatchRequest, store: TarStore, console: Console
) -> tuple[list[ChipEntry], tuple[str, ...]]:
    """The sorted entries, and the names of the columns that they carry from a list.

    CannotRun if there are none, InputError if they cannot be listed.
    """
    content = _content(request.list_name)
    carried: tuple[str, ...] = ()
    if request.scene is not None:
        table = read_table(unmarked(content))
        entries, carried = scene_entries(request.scene, table, request.limits.max_pixels)
        if not entries:
            raise CannotRun(f"no positions in {request.list_name}; expected a row per ship")
        return entries, carried
    listing = table_of_names(unmarked(content))
    if listing is not None and request.expand_list:
        raise CannotRun("--expand-list needs a list of names; this one has columns beside them")
    sources = list(request.sources)
    listed = read_list(content) if listing is None else names_in(listing)
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
    if listing is not None:
        entries, carried = with_cells(entries, listing, listed)
    if request.ais:
        entries = with_ais(entries, request.limits, store, console.print)
        carried = (*carried, *AIS_COLUMNS)
    return entries, carried


def _few(names: Collection[str]) -> str:
    """The first names in one line."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return readable(" ".join(f"{', '.join(islice(names, 3))}{more}".split()))


def _content(place: str | None) -> bytes:
    """What the list holds; b"" without one."""
    if place is None:
        return b""
    if place == "-":
        if sys.stdin is None:
            raise CannotRun("cannot read the list: standard input is closed")
        return sys.stdin.buffer.read()
    try:
        with open(place, "rb") as file:  # noqa: PTH123 (a name that need not be UTF-8)
            return file.read()
    except OSError as error:
        raise CannotRun(f"cannot read the list {place}: {error.strerror}") from error
