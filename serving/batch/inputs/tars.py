"""Members of a tar, by their position in it. An uncompressed tar is read in place; the chips of a
compressed tar are first copied to a TarStore."""

import bz2
import gzip
import lzma
import os
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Self, cast

from serving.batch.inputs.entries import ChipEntry, Fault, InputError, Span
from shipchip.chip import DecodeLimits
from shipchip.errors import TooLarge, Truncated, Unreadable

# A tar's own headers are far smaller. A larger one is a bomb, or not a tar.
_LARGEST_HEADER = 2**20
_CHUNK = 2**20

_DECOMPRESSORS: dict[bytes, Callable[[str], object]] = {
    b"\x1f\x8b": gzip.GzipFile,
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ": lzma.LZMAFile,
}


class Tape:
    """A file for tarfile that can be read forwards only, with headers of limited size.

    tarfile itself would follow a header that points back for ever, and read a header of any size.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._at = 0
        self.last = b""

    def tell(self) -> int:
        return self._at

    def read(self, size: int) -> bytes:
        """At most `size` bytes, which stay in `last`."""
        if not 0 <= size <= _LARGEST_HEADER:
            raise tarfile.ReadError(f"a header announces {size} bytes")
        self.last = self.take(size)
        return self.last

    def take(self, size: int) -> bytes:
        """At most `size` bytes, of content."""
        data = self._file.read(size)
        self._at += len(data)
        return data

    def seek(self, position: int) -> None:
        if position < self._at:
            raise tarfile.ReadError(f"a header points back, from {self._at} to {position}")
        self._at = self._file.seek(position)


class UnpackedTape(Tape):
    """The same for a compressed file, in which seeking means reading.

    Raises InputError beyond `most` bytes: that is a bomb, or better unpacked by hand.
    """

    def __init__(self, file: IO[bytes], path: str, most: int) -> None:
        super().__init__(file)
        self._path, self._most = path, most

    def take(self, size: int) -> bytes:
        data = super().take(size)
        if self._at > self._most:
            raise InputError(
                f"{self._path} unpacks to more than {self._most} bytes, far more than chips do; "
                "if it is sound, unpack it and give the folder"
            )
        return data

    def seek(self, position: int) -> None:
        if position < self._at:
            raise tarfile.ReadError(f"a header points back, from {self._at} to {position}")
        while self._at < position and self.take(min(_CHUNK, position - self._at)):
            pass


class TarStore:
    """The chips of compressed tars, in one temporary file that is removed when the block ends.

    The file has no name unless `named`, so nothing is left of it, even if the process is killed.

    A compressed tar can only be read from its start: to read chips in any order and in several
    processes, they are copied out once. Members over `limits.max_bytes` are not copied.

    folder  where the file is made, once it is needed; default: the system's, set by TMPDIR
    named   whether the file keeps its name, for processes on other machines; processes of this
            user reach it through /proc while this process lives

    InputError is raised beyond these bounds: `most_bytes` copied in all; a tar that unpacks to
    more than `most_ratio` times its size, beyond the first `always_bytes`.
    """

    most_bytes = 64 * 2**30
    most_ratio = 200
    always_bytes = 2**30

    def __init__(
        self, limits: DecodeLimits, folder: Path | None = None, *, named: bool = False
    ) -> None:
        self.limits = limits
        self._folder, self._named = folder, named
        self._file: IO[bytes] | None = None
        self._path = ""
        self._size = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def bound(self, compressed: int) -> int:
        """Bytes that a tar of so many compressed bytes may unpack to."""
        return max(self.always_bytes, self.most_ratio * compressed)

    def add(self, content: bytes) -> Span:
        """Copy `content`; returns its place. InputError if the disk is full, or beyond bounds."""
        offset, self._size = self._size, self._size + len(content)
        if self._size > self.most_bytes:
            raise InputError(
                f"compressed tars hold more than {self.most_bytes} bytes of chips; unpack them "
                "and give the folder"
            )
        try:
            file = self._file = self._file or self._opened()
            left = memoryview(content)
            while left:
                left = left[file.write(left) :]
        except OSError as error:
            where = self._folder or tempfile.gettempdir()
            raise InputError(
                f"cannot copy chips out of a compressed tar to {where}: {error.strerror}; set "
                "TMPDIR to a place with room, or unpack the tar and give the folder"
            ) from error
        return Span(self._path, offset, len(content))

    def _opened(self) -> IO[bytes]:
        if self._named:
            named = tempfile.NamedTemporaryFile(  # noqa: SIM115 (closed with the store)
                buffering=0, prefix="shipchip-", suffix=".chips", dir=self._folder
            )
            self._path = named.name
            return cast(IO[bytes], named)
        file = tempfile.TemporaryFile(buffering=0, dir=self._folder)  # noqa: SIM115
        self._path = f"/proc/{os.getpid()}/fd/{file.fileno()}"
        return file


def tar_members(
    path: str, keep: Callable[[str], bool], store: TarStore | None
) -> Iterator[ChipEntry]:
    """All members except folders; of a compressed tar, those to `keep` are copied to the store.

    Raises what tarfile and the decompressors raise on damaged content, after the members before it;
    InputError for a bomb, or if a store is needed and there is none.
    """
    with Path(path).open("rb") as plain:
        opener = _decompressor(plain.read(6))
        status = os.fstat(plain.fileno())
        if opener is None:
            plain.seek(0)
            stamp = (status.st_mtime_ns, status.st_size)
            for info in _infos(Tape(plain)):
                yield _member(path, info, Span(path, info.offset_data, info.size, stamp))
            return
    if store is None:
        raise InputError(f"{path} is compressed, and there is no place to copy its chips to")
    with cast(IO[bytes], opener(path)) as file:
        tape = UnpackedTape(file, path, store.bound(status.st_size))
        for info in _infos(tape):
            where = _copied(info, tape, store) if keep(info.name) and info.isreg() else None
            yield _member(path, info, where)


def _copied(info: tarfile.TarInfo, tape: Tape, store: TarStore) -> Span | Fault:
    if info.size > store.limits.max_bytes:
        most = store.limits.max_bytes
        return Fault(TooLarge, f"{info.size} bytes, the limit is {most}: send a smaller chip")
    content = tape.take(info.size)
    if len(content) < info.size:
        return Fault(Truncated, f"{info.name}: {len(content)} of {info.size} bytes are there")
    return store.add(content)


def _member(path: str, info: tarfile.TarInfo, where: Span | Fault | None) -> ChipEntry:
    stamp = (info.size, info.mtime)
    if info.isreg() and not info.issparse():
        return ChipEntry(path, info.name, where, stamp)
    kind = "a sparse file" if info.issparse() else "no regular file (a link, pipe or device)"
    fault = Fault(Unreadable, f"{info.name} is {kind}; expected a chip")
    return ChipEntry(path, info.name, fault, stamp)


def _infos(tape: Tape) -> Iterator[tarfile.TarInfo]:
    """Headers of all members except folders. Raises EOFError if the end mark is missing and
    ReadError for a damaged header, where tarfile would end silently."""
    file = cast(IO[bytes], tape)
    tar = tarfile.TarFile(fileobj=file, encoding="utf-8", errors="surrogateescape")
    while (info := tar.next()) is not None:
        tar.members.clear()  # type: ignore[attr-defined]  # those of a tar of millions would stay
        if info.size < 0:
            raise tarfile.ReadError(f"a header announces {info.size} bytes")
        if not info.isdir():
            yield info
    if len(tape.last) < tarfile.BLOCKSIZE:
        raise EOFError("its end mark is missing")
    if any(tape.last):
        raise tarfile.ReadError("a header is damaged")


def _decompressor(head: bytes) -> Callable[[str], object] | None:
    return next((how for magic, how in _DECOMPRESSORS.items() if head.startswith(magic)), None)


def read_span(span: Span, limits: DecodeLimits) -> bytes:
    """The bytes of a span.

    Raises TooLarge, Truncated, and Unreadable if the file has changed since it was listed.
    """
    if span.size > limits.max_bytes:
        raise TooLarge(f"{span.size} bytes, the limit is {limits.max_bytes}: send a smaller chip")
    with Path(span.file).open("rb") as file:
        status = os.fstat(file.fileno())
        if span.stamp not in (None, (status.st_mtime_ns, status.st_size)):
            raise Unreadable(f"{span.file} has changed since it was listed; run again")
        file.seek(span.offset)
        content = file.read(span.size)
    if len(content) < span.size:
        raise Truncated(f"the archive ends {span.size - len(content)} bytes before this member")
    return content
