"""Files that other programs leave beside chips. They are no chips, even where they look like one:
an overview (`chip.tif.ovr`) is a TIFF, and a resource fork (`._chip.tif`) has the ending of one."""

import re

# What macOS adds to archives: a folder of resource forks.
_FOLDERS = frozenset({"__macosx"})

_FILES = re.compile(
    r"""\._.*                                             # resource forks of macOS
    |   \.ds_store | thumbs\.db | ehthumbs\.db | desktop\.ini  # settings of folders
    |   .+\.(?: aux\.xml | ovr | msk                      # of GDAL: statistics, overviews, masks
            |   (?: tf | tif | jg | jpg | jpeg | pg | png ) w x?  # world files
            |   wld | prj                                 # world files, and their projections
            |   sha256 | md5 )                            # checksums
    """,
    re.VERBOSE | re.DOTALL,
)


def is_sidecar(path: str) -> bool:
    """Whether a path with forward slashes names a sidecar, or lies in a folder of them.

    A path that ends in a slash is a folder's. Case does not count: Windows writes `Thumbs.db`,
    and FAT file systems `THUMBS.DB`.
    """
    *folders, name = path.lower().split("/")
    return not _FOLDERS.isdisjoint(folders) or _FILES.fullmatch(name) is not None
