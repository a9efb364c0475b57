"""Facts in an entry's path: its OpenSARShip scene, and its class."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from serving.batch.inputs.entries import ChipEntry
from serving.chips import ChipOptions
from shipchip.opensarship import CHIP_FOLDER, Scene, chip_of, scene_of

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


def _scene(entry: ChipEntry) -> Scene | None:
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
    chip = chip_of("/".join(parts[-2:])) if _scene(entry) else None
    return spelt.get(chip.ship_type.lower()) if chip else None


def _parts(entry: ChipEntry, path: str) -> list[str]:
    """The parts of the entry's path. In members, backslashes separate parts too (Windows)."""
    inside = [] if entry.member is None else _SLASHES.split(entry.member)
    return [*path.split("/"), *inside]
