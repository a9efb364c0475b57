"""Duplicate chips in different files: the same pixels in another container, or nearly the same.

The prepared chips are compared, so a TIFF and a PNG of one chip are equal.
"""

import hashlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from training.data.record import Record, drop_repeats
from training.data.store import PreparedChips

# Correlation of two prepared chips from which they are taken for one picture. Of 1.5 million pairs
# of the project's chips two of different groups are above it, both of one scene; a JPEG copy is.
NEAR = 0.95
_THUMBNAIL = 16  # pixels a side of what is compared first
_ROWS = 512  # chips compared with all others at a time


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
    compared first: they are at least as much alike, and there are far fewer of them."""
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
