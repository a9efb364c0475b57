"""Files of a data set, read in place: a zip or rar as it is downloaded, or what it unpacks to.

Nothing is ever unpacked to disk, so a member's name is only a name, whatever it contains.
"""

import lzma
import struct
import zipfile
import zlib
from functools import cached_property
from pathlib import Path, PurePosixPath

import rarfile  # type: ignore[import-untyped]

from training.data.members import FolderMembers, Members, RarMembers, ZipMembers
from training.errors import DataInvalid, DataMissing

DATASET_ARCHIVE_SUFFIXES = (".zip", ".rar")

# A chip, a meta.csv or a Ship.xml is far smaller; a member that claims more is a bomb or no chip.
LARGEST_MEMBER = 64 * 1024 * 1024

# What zipfile, rarfile and the system raise on containers that are cut, damaged or locked.
_DAMAGED = (
    zipfile.BadZipFile,
    rarfile.Error,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    OSError,
    EOFError,
    KeyError,
    ValueError,
    RuntimeError,
)
_RAR_TOOL = (
    "a compressed rar needs one of the tools bsdtar, unrar, unar or 7z, and none is there: install "
    "one (apt install libarchive-tools), or unpack the archive and give its folder"
)


class Archive:
    """Members of a zip, a rar or a folder, by their names with forward slashes.

    apart  folders, by their real paths, whose content is not this archive's
    """

    def __init__(self, path: Path, apart: frozenset[Path] = frozenset()) -> None:
        if not path.exists():
            raise DataMissing(f"no such archive or folder: {path}")
        self.path = located(path)
        self._apart = apart

    @cached_property
    def names(self) -> list[str]:
        """Sorted names of all files, without those that macOS adds to a zip."""
        return sorted(name for name in self._members.files if not _of_macos(name))

    @cached_property
    def folders(self) -> set[str]:
        """Names of all folders, empty ones included."""
        parents = (str(p) for name in self.names for p in PurePosixPath(name).parents)
        given = (f.rstrip("/") for f in self._members.folders if not _of_macos(f))
        return {*parents, *given} - {"", "."}

    @cached_property
    def wrapper(self) -> str:
        """The one folder that an archive wraps everything in, with its slash; empty for none."""
        tops = {name.split("/")[0] for name in (*self.names, *self.folders)}
        only = next(iter(tops)) if len(tops) == 1 else ""
        return f"{only}/" if only in self.folders and not self.path.is_dir() else ""

    def read(self, name: str) -> bytes:
        """Bytes of one member. Raises DataInvalid if it is damaged, locked or not readable."""
        try:
            size = self._members.size(name)
            if size > LARGEST_MEMBER:
                raise DataInvalid(
                    f"{self.path}: {name} has {size} bytes, the limit is {LARGEST_MEMBER}; "
                    "expected a chip or its description"
                )
            return self._members.read(name)
        except rarfile.RarCannotExec as error:
            raise DataInvalid(f"{self.path}: {_RAR_TOOL}") from error
        except PermissionError as error:
            raise DataInvalid(
                f"{self.path}: {name} may not be read; check its permissions"
            ) from error
        except _DAMAGED as error:
            again = "check the disk" if self.path.is_dir() else "fetch the archive again"
            if self.path.suffix.lower() == ".rar":  # bsdtar, for one, reads no solid ones
                again = f"unpack it and give the folder, or {again}"
            raise DataInvalid(f"{self.path}: {name} cannot be read ({error}); {again}") from error

    @cached_property
    def _members(self) -> Members:
        try:
            return self._open()
        except PermissionError as error:
            raise DataInvalid(
                f"{error.filename or self.path} may not be read; check its permissions"
            ) from error
        except _DAMAGED as error:
            kind = self.path.suffix.lower().lstrip(".") or "folder"
            raise DataInvalid(
                f"{self.path} cannot be opened as a {kind} ({error}); is the download complete? "
                "Fetch it again"
            ) from error

    def _open(self) -> Members:
        """Members by what the file holds, whatever its name ends in."""
        if self.path.is_dir():
            return FolderMembers(self.path, self._apart)
        with self.path.open("rb") as file:
            head = file.read(8)
        if head.startswith(b"PK"):
            members: Members = ZipMembers(self.path)
        elif head.startswith(b"Rar!\x1a\x07"):
            members = RarMembers(self.path)
        else:
            found = f"starts with {head!r}" if head else "is empty"
            page = ": a web page was saved in its place" if head.lstrip()[:1] == b"<" else ""
            raise DataInvalid(
                f"{self.path} {found}{page}; expected a zip or rar archive: fetch it again"
            )
        if members.locked:
            raise DataInvalid(
                f"{self.path} is password-protected; unpack it and give the folder, or fetch an "
                "archive without a password"
            )
        return members


def located(path: Path) -> Path:
    """The same path however it was written: a folder's real one; a file keeps the name of a link to
    it, because that name may tell what the file is."""
    return path.resolve() if path.is_dir() else path.parent.resolve() / path.name


def is_dataset_archive(path: Path) -> bool:
    """Whether the name ends as an archive's does."""
    return path.suffix.lower() in DATASET_ARCHIVE_SUFFIXES


def children(folder: Path) -> list[Path]:
    """What stands in a folder, sorted, without hidden files. Raises DataInvalid if it may not
    be listed."""
    try:
        return [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
    except OSError as error:
        raise DataInvalid(f"{folder} cannot be listed ({error}); check its permissions") from error


def _of_macos(name: str) -> bool:
    """Whether a member is a resource fork: `._chip.tif` is no chip, though it ends as one."""
    parts = name.split("/")
    return "__MACOSX" in parts or parts[-1].startswith("._")
