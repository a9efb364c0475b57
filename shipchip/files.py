"""Reading the file of a chip."""

from pathlib import Path

from shipchip.errors import Empty, NotFound, TooLarge, Unreadable

EMPTY = "the file has 0 bytes; expected a PNG, JPEG, TIFF or .npy chip"


def read_file(path: Path, max_bytes: int) -> bytes:
    """The bytes of a chip's file. NotFound, Unreadable, Empty or TooLarge, before it is opened."""
    try:
        if not path.exists():
            raise NotFound(f"no such file: {path}")
        if not path.is_file():
            raise Unreadable(f"{path} is no regular file; expected a chip")
        size = path.stat().st_size
        if size == 0:  # files of /proc say so, too, and reading some of them never ends
            raise Empty(EMPTY)
        if size > max_bytes:
            raise TooLarge(f"{size} bytes, the limit is {max_bytes}: send a smaller chip")
        with path.open("rb") as file:
            return file.read(max_bytes + 1)  # it may have grown since
    except (OSError, ValueError) as error:  # ValueError: a NUL byte in the path
        raise Unreadable(f"cannot read {path}: {error}") from error
