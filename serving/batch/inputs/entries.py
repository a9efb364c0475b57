"""One entry per chip to be read: a file, a member of an archive, or the reason why it fails.

An entry's path also says facts: its OpenSARShip scene, and its class.
"""

import json
import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from serving.chips import ChipOptions
from shipchip.errors import ChipError
from shipchip.opensarship import CHIP_FOLDER, SceneName, parse_chip_name, scene_of


class InputError(Exception):
    """The inputs cannot be listed; the message is the one line that says why."""

    def __init__(self, message: str) -> None:
        # Paths may hold line breaks, and bytes that no terminal can show.
        shown = message.encode("utf-8", "backslashreplace").decode()
        super().__init__(" ".join(shown.split()))


class Span(NamedTuple):
    """Bytes of an uncompressed file that are a member's content.

    stamp  (mtime in ns, bytes) of the file when it was listed; None for this program's own file
    """

    file: str
    offset: int
    size: int
    stamp: tuple[int, int] | None = None


class Fault(NamedTuple):
    """Why an entry cannot be read, if that is known when it is listed."""

    kind: type[ChipError]
    message: str


class SceneWindow(NamedTuple):
    """A window of a scene.

    column, row  of its middle, pixels
    size         (rows, columns) samples
    spacing_m    (row, column) metres at its middle
    nearest_m    metres to the nearest other position, if that is within a kilometre
    """

    column: float
    row: float
    size: tuple[int, int]
    spacing_m: tuple[float, float]
    nearest_m: float | None = None


# It is only compared, and written into a digest.
Stamp = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class ChipEntry:
    """One chip to be read. It can be pickled, and read in any process of the same machine.

    path    of the file or archive, as given or found; bytes that are not UTF-8 are in it as
            os.fsdecode returns them
    member  name inside the archive; never used as a path
    where   where the content is, if the name is not enough to find it, or why it cannot be read
    stamp   of a member or a scene, see `stamp_of`
    carried cells of its row in a list, as text, for the output's last columns
    position (lon, lat) in degrees by the list, for chips that are not georeferenced
    """

    path: str
    member: str | None = None
    where: Span | SceneWindow | Fault | None = field(default=None, compare=False)
    stamp: Stamp | None = field(default=None, compare=False)
    carried: tuple[str | None, ...] = field(default=(), compare=False)
    position: tuple[float, float] | None = field(default=None, compare=False)

    @property
    def name(self) -> str:
        """The `path` column: the path, followed by the member's name."""
        return self.path if self.member is None else f"{self.path}/{self.member}"


def identity_of(entry: ChipEntry) -> str:
    """Everything that an entry's row depends on but the file itself: its name, window and cells."""
    where = entry.where if isinstance(entry.where, SceneWindow) else None
    beside = where, entry.carried, entry.position
    return json.dumps([entry.name, *beside]) if any(beside) else entry.name


def stamp_of(entry: ChipEntry) -> Stamp | None:
    """Changes if an entry is replaced under its name: size and modification time of a file or tar
    member, size and checksum of a zip member. None if there is no regular file."""
    if entry.member is not None:
        return entry.stamp
    try:
        status = os.stat(entry.path)  # noqa: PTH116 (a million of them: Path is half as fast)
    except (OSError, ValueError):  # ValueError: a NUL byte in the path
        return None
    return (status.st_size, status.st_mtime_ns) if stat.S_ISREG(status.st_mode) else None


def tidy(member: str) -> str:
    """A member's name with single forward slashes and no `.` between them.

    `tar cf A.tar .` writes `./a.tif`, Windows programs write `Patch\\a.tif`, and a list may contain
    `A.zip//a.tif`.
    """
    return "/".join(part for part in member.replace("\\", "/").split("/") if part not in ("", "."))


def sort_key(name: str) -> bytes:
    """The sort key of entries: os.fsencode(name) on a UTF-8 file system, and defined for any name
    of a member on others."""
    return name.encode("utf-8", "surrogateescape")


_SLASHES = re.compile(r"[/\\]")


def without_copies(entries: list[ChipEntry]) -> list[ChipEntry]:
    """Members of an archive, of a scene only its chips.

    A Sentinel-1 product has the name of a scene as well; it has no `Patch/`, and all its members
    stay.
    """
    places = [_place(_parts(entry, Path(entry.path).name)) for entry in entries]
    with_chips = {root for root, is_chip in places if is_chip}
    return [
        entry
        for entry, (root, is_chip) in zip(entries, places, strict=True)
        if entry.member is None or is_chip or root not in with_chips
    ]


def _place(parts: list[str]) -> tuple[str, bool]:
    """The scene that a path is in ("" for none), and whether it is in that scene's `Patch/`."""
    folders = parts[:-1]
    deepest = max((k for k, name in enumerate(folders) if scene_of(name)), default=None)
    if deepest is None:
        return "", False
    return "/".join(folders[: deepest + 1]), CHIP_FOLDER in folders[deepest + 1 :]


def options_of(entry: ChipEntry, options: ChipOptions) -> ChipOptions:
    """The options, with the quantity and the spacing of the scene where the caller gave none.

    Other chips than those under a scene's `Patch/` keep the options as they are. An SLC chip's
    spacing is that of the mean incidence.
    """
    scene = _scene(entry)
    if scene is None:
        return options
    if options.quantity == "auto":
        options = replace(options, quantity=scene.quantity)
    if options.pixel_spacing_m is None:
        spacing = scene.spacing_m()
        options = replace(options, pixel_spacing_m=spacing, pixel_spacing_from="file")
    return options


def _scene(entry: ChipEntry) -> SceneName | None:
    """The scene whose `Patch/` contains an entry, also if the run was started inside the scene."""
    parts = _parts(entry, str(Path(entry.path).absolute()))
    if CHIP_FOLDER not in parts[:-1]:
        return None
    root, is_chip = _place(parts)
    return scene_of(root.rpartition("/")[2]) if is_chip else None


def label_of(entry: ChipEntry, classes: Sequence[str]) -> str | None:
    """The class in an entry's path, spelt as in `classes`; None if there is none.

    It is the innermost folder named after a class, in any case; otherwise, for a chip of a scene,
    the type of ship in its name (Cargo_x10661_y11170.tif).
    """
    spelt = {name.lower(): name for name in classes}
    parts = _parts(entry, entry.path)
    for folder in reversed(parts[:-1]):
        if folder.lower() in spelt:
            return spelt[folder.lower()]
    chip = parse_chip_name("/".join(parts[-2:])) if _scene(entry) else None
    return spelt.get(chip.ship_type.lower()) if chip else None


def _parts(entry: ChipEntry, path: str) -> list[str]:
    """The parts of the entry's path. In members, backslashes separate parts too (Windows)."""
    inside = [] if entry.member is None else _SLASHES.split(entry.member)
    return [*path.split("/"), *inside]
