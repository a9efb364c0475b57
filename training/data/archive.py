"""Files of a data set, read in place: a zip or rar as downloaded, or the folder it unpacks to.

Nothing is ever unpacked to disk, so a member's name is only a name, whatever it contains.
"""

import lzma
import os
import re
import struct
import subprocess
import zipfile
import zlib
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Protocol

import rarfile  # type: ignore[import-untyped]

from shipchip.files import is_sidecar
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
# Flag bit 0 of a zip member: its content is encrypted.
_ENCRYPTED = 0x1


class Members(Protocol):
    """Files by name, with forward slashes.

    files    names of all files
    folders  names of folders that the container lists, which may hold nothing
    locked   whether a password is needed
    """

    @property
    def files(self) -> list[str]: ...

    @property
    def folders(self) -> list[str]: ...

    @property
    def locked(self) -> bool: ...

    def size(self, name: str) -> int:
        """Bytes of one file, as the container says, and no more than that are ever read."""
        ...

    def read(self, name: str) -> bytes:
        """Content of one file."""
        ...


class FolderMembers:
    """Regular files below a folder, links to other folders followed, each folder once.

    One that may not be listed is an error, not an empty one.
    apart  folders that are left out, by their real paths
    """

    locked = False

    def __init__(self, path: Path, apart: frozenset[Path] = frozenset()) -> None:
        self._path = path
        self.folders: list[str] = []
        self._files: dict[str, Path] = {}
        seen = {path.resolve(), *apart}
        for where, folders, files in os.walk(path, onerror=_refuse, followlinks=True):
            here = Path(where)
            folders.sort()
            folders[:] = [name for name in folders if _first(here / name, seen)]
            self.folders += [(here / name).relative_to(path).as_posix() for name in folders]
            for file in (here / name for name in files):
                # A dangling link is kept, to fail by name when it is read; a pipe would hang.
                if file.is_file() or not file.exists():
                    self._files[file.relative_to(path).as_posix()] = file

    @property
    def files(self) -> list[str]:
        return list(self._files)

    def size(self, name: str) -> int:
        return self._files[name].stat().st_size

    def read(self, name: str) -> bytes:
        return self._files[name].read_bytes()


def _first(folder: Path, seen: set[Path]) -> bool:
    """Whether this folder was not visited before; links can lead to it twice, or in circles."""
    real = folder.resolve()
    if real in seen:
        return False
    seen.add(real)
    return True


def _refuse(error: OSError) -> None:
    raise error


class ZipMembers:
    """Members of a zip; backslashes, which some Windows programs write, become slashes."""

    def __init__(self, path: Path) -> None:
        self._zip = zipfile.ZipFile(path)
        members = {info.filename.replace("\\", "/"): info for info in self._zip.infolist()}
        self._files = {name: info for name, info in members.items() if not name.endswith("/")}
        self.files = list(self._files)
        self.folders = [name for name in members if name.endswith("/")]
        self.locked = any(info.flag_bits & _ENCRYPTED for info in self._files.values())

    def size(self, name: str) -> int:
        return self._files[name].file_size

    def read(self, name: str) -> bytes:
        return self._zip.read(self._files[name])


class RarMembers:
    """Members of a rar. Stored ones are read here; compressed ones by a tool that rarfile finds."""

    def __init__(self, path: Path) -> None:
        self._path = path
        blocks: list[int] = []
        self._rar = rarfile.RarFile(path, info_callback=lambda block: blocks.append(block.type))
        self.locked = bool(self._rar.needs_password())
        # rarfile stops without a word where a file is cut or a block damaged.
        if not self.locked and rarfile.RAR_BLOCK_ENDARC not in blocks:
            raise rarfile.BadRarFile("no end mark is reached")
        members = {info.filename.replace("\\", "/"): info for info in self._rar.infolist()}
        self._files = {name: info for name, info in members.items() if not info.is_dir()}
        self.files = list(self._files)
        self.folders = [name for name, info in members.items() if info.is_dir()]

    def size(self, name: str) -> int:
        return int(self._files[name].file_size)

    def read(self, name: str) -> bytes:
        info = self._files[name]
        if info.compress_type != rarfile.RAR_M0 and _tool() is rarfile.BSDTAR_CONFIG:
            return self._by_bsdtar(info)
        return bytes(self._rar.read(info))

    def _by_bsdtar(self, info: rarfile.RarInfo) -> bytes:
        """One member by bsdtar, whose command line rarfile 4 gets wrong: it takes `--` for -f."""
        literal = re.sub(r"([\\*?\[\]])", r"\\\1", info.filename)  # bsdtar takes patterns
        command = [rarfile.BSDTAR_TOOL, "-x", "--to-stdout", "-f", str(self._path), "--", literal]
        done = subprocess.run(command, capture_output=True, check=False)
        if done.returncode or len(done.stdout) != info.file_size:
            said = done.stderr.decode(errors="replace").splitlines()
            raise rarfile.BadRarFile(said[0] if said else f"bsdtar gave {len(done.stdout)} bytes")
        if info.CRC is not None and zlib.crc32(done.stdout) != info.CRC:
            raise rarfile.BadRarFile("bsdtar gave content of another checksum")
        return done.stdout


def _tool() -> object:
    """rarfile's settings of the tool to use; RarCannotExec if there is none. 7z comes last,
    because many distributions build it without rar."""
    try:
        return rarfile.tool_setup(sevenzip=False, sevenzip2=False).setup
    except rarfile.RarCannotExec:
        return rarfile.tool_setup().setup


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
        """Sorted names of all files, without what other programs leave beside chips."""
        return sorted(name for name in self._members.files if not is_sidecar(name))

    @cached_property
    def folders(self) -> set[str]:
        """Names of all folders, empty ones included."""
        parents = (str(p) for name in self.names for p in PurePosixPath(name).parents)
        folders = (folder.rstrip("/") for folder in self._members.folders)
        given = (folder for folder in folders if not is_sidecar(f"{folder}/"))
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
        """Members by the file's content, not by its name."""
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
    it, because that name may say what the file is."""
    return path.resolve() if path.is_dir() else path.parent.resolve() / path.name


def is_dataset_archive(path: Path) -> bool:
    """Whether the name has the ending of an archive."""
    return path.suffix.lower() in DATASET_ARCHIVE_SUFFIXES


def children(folder: Path) -> list[Path]:
    """The content of a folder, sorted, without hidden files. Raises DataInvalid if it may not
    be listed."""
    try:
        return [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
    except OSError as error:
        raise DataInvalid(f"{folder} cannot be listed ({error}); check its permissions") from error
