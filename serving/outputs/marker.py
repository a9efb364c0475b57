"""The mark of folders that a batch made for its pictures (--maps, --crops-by-label).

Files in a marked folder are not chips, even where the folder is among the chips of a later run.
Only a new or an empty folder is marked, so a mark never hides chips that were there before.
"""

import os
from contextlib import suppress
from pathlib import Path

from serving.outputs.place import explained
from serving.rows import OutputError

MARKER = ".shipchip-pictures"

LONGEST_NAME = 134  # of the temporary files of serving.outputs.pictures, in bytes

_TEXT = b"Made by python -m serving.batch for pictures. Later runs leave this folder out.\n"


def check_folder(folder: Path) -> None:
    """Raises OutputError where `folder` cannot hold pictures, or holds files and has no mark."""
    with explained(folder), suppress(FileNotFoundError):
        (folder / ("x" * LONGEST_NAME)).lstat()  # fails where the file system cannot hold it
    with explained(folder), suppress(FileNotFoundError):
        content = os.listdir(folder)  # noqa: PTH208 (names, not paths)
        if content and not (folder / MARKER).exists():
            raise OutputError(
                f"{folder} holds files that no batch wrote, such as {sorted(content)[0]}; give a "
                "new or an empty folder for pictures"
            )


def make_folder(folder: Path) -> None:
    """Make a folder for pictures, or take one that a run has made. Raises OutputError."""
    check_folder(folder)
    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError), (folder / MARKER).open("xb") as file:
            file.write(_TEXT)
