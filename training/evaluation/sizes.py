"""How far a model file's lengths and widths are from those of AIS."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from shipchip.card import SizeSpec
from training.card.schema import LengthFigures, SizeFigures, SizeReport
from training.data.record import Record
from training.evaluation.metrics import mean_by_ship

# Lengths in metres where one row of the table ends and the next begins.
_BOUNDS = (0.0, 100.0, 200.0, 500.0)


def measure_sizes(
    estimates: NDArray[np.float32], records: Sequence[Record], spec: SizeSpec, seed: int
) -> SizeReport | None:
    """Figures by source and over all chips of known size; None if there is none.

    estimates  (N, 2), length and width in metres of the chips of `records`
    """
    known = np.array([record.size_m is not None for record in records], dtype=bool)
    if not known.any():
        return None
    sized = [record for record in records if record.size_m is not None]
    truth = np.array([record.size_m for record in sized])
    found, sources = estimates[known], np.array([record.source for record in sized])
    groups = np.array([record.group for record in sized])

    def figures(keep: NDArray[np.bool_]) -> SizeFigures:
        return _figures(found[keep], truth[keep], list(groups[keep]), spec, seed)

    return SizeReport(
        sources={name: figures(sources == name) for name in sorted(set(sources.tolist()))},
        all=figures(np.ones(len(sized), dtype=bool)),
    )


def _figures(
    found: NDArray[np.float32],
    truth: NDArray[np.float64],
    groups: list[str],
    spec: SizeSpec,
    seed: int,
) -> SizeFigures:
    error = np.abs(found - truth)
    apart = np.abs(np.log(found / truth))
    length, width = truth[:, 0], truth[:, 1]
    by_length = {
        f"{low:g} to {high:g} m": _of_length(error[inside, 0], apart[inside, 0], spec)
        for low, high in pairwise(_BOUNDS)
        if (inside := (length >= low) & (length < high)).any()
    }
    return SizeFigures(
        chips=len(truth),
        ships=len(set(groups)),
        length_error_m=mean_by_ship(error[:, 0], groups, seed),
        length_error_share=float(np.median(error[:, 0] / length)),
        length_held=mean_by_ship(apart[:, 0] <= np.log(spec.length_factor), groups, seed),
        width_error_m=mean_by_ship(error[:, 1], groups, seed),
        width_error_share=float(np.median(error[:, 1] / width)),
        width_held=mean_by_ship(apart[:, 1] <= np.log(spec.width_factor), groups, seed),
        by_length=by_length,
    )


def _of_length(
    error: NDArray[np.float64], apart: NDArray[np.float64], spec: SizeSpec
) -> LengthFigures:
    return LengthFigures(
        chips=len(error),
        length_error_m=float(error.mean()),
        length_held=float((apart <= np.log(spec.length_factor)).mean()),
    )


def share_kept(plain: NDArray[np.float32], changed: NDArray[np.float32], spec: SizeSpec) -> float:
    """Share of chips whose length, after a change, is within its interval before.

    plain, changed  (N, 2), length and width in metres
    """
    apart = np.abs(np.log(changed[:, 0] / plain[:, 0]))
    return float((apart <= np.log(spec.length_factor)).mean())
