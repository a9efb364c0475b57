"""Base training and fine-tuning: each stage trains one model and keeps its best epoch.

The optimiser is built here from the very model that is trained; the weights that a stage returns
are those of the epoch that validation chose, averaged over steps (EMA).
"""

from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatch

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.optim import AdamW
from torch.optim.lr_scheduler import OneCycleLR
from torch.optim.swa_utils import AveragedModel

from shipchip.trust import probabilities
from training.config import RunConfig, StageConfig
from training.loop import Learner, evaluate, train_one_epoch
from training.metrics import balanced_nll, macro_f1
from training.models import ChipNet, copy_state
from training.results import Epoch
from training.store import Prepared


@dataclass(frozen=True)
class StageResult:
    """What a stage did: its history and the epoch whose weights the model now has."""

    history: tuple[Epoch, ...]
    chosen: int


def of_sources(data: Prepared, patterns: tuple[str, ...]) -> Prepared:
    """The chips of sources that match one of the patterns."""
    names = [record.source for record in data.records]
    keep = np.array([any(fnmatch(name, p) for p in patterns) for name in names], dtype=bool)
    return data.where(keep)


def run_stage(
    model: ChipNet,
    train: Prepared,
    validation: Prepared,
    stage: StageConfig,
    config: RunConfig,
    on_epoch: Callable[[Epoch], None] = lambda _: None,
) -> StageResult:
    """Train `model` in place and leave the chosen epoch's averaged weights in it.

    `train` and `validation` hold the stage's sources only. Equal seeds, data and machine give
    equal weights.
    """
    rng = np.random.default_rng([config.seed, *stage.name.encode()])
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    torch.manual_seed(int(rng.integers(2**62)))  # dropout draws from the global generator
    parameters = _unfreeze(model, stage)
    average = AveragedModel(model, multi_avg_fn=_warm_average(config.ema))
    optimizer = AdamW(parameters, lr=stage.lr, weight_decay=stage.weight_decay)
    steps = max(1, len(train) // config.batch_size) * stage.epochs
    schedule = OneCycleLR(optimizer, max_lr=stage.lr, total_steps=steps + 1, pct_start=0.2)
    learner = Learner(model, average, optimizer, schedule)
    history: list[Epoch] = []
    best: dict[str, Tensor] = {}
    for number in range(stage.epochs):
        _train_mode(model, stage)
        loss = train_one_epoch(learner, train, config, rng, generator)
        nll, f1 = judge(average.module, validation)
        history.append(Epoch(stage.name, number, loss, nll, f1))
        if nll <= min(epoch.nll for epoch in history):
            best = copy_state(average.module)
        on_epoch(history[-1])
    model.load_state_dict(best)
    return StageResult(tuple(history), min(range(len(history)), key=lambda i: history[i].nll))


Tensors = tuple[Tensor, ...] | list[Tensor]


def _warm_average(decay: float) -> Callable[[Tensors, Tensors, Tensor | int], None]:
    """Exponential averaging that trusts early steps less: decay is at most (1 + n) / (10 + n).

    Batch-norm statistics are not averaged but copied: their first values are far off.
    """

    @torch.no_grad()
    def average(averaged: Tensors, current: Tensors, steps: Tensor | int) -> None:
        keep = min(decay, (1 + int(steps)) / (10 + int(steps)))
        torch._foreach_lerp_(averaged, current, 1 - keep)

    return average


def _unfreeze(model: ChipNet, stage: StageConfig) -> list[torch.nn.Parameter]:
    """Mark what this stage trains, and return just that."""
    model.requires_grad_(stage.trains == "all")
    model.head.requires_grad_(True)
    return [p for p in model.parameters() if p.requires_grad]


def _train_mode(model: ChipNet, stage: StageConfig) -> None:
    """Frozen features also keep their batch-norm statistics."""
    model.train()
    if stage.trains == "head":
        model.features.eval()


def judge(model: torch.nn.Module, data: Prepared) -> tuple[float, float]:
    """Balanced negative log-likelihood, and macro-F1 averaged over the sources."""
    logits, _ = evaluate(model, data.inputs)
    probs = probabilities(logits, 1.0)
    sources = np.array([record.source for record in data.records])
    cells = list(zip(sources, data.labels.tolist(), strict=True))
    return balanced_nll(probs, data.labels, cells), mean_macro_f1(probs, data.labels, sources)


def mean_macro_f1(
    probs: NDArray[np.floating], labels: NDArray[np.int64], sources: NDArray[np.str_]
) -> float:
    """Macro-F1 of each source over the classes it has, averaged over the sources."""
    predicted = probs.argmax(axis=1)
    return float(
        np.mean([macro_f1(labels[sources == s], predicted[sources == s]) for s in set(sources)])
    )
