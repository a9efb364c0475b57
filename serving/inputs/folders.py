"""What stands in a folder, whatever it is, and which of it a run itself writes."""

import os
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

from serving.inputs.entries import InputError
from shipchip.opensarship import CHIP_FOLDER, scene_of
from shipchip.sidecars import is_sidecar


class Outputs:
    """Files and folders that a run writes: they are never chips, even where chips lie."""

    def __init__(self, paths: Collection[Path]) -> None:
        self._places = {(os.path.realpath(path.parent), path.name) for path in paths}
        self._names = {path.name for path in paths}

    def hold(self, folder: str, name: str) -> bool:
        """Whether `name` in `folder` is one of them."""
        return name in self._names and (os.path.realpath(folder), name) in self._places


class Found(NamedTuple):
    """A path below a folder; `listed` is False for a folder that cannot be listed."""

    path: str
    listed: bool = True


def walk(folder: str, outputs: Outputs) -> Iterator[Found]:
    """Everything below `folder` that is no folder, and folders that cannot be listed; no sidecars.

    Links to folders are not followed. Of a scene of OpenSARShip only `Patch/` is entered. A folder
    that cannot be listed comes after what was found in it before it failed.
    """
    pending = [folder]
    while pending:
        place = pending.pop()
        below: list[str] = []
        files: list[Found] = []
        try:
            with os.scandir(place) as items:
                for item in items:
                    if outputs.hold(place, item.name):
                        continue
                    is_folder = item.is_dir(follow_symlinks=False)
                    if is_sidecar(f"{item.name}/" if is_folder else item.name):
                        continue
                    if is_folder:
                        below.append(item.path)
                    else:
                        files.append(Found(item.path))
        except OSError:
            files.append(Found(place, listed=False))
        chips = slashed(place) + CHIP_FOLDER
        if chips in below and scene_of(Path(place).absolute().name):
            below, files = [chips], []
        yield from files
        pending += below


def slashed(folder: str) -> str:
    """What the paths of everything in a folder start with."""
    return folder if folder.endswith("/") else f"{folder}/"


def check_listable(folder: str) -> None:
    """Raises InputError where a folder cannot be listed."""
    try:
        os.scandir(folder).close()
    except OSError as error:
        raise InputError(f"cannot list {folder}: {error.strerror}") from error
