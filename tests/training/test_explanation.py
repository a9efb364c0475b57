"""The activation map of an exported model lies on the ship."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from shipchip import ShipClassifier
from training.data.record import Record
from training.data.simulated import SimulatedSource

DEFAULT_MODEL = Path(__file__).parents[2] / "models" / "ship.onnx"
SHIPS = SimulatedSource({"Cargo": 12, "Fishing": 12, "Tanker": 12}, seed=5, size=64, spacing_m=6.0)


@pytest.fixture(scope="module")
def trained(smoke_run: Path) -> ShipClassifier:
    return ShipClassifier(smoke_run / "ship.onnx", device="cpu")


def inside(record: Record, ships: ShipClassifier) -> NDArray[np.bool_]:
    """The pixels (S, S) of the hull's box, grown by half about its centre."""
    spec = ships.card.input
    metres = (SHIPS.outline(record) + 0.5 - 32) * 6.0
    low, high = metres.min(0), metres.max(0)
    centre, reach = (low + high) / 2, (high - low) / 2 * 1.5
    place = (np.arange(spec.size) + 0.5 - spec.size / 2) * spec.spacing_m
    rows, columns = (np.abs(place - centre[axis]) <= reach[axis] for axis in (0, 1))
    return rows[:, None] & columns[None]


def share_on_the_ship(ships: ShipClassifier, label: str) -> float:
    shares = []
    for record in SHIPS.index():
        if record.label == label:
            (answer,) = ships.classify([SHIPS.read(record)], explain=True)
            assert answer.activation_map is not None
            on = answer.activation_map[inside(record, ships)].sum()
            shares.append(on / answer.activation_map.sum())
    return float(np.mean(shares))


@pytest.mark.parametrize("label", ["Cargo", "Fishing", "Tanker"])
@pytest.mark.parametrize("model", ["trained", "default"])
def test_four_fifths_of_the_map_lie_on_the_ship(
    model: str, label: str, trained: ShipClassifier
) -> None:
    ships = trained if model == "trained" else ShipClassifier(DEFAULT_MODEL, device="cpu")
    assert share_on_the_ship(ships, label) >= 0.8
