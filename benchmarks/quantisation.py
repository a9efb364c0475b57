"""What int8 gains, both files measured in turns: `python -m benchmarks.quantisation --help`.

speed    chips a second of ShipClassifier.run, batches of 32, and their ratio
kernels  which operations ONNX Runtime really runs, because an int8 file whose convolutions it
         turns back into fp32 is small and slow

Chips are noise of the right shape: speed does not depend on what they show.
"""

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from rich.console import Console
from rich.table import Table

from shipchip.classifier import ShipClassifier
from shipchip.errors import ShipchipError
from training.evaluation.figures import BATCH
from training.identity import machine
from training.int8.comparison import check_related, chips_per_second, time_in_turns, times_as_fast


def main(arguments: list[str] | None = None) -> int:
    """Measure, print a table, and give 0; 1 where the files do not belong together."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("fp32", type=Path)
    parser.add_argument("int8", type=Path, help="the file that `training.run export` made of it")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="one row each")
    parser.add_argument("--rounds", type=int, default=20, help="batches of each file")
    options = parser.parse_args(arguments)
    table = Table("threads", "fp32 chips/s", "int8 chips/s", "ratio", title=machine())
    try:
        for n in options.threads:
            table.add_row(str(n), *speeds(options.fp32, options.int8, n, options.rounds))
    except ShipchipError as error:
        Console(stderr=True).print(f"{error.code}: {error}", style="red", highlight=False)
        return 1
    Console().print(table)
    for path in (options.fp32, options.int8):
        reported = ", ".join(f"{count} {kind}" for kind, count in kernels(path).most_common())
        Console().print(
            f"{path.name}: {path.stat().st_size:,} bytes; {reported}",
            highlight=False,
            soft_wrap=True,
        )
    return 0


def speeds(fp32: Path, int8: Path, threads: int, rounds: int) -> tuple[str, str, str]:
    """Chips a second of both files and the ratio with its 95 % interval, for the table."""
    pair = [ShipClassifier(path, device="cpu", threads=threads) for path in (fp32, int8)]
    check_related(pair[1], pair[0])
    size = pair[0].card.input.size
    chips = np.random.default_rng(0).normal(0, 0.3, (BATCH, 1, size, size)).astype(np.float32)
    taken = time_in_turns(pair, chips, rounds)
    ratio = times_as_fast(*taken)
    first, second = (f"{chips_per_second(t).value:.0f}" for t in taken)
    return first, second, f"{ratio.value:.2f} ({ratio.low:.2f} to {ratio.high:.2f})"


def kernels(path: Path) -> Counter[str]:
    """How many nodes of each kind are in the graph that ONNX Runtime makes of a file and runs."""
    options = ort.SessionOptions()
    options.log_severity_level = 3  # it warns that the graph it writes is for this machine alone
    with tempfile.TemporaryDirectory() as folder:
        optimised = Path(folder) / "optimised.onnx"
        options.optimized_model_filepath = str(optimised)
        ort.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
        return Counter(node.op_type for node in onnx.load(optimised).graph.node)


if __name__ == "__main__":
    sys.exit(main())
