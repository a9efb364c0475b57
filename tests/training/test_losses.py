"""Losses for imbalanced classes against values worked by hand."""

import math
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from training.config import RECIPE, ImbalanceConfig, RunConfig, read_config
from training.errors import ConfigInvalid
from training.network.losses import effective_number, inverse_frequency, log_prior, loss_of

COUNTS = torch.tensor([6, 3, 1])
# Softmax of these logits is (1/2, 1/4, 1/4).
LOGITS = torch.tensor([[math.log(2), 0.0, 0.0]])


def loss(word: str, label: int, logits: torch.Tensor = LOGITS, **keys: float) -> float:
    config = ImbalanceConfig.model_validate({"loss": word, "sampling": "natural"} | keys)
    targets = functional.one_hot(torch.tensor([label]), 3).float()
    return float(loss_of(config, COUNTS, label_smoothing=0.0)(logits, targets))


def test_cross_entropy_is_minus_the_log_of_the_true_class() -> None:
    assert loss("cross_entropy", 0) == pytest.approx(math.log(2))
    assert loss("cross_entropy", 2) == pytest.approx(math.log(4))


def test_inverse_frequency_weighs_a_class_by_chips_over_classes_times_its_own() -> None:
    assert inverse_frequency(COUNTS).tolist() == pytest.approx([10 / 18, 10 / 9, 10 / 3])
    assert loss("inverse_frequency", 2) == pytest.approx(10 / 3 * math.log(4))


def test_inverse_frequency_ignores_a_class_that_is_absent() -> None:
    assert inverse_frequency(torch.tensor([6, 0, 2])).tolist() == pytest.approx([8 / 12, 0, 8 / 4])


def test_effective_number_is_that_of_the_paper() -> None:
    # beta = 1/2: effective numbers (1 - 2**-n) / (1 - 1/2) are 63/32, 7/4, 1.
    raw = [32 / 63, 4 / 7, 1.0]
    expected = [3 * w / sum(raw) for w in raw]
    assert effective_number(COUNTS, 0.5).tolist() == pytest.approx(expected)
    assert loss("effective_number", 1, beta=0.5) == pytest.approx(expected[1] * math.log(4))


def test_effective_number_near_one_becomes_inverse_frequency() -> None:
    almost = effective_number(COUNTS, 0.9999999)
    inverse = inverse_frequency(COUNTS)
    assert almost.tolist() == pytest.approx((inverse * 3 / inverse.sum()).tolist(), rel=1e-4)


def test_focal_loss_shrinks_with_the_probability_of_the_true_class() -> None:
    assert loss("focal", 0, gamma=2.0) == pytest.approx((1 - 1 / 2) ** 2 * math.log(2))
    assert loss("focal", 1, gamma=2.0) == pytest.approx((1 - 1 / 4) ** 2 * math.log(4))
    assert loss("focal", 1, gamma=0.0) == pytest.approx(math.log(4))


def test_logit_adjustment_adds_the_log_prior_while_training() -> None:
    # Priors 6/10, 3/10, 1/10, times the softmax (1/2, 1/4, 1/4).
    assert log_prior(COUNTS).exp().tolist() == pytest.approx([0.6, 0.3, 0.1])
    joint = [6 / 2, 3 / 4, 1 / 4]
    assert loss("logit_adjusted", 2) == pytest.approx(-math.log(joint[2] / sum(joint)))
    assert loss("logit_adjusted", 2, tau=0.0) == pytest.approx(math.log(4))


@pytest.mark.parametrize(
    "word", ["cross_entropy", "inverse_frequency", "effective_number", "focal", "logit_adjusted"]
)
def test_no_loss_favours_a_class_that_is_absent(word: str) -> None:
    """Logits that know nothing of the chip, fitted to Cargo and Tanker chips, three to one."""
    counts = torch.tensor([600, 0, 200])
    config = ImbalanceConfig.model_validate({"loss": word, "sampling": "natural"})
    chosen = loss_of(config, counts, label_smoothing=0.05)
    logits = torch.zeros(3, requires_grad=True)
    optimizer = torch.optim.SGD([logits], lr=0.5)
    targets = functional.one_hot(torch.tensor([0] * 6 + [2] * 2), 3).float()
    for _ in range(500):
        optimizer.zero_grad()
        chosen(logits.expand(8, 3), targets).backward()
        optimizer.step()
    cargo, fishing, tanker = logits.tolist()
    assert fishing < min(cargo, tanker) - 1


@pytest.mark.parametrize(
    "word", ["cross_entropy", "inverse_frequency", "effective_number", "focal", "logit_adjusted"]
)
def test_a_loss_of_mixed_targets_is_the_mixture_of_the_losses(word: str) -> None:
    config = ImbalanceConfig.model_validate({"loss": word, "sampling": "natural"})
    chosen = loss_of(config, COUNTS, label_smoothing=0.0)
    mixed = float(chosen(LOGITS, torch.tensor([[0.3, 0.0, 0.7]])))
    assert mixed == pytest.approx(0.3 * loss(word, 0) + 0.7 * loss(word, 2))


@pytest.mark.parametrize("base", [RECIPE, None])
@pytest.mark.parametrize("word", ["inverse_frequency", "effective_number", "focal"])
def test_a_config_that_changes_the_loss_alone_does_not_keep_the_sampling(
    word: str, base: RunConfig | None, tmp_path: Path
) -> None:
    """Both correct the imbalance: the recipe's sampling was chosen for plain cross-entropy."""
    path = tmp_path / "c.toml"
    path.write_text(f'[imbalance]\nloss = "{word}"\n')
    with pytest.raises(ConfigInvalid, match=f"the loss {word} corrects .* give `sampling` as well"):
        read_config(path, RunConfig, base)
    path.write_text(f'[imbalance]\nloss = "{word}"\nsampling = "square_root"\n')
    assert read_config(path, RunConfig, base).imbalance.sampling == "square_root", "as it says"


def test_a_config_that_changes_something_else_of_the_imbalance_keeps_the_sampling(
    tmp_path: Path,
) -> None:
    path = tmp_path / "c.toml"
    path.write_text('[imbalance]\nloss = "cross_entropy"\ngamma = 1.0\n')
    assert read_config(path, RunConfig, RECIPE).imbalance.sampling == "square_root"


def test_smoothing_gives_every_class_an_equal_share() -> None:
    smoothed = loss_of(ImbalanceConfig(), COUNTS, label_smoothing=0.3)
    expected = 0.8 * math.log(2) + 0.1 * math.log(4) + 0.1 * math.log(4)
    assert float(smoothed(LOGITS, torch.tensor([[1.0, 0.0, 0.0]]))) == pytest.approx(expected)


def test_the_loss_is_the_mean_over_the_batch_and_not_over_its_weights() -> None:
    chosen = loss_of(
        ImbalanceConfig(loss="inverse_frequency", sampling="natural"), COUNTS, label_smoothing=0.0
    )
    both = chosen(LOGITS.expand(2, 3), torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]))
    expected = (loss("inverse_frequency", 0) + loss("inverse_frequency", 2)) / 2
    assert float(both) == pytest.approx(expected)
