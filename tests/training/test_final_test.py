"""What a sealed test side gives away, and what the functions that may read it make of it.

test_run.py trains twice to show that nothing in it changes a choice.
"""

from pathlib import Path

import numpy as np
import pytest

from shipchip import ShipClassifier
from tests.tiny_model import CLASSES, prepared_of
from tests.training.test_figures import drawn
from tests.training.test_stages import chips, network
from training.data.dataset import SealedTest
from training.data.record import Record
from training.data.store import PreparedChips
from training.evaluation.final_test import final_chips, final_logits, lost_by, measure_file


def test_a_sealed_side_says_its_size_and_nothing_else() -> None:
    sealed = SealedTest(chips(9))
    assert len(sealed) == 9
    for name in ("inputs", "labels", "records", "where"):
        with pytest.raises(AttributeError):
            getattr(sealed, name)


def test_a_model_and_a_report_are_given_the_sealed_chips() -> None:
    sealed = SealedTest(chips(9))
    assert final_logits(network(), sealed).shape == (9, 3)
    assert final_chips(sealed).labels.tolist() == chips(9).labels.tolist()


@pytest.fixture
def ships(tiny_model_file: Path) -> ShipClassifier:
    return ShipClassifier(tiny_model_file, device="cpu")


def sealed_chips(ships: ShipClassifier) -> SealedTest:
    """A Cargo, a Fishing and a Tanker of two sources; the second's Tanker looks like Cargo."""
    shown = [*CLASSES, "Cargo", "Fishing", "Cargo"]
    inputs = np.stack([ships.prepare(drawn(label, i)).input for i, label in enumerate(shown)])
    names = ["fusar"] * 3 + ["own"] * 3
    records = tuple(Record(s, str(i), "", f"ship {i}", str(i)) for i, s in enumerate(names))
    return SealedTest(PreparedChips(inputs, np.array([0, 1, 2] * 2), records, CLASSES))


def test_a_file_is_measured_on_the_sealed_chips(ships: ShipClassifier) -> None:
    found = measure_file(ships, sealed_chips(ships), None, seed=0)
    macro_f1 = {n: s.headline.macro_f1.value for n, s in found.sources.items()}
    # Own: Cargo precision 1/2, recall 1; Fishing 1; Tanker 0.
    assert macro_f1 == {"fusar": 1.0, "own": pytest.approx((2 / 3 + 1 + 0) / 3)}
    assert found.sources["own"].ships == 3
    assert found.out_of_distribution is None


def test_chips_that_show_no_ship_are_asked_about_by_kind(ships: ShipClassifier) -> None:
    noise = np.random.default_rng(0).normal(0, 2, (4, 1, 32, 32)).astype(np.float32)
    others = {"noise": noise, "black": np.full((2, 1, 32, 32), -9, np.float32)}
    reported = measure_file(ships, sealed_chips(ships), others, 0).out_of_distribution
    assert reported
    assert {kind: one.chips for kind, one in reported.kinds.items()} == {"noise": 4, "black": 2}
    for kind, inputs in others.items():
        refused = [not one.in_distribution for one in ships.predict([*map(prepared_of, inputs)])]
        assert reported.kinds[kind].refused.value == np.mean(refused), kind


def test_a_file_loses_nothing_to_itself(ships: ShipClassifier) -> None:
    found = lost_by(ships, ships, sealed_chips(ships), seed=0)
    assert found.pooled is None
    assert {name: figure.value for name, figure in found.sources.items()} == {
        "fusar": 0.0,
        "own": 0.0,
    }
