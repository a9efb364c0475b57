"""The content of folders, without what runs of this program have written; and globs over paths.

Globs have forward slashes, as git and shells read them.

    *.tif              in any folder, for there is no slash in it
    Cargo/*.png        in the folder Cargo at the top
    **/Cargo/*.png     in any folder Cargo
    Cargo/**, Cargo/   everything below Cargo

`*` and `?` do not match a slash, `[abc]` and `[!a-z]` match one character; case counts.
"""

import os
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from serving.batch.inputs.entries import InputError
from serving.batch.outputs.pictures import MARKER
from serving.batch.outputs.place import is_beside_output, is_output
from shipchip.files import is_sidecar
from shipchip.opensarship import CHIP_FOLDER, scene_of


class OutputFilter:
    """Recognises what runs of this program have written; that is never read as chips.

    own       files and folders of this run
    left_out  is called with each output and each folder of pictures of other runs
    """

    def __init__(self, own: Collection[Path], left_out: Callable[[str], object]) -> None:
        self.left_out = left_out
        self._places = {(os.path.realpath(path.parent), path.name) for path in own}
        self._names = {path.name for path in own}
        self._marked: dict[str, bool] = {}

    def hold(self, folder: str, name: str) -> bool:
        """Whether `name` in `folder` is an output, or one of the files beside it."""
        if name in self._names and (os.path.realpath(folder), name) in self._places:
            return True
        if is_output(folder, name):
            self.left_out(os.path.join(folder, name))  # noqa: PTH118 (paths stay as given)
            return True
        return is_beside_output(name)

    def hold_folder(self, folder: str) -> bool:
        """Whether a folder is one of pictures, or is inside one."""
        if folder not in self._marked:
            place = Path(os.path.realpath(folder))
            marked = any((above / MARKER).exists() for above in (place, *place.parents))
            self._marked[folder] = marked
            if marked:
                self.left_out(folder or ".")
        return self._marked[folder]


class Found(NamedTuple):
    """A path below a folder; `listed` is False for a folder that cannot be listed."""

    path: str
    listed: bool = True


def walk(folder: str, outputs: OutputFilter) -> Iterator[Found]:
    """All files below `folder` except sidecars, and folders that cannot be listed.

    Links to folders are not followed. Folders of pictures are left out, and of an OpenSARShip scene
    only `Patch/` is read. If listing a folder fails halfway, the folder follows the files found.
    """
    pending = [folder]
    while pending:
        place = pending.pop()
        below: list[str] = []
        files: list[Found] = []
        try:
            with os.scandir(place) as items:
                for item in items:
                    if item.name == MARKER:
                        outputs.left_out(place)
                        below, files = [], []
                        break
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
    """Raises InputError if a folder cannot be listed."""
    try:
        os.scandir(folder).close()
    except OSError as error:
        raise InputError(f"cannot list {folder}: {error.strerror}") from error


def matcher(patterns: Sequence[str]) -> Callable[[str], bool]:
    """Whether a relative path matches one of the patterns; without any, all do.

    Raises InputError for a pattern that cannot be understood.
    """
    if not patterns:
        return lambda _: True
    compiled = [_compile(pattern) for pattern in patterns]
    return lambda name: any(one.fullmatch(name) for one in compiled)


def _compile(pattern: str) -> re.Pattern[str]:
    parts = [part for part in pattern.split("/") if part not in ("", ".")]
    if not parts or pattern.startswith("/"):
        raise InputError(
            f"pattern {pattern!r}; expected one such as *.tif or **/Cargo/*.png, which is matched "
            "against the path below the folder or in the archive"
        )
    if "/" not in pattern:
        parts.insert(0, "**")
    if pattern.endswith("/") or parts[-1] == "**":
        parts = [*parts, "**", "*"]
    try:
        folders = "".join("(?:[^/]+/)*" if p == "**" else f"{_part(p)}/" for p in parts[:-1])
        return re.compile(folders + _part(parts[-1]))
    except re.error as error:
        raise InputError(f"pattern {pattern!r} cannot be understood: {error}") from error


def _part(glob: str) -> str:
    """The regular expression of what stands between two slashes."""
    pieces = re.split(r"(\[!?\]?[^\]]*\]|\*+|\?)", glob)
    return "".join(_piece(piece) for piece in pieces)


def _piece(piece: str) -> str:
    if piece.startswith("*"):
        return "[^/]*"
    if piece == "?":
        return "[^/]"
    if piece.startswith("[") and piece.endswith("]") and len(piece) > 2:
        inner = piece[1:-1].replace("\\", r"\\").replace("[", r"\[")
        inverse = inner.startswith("!")
        return f"[{'^' if inverse else ''}{_class(inner[inverse:])}]"
    return re.escape(piece)


def _class(inner: str) -> str:
    return re.sub(r"([\]^&~|])", r"\\\1", inner)
