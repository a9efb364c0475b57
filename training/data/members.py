"""The three containers of a data set. They raise what their libraries raise; see Archive."""

import os
import re
import subprocess
import zipfile
import zlib
from pathlib import Path
from typing import Protocol

import rarfile  # type: ignore[import-untyped]

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
    """Whether this folder is met for the first time; links can lead to one twice, or in circles."""
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
    """rarfile's settings of the tool to use; RarCannotExec where none is there. 7z comes last,
    because many distributions build it without rar."""
    try:
        return rarfile.tool_setup(sevenzip=False, sevenzip2=False).setup
    except rarfile.RarCannotExec:
        return rarfile.tool_setup().setup
