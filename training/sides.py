"""The chips of a run by the side of the split they stand on; the test side under a seal."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import Progress

from training import splits
from training.config import RunConfig
from training.parallel import ALONE, Team
from training.sources.record import CLASSES, Record, Source, drop_repeats
from training.splits import Item
from training.store import Prepared, prepare_all
from training.twins import drop_twins, near_twins


class SealedTest:
    """The test chips, shut away until every choice is made.

    Only training.final_test breaks the seal. tests/training/test_run.py trains again with noise in
    place of the test chips: every choice must stay the same.
    """

    def __init__(self, chips: Prepared) -> None:
        self.__chips = chips

    def __len__(self) -> int:
        return len(self.__chips)

    def break_seal(self) -> Prepared:
        """The chips. Not for training, not for choosing: see training.final_test."""
        return self.__chips


@dataclass(frozen=True, eq=False)
class Sides:
    """Prepared chips by the side of the split they stand on."""

    train: Prepared
    validation: Prepared
    test: SealedTest


def all_records(sources: list[Source]) -> list[Record]:
    """Every chip of all sources, byte-identical repeats included."""
    return [record for source in sources for record in source.index()]


def distinct(
    sources: list[Source],
    config: RunConfig,
    store: Path,
    console: Console,
    team: Team = ALONE,
) -> list[Record]:
    """Every chip once: neither a file of the same bytes nor one of the same pixels is there twice.

    Says which chips nearly look like one of another ship. Raises Leak or DataInvalid as `index`
    does before any chip is decoded, DataInvalid where one cannot be.
    """
    found = drop_repeats(all_records(sources))
    index(found, config)
    chips = prepare_with_progress(sources, found, config, store, console, CLASSES, team)
    kept = drop_twins(chips)
    near = near_twins(chips, kept)
    if near:
        one, other = near[0]
        console.print(
            f"{len(near)} pairs of chips look almost the same but count as different ships, the "
            f"first is {one.source} {one.key} and {other.source} {other.key}; if they show one "
            "ship, its chips may stand on two sides: leave one out, or say so in groups.csv",
            highlight=False,
            soft_wrap=True,
        )
    return kept


def index(found: list[Record], config: RunConfig) -> list[Item]:
    """The chips found, without repeats, split; Leak or DataInvalid before any work."""
    return splits.split_records(drop_repeats(found), config.split)


def load(
    sources: list[Source],
    items: list[Item],
    config: RunConfig,
    store: Path,
    console: Console,
    team: Team = ALONE,
) -> Sides:
    """Prepared chips, from the store or decoded now."""
    records = [item.record for item in items]
    data = prepare_with_progress(sources, records, config, store, console, CLASSES, team)
    side = np.array([item.split for item in items])
    return Sides(
        data.where(side == "train"),
        data.where(side == "validation"),
        SealedTest(data.where(side == "test")),
    )


def prepare_with_progress(
    sources: list[Source],
    records: list[Record],
    config: RunConfig,
    store: Path,
    console: Console,
    classes: tuple[str, ...] | None,
    team: Team = ALONE,
) -> Prepared:
    """store.prepare_all under a progress bar; the first process of a team fills the store."""

    def fill() -> bool:
        with Progress(console=console) as progress:
            task = progress.add_task("preparing chips", total=len(records))
            step = partial(progress.advance, task)
            prepare_all(sources, records, config.input, store, step, classes)
            progress.update(task, completed=len(records))
        return True

    team.agree(fill)
    return prepare_all(sources, records, config.input, store, classes=classes)
