"""Each source has an expert, and the gate finds it by the chip alone."""

import numpy as np
import pytest
import torch

from tests.training.test_measurements import SPEC
from training.config import ExpertsConfig
from training.data.record import CLASSES, Record
from training.data.simulated import SimulatedSource
from training.data.store import PreparedChips, prepare_all
from training.network.experts import Experts, chip_weights, fit_experts
from training.network.measurements import NAMES


@pytest.fixture(scope="module")
def chips(tmp_path_factory: pytest.TempPathFactory) -> PreparedChips:
    """Two sensors; the coarse one has no Fishing."""
    store = tmp_path_factory.mktemp("store")
    fine = SimulatedSource({"Cargo": 16, "Fishing": 16, "Tanker": 16}, seed=1, name="fine")
    coarse = SimulatedSource(
        {"Cargo": 16, "Tanker": 8}, seed=2, size=40, spacing_m=14.0, name="coarse"
    )
    records = [*fine.index(), *coarse.index()]
    return prepare_all([fine, coarse], records, SPEC, store, classes=CLASSES)


@pytest.fixture(scope="module")
def experts(chips: PreparedChips) -> Experts:
    return fit_experts(chips, SPEC, ExpertsConfig())


def source_of(chips: PreparedChips) -> np.ndarray:
    return np.array([record.source for record in chips.records])


def test_the_gate_separates_the_sensors(chips: PreparedChips, experts: Experts) -> None:
    with torch.inference_mode():
        _, standard = experts(torch.from_numpy(np.array(chips.inputs)))
        gate = torch.softmax(standard.clamp(-5, 5) @ experts.gate.T + experts.gate_bias, 1)
    reported = np.array(["coarse", "fine"])[gate.argmax(1).numpy()]
    assert (reported == source_of(chips)).mean() == 1.0


def test_the_experts_know_the_chips_they_were_fitted_on(
    chips: PreparedChips, experts: Experts
) -> None:
    with torch.inference_mode():
        logits, standard = experts(torch.from_numpy(np.array(chips.inputs)))
    assert standard.shape == (len(chips), len(NAMES))
    np.testing.assert_allclose(standard.mean(0), 0, atol=2e-3)
    assert (logits.argmax(1).numpy() == chips.labels).mean() > 0.9


def test_one_source_needs_no_gate(chips: PreparedChips) -> None:
    one = chips.where(source_of(chips) == "fine")
    alone = fit_experts(one, SPEC, ExpertsConfig())
    with torch.inference_mode():
        logits, _ = alone(torch.from_numpy(np.array(one.inputs)))
    np.testing.assert_allclose(torch.logsumexp(logits, 1), 0, atol=1e-4)


def test_an_absent_class_is_borrowed_at_a_small_weight() -> None:
    # Two sources: 3 Cargo and 1 Tanker of one's own, 4 Fishing elsewhere.
    labels = np.array([0, 0, 0, 2, 1, 1, 1, 1])
    own = np.array([True] * 4 + [False] * 4)
    alike = chip_weights(labels, own, 3, ExpertsConfig(power=0, borrowed=0.25))
    # Classes alike: each Cargo 1/6, the Tanker 1/2, Fishing 0.25 in all; over 1.25, times 4 chips.
    np.testing.assert_allclose(alike, np.array([1 / 6] * 3 + [1 / 2] + [1 / 16] * 4) * 4 / 1.25)
    come = chip_weights(labels, own, 3, ExpertsConfig(power=1, borrowed=0.25))
    np.testing.assert_allclose(come[:4], come[0])


def test_a_class_that_nobody_has_is_never_said() -> None:
    rng = np.random.default_rng(0)
    inputs = rng.normal(0, 0.2, (12, 1, 64, 64)).astype(np.float32)
    labels = np.arange(12) % 2
    inputs[labels == 1, 0, 20:44, 30:34] += 1.2
    records = tuple(Record("one", str(i), CLASSES[k], str(i), str(i)) for i, k in enumerate(labels))
    two = PreparedChips(inputs, labels.astype(np.int64), records, CLASSES)
    with torch.inference_mode():
        logits, _ = fit_experts(two, SPEC, ExpertsConfig())(torch.from_numpy(inputs))
    assert (logits.argmax(1).numpy() == labels).all()
    assert logits[:, 2].max() < -10
