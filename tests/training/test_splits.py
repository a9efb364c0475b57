"""No ship stands on two sides, every class stands on each, and a planted leak is refused."""

from collections import Counter
from dataclasses import replace

import pytest

from training.config import SplitConfig
from training.errors import DataInvalid, Leak
from training.sources.record import Record, drop_repeats, join_groups_of_repeats
from training.splits import SPLITS, check_no_leak, counts, manifest_sha256, split_records


def record(source: str, label: str, ship: int, view: int = 0) -> Record:
    key = f"{label}-{ship}-{view}"
    return Record(source, key, label, f"mmsi:{label}{ship}", f"{source}{key}")


FLEET = [
    record("fusar", label, ship, view)
    for label, ships in (("Cargo", 100), ("Fishing", 40), ("Tanker", 20))
    for ship in range(ships)
    for view in range(1 + ship % 3)
]


def test_shares_are_kept_in_every_class() -> None:
    table = counts(split_records(FLEET, SplitConfig()))["fusar"]
    for label, sides in table.items():
        total = sum(sides.values())
        assert sides["train"] / total == pytest.approx(0.7, abs=0.05), label
        assert sides["validation"] / total == pytest.approx(0.1, abs=0.05), label
        assert sides["test"] / total == pytest.approx(0.2, abs=0.05), label


def test_all_chips_of_a_ship_stand_on_one_side() -> None:
    items = split_records(FLEET, SplitConfig(seed=3))
    assert Counter(
        len({i.split for i in items if i.record.group == g})
        for g in {i.record.group for i in items}
    ).keys() == {1}


def test_a_ship_seen_by_two_sensors_stands_on_one_side() -> None:
    both = FLEET + [record("opensarship", r.label, int(r.key.split("-")[1]), 9) for r in FLEET[::4]]
    items = split_records(drop_repeats(both), SplitConfig())
    check_no_leak(items)
    assert {i.record.source for i in items} == {"fusar", "opensarship"}


def test_the_split_is_repeatable_and_depends_on_the_seed() -> None:
    first, again, other = (split_records(FLEET, SplitConfig(seed=s)) for s in (1, 1, 2))
    assert manifest_sha256(first) == manifest_sha256(again) != manifest_sha256(other)


def test_a_class_of_few_large_groups_still_stands_on_every_side() -> None:
    sizes = {1: 34, 2: 20, 3: 4, 4: 4}  # as FUSAR's Tanker blocks are
    tankers = [record("fusar", "Tanker", s, v) for s, n in sizes.items() for v in range(n)]
    sides = counts(split_records(tankers, SplitConfig()))["fusar"]["Tanker"]
    assert sides == {"train": 38, "validation": 4, "test": 20}


def test_a_class_of_two_ships_is_refused() -> None:
    few = [record("fusar", "Tanker", ship) for ship in range(2)]
    with pytest.raises(DataInvalid, match="no Tanker chip is left"):
        split_records(few, SplitConfig())


def test_a_planted_leak_of_a_ship_is_refused() -> None:
    items = split_records(FLEET, SplitConfig())
    victim = next(i for i in items if i.split == "train" and i.record.key.endswith("-1"))
    elsewhere = next(s for s in SPLITS if s != victim.split)
    leaky = [replace(i, split=elsewhere) if i is victim else i for i in items]
    with pytest.raises(Leak, match=f"ship {victim.record.group} stands in"):
        check_no_leak(leaky)


def test_a_planted_copy_of_a_chip_is_refused() -> None:
    items = split_records(FLEET, SplitConfig())
    trained = next(i for i in items if i.split == "train")
    copy = replace(trained.record, group="another ship", key="copy")
    with pytest.raises(Leak, match="chip content"):
        check_no_leak([*items, replace(trained, record=copy, split="test")])


def test_repeats_are_dropped_and_join_the_blocks_they_stand_in() -> None:
    a, b, c = (
        Record("fusar", k, "Cargo", g, h)
        for k, g, h in (("1", "A", "same"), ("2", "B", "same"), ("3", "C", "own"))
    )
    assert drop_repeats([a, b, c]) == [a, c]
    assert join_groups_of_repeats([a, b, c]) == {"A": "A", "B": "A", "C": "C"}
