"""Losses for imbalanced classes, each a function of logits and soft targets.

All are means over the batch. Targets are rows of probabilities, so that mixup and label smoothing
work with all of them.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from training.config import ImbalanceConfig

Loss = Callable[[Tensor, Tensor], Tensor]


def loss_of(config: ImbalanceConfig, counts: Tensor, label_smoothing: float) -> Loss:
    """The loss that the config names.

    counts  int (K,), training chips of each class; a class may have none.
    The loss takes logits (N, K) and targets (N, K), rows summing to 1, and gives a scalar.
    """
    if config.loss == "inverse_frequency":
        return _weighted(inverse_frequency(counts), label_smoothing)
    if config.loss == "effective_number":
        return _weighted(effective_number(counts, config.beta), label_smoothing)
    if config.loss == "focal":
        return _focal(config.gamma, label_smoothing)
    if config.loss == "logit_adjusted":
        return _logit_adjusted(config.tau * log_prior(counts), label_smoothing)
    return _weighted(torch.ones(len(counts)).to(counts.device), label_smoothing)


def inverse_frequency(counts: Tensor) -> Tensor:
    """Weights (K,): n / (classes present * n_k); a class that is absent has weight 0.

    The weights average 1 over the chips, and each class present has the same influence.
    """
    present = counts > 0
    weights = counts.sum() / (present.sum() * counts.clamp(min=1))
    return torch.where(present, weights, torch.zeros_like(weights))


def effective_number(counts: Tensor, beta: float) -> Tensor:
    """Weights (K,): (1 - beta) / (1 - beta ** n_k), scaled to sum to the number of classes present
    (Cui et al. 2019, "Class-Balanced Loss Based on Effective Number of Samples", eq. 2)."""
    present = counts > 0
    weights = (1 - beta) / (1 - beta ** counts.clamp(min=1).double())
    weights = torch.where(present, weights, torch.zeros_like(weights))
    return (weights * present.sum() / weights.sum()).float()


def log_prior(counts: Tensor) -> Tensor:
    """Log share of each class (K,); 0 for an absent class.

    The formula gives an absent class a share of 0, which lets its logit rise freely: a network that
    saw no Fishing chip called everything Fishing.
    """
    share = (counts / counts.sum()).double()
    return torch.where(counts > 0, share.clamp(min=1e-12).log(), torch.zeros_like(share)).float()


def _weighted(weights: Tensor, label_smoothing: float) -> Loss:
    """Sum of -w_k t_k log p_k, averaged over the batch: not over its weights, which would make a
    batch of nothing but Cargo count as much as any other."""

    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        smooth = _smooth(targets, label_smoothing)
        return -(smooth * weights * functional.log_softmax(logits, dim=1)).sum(dim=1).mean()

    return loss


def _focal(gamma: float, label_smoothing: float) -> Loss:
    """-(1 - p_k) ** gamma * t_k log p_k (Lin et al. 2017, "Focal Loss", eq. 4), no alpha."""

    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        log_p = functional.log_softmax(logits, dim=1)
        modulated = (1 - log_p.exp()).clamp(min=0) ** gamma * log_p
        return -(_smooth(targets, label_smoothing) * modulated).sum(dim=1).mean()

    return loss


def _logit_adjusted(offset: Tensor, label_smoothing: float) -> Loss:
    """Cross-entropy of logits + tau log prior (Menon et al. 2021, eq. 10): at the end the bare
    logits are those of balanced classes."""

    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        smooth = _smooth(targets, label_smoothing)
        return -(smooth * functional.log_softmax(logits + offset, dim=1)).sum(dim=1).mean()

    return loss


def _smooth(targets: Tensor, amount: float) -> Tensor:
    return targets * (1 - amount) + amount / targets.shape[1]
