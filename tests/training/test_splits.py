"""No ship stands on two sides, every class stands on each, and a planted leak is refused."""

from collections import Counter
from dataclasses import replace

import pytest

from training.config import SplitConfig
from training.data.record import Record, drop_repeats, join_groups_of_repeats
from training.data.splits import SPLITS, check_no_leak, counts, manifest_sha256, split_records
from training.errors import DataInvalid, Leak


def record(source: str, label: str, ship: int, view: int = 0) -> Record:
    key = f"{label}-{ship}-{view}"
    return Record(source, key, label, f"mmsi:{label}{ship}", f"{source}{key}")


FLEET = [
    record("fusar", label, ship, view)
    for label, ships in (("Cargo", 400), ("Fishing", 200), ("Tanker", 200))
    for ship in range(ships)
    for view in range(1 + ship % 3)
]


def blocks(label: str, sizes: list[int]) -> list[Record]:
    """Chips of one class in groups of these sizes."""
    return [record("fusar", label, ship, v) for ship, n in enumerate(sizes) for v in range(n)]


def sides_of(records: list[Record]) -> dict[str, str]:
    return {item.record.group: item.split for item in split_records(records, SplitConfig())}


def test_shares_are_kept_in_every_class() -> None:
    table = counts(split_records(FLEET, SplitConfig()))["fusar"]
    for label, sides in table.items():
        total = sum(sides.values())
        assert sides["train"] / total == pytest.approx(0.7, abs=0.07), label
        assert sides["validation"] / total == pytest.approx(0.1, abs=0.07), label
        assert sides["test"] / total == pytest.approx(0.2, abs=0.07), label


@pytest.mark.parametrize("seed", range(5))
def test_shares_are_kept_where_a_class_is_a_few_large_blocks(seed: int) -> None:
    sizes = [
        47,
        45,
        42,
        37,
        34,
        33,
        32,
        31,
        30,
        27,
        22,
        22,
        20,
        19,
        18,
        18,
        18,
        16,
        15,
        14,
        5,
        2,
        1,
    ]
    sides = counts(split_records(blocks("Cargo", sizes), SplitConfig(seed=seed)))["fusar"]["Cargo"]
    assert sides["train"] / sum(sizes) == pytest.approx(0.7, abs=0.04)
    assert sides["test"] / sum(sizes) == pytest.approx(0.2, abs=0.04)


@pytest.mark.parametrize("chips", [1, 3, 10])
@pytest.mark.parametrize("label", ["Cargo", "Tanker"])
def test_adding_a_ship_moves_no_other(label: str, chips: int) -> None:
    before = sides_of(FLEET)
    for number in range(1000, 1010):
        after = sides_of([record("fusar", label, number, v) for v in range(chips)] + FLEET)
        assert after.items() >= before.items()


def test_growing_from_a_tenth_to_all_moves_no_ship() -> None:
    before = sides_of([r for r in FLEET if int(r.key.split("-")[1]) % 10 == 0])
    assert sides_of(FLEET).items() >= before.items()


def test_adding_another_source_moves_no_ship() -> None:
    more = [record("own", label, 7000 + n) for label in ("Cargo", "Fishing") for n in range(40)]
    assert sides_of(FLEET + more).items() >= sides_of(FLEET).items()


def test_a_large_block_moves_smaller_blocks_only() -> None:
    sizes = [60, 50, 40, 30, 20, 8, 4, 2, 1, 1, 1, 1, 1, 1, 1, 1]
    before = sides_of(blocks("Cargo", sizes))
    after = sides_of(
        [*blocks("Cargo", sizes), *(record("fusar", "Cargo", 99, v) for v in range(45))]
    )
    moved = {group for group in before if after[group] != before[group]}
    assert moved <= {"mmsi:Cargo2", "mmsi:Cargo3", "mmsi:Cargo4"}  # of 40, 30 and 20 chips


def test_the_order_of_the_chips_does_not_matter() -> None:
    both = FLEET[::7] + blocks("Tanker", [34, 20, 4, 4])
    assert sides_of(both) == sides_of(both[::-1])


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("sizes", [[1, 1, 1], [34, 20, 4, 4], [30, 30, 30], [50, 1, 1], [1] * 8])
def test_a_class_of_few_groups_stands_on_every_side(sizes: list[int], seed: int) -> None:
    records = blocks("Tanker", sizes)
    sides = counts(split_records(records, SplitConfig(seed=seed)))["fusar"]["Tanker"]
    assert all(sides.values())


def test_a_group_that_fills_one_side_is_not_taken_from_another_source() -> None:
    # Ships of two sources: what one source gets on a side, the other must not lose.
    shared = [record(source, "Tanker", ship) for source in ("a", "b") for ship in range(3)]
    for seed in range(20):
        table = counts(split_records(drop_repeats(shared), SplitConfig(seed=seed)))
        assert all(all(table[source]["Tanker"].values()) for source in ("a", "b"))


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


def test_the_blocks_of_fusars_tankers_are_shared_out_by_size() -> None:
    sides = counts(split_records(blocks("Tanker", [34, 20, 4, 4]), SplitConfig()))["fusar"]
    assert sides["Tanker"] == {"train": 38, "validation": 4, "test": 20}


def test_a_class_of_two_ships_is_refused() -> None:
    few = [record("fusar", "Tanker", ship) for ship in range(2)]
    with pytest.raises(DataInvalid, match="no Tanker chip is left"):
        split_records(few, SplitConfig())


def test_a_planted_leak_of_a_ship_is_refused() -> None:
    items = split_records(FLEET, SplitConfig())
    victim = next(i for i in items if i.split == "train" and i.record.key.endswith("-1"))
    elsewhere = next(s for s in SPLITS if s != victim.split)
    leaky = [replace(i, split=elsewhere) if i is victim else i for i in items]
    with pytest.raises(Leak, match=f"ship {victim.record.group} is in"):
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
    sums = [r.sha256 for r in (a, b, c)]
    assert join_groups_of_repeats([a, b, c], sums) == {"A": "A", "B": "A", "C": "C"}
