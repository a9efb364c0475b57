"""Ship-disjoint splits into train, validation and test, and their manifest."""

import hashlib
import json
from collections import Counter, defaultdict
from dataclasses import asdict, dataclass
from typing import Literal

from training.config import SplitConfig
from training.data.record import CLASSES, Record
from training.errors import DataInvalid, Leak

SplitName = Literal["train", "validation", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "validation", "test")
Stratum = tuple[str, str]  # source and class

# Raise it when the same chips would get other sides than before; it is in the card.
SPLIT_VERSION = 2

# Groups of more chips than this are assigned by size, not by hash. A number and not a share of the
# class, so that no group becomes a large one because other ships were added or left out.
LARGE = 10


@dataclass(frozen=True)
class Item:
    """A record and its side of the split."""

    record: Record
    split: SplitName


def split_records(records: list[Record], config: SplitConfig) -> list[Item]:
    """Ship-disjoint sides for every chip, in the order of `records`, stable as data grow.

    The side of a group of up to LARGE chips is a hash of its name and the seed, whatever other
    ships there are. Larger groups, such as FUSAR-Ship's blocks, would distort the shares if
    assigned by chance: they are assigned by size, largest first, each to the side that its class
    lacks most, so a side depends on larger groups only. A class of a source that then misses a side
    gets one group there. Raises DataInvalid if a class has too few groups to be trained, chosen and
    tested.
    """
    strata: dict[Stratum, Counter[str]] = defaultdict(Counter)
    for record in records:
        strata[record.source, record.label][record.group] += 1
    sizes = Counter(record.group for record in records)
    sides = {group: _side(place_of(group, config.seed), config) for group in sizes}
    large = [group for group, chips in sizes.items() if chips > LARGE]
    large.sort(key=lambda group: (-sizes[group], place_of(group, config.seed)))
    sides |= _assign_large(large, strata, config)
    for stratum in sorted(strata):
        _fill_empty_sides(strata[stratum], strata, sides, config)
    items = [Item(record, sides[record.group]) for record in records]
    check_no_leak(items)
    _check_classes(items)
    return items


def place_of(group: str, seed: int) -> float:
    """Where the hash of a group and the seed falls in [0, 1)."""
    digest = hashlib.sha256(f"{seed}\0{group}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _ranges(config: SplitConfig) -> dict[SplitName, tuple[float, float]]:
    """The part of [0, 1) that belongs to each side."""
    tested = config.test + config.validation
    return {
        "train": (tested, 1.0),
        "validation": (config.test, tested),
        "test": (0.0, config.test),
    }


def _side(place: float, config: SplitConfig) -> SplitName:
    ranges = _ranges(config)
    return next((side for side, (low, high) in ranges.items() if low <= place < high), "train")


def _assign_large(
    groups: list[str], strata: dict[Stratum, Counter[str]], config: SplitConfig
) -> dict[str, SplitName]:
    """Each group, largest first, on the side that lacks most of the chips assigned so far in the
    stratum that holds most of the group."""
    share = {side: high - low for side, (low, high) in _ranges(config).items()}
    placed: dict[Stratum, Counter[SplitName]] = defaultdict(Counter)
    sides: dict[str, SplitName] = {}
    for group in groups:
        own = {stratum: chips[group] for stratum, chips in strata.items() if group in chips}
        home = max(sorted(own), key=lambda stratum: own[stratum])
        total = placed[home].total() + own[home]
        lacking = {side: share[side] * total - placed[home][side] for side in SPLITS}
        sides[group] = max(SPLITS, key=lambda side: lacking[side])
        for stratum, chips in own.items():
            placed[stratum][sides[group]] += chips
    return sides


def _fill_empty_sides(
    groups: Counter[str],
    strata: dict[Stratum, Counter[str]],
    sides: dict[str, SplitName],
    config: SplitConfig,
) -> None:
    """Move one group to each side that a stratum misses: of the groups that no stratum needs where
    they are, small ones first, the one whose hash is nearest to the side."""
    for side, (low, high) in _ranges(config).items():
        if any(sides[group] == side for group in groups):
            continue
        needed = _needed(strata, sides)
        spare = [group for group in groups if group not in needed]
        if spare:
            places = {group: place_of(group, config.seed) for group in spare}
            chosen = min(
                spare,
                key=lambda g: (groups[g] > LARGE, max(low - places[g], places[g] - high), g),
            )
            sides[chosen] = side


def _needed(strata: dict[Stratum, Counter[str]], sides: dict[str, SplitName]) -> set[str]:
    """Groups that are the only one of a stratum on their side."""
    needed = set()
    for groups in strata.values():
        on_side = Counter(sides[group] for group in groups)
        needed |= {group for group in groups if on_side[sides[group]] == 1}
    return needed


def check_no_leak(items: list[Item]) -> None:
    """Raises Leak if a ship, or byte-identical chips, are on two sides."""
    for what, key in (("ship", "group"), ("chip content", "sha256")):
        sides: dict[str, SplitName] = {}
        for item in items:
            value = getattr(item.record, key)
            if sides.setdefault(value, item.split) != item.split:
                raise Leak(
                    f"{what} {value} is in {sides[value]} and in {item.split} "
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
    """source -> class -> chips found, byte-identical repeats included."""
    count = Counter((record.source, record.label) for record in records)
    sources = sorted({record.source for record in records})
    return {source: {label: count[source, label] for label in CLASSES} for source in sources}


def manifest(items: list[Item]) -> str:
    """One JSON line per chip, sorted: exactly what was trained on. `size_m` only where known."""
    lines = [json.dumps(_line(item), sort_keys=True) for item in items]
    return "\n".join(sorted(lines)) + "\n"


def _line(item: Item) -> dict[str, object]:
    line = asdict(item.record) | {"split": item.split}
    if line["size_m"] is None:
        del line["size_m"]
    return line


def manifest_sha256(items: list[Item]) -> str:
    """The manifest's hash, as the model card has it."""
    return hashlib.sha256(manifest(items).encode()).hexdigest()
