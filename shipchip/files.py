"""Files on disk: reading a chip, and recognising files beside it that are not chips."""

import re
from pathlib import Path

from shipchip.errors import Empty, NotFound, TooLarge, Unreadable

EMPTY = "the file has 0 bytes; expected a PNG, JPEG, TIFF or .npy chip"

# What macOS adds to archives: a folder of resource forks.
_SIDECAR_FOLDERS = frozenset({"__macosx"})

_SIDECARS = re.compile(
    r"""\._.*                                             # resource forks of macOS
    |   \.ds_store | thumbs\.db | ehthumbs\.db | desktop\.ini  # settings of folders
    |   .+\.(?: aux\.xml | ovr | msk                      # of GDAL: statistics, overviews, masks
            |   (?: tf | tif | jg | jpg | jpeg | pg | png ) w x?  # world files
            |   wld | prj                                 # world files, and their projections
            |   sha256 | md5 )                            # checksums
    """,
    re.VERBOSE | re.DOTALL,
)


def read_chip_file(path: Path, max_bytes: int) -> bytes:
    """The bytes of a chip's file. NotFound, Unreadable, Empty or TooLarge, before it is opened."""
    try:
        if not path.exists():
            raise NotFound(f"no such file: {path}")
        if not path.is_file():
            raise Unreadable(f"{path} is no regular file; expected a chip")
        size = path.stat().st_size
        if size == 0:  # also true of files in /proc, some of which never end
            raise Empty(EMPTY)
        if size > max_bytes:
            raise TooLarge(f"{size} bytes, the limit is {max_bytes}: send a smaller chip")
        with path.open("rb") as file:
            return file.read(max_bytes + 1)  # it may have grown since
    except (OSError, ValueError) as error:  # ValueError: a NUL byte in the path
        raise Unreadable(f"cannot read {path}: {error}") from error


def is_sidecar(path: str) -> bool:
    """Whether a path (with forward slashes) is a sidecar, or lies in a folder of sidecars.

    Other programs leave these files beside chips. They are not chips even if they look like one: an
    overview (`chip.tif.ovr`) is a TIFF, and a resource fork (`._chip.tif`) has a TIFF's ending.

    A path that ends in a slash is a folder's. Case is ignored: Windows writes `Thumbs.db`, and FAT
    file systems write `THUMBS.DB`.
    """
    *folders, name = path.lower().split("/")
    return not _SIDECAR_FOLDERS.isdisjoint(folders) or _SIDECARS.fullmatch(name) is not None
