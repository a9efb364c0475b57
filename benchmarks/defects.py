"""What each defect of the published protocol does to a score. `python -m benchmarks.defects --help`

Each is switched on alone, on one small network and on real chips, over several seeds. The figure is
macro-F1 on the FUSAR test chips that the condition itself would report. See docs/protocol.md.
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from sklearn.model_selection import train_test_split

from training.config import DEFAULT_INPUT, ModelConfig, RunConfig, StageConfig
from training.data.dataset import (
    Dataset,
    SealedTest,
    Workspace,
    distinct_records,
    index,
    load_dataset,
)
from training.data.discover import discover
from training.data.record import CLASSES
from training.data.splits import SPLITS, Item, SplitName
from training.data.store import PreparedChips
from training.evaluation.final_test import final_chips, final_logits
from training.evaluation.metrics import macro_f1
from training.fit.epoch import predict
from training.fit.stage import of_sources, run_stage
from training.network.models import ChipNet, build, device_of_choice

FUSAR, OPENSARSHIP, MIX = ("fusar*",), ("opensarship*",), ("*",)
Condition = Callable[["Bench", int], float]


class Bench:
    """Sources read once, and trainings of one recipe on any split of them."""

    def __init__(self, data: list[Path], runs: Path, epochs: int, console: Console) -> None:
        spec = DEFAULT_INPUT.model_copy(update={"size": 48, "spacing_m": 8.0})
        self.config = RunConfig(model=ModelConfig(name="cnn", width=1.0), input=spec)
        self.epochs, self.work = epochs, Workspace(runs / "store", console)
        self.sources = discover(data)
        self.items = index(distinct_records(self.sources, self.config, self.work), self.config)
        self._sides = load_dataset(self.sources, self.items, self.config, self.work)

    def sides(self, items: list[Item] | None = None) -> Dataset:
        """The chips on the sides that `items` say; by default the project's own split."""
        if items is None:
            return self._sides
        return load_dataset(self.sources, items, self.config, self.work)

    def train(
        self, sides: Dataset, patterns: tuple[str, ...], seed: int, model: ChipNet | None = None
    ) -> ChipNet:
        """A network trained on the sources that match; `model` goes on from another training."""
        stage = StageConfig(name="base", sources=patterns, epochs=self.epochs, lr=1e-3)
        config = self.config.model_copy(update={"seed": seed})
        torch.manual_seed(seed)
        net = model or build(config.model, len(CLASSES)).to(device_of_choice())
        train, held = of_sources(sides.train, patterns), of_sources(sides.validation, patterns)
        run_stage(net, train, held, stage, config)
        return net

    def score(self, model: ChipNet, sides: Dataset) -> float:
        """Macro-F1 on the FUSAR chips of the test side."""
        chips = of_sources(final_chips(sides.test), FUSAR)
        return macro_f1(chips.labels, final_logits(model, SealedTest(chips)).argmax(axis=1))


def as_it_should_be(bench: Bench, seed: int) -> float:
    """Ship-disjoint, 70/10/20, base on FUSAR."""
    sides = bench.sides()
    return bench.score(bench.train(sides, FUSAR, seed), sides)


def chips_at_random(bench: Bench, seed: int) -> float:
    """The same shares, but chips instead of ships are dealt out."""
    sides = bench.sides(deal_chips(bench.items, seed, test=0.2))
    return bench.score(bench.train(sides, FUSAR, seed), sides)


def a_fifth_to_train(bench: Bench, seed: int) -> float:
    """Ship-disjoint, but training and test sides change places: 20 % train, 70 % test."""
    places: dict[SplitName, SplitName] = {"train": "test", "test": "train"}
    swapped = [replace(i, split=places.get(i.split, i.split)) for i in bench.items]
    sides = bench.sides(swapped)
    return bench.score(bench.train(sides, FUSAR, seed), sides)


def mix_split_apart(bench: Bench, seed: int) -> float:
    """Trained on a Mix that was dealt out on its own, tested on FUSAR's own test side."""
    apart = bench.sides(deal_chips(bench.items, seed, test=0.2))
    return bench.score(bench.train(apart, MIX, seed), bench.sides())


def mix_of_the_parts(bench: Bench, seed: int) -> float:
    """Trained on the union of the parts' training sides, tested on FUSAR's test side."""
    return bench.score(bench.train(bench.sides(), MIX, seed), bench.sides())


def fresh_for_opensarship(bench: Bench, seed: int) -> float:
    """A new network, base on OpenSARShip, tested on FUSAR."""
    return bench.score(bench.train(bench.sides(), OPENSARSHIP, seed), bench.sides())


def reused_for_opensarship(bench: Bench, seed: int) -> float:
    """The network that FUSAR was learnt on, base on OpenSARShip, tested on FUSAR."""
    used = bench.train(bench.sides(), FUSAR, seed)
    return bench.score(bench.train(bench.sides(), OPENSARSHIP, seed, used), bench.sides())


def test_chips_cropped(bench: Bench, seed: int) -> float:
    """As it should be, but each test chip is cropped at random to 5/6 of its side."""
    model = bench.train(bench.sides(), FUSAR, seed)
    chips = of_sources(final_chips(bench.sides().test), FUSAR)
    logits, _ = predict(model, crop(chips, np.random.default_rng(seed)))
    return macro_f1(chips.labels, logits.argmax(axis=1))


CONDITIONS: tuple[Condition, ...] = (
    as_it_should_be,
    chips_at_random,
    a_fifth_to_train,
    test_chips_cropped,
    mix_of_the_parts,
    mix_split_apart,
    fresh_for_opensarship,
    reused_for_opensarship,
)


def deal_chips(items: list[Item], seed: int, test: float) -> list[Item]:
    """The same records dealt out chip by chip, stratified by source and class."""
    rows = np.arange(len(items))
    strata = np.array([f"{i.record.source} {i.record.label}" for i in items])
    rest, tested = train_test_split(rows, test_size=test, stratify=strata, random_state=seed)
    share = 0.1 / (1 - test)
    _, held = train_test_split(rest, test_size=share, stratify=strata[rest], random_state=seed)
    side = np.full(len(items), SPLITS[0], dtype=object)
    side[held], side[tested] = SPLITS[1], SPLITS[2]
    return [replace(item, split=name) for item, name in zip(items, side, strict=True)]


def crop(chips: PreparedChips, rng: np.random.Generator) -> NDArray[np.float32]:
    """Windows of 5/6 of the side at random places, put back in the middle of clutter."""
    size = chips.inputs.shape[-1]
    window = size * 5 // 6
    edge = (size - window) // 2
    out = np.zeros_like(np.asarray(chips.inputs))
    for row, chip in enumerate(chips.inputs):
        y, x = rng.integers(size - window + 1, size=2)
        inside = slice(edge, edge + window)
        out[row, :, inside, inside] = chip[:, y : y + window, x : x + window]
    return out


def shared_with_training(bench: Bench, seeds: int) -> float:
    """Share of FUSAR's test chips that a Mix dealt out on its own trains on, over the seeds."""
    tested = {
        i.record.sha256 for i in bench.items if i.split == "test" and i.record.source == "fusar"
    }
    shares = []
    for seed in range(seeds):
        dealt = deal_chips(bench.items, seed, test=0.2)
        trained = {i.record.sha256 for i in dealt if i.split == "train"}
        shares.append(len(tested & trained) / len(tested))
    return float(np.mean(shares))


def main() -> int:
    """Measure every condition, print a table, and give 0."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", nargs="+", type=Path, required=True, metavar="DIR")
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=20)
    options = parser.parse_args()
    console = Console(stderr=True)
    bench = Bench(options.data, options.runs, options.epochs, console)
    table = Table("condition", "macro-F1, mean", "lowest", "highest", title="on FUSAR test chips")
    for condition in CONDITIONS:
        values = [condition(bench, seed) for seed in range(options.seeds)]
        reported = (condition.__doc__ or "").strip()
        table.add_row(reported, *(f"{f(values):.3f}" for f in (np.mean, min, max)))
        console.print(
            f"{reported} {[round(v, 3) for v in values]}", highlight=False, soft_wrap=True
        )
    Console().print(table)
    share = shared_with_training(bench, options.seeds)
    Console().print(f"FUSAR test chips that a Mix split apart trains on: {share:.0%}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
