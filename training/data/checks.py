"""Checks of the data before training: chips that cannot be read, duplicates, and notes.

Duplicates are found among prepared chips, so a TIFF and a PNG of one chip are equal.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shipchip.errors import ChipError, ShipchipError
from training.data.record import CLASSES, Record, Source, drop_repeats
from training.data.store import PreparedChips
from training.errors import DataInvalid


@dataclass(frozen=True)
class Problem:
    """A chip that cannot be read: where it is, the stable code of the error, and its message."""

    source: str
    key: str
    code: str
    message: str


def _nothing() -> None:
    """Called once per chip if the caller shows no progress."""


def verify(
    sources: Sequence[Source],
    records: Iterable[Record],
    on_chip: Callable[[], None] = _nothing,
) -> list[Problem]:
    """Decode every chip; the problems of those that cannot be read, in the order of `records`."""
    by_name = {source.name: source for source in sources}
    problems = []
    for record in records:
        try:
            by_name[record.source].read(record)
        except ShipchipError as error:
            problems.append(Problem(record.source, record.key, error.code, str(error)))
        on_chip()
    return problems


def notes(sources: Sequence[Source], kept: Sequence[Record] | None = None) -> list[str]:
    """One line each, starting with the source's name: repeats, classes that it lacks, and what it
    says of itself. Raises DataInvalid as the sources' `index` does.

    kept  the chips that are used, by default all but byte-identical repeats
    """
    everything = [record for source in sources for record in source.index()]
    unlike = drop_repeats(everything)
    labels = {record.sha256: record.label for record in unlike}
    count = Counter(record.source for record in everything)
    repeats = count - Counter(record.source for record in unlike)
    twins = count - repeats - Counter(r.source for r in (unlike if kept is None else kept))
    disputed = Counter(r.source for r in everything if r.label != labels[r.sha256])
    lines = []
    for source in sources:
        own = []
        if repeats[source.name]:
            otherwise = disputed[source.name]
            extra = f" ({otherwise} of them are in another class here)" if otherwise else ""
            own.append(f"{repeats[source.name]} byte-identical repeats are left out{extra}")
        if twins[source.name]:
            own.append(f"{twins[source.name]} chips of the same pixels are left out")
        found = {record.label for record in everything if record.source == source.name}
        own += [f"there is no {label} chip" for label in CLASSES if label not in found]
        lines += [f"{source.name}: {line}" for line in (*own, *source.notes())]
    return lines


# Correlation of two prepared chips from which they are taken for one picture. Of 1.5 million pairs
# of the project's chips two of different groups are above it, both of one scene; a JPEG copy is.
NEAR = 0.95
_THUMBNAIL = 16  # pixels a side of what is compared first
_ROWS = 512  # chips compared with all others at a time


def pixel_sums(sources: Sequence[Source], records: Iterable[Record]) -> Iterator[str]:
    """SHA-256 of each chip's decoded samples, which is that of a copy in another file format, too.

    Unlike prepared chips, they do not depend on what a source knows of the pixel spacing. Raises
    DataInvalid, which names the chip, if one cannot be read.
    """
    by_name = {source.name: source for source in sources}
    for record in records:
        try:
            amplitude = by_name[record.source].read(record).amplitude
        except ChipError as error:
            raise DataInvalid(
                f"{record.source} {record.key} cannot be read: {error.code}: {error}; remove it or "
                "fetch the archive again"
            ) from error
        yield hashlib.sha256(f"{amplitude.shape}".encode() + amplitude.tobytes()).hexdigest()


def drop_equal_pixels(chips: PreparedChips) -> list[Record]:
    """The chips' records without those whose prepared pixels equal another's; the first of each
    stays, and the groups of equal chips become one."""
    sums = [hashlib.sha256(chip.tobytes()).hexdigest() for chip in chips.inputs]
    return drop_repeats(chips.records, sums)


def near_duplicates(chips: PreparedChips, kept: list[Record]) -> list[tuple[Record, Record]]:
    """Pairs of chips in different groups that correlate by more than NEAR, among those kept."""
    groups = {(record.source, record.key): record.group for record in kept}
    rows = [row for row, r in enumerate(chips.records) if (r.source, r.key) in groups]
    number = {group: n for n, group in enumerate(sorted(set(groups.values())))}
    own = np.array([number[record.group] for record in kept])
    return [
        (kept[first], kept[second])
        for first, second in _alike(chips.inputs[rows])
        if own[first] != own[second]
    ]


def _alike(inputs: NDArray[np.float32]) -> Iterator[tuple[int, int]]:
    """Pairs of rows of inputs (N, 1, S, S) that correlate by more than NEAR. Small means are
    compared first: means are at least as similar, and far smaller."""
    small = _centred(_thumbnails(inputs[:, 0]))
    for start in range(0, len(small), _ROWS):
        near = small[start : start + _ROWS] @ small.T > NEAR
        firsts, seconds = np.nonzero(np.triu(near, start + 1))
        for first, second in zip((firsts + start).tolist(), seconds.tolist(), strict=True):
            one, other = _centred(inputs[[first, second]])
            if one @ other > NEAR:
                yield first, second


def _thumbnails(images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Images (N, S, S) averaged to about _THUMBNAIL pixels a side."""
    step = max(1, images.shape[1] // _THUMBNAIL)
    side = images.shape[1] // step
    cut = images[:, : side * step, : side * step]
    means: NDArray[np.float32] = cut.reshape(len(cut), side, step, side, step).mean(axis=(2, 4))
    return means


def _centred(images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Images as rows of mean 0 and length 1, so that products of rows are correlations."""
    rows = images.reshape(len(images), -1)
    rows = rows - rows.mean(axis=1, keepdims=True)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    centred: NDArray[np.float32] = rows / np.maximum(length, np.finfo(np.float32).tiny)
    return centred
