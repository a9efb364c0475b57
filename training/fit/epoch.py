"""One epoch of training: of a network, or of its head alone on frozen features.

Frozen features are computed once. Those of `views` augmented views of every chip are kept on the
device, and an epoch draws a view for each chip it takes. Such an epoch runs only a linear layer on
a few hundred numbers, so little that every process of a team does all of it.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.swa_utils import AveragedModel

from training.config import ImbalanceConfig, RunConfig, StageConfig
from training.data.store import PreparedChips
from training.fit.checkpoint import RandomStates
from training.fit.processes import Team
from training.network.augment import augment, mixup
from training.network.losses import Loss, loss_of
from training.network.models import ChipNet


def sampling_weights(data: PreparedChips, power: float) -> NDArray[np.float64]:
    """Sampling weights (N,), summing to 1: sources alike, and in each its classes by chips**power.

    power  0: classes alike; 1/2: the square-root sampling of Mahajan et al. (2018)
    """
    cells = [(record.source, int(k)) for record, k in zip(data.records, data.labels, strict=True)]
    size = Counter(cells)
    share = {cell: chips**power for cell, chips in size.items()}
    whole: dict[str, float] = defaultdict(float)
    for (source, _), part in share.items():
        whole[source] += part
    weights = np.array([share[cell] / (size[cell] * whole[cell[0]]) for cell in cells])
    return np.asarray(weights / weights.sum())


_POWERS = {"balanced": 0.0, "square_root": 0.5}


def power_of(imbalance: ImbalanceConfig) -> float | None:
    """The power of `sampling_weights` for a config's sampling; None is natural sampling."""
    return _POWERS.get(imbalance.sampling)


@dataclass(frozen=True, eq=False)
class TrainingTask:
    """What a stage trains on: labels (N,) on the device, the sampling of chips, and the loss.

    weights  (N,) sampling weights, or None: every row once an epoch
    """

    labels: Tensor
    classes: int
    weights: NDArray[np.float64] | None
    loss: Loss
    batch_size: int

    @classmethod
    def of(cls, data: PreparedChips, config: RunConfig, device: torch.device) -> "TrainingTask":
        """The task of the config's imbalance settings."""
        labels = torch.from_numpy(np.array(data.labels)).to(device)
        counts = torch.bincount(labels, minlength=len(data.classes))
        power = power_of(config.imbalance)
        return cls(
            labels,
            len(data.classes),
            None if power is None else sampling_weights(data, power),
            loss_of(config.imbalance, counts, config.label_smoothing),
            config.batch_size,
        )

    @property
    def steps(self) -> int:
        """Batches per epoch."""
        return max(1, len(self.labels) // self.batch_size)

    def batches(self, rng: np.random.Generator) -> Iterator[Tensor]:
        """Row numbers of one epoch's batches: as many rows as there are chips."""
        n = len(self.labels)
        drawn = rng.permutation(n) if self.weights is None else rng.choice(n, n, p=self.weights)
        for rows in np.array_split(drawn, self.steps):
            yield torch.from_numpy(rows).to(self.labels.device)

    def targets(self, rows: Tensor) -> Tensor:
        """One-hot targets (len(rows), K)."""
        return functional.one_hot(self.labels[rows], self.classes).float()


def bf16_pays(device: torch.device) -> bool:
    """Whether bfloat16 arithmetic is native here: on a GPU of 2020 or later, or AVX-512 BF16."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.backends.cpu.get_cpu_capability() == "AVX512") and _cpu_has_bf16()


def _cpu_has_bf16() -> bool:
    check = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(check()) if check else False


@dataclass(frozen=True, eq=False)
class Learner:
    """A module with its running average, optimiser and schedule."""

    module: nn.Module
    average: AveragedModel
    optimizer: Optimizer
    schedule: LRScheduler

    def step(self, loss: Tensor) -> None:
        """One optimiser step, the gradient clipped to a norm of 5."""
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.module.parameters(), 5.0)
        self.optimizer.step()
        self.schedule.step()
        self.average.update_parameters(self.module)


def train_one_epoch(
    learner: Learner,
    inputs: Tensor,
    task: TrainingTask,
    config: RunConfig,
    states: RandomStates,
    team: Team,
) -> float:
    """One pass over the chips (N, 1, S, S), augmented and mixed on their device.

    Returns the mean loss, which is read from the device once.
    """
    forward = team.wrap(learner.module)
    bf16 = bf16_pays(inputs.device)
    losses = []
    for rows in task.batches(states.rng):
        chips = augment(inputs[rows], config.augment, config.input.db_scale, states.generator)
        chips, targets = mixup(chips, task.targets(rows), config.augment.mixup, states.generator)
        mine = team.part(len(rows))
        chips = chips[mine].contiguous(memory_format=torch.channels_last)
        with torch.autocast(inputs.device.type, torch.bfloat16, enabled=bf16):
            logits = forward(chips).logits
        loss = task.loss(logits.float(), targets[mine])
        # Gradients are averaged over the team, so each part is weighted by its number of chips.
        learner.step(loss * (len(chips) * team.size / len(rows)))
        losses.append(loss.detach())
    return team.mean(torch.stack(losses).mean())


@torch.inference_mode()
def predict(
    model: nn.Module, inputs: NDArray[np.float32], batch_size: int = 128
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Logits (N, K) and embeddings (N, D) in fp32, without augmentation."""
    model.eval()
    device = next(model.parameters()).device
    logits: list[Tensor] = []
    embeddings: list[Tensor] = []
    for start in range(0, len(inputs), batch_size):
        chips = torch.from_numpy(np.array(inputs[start : start + batch_size])).to(device)
        out = model(chips.contiguous(memory_format=torch.channels_last))
        logits.append(out.logits.cpu())
        embeddings.append(out.embedding.cpu())
    return torch.cat(logits).numpy(), torch.cat(embeddings).numpy()


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
