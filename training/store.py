"""Prepared chips on disk, read as one array: each chip is decoded once for many epochs."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shipchip.card import InputSpec
from shipchip.errors import ChipError
from shipchip.prepare import prepare
from training.errors import DataInvalid
from training.sources.record import Record, Source

# Raise it where decode or prepare give other numbers than before: tests/golden then change, too.
PREPARED_VERSION = 1


@dataclass(frozen=True, eq=False)
class Prepared:
    """Chips as the model sees them.

    inputs   float32 (N, 1, S, S), memory-mapped
    labels   int64 (N,), an index into `classes`
    records  the N records, in the same order
    """

    inputs: NDArray[np.float32]
    labels: NDArray[np.int64]
    records: tuple[Record, ...]
    classes: tuple[str, ...]

    def where(self, keep: NDArray[np.bool_]) -> "Prepared":
        """The chips for which `keep` (N,) is true."""
        chosen = np.flatnonzero(keep)
        records = tuple(self.records[i] for i in chosen)
        return Prepared(self.inputs[chosen], self.labels[chosen], records, self.classes)

    def __len__(self) -> int:
        return len(self.labels)


def joined(first: Prepared, second: Prepared) -> Prepared:
    """The chips of both, in this order; their classes are the same."""
    return Prepared(
        np.concatenate([first.inputs, second.inputs]),
        np.concatenate([first.labels, second.labels]),
        first.records + second.records,
        first.classes,
    )


def prepare_all(
    sources: list[Source],
    records: list[Record],
    spec: InputSpec,
    folder: Path,
    on_chip: Callable[[], None] = lambda: None,
    classes: tuple[str, ...] | None = None,
) -> Prepared:
    """Prepared chips of `records`, from `folder` where an earlier run left them.

    The file's name is a hash of the chips, of what their sources know of them, of the InputSpec and
    of PREPARED_VERSION, so a stale one is never read.
    Raises DataInvalid, naming the first and the number, where chips cannot be decoded.
    """
    names = classes or tuple(sorted({record.label for record in records}))
    labels = np.array([names.index(record.label) for record in records], dtype=np.int64)
    path = folder / f"chips-{_key(sources, records, spec)}.npy"
    if not path.exists():
        _write(path, sources, records, spec, on_chip)
    inputs = np.load(path, mmap_mode="r", allow_pickle=False)
    return Prepared(inputs, labels, tuple(records), names)


def _key(sources: list[Source], records: list[Record], spec: InputSpec) -> str:
    digest = hashlib.sha256(f"{PREPARED_VERSION} {spec.model_dump_json()}".encode())
    for source in sources:
        digest.update(f"{source.name}\0{source.context()}\n".encode())
    for record in records:
        digest.update(f"{record.source}\0{record.key}\0{record.sha256}\n".encode())
    return digest.hexdigest()[:16]


def _write(
    path: Path,
    sources: list[Source],
    records: list[Record],
    spec: InputSpec,
    on_chip: Callable[[], None],
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_suffix(".half.npy")
    shape = (len(records), 1, spec.size, spec.size)
    array = np.lib.format.open_memmap(half, mode="w+", dtype=np.float32, shape=shape)
    by_name = {source.name: source for source in sources}
    failures: list[str] = []
    for row, record in enumerate(records):
        try:
            array[row] = prepare(by_name[record.source].read(record), spec)
        except ChipError as error:
            failures.append(f"{record.source} {record.key}: {error.code}: {error}")
        on_chip()
    array.flush()
    del array
    if failures:
        half.unlink()
        raise DataInvalid(
            f"{len(failures)} of {len(records)} chips cannot be read, the first is {failures[0]}; "
            "remove them or fetch the archive again"
        )
    half.replace(path)
