"""The chips of a run, without duplicates, split and prepared; the test side is sealed."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress

from shipchip.card import InputSpec
from training.config import RunConfig
from training.data import splits
from training.data.checks import drop_equal_pixels, near_duplicates
from training.data.class_folders import FolderSource
from training.data.opensarship import OpenSarShipScene, OpenSarShipSource
from training.data.record import CLASSES, Record, Source, drop_repeats
from training.data.splits import Item
from training.data.store import PreparedChips, prepare_all
from training.errors import DataInvalid
from training.fit.processes import ALONE, Team

OTHER_SHIPS = "other ship types"  # than the three classes; a kind beside those that are no ships


@dataclass(frozen=True)
class Workspace:
    """Where a command works: its folder of prepared chips, its console, and its processes."""

    store: Path
    console: Console
    team: Team = ALONE


class SealedTest:
    """The test chips, which nothing can read until every choice is made.

    Only training.evaluation.final_test breaks the seal. tests/training/test_run.py trains again
    with noise in place of the test chips: every choice must stay the same.
    """

    def __init__(self, chips: PreparedChips) -> None:
        self.__chips = chips

    def __len__(self) -> int:
        return len(self.__chips)

    def break_seal(self) -> PreparedChips:
        """The chips; not for training or choosing, see training.evaluation.final_test."""
        return self.__chips


@dataclass(frozen=True, eq=False)
class Dataset:
    """A run's prepared chips, split by ship into training, validation and test.

    sources  from which they can be read again, as they are stored
    """

    train: PreparedChips
    validation: PreparedChips
    test: SealedTest
    sources: tuple[Source, ...] = ()


def all_records(sources: list[Source]) -> list[Record]:
    """Every chip of all sources, byte-identical repeats included."""
    return [record for source in sources for record in source.index()]


def distinct_records(sources: list[Source], config: RunConfig, work: Workspace) -> list[Record]:
    """Every chip once: without files of the same bytes and files of the same pixels.

    Prints which chips look nearly like one of another ship. Raises Leak or DataInvalid as `index`
    does before any chip is decoded, DataInvalid if one cannot be.
    """
    found = drop_repeats(all_records(sources))
    index(found, config)
    chips = prepare_with_progress(sources, found, config.input, CLASSES, work)
    kept = drop_equal_pixels(chips)
    near = near_duplicates(chips, kept)
    if near:
        one, other = near[0]
        work.console.print(
            f"{len(near)} pairs of chips look almost the same but count as different ships, the "
            f"first is {one.source} {one.key} and {other.source} {other.key}; if they show one "
            "ship, it may be on two sides: leave one out, or give them one group in groups.csv",
            highlight=False,
            soft_wrap=True,
        )
    return kept


def index(found: list[Record], config: RunConfig) -> list[Item]:
    """The chips found, without repeats, split by ship. Raises Leak or DataInvalid."""
    return splits.split_records(drop_repeats(found), config.split)


def load_dataset(
    sources: list[Source],
    items: list[Item],
    config: RunConfig,
    work: Workspace,
) -> Dataset:
    """Prepared chips, from the store or decoded now."""
    records = [item.record for item in items]
    data = prepare_with_progress(sources, records, config.input, CLASSES, work)
    views = [
        prepare_with_progress(sources, records, config.input, CLASSES, work, view)
        for view in range(config.views)
    ]
    data = replace(data, views=tuple(view.inputs for view in views))
    side = np.array([item.split for item in items])
    return Dataset(
        data.where(side == "train"),
        data.where(side == "validation"),
        SealedTest(data.where(side == "test")),
        tuple(sources),
    )


def prepare_with_progress(
    sources: list[Source],
    records: list[Record],
    spec: InputSpec,
    classes: tuple[str, ...] | None,
    work: Workspace,
    view: int | None = None,
) -> PreparedChips:
    """store.prepare_all under a progress bar; the first process of a team fills the store."""

    def fill() -> bool:
        with Progress(console=work.console) as progress:
            task = progress.add_task("preparing chips", total=len(records))
            step = partial(progress.advance, task)
            prepare_all(sources, records, spec, work.store, step, classes, view)
            progress.update(task, completed=len(records))
        return True

    work.team.agree(fill)
    return prepare_all(sources, records, spec, work.store, classes=classes, view=view)


def load_ood_chips(
    paths: Sequence[Path], spec: InputSpec, work: Workspace
) -> dict[str, NDArray[np.float32]]:
    """Kind -> prepared chips (N, 1, S, S) of folders or archives of class folders.

    They are read like a user's upload without a pixel spacing, so the default rules of the card
    apply. The kind is the name of the top folder, inside the one that wraps an archive. Of
    OpenSARShip scenes the ships of other types are taken, as the kind OTHER_SHIPS.
    Byte-identical repeats are left out.
    Raises DataMissing or DataInvalid if there are no chips, if some cannot be read, or if two paths
    hold one kind.
    """
    found: dict[str, NDArray[np.float32]] = {}
    for path in paths:
        kinds = _ood_chips_of(path, spec, work)
        twice = sorted(found.keys() & kinds.keys())
        if twice:
            raise DataInvalid(f"{path} holds {twice[0]}, as a path before it does; rename one")
        found |= kinds
    return found


def ood_kinds_among(sums: Collection[str], paths: Sequence[Path]) -> tuple[str, ...]:
    """The kinds of `load_ood_chips` with a file whose SHA-256 is in `sums`, whatever the folders
    are called there."""
    if not sums:
        return ()
    found = {
        kind
        for path in paths
        for record, kind in zip(*_ood_records(path)[1:], strict=True)
        if record.sha256 in sums
    }
    return tuple(sorted(found))


def _ood_chips_of(path: Path, spec: InputSpec, work: Workspace) -> dict[str, NDArray[np.float32]]:
    source, records, kinds = _ood_records(path)
    chips = prepare_with_progress([source], records, spec, None, work)
    rows = np.array(kinds)
    return {kind: chips.inputs[rows == kind] for kind in sorted(set(kinds))}


def _ood_records(path: Path) -> tuple[Source, list[Record], list[str]]:
    """The source of a path, its records without repeats, and the kind of each."""
    if scenes := _scenes(path):
        others = OpenSarShipSource(scenes, of_other_types=True)
        records = drop_repeats(others.index())
        return others, records, [OTHER_SHIPS] * len(records)
    source = FolderSource(path, None)
    records = drop_repeats(source.index())
    wrapper = source.archive.wrapper
    return source, records, [ood_kind(r.label.removeprefix(wrapper)) for r in records]


def _scenes(path: Path) -> list[Path]:
    """OpenSARShip scenes at or below a path."""
    below = sorted(path.rglob("*")) if path.is_dir() else []
    return [place for place in (path, *below) if OpenSarShipScene.recognises(place)]


def ood_kind(label: str) -> str:
    """The kind of a class folder.

    >>> ood_kind("vehicle_mstar/T62"), ood_kind("sea")
    ('vehicle_mstar', 'sea')
    """
    return label.split("/", maxsplit=1)[0]
