"""The mark of folders that a batch made for its pictures (--maps, --crops-by-label).

What is in a marked folder are no chips, even where the folder is among the chips of a later run. A
folder that holds anything else is never marked, so no chip is hidden by a mark.
"""

import os
from contextlib import suppress
from pathlib import Path

from serving.outputs.place import explained
from serving.rows import OutputError

MARKER = ".shipchip-pictures"

_TEXT = b"python -m serving.batch made this folder. Its runs do not take what is in it for chips.\n"
LONGEST_NAME = 134  # of the temporary files of serving.outputs.pictures, in bytes


def check_folder(folder: Path) -> None:
    """Raises OutputError where `folder` holds files of others, or cannot hold pictures."""
    with explained(folder), suppress(FileNotFoundError):
        (folder / ("x" * LONGEST_NAME)).lstat()  # fails where the file system cannot hold it
    with explained(folder), suppress(FileNotFoundError):
        content = os.listdir(folder)  # noqa: PTH208 (names, not paths)
        if content and MARKER not in content:
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
