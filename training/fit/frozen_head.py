"""Fine-tuning the head on frozen features, which are computed once, not in every epoch.

The features of `views` augmented views of every chip are kept on the device; an epoch draws a view
for each chip it takes. An epoch then runs only a linear layer on a few hundred numbers, so little
that every process of a team does all of it.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from training.config import RunConfig, StageConfig
from training.data.store import PreparedChips
from training.fit.checkpoint import RandomStates
from training.fit.epoch import Learner, TrainingTask, bf16_pays, predict
from training.network.augment import augment
from training.network.models import ChipNet


@dataclass(frozen=True, eq=False)
class Bank:
    """Embeddings of chips by frozen features.

    views       float32 (V, N, D), of augmented training chips
    validation  float32 (M, D), of validation chips as they are
    """

    views: Tensor
    validation: Tensor

    def where(self, train: NDArray[np.bool_], validation: NDArray[np.bool_]) -> "Bank":
        """The chips for which `train` (N,) and `validation` (M,) are true."""
        device = self.views.device
        rows = torch.from_numpy(np.flatnonzero(train)).to(device)
        others = torch.from_numpy(np.flatnonzero(validation)).to(device)
        return Bank(self.views[:, rows], self.validation[others])

    @torch.inference_mode()
    def validation_logits(self, head: nn.Module) -> NDArray[np.float32]:
        """Logits (M, K) of the validation chips."""
        logits: Tensor = head(self.validation)
        return np.asarray(logits.cpu().numpy())


def compute_bank(
    model: ChipNet,
    train: PreparedChips,
    validation: PreparedChips,
    stage: StageConfig,
    config: RunConfig,
) -> Bank:
    """The bank of `stage.views` views; it depends on the seed only, so stages share it."""
    device = next(model.parameters()).device
    generator = torch.Generator(device).manual_seed(config.seed)
    inputs = torch.from_numpy(np.array(train.inputs)).to(device)
    views = [_embed(model, inputs, config, generator) for _ in range(stage.views)]
    plain = torch.empty(0, model.head.in_features, device=device)
    if len(validation):
        plain = torch.from_numpy(predict(model, validation.inputs)[1]).to(device)
    return Bank(torch.stack(views), plain)


@torch.no_grad()
def _embed(
    model: ChipNet, inputs: Tensor, config: RunConfig, generator: torch.Generator, size: int = 128
) -> Tensor:
    """Embeddings (N, D) of one augmented view of each chip."""
    model.eval()
    parts = []
    for batch in torch.split(inputs, size):
        chips = augment(batch, config.augment, config.input.db_scale, generator)
        chips = chips.contiguous(memory_format=torch.channels_last)
        with torch.autocast(inputs.device.type, torch.bfloat16, enabled=bf16_pays(inputs.device)):
            parts.append(model(chips).embedding.float())
    return torch.cat(parts)


def train_head_one_epoch(
    learner: Learner, bank: Bank, task: TrainingTask, dropout: float, states: RandomStates
) -> float:
    """One pass over the bank, a view drawn for each chip; returns the mean loss."""
    learner.module.train()
    losses = []
    for rows in task.batches(states.rng):
        view = torch.from_numpy(states.rng.integers(len(bank.views), size=len(rows))).to(
            rows.device
        )
        embedding = functional.dropout(bank.views[view, rows], dropout)
        loss = task.loss(learner.module(embedding), task.targets(rows))
        learner.step(loss)
        losses.append(loss.detach())
    return float(torch.stack(losses).mean())
