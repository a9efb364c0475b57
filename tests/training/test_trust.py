"""Prediction sets are fitted by ship: a ship with many chips counts once."""

import numpy as np

from shipchip.trust import probabilities
from training.card.schema import HeldOutCount
from training.evaluation.trust import HeldOut, fit_trust, held_out_counts

CLASSES = ("Cargo", "Fishing", "Tanker")


def held_out(sizes: dict[str, list[int]], seed: int = 0) -> HeldOut:
    """Chips of each class, `sizes` of them a ship; chips of one ship get the same logits."""
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.full(sum(n), CLASSES.index(name)) for name, n in sizes.items()])
    ships = np.concatenate(
        [np.repeat([f"{name} {i}" for i in range(len(n))], n) for name, n in sizes.items()]
    )
    _, member = np.unique(ships, return_inverse=True)
    logits = rng.normal(0, 1.5, (member.max() + 1, 3)).astype(np.float32)[member]
    embeddings = rng.normal(size=(len(labels), 4)).astype(np.float32)
    sources = np.full(len(labels), "fusar")
    return HeldOut(embeddings, logits, embeddings, labels, sources, ships)


def covered_ships(part: HeldOut) -> set[str]:
    """The ships whose own class would be in the sets that are fitted on them."""
    trust = fit_trust([part], part.embeddings, 0.9)
    probs = probabilities(part.logits, trust.temperature)
    wrongness = 1.0 - probs[np.arange(len(part.labels)), part.labels]
    return set(part.ships[wrongness <= np.array(trust.quantiles)[part.labels]])


def test_more_chips_of_one_ship_do_not_change_which_ships_are_covered() -> None:
    one_chip_each = held_out({name: [1] * 20 for name in CLASSES})
    many_of_some = held_out({name: [40] * 3 + [1] * 17 for name in CLASSES})
    assert len(covered_ships(one_chip_each)) == 3 * 19  # 0.9 * 21 = 18.9 ships of 20
    assert covered_ships(many_of_some) == covered_ships(one_chip_each)


def test_a_class_of_few_ships_is_in_every_set_whatever_the_number_of_its_chips() -> None:
    part = held_out({"Cargo": [1] * 30, "Fishing": [1] * 9, "Tanker": [21, 7, 7, 7]})
    trust = fit_trust([part], part.embeddings, 0.9)
    assert trust.quantiles[0] < 1
    assert trust.quantiles[1] < 1
    assert trust.quantiles[2] == 1.0


def test_what_the_sets_rest_on_is_counted_over_all_parts() -> None:
    parts = [
        held_out({"Cargo": [2, 3], "Tanker": [21, 7]}),
        held_out({"Cargo": [1, 1, 1], "Tanker": [7]}),
    ]
    assert held_out_counts(parts, CLASSES) == {
        "Cargo": HeldOutCount(ships=3, chips=8),  # "Cargo 0" and "Cargo 1" are in both
        "Fishing": HeldOutCount(ships=0, chips=0),
        "Tanker": HeldOutCount(ships=2, chips=35),
    }


def test_a_class_without_a_held_out_chip_is_in_every_set() -> None:
    part = held_out({"Cargo": [1] * 30, "Tanker": [1] * 30})
    assert fit_trust([part], part.embeddings, 0.9).quantiles[1] == 1.0
    assert held_out_counts([part], CLASSES)["Fishing"] == HeldOutCount(ships=0, chips=0)
