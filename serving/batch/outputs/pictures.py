"""Pictures beside the rows: activation maps, and chips sorted by label.

An entry's name is untrusted: a file here is named by the entry's number and the harmless characters
of its name, so that names are unique and no file is outside its folder. All functions take plain
values, for worker processes, and repeating one gives the same file.
"""

import os
import shutil
import stat
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from serving.batch.outputs.place import output_errors
from serving.batch.rows import FAILED, OutputError
from serving.pictures import chip_grey, draw_answer, png_of, with_caption
from shipchip import InputSpec, Prediction
from shipchip.atomic import replacing, write_bytes

_LONGEST_STEM, _LONGEST_ENDING = 100, 16  # bytes

# The mark of folders that a batch made for its pictures (--maps, --crops-by-label). Files in a
# marked folder are not chips, even if a later run reads the folder. Only a new or an empty folder
# is marked, so a mark never hides chips that were there before.
MARKER = ".shipchip-pictures"

LONGEST_NAME = 134  # of temporary files here, in bytes


def check_folder(folder: Path, run: str | None = None) -> None:
    """Raises OutputError if `folder` cannot hold pictures, has files but no mark, or has pictures
    of another run than `run` (None: not known yet)."""
    with output_errors(folder), suppress(FileNotFoundError):
        (folder / ("x" * LONGEST_NAME)).lstat()  # fails where the file system cannot hold it
    with output_errors(folder), suppress(FileNotFoundError):
        content = os.listdir(folder)  # noqa: PTH208 (names, not paths)
        if content and not (folder / MARKER).exists():
            raise OutputError(
                f"{folder} holds files that no batch wrote, such as {sorted(content)[0]}; give a "
                "new or an empty folder for pictures"
            )
        if run and content and (folder / MARKER).read_bytes() != _marker_of(run):
            raise OutputError(
                f"{folder} has the pictures of another run (other chips, model or options); "
                "delete it, or give a new folder"
            )


def make_folder(folder: Path, run: str) -> None:
    """Create the folder for the pictures of `run`, or use the one that this run, or another shard
    of it, made before. Raises OutputError."""
    check_folder(folder, run)
    with output_errors(folder):
        write_bytes(folder / MARKER, _marker_of(run))


def _marker_of(run: str) -> bytes:
    text = f"Pictures of shipchip classify. Later runs leave this folder out.\nrun: {run}\n"
    return text.encode()


def draw_map(chip: NDArray[np.float32], prediction: Prediction, spec: InputSpec) -> bytes | None:
    """A PNG of a prepared chip (1, S, S) with the activation map and the outline of its prediction
    over it, and label, verdict and length below; None if there is no map. `spec` as in the card."""
    decibels = chip[0] * spec.db_scale
    pixels = draw_answer(chip_grey(decibels), decibels, prediction, spec)
    return None if pixels is None else png_of(with_caption(pixels, prediction))


def write_map(folder: Path, index: int, name: str, png: bytes) -> Path:
    """Write the PNG of entry `index` to `folder`; returns its path. Raises OutputError."""
    path = folder / (file_name(index, name) + ".png")
    with output_errors(path), replacing(path) as temporary:
        _write_new(temporary, png)
    return path


def sort_crop(
    folder: Path,
    label: str | None,
    index: int,
    name: str,
    chip: bytes | Path,
    *,
    copy: bool = False,
) -> Path | None:
    """Put the chip of entry `index` into `folder`/`label`, or into /failed if it has no label.

    A path becomes a symbolic link, or with `copy` a copy; bytes are always copied. Returns the
    path, or None if the chip to copy is empty, not a regular file or unreadable; its row says so
    already. Raises OutputError if the folder cannot be written.
    """
    place = folder / _on_disk(_cut(_harmless(label or FAILED)))
    if place.is_symlink():  # it may lead out of the folder
        raise OutputError(f"{place} is a link; expected a folder, or nothing yet")
    path = place / file_name(index, name)
    with output_errors(path), replacing(path) as temporary:
        if isinstance(chip, bytes):
            _write_new(temporary, chip)
        elif not copy:
            temporary.symlink_to(chip.absolute())
        else:
            content = _open_readable(chip)
            if content is None:
                return None
            with os.fdopen(content, "rb") as source, temporary.open("xb") as target:
                shutil.copyfileobj(source, target)
    return path


def file_name(index: int, name: str) -> str:
    """The file name for entry `index`: 00000012-ship.tif for "b/ship.tif", say.

    At most 125 bytes; letters, digits, dots, hyphens and underscores.
    """
    base = _harmless(name.replace("\\", "/").rpartition("/")[2])
    stem, dot, ending = base.rpartition(".")
    if not stem or len(ending.encode()) >= _LONGEST_ENDING:
        stem, dot, ending = base, "", ""
    return _on_disk(f"{index:08d}-{_cut(stem)}{dot}{ending}")


def _harmless(text: str) -> str:
    """Letters, digits, dots, hyphens and underscores only, and not a hidden name."""
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in text.lstrip(".")) or "_"


def _on_disk(name: str) -> str:
    """A name that is UTF-8 on disk in any locale."""
    return os.fsdecode(name.encode())


def _cut(text: str) -> str:
    return text.encode()[:_LONGEST_STEM].decode("utf-8", "ignore")


def _open_readable(path: Path) -> int | None:
    """A descriptor of a regular file that is not empty. Others are not opened: reading a pipe, a
    device or a file in /proc (size 0) may never end."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode) or status.st_size == 0:
            return None
        return os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # in case it is a pipe by now
    except OSError:
        return None


def _write_new(path: Path, content: bytes) -> None:
    with path.open("xb") as file:  # never through an existing link
        file.write(content)
