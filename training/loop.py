"""Plain functions of training: an epoch, an evaluation, the drawing of balanced batches."""

from collections import Counter
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

from training.augment import augment, mixup
from training.config import RunConfig
from training.models import ChipNet
from training.store import Prepared


def balanced_weights(data: Prepared) -> NDArray[np.float64]:
    """Sampling weights (N,), summing to 1: sources alike, and in each its classes alike."""
    cells = [(record.source, int(k)) for record, k in zip(data.records, data.labels, strict=True)]
    size = Counter(cells)
    classes = Counter(source for source, _ in size)
    weights = np.array([1 / (size[cell] * classes[cell[0]]) for cell in cells])
    return np.asarray(weights / weights.sum())


def balanced_batches(
    data: Prepared, batch_size: int, rng: np.random.Generator
) -> Iterator[NDArray[np.int64]]:
    """Row numbers of one epoch's batches: as many chips as there are, drawn by their weights."""
    drawn = rng.choice(len(data), len(data), p=balanced_weights(data))
    full = max(1, len(drawn) // batch_size)
    yield from np.array_split(drawn, full)


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
    """A model, its running average, and what moves it; all four belong together."""

    model: ChipNet
    average: AveragedModel
    optimizer: Optimizer
    schedule: LRScheduler


def train_one_epoch(
    learner: Learner,
    data: Prepared,
    config: RunConfig,
    rng: np.random.Generator,
    generator: torch.Generator,
) -> float:
    """One pass over balanced batches, augmented and mixed; returns the mean loss."""
    model, optimizer = learner.model, learner.optimizer
    device = next(model.parameters()).device
    bf16 = bf16_pays(device)
    losses = []
    for rows in balanced_batches(data, config.batch_size, rng):
        chips = torch.from_numpy(data.inputs[np.sort(rows)]).to(device)
        labels = torch.from_numpy(data.labels[np.sort(rows)]).to(device)
        targets = functional.one_hot(labels, len(data.classes)).float()
        chips = augment(chips, config.augment, config.input.db_scale, generator)
        chips, targets = mixup(chips, targets, config.augment.mixup, generator)
        chips = chips.contiguous(memory_format=torch.channels_last)
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            logits = model(chips).logits
        loss = functional.cross_entropy(
            logits.float(), targets, label_smoothing=config.label_smoothing
        )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        learner.schedule.step()
        learner.average.update_parameters(model)
        losses.append(loss.item())
    return float(np.mean(losses))


@torch.inference_mode()
def evaluate(
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
