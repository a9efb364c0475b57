"""Index -> train, validation and test, with no ship on two sides; and the manifest of it."""

import hashlib
import json
from collections import Counter, defaultdict
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np

from training.config import SplitConfig
from training.errors import DataInvalid, Leak
from training.sources.record import CLASSES, Record

SplitName = Literal["train", "validation", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "validation", "test")


@dataclass(frozen=True)
class Item:
    """A record and the side it stands on."""

    record: Record
    split: SplitName


def split_records(records: list[Record], config: SplitConfig) -> list[Item]:
    """Ship-disjoint, stratified by source and class, in the order of `records`.

    Largest groups are placed first, each where its class lacks most, so that a class of a few
    groups still stands on every side; scikit-learn's StratifiedGroupKFold leaves folds without
    one (FUSAR's Tanker chips here are four blocks, one of which holds half of them).
    A group placed for one source stays there for all. Raises DataInvalid where a class has fewer
    than three groups in every source, so that it cannot be trained, chosen and tested.
    """
    sides: dict[str, SplitName] = {}
    for stratum in _strata(records):
        groups = Counter(record.group for record in stratum)
        _place(groups, sides, config, np.random.default_rng([config.seed, len(stratum)]))
    items = [Item(record, sides[record.group]) for record in records]
    check_no_leak(items)
    _check_classes(items)
    return items


def _strata(records: list[Record]) -> list[list[Record]]:
    strata: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in records:
        strata[record.source, record.label].append(record)
    # Rarest first: their groups are the hardest to place well.
    return sorted(strata.values(), key=lambda s: (len(s), s[0].source, s[0].label))


def _place(
    groups: Counter[str],
    sides: dict[str, SplitName],
    config: SplitConfig,
    rng: np.random.Generator,
) -> None:
    share = {"validation": config.validation, "test": config.test}
    share["train"] = 1 - sum(share.values())
    placed = dict.fromkeys(SPLITS, 0)
    for group in groups.keys() & sides.keys():
        placed[sides[group]] += groups[group]
    free = [group for group in sorted(groups) if group not in sides]
    rng.shuffle(free)
    for position, group in enumerate(sorted(free, key=lambda g: -groups[g])):
        # The last groups go to sides that have none yet, however little those lack.
        empty = [side for side in SPLITS if not placed[side]]
        choices = empty if 0 < len(free) - position <= len(empty) else list(SPLITS)
        lacking = {side: share[side] * groups.total() - placed[side] for side in choices}
        sides[group] = max(choices, key=lambda side: lacking[side])
        placed[sides[group]] += groups[group]


def check_no_leak(items: list[Item]) -> None:
    """Raises Leak where a ship, or byte-identical chips, stand on two sides."""
    for what, key in (("ship", "group"), ("chip content", "sha256")):
        sides: dict[str, SplitName] = {}
        for item in items:
            value = getattr(item.record, key)
            if sides.setdefault(value, item.split) != item.split:
                raise Leak(
                    f"{what} {value} stands in {sides[value]} and in {item.split} "
                    f"(chip {item.record.key}); split again by ship before training"
                )


def _check_classes(items: list[Item]) -> None:
    for label in {item.record.label for item in items}:
        for side in SPLITS:
            if not any(i.split == side and i.record.label == label for i in items):
                raise DataInvalid(
                    f"no {label} chip is left for {side}: its chips show too few different "
                    "ships; at least three are needed"
                )


def counts(items: list[Item]) -> dict[str, dict[str, dict[str, int]]]:
    """source -> class -> side -> chips, with zeros for the classes a source lacks."""
    sources = sorted({item.record.source for item in items})
    found = Counter((i.record.source, i.record.label, i.split) for i in items)
    return {
        source: {label: {s: found[source, label, s] for s in SPLITS} for label in CLASSES}
        for source in sources
    }


def found(records: list[Record]) -> dict[str, dict[str, int]]:
    """source -> class -> chips as they were found, byte-identical repeats included."""
    count = Counter((record.source, record.label) for record in records)
    sources = sorted({record.source for record in records})
    return {source: {label: count[source, label] for label in CLASSES} for source in sources}


def manifest(items: list[Item]) -> str:
    """One JSON line a chip, sorted: what was trained on, to the byte."""
    lines = [json.dumps(asdict(i.record) | {"split": i.split}, sort_keys=True) for i in items]
    return "\n".join(sorted(lines)) + "\n"


def manifest_sha256(items: list[Item]) -> str:
    """The manifest's hash, as it stands in the model card."""
    return hashlib.sha256(manifest(items).encode()).hexdigest()
