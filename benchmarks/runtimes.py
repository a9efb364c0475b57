"""Runtimes and precisions of one model: `python -m benchmarks.runtimes --help`.

ONNX Runtime in float32 is the reference. Each other row has its chips per second against it,
measured in turns, and how far its answers differ: labels, probabilities, lengths, on the chips of
`--data` (all of them; their classes are not read) or on simulated ones.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from shipchip import InputSpec, ShipClassifier, decode, prepare
from shipchip.runtime import Device
from shipchip.samples import draw_samples
from training.data.dataset import Workspace, all_records, prepare_with_progress
from training.data.discover import discover
from training.data.record import CLASSES, drop_repeats
from training.evaluation.figures import BATCH
from training.identity import machine
from training.int8.comparison import check_related, chips_per_second, time_in_turns, times_as_fast

_TIE = 0.02  # labels may differ where the two best probabilities are this near


def main(arguments: list[str] | None = None) -> int:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("model", type=Path, nargs="?", default=Path("models/ship.onnx"))
    parser.add_argument("--int8", type=Path, help="the file that `export --int8` made of it")
    parser.add_argument("--data", nargs="+", type=Path, metavar="DIR", help="real chips")
    parser.add_argument("--store", type=Path, default=Path("runs/store"), help="prepared chips")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=20, help="batches of each row")
    options = parser.parse_args(arguments)
    files: list[tuple[str, Path, Device]] = [
        ("float32", options.model, "cpu"),
        ("float32", options.model, "openvino"),
    ]
    if options.int8:
        files += [("int8", options.int8, device) for device in ("cpu", "openvino")]
    opened = [
        ShipClassifier(path, device=device, threads=options.threads) for _, path, device in files
    ]
    if options.int8:
        check_related(opened[2], opened[0])
    spec = opened[0].card.input
    chips = real_chips(options.data, spec, options.store) if options.data else simulated(spec)
    taken = time_in_turns(opened, chips, options.rounds)
    title = f"{machine()}; {len(chips)} chips, {options.threads} threads"
    table = Table("file", "runtime", "chips/s", "ratio", "other labels", "p", "length", title=title)
    for (file, _, _), ships, seconds in zip(files, opened, taken, strict=True):
        speed, ratio = chips_per_second(seconds), times_as_fast(taken[0], seconds)
        table.add_row(
            file,
            ships.provider,
            f"{speed.value:.0f}",
            f"{ratio.value:.2f} ({ratio.low:.2f} to {ratio.high:.2f})",
            *differences(ships, opened[0], chips),
        )
    Console(width=120).print(table)
    return 0


def differences(
    ships: ShipClassifier, reference: ShipClassifier, chips: NDArray[np.float32]
) -> tuple[str, str, str]:
    """How many labels differ (and how many of them are no ties), and the largest difference of a
    probability and of a length."""
    found, expected = (_answers(each, chips) for each in (ships, reference))
    other = found[0].argmax(1) != expected[0].argmax(1)
    best = np.sort(expected[0], axis=1)
    untied = other & (best[:, -1] - best[:, -2] > _TIE)
    lengths = np.abs(found[1] - expected[1]).max() if found[1].size else 0.0
    largest = np.abs(found[0] - expected[0]).max()
    return f"{other.sum()} ({untied.sum()})", f"{largest:.4f}", f"{lengths:.1f} m"


def _answers(
    ships: ShipClassifier, chips: NDArray[np.float32]
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    outputs = [ships.run(chips[start : start + BATCH]) for start in range(0, len(chips), BATCH)]
    sizes = [each.size[:, 0] for each in outputs if each.size is not None]
    return (
        ships.trust.probabilities(np.concatenate([each.logits for each in outputs])),
        np.concatenate(sizes) if sizes else np.zeros(0, np.float32),
    )


def real_chips(data: list[Path], spec: InputSpec, store: Path) -> NDArray[np.float32]:
    """All chips of the data sets in these folders, prepared: (N, 1, S, S)."""
    sources, work = discover(data), Workspace(store, Console(stderr=True))
    chips = prepare_with_progress(sources, drop_repeats(all_records(sources)), spec, CLASSES, work)
    return np.asarray(chips.inputs, np.float32)


def simulated(spec: InputSpec) -> NDArray[np.float32]:
    """Simulated chips of ten seeds, prepared: (120, 1, S, S)."""
    samples = (sample for seed in range(10) for sample in draw_samples(seed))
    return np.stack([prepare(decode(sample.content), spec).input for sample in samples])


if __name__ == "__main__":
    sys.exit(main())
