"""Prepared chips on disk, read as one array: each chip is decoded once for many epochs."""

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shipchip.atomic import replacing, write_text
from shipchip.card import InputSpec
from shipchip.errors import ChipError
from shipchip.prepare import prepare
from training.data.presentation import PRESENTED_VERSION, presented, with_spacing
from training.data.record import Record, Source
from training.errors import DataInvalid

# Raise it when decode or prepare give other numbers than before; tests/golden then change too.
PREPARED_VERSION = 1


@dataclass(frozen=True, eq=False)
class PreparedChips:
    """Chips as the model sees them.

    inputs   float32 (N, 1, S, S), memory-mapped
    labels   int64 (N,), an index into `classes`
    records  the N records, in the same order
    views    V arrays like `inputs`, of random presentations of the same chips
    frozen   float32 (1 + V, N, D), features of the inputs and the views by a frozen network; None
             until they are computed
    """

    inputs: NDArray[np.float32]
    labels: NDArray[np.int64]
    records: tuple[Record, ...]
    classes: tuple[str, ...]
    views: tuple[NDArray[np.float32], ...] = ()
    frozen: NDArray[np.float32] | None = None

    def where(self, keep: NDArray[np.bool_]) -> "PreparedChips":
        """The chips for which `keep` (N,) is true."""
        chosen = np.flatnonzero(keep)
        records = tuple(self.records[i] for i in chosen)
        return PreparedChips(
            self.inputs[chosen],
            self.labels[chosen],
            records,
            self.classes,
            tuple(view[chosen] for view in self.views),
            None if self.frozen is None else self.frozen[:, chosen],
        )

    def every_view(self) -> "PreparedChips":
        """The chips and, after them, their views, as chips without views."""
        times = 1 + len(self.views)
        return PreparedChips(
            np.concatenate([self.inputs, *self.views]),
            np.tile(self.labels, times),
            self.records * times,
            self.classes,
            frozen=None
            if self.frozen is None
            else self.frozen.reshape(1, -1, self.frozen.shape[2]),
        )

    def __len__(self) -> int:
        return len(self.labels)


def concatenated(first: PreparedChips, second: PreparedChips) -> PreparedChips:
    """The chips of both in this order; their classes must be the same, and as many views."""
    return PreparedChips(
        np.concatenate([first.inputs, second.inputs]),
        np.concatenate([first.labels, second.labels]),
        first.records + second.records,
        first.classes,
        tuple(np.concatenate(pair) for pair in zip(first.views, second.views, strict=True)),
        None
        if first.frozen is None or second.frozen is None
        else np.concatenate([first.frozen, second.frozen], axis=1),
    )


def prepare_all(
    sources: list[Source],
    records: list[Record],
    spec: InputSpec,
    folder: Path,
    on_chip: Callable[[], None] = lambda: None,
    classes: tuple[str, ...] | None = None,
    view: int | None = None,
) -> PreparedChips:
    """Prepared chips of `records`, from `folder` where an earlier run left them.

    view  a number: not the chips as they are but a random presentation of each, which depends on
          the number and the chip's SHA-256 alone

    The file's name is a hash of the chips, of what their sources know of them, of the InputSpec and
    of PREPARED_VERSION, so a stale one is never read. Its SHA-256 stands beside it and is compared
    whenever the chips are read. Of several commands that need the same chips, one prepares them and
    the others wait. Raises DataInvalid, naming the first and the number, where chips cannot be
    decoded, or where the file is not what was written; OSError if the disk has no room for it.
    """
    names = classes or tuple(sorted({record.label for record in records}))
    labels = np.array([names.index(record.label) for record in records], dtype=np.int64)
    path = folder / f"chips-{_key(sources, records, spec, view)}.npy"
    if not _is_finished(path):
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(path.with_suffix(".lock")):
            if not _is_finished(path):  # another command may have prepared them meanwhile
                _write(path, sources, records, spec, view, on_chip)
    _check_sum(path)
    inputs = np.load(path, mmap_mode="r", allow_pickle=False)
    return PreparedChips(inputs, labels, tuple(records), names)


def _input(
    source: Source, record: Record, spec: InputSpec, view: int | None
) -> NDArray[np.float32]:
    chip = source.read(record)
    if view is not None:
        rng = np.random.default_rng([view, int(record.sha256[:16], 16)])
        chip = presented(with_spacing(chip, spec), rng)
    return prepare(chip, spec).input


def _key(sources: list[Source], records: list[Record], spec: InputSpec, view: int | None) -> str:
    digest = hashlib.sha256(f"{PREPARED_VERSION} {spec.model_dump_json()}".encode())
    if view is not None:
        digest.update(f"view {view} of {PRESENTED_VERSION}\n".encode())
    for source in sources:
        digest.update(f"{source.name}\0{source.context()}\n".encode())
    for record in records:
        digest.update(f"{record.source}\0{record.key}\0{record.sha256}\n".encode())
    return digest.hexdigest()[:16]


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock of one file of chips; the system frees it when the process ends, however."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _write(
    path: Path,
    sources: list[Source],
    records: list[Record],
    spec: InputSpec,
    view: int | None,
    on_chip: Callable[[], None],
) -> None:
    with replacing(path) as temporary:
        digest = _write_chips(temporary, sources, records, spec, view, on_chip)
        write_text(_sum_of(path), f"{digest}  {path.name}\n")


def _write_chips(
    temporary: Path,
    sources: list[Source],
    records: list[Record],
    spec: InputSpec,
    view: int | None,
    on_chip: Callable[[], None],
) -> str:
    """Write the chips one after another; the SHA-256 of the file.

    Not through a memory map: on a full disk that kills the process with SIGBUS.
    """
    by_name = {source.name: source for source in sources}
    shape = (len(records), 1, spec.size, spec.size)
    failures: list[str] = []
    with temporary.open("w+b") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": "<f4", "fortran_order": False, "shape": shape}
        )
        _allocate(file.fileno(), file.tell() + 4 * int(np.prod(shape)), temporary)
        for record in records:
            try:
                chip = _input(by_name[record.source], record, spec, view)
                file.write(np.ascontiguousarray(chip, dtype="<f4").data)
            except ChipError as error:
                failures.append(f"{record.source} {record.key}: {error.code}: {error}")
            on_chip()
        if failures:
            raise DataInvalid(
                f"{len(failures)} of {len(records)} chips cannot be read, the first is "
                f"{failures[0]}; remove them or fetch the archive again"
            )
        file.seek(0)
        return hashlib.file_digest(file, "sha256").hexdigest()


def _allocate(descriptor: int, size: int, path: Path) -> None:
    """Take the room on the disk now, not after an hour of decoding."""
    if not hasattr(os, "posix_fallocate"):  # macOS; a full disk then shows while writing
        return
    try:
        os.posix_fallocate(descriptor, 0, size)
    except OSError as error:
        message = f"{error.strerror}: prepared chips take {size / 2**20:.1f} MB"
        raise OSError(error.errno, message, str(path.parent)) from error


def _is_finished(path: Path) -> bool:
    return path.exists() and _sum_of(path).exists()


def _sum_of(path: Path) -> Path:
    return path.with_suffix(".npy.sha256")


def _check_sum(path: Path) -> None:
    expected = _sum_of(path).read_text(encoding="utf-8").split()[0]
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != expected:
        raise DataInvalid(
            f"{path} is not what was written there (sha256 {found[:12]}, expected "
            f"{expected[:12]}); delete it, and run the same command again"
        )
