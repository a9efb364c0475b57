"""Base training and fine-tuning: each stage trains one model and keeps its best epoch.

The optimiser is built here from the module that is trained. A stage returns the weights of the
epoch that validation chose, averaged over steps (EMA).
"""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from fnmatch import fnmatch
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import OneCycleLR
from torch.optim.swa_utils import AveragedModel

from shipchip.trust import probabilities
from training.config import RunConfig, StageConfig
from training.data.store import PreparedChips
from training.errors import Diverged
from training.evaluation.metrics import balanced_nll, macro_f1
from training.fit.checkpoint import Checkpoint, RandomStates
from training.fit.epoch import (
    Bank,
    Learner,
    TrainingTask,
    compute_bank,
    predict,
    train_head_one_epoch,
    train_one_epoch,
)
from training.fit.linear_head import head_logits, solve_head
from training.fit.processes import ALONE, Team
from training.fit.progress import Epoch
from training.network.models import ChipNet, PooledNet, copy_state


@dataclass(frozen=True)
class StageResult:
    """The result of a stage: its history, and the index of the epoch whose weights were kept."""

    history: tuple[Epoch, ...]
    chosen: int


@dataclass(frozen=True)
class StageContext:
    """The context of a stage.

    on_epoch     called after each epoch that was trained
    on_restored  called for each epoch that the checkpoint holds, which was trained before
    bank         frozen features of the same chips, if computed before
    keep_last    keep the last epoch's weights, not those of the best epoch on validation
    """

    on_epoch: Callable[[Epoch], None] = lambda _: None
    checkpoint: Checkpoint | None = None
    team: Team = ALONE
    bank: Bank | None = None
    keep_last: bool = False
    on_restored: Callable[[Epoch], None] = lambda _: None


def of_sources(data: PreparedChips, patterns: tuple[str, ...]) -> PreparedChips:
    """The chips of sources that match one of the patterns."""
    return data.where(matches(data, patterns))


def matches(data: PreparedChips, patterns: tuple[str, ...]) -> NDArray[np.bool_]:
    """Whether each chip's source (N,) matches one of the patterns."""
    return np.array(
        [source_matches(record.source, patterns) for record in data.records], dtype=bool
    )


def source_matches(source: str, patterns: tuple[str, ...]) -> bool:
    """Whether the name of a source matches one of the patterns (`opensarship*`)."""
    return any(fnmatch(source, pattern) for pattern in patterns)


def run_stage(
    model: ChipNet,
    train: PreparedChips,
    validation: PreparedChips,
    stage: StageConfig,
    config: RunConfig,
    context: StageContext = StageContext(),
) -> StageResult:
    """Train `model` in place and leave the chosen epoch's averaged weights in it.

    `train` and `validation` hold the stage's sources only. Without validation chips the last epoch
    is kept, whatever `context` says, and the validation figures are NaN. Equal seeds, data and
    machine give equal weights, whether or not the stage was killed and resumed.
    """
    if stage.trains == "linear":
        return _solve_stage(model, train, validation, stage, config, context)
    device = next(model.parameters()).device
    states = RandomStates.of(config.seed, stage.name, device)
    task = TrainingTask.of(train, config, device)
    if stage.trains == "head":
        bank = context.bank or compute_bank(model, train, validation, stage, config)
        learner = make_learner(model.head, stage, config, task)

        def train_epoch(number: int) -> float:  # noqa: ARG001 - heads need no number
            return train_head_one_epoch(learner, bank, task, config.model.dropout, states)

        def judge_epoch() -> tuple[float, float]:
            return judge(bank.validation_logits(learner.average.module), validation)

    else:
        learner = make_learner(model, stage, config, task)
        inputs = torch.from_numpy(np.array(train.inputs)).to(device)

        def train_epoch(number: int) -> float:
            thaw(model, stage, number)
            return train_one_epoch(learner, inputs, task, config, states, context.team)

        def judge_epoch() -> tuple[float, float]:
            return judge(predict(learner.average.module, validation.inputs)[0], validation)

    judged = judge_epoch if len(validation) else None
    result = _epochs(learner, stage, states, context, train_epoch, judged)
    model.requires_grad_(True)
    return result


def _solve_stage(
    model: ChipNet,
    train: PreparedChips,
    validation: PreparedChips,
    stage: StageConfig,
    config: RunConfig,
    context: StageContext,
) -> StageResult:
    """Solve the head; the history of such a stage is one epoch."""
    assert isinstance(model, PooledNet), "a linear stage needs a config with pooled blocks"
    loss = solve_head(model, train, stage, config)
    nll, f1 = math.nan, math.nan
    if len(validation) and validation.frozen is not None:
        nll, f1 = judge(head_logits(model, validation.frozen[0]), validation)
    epoch = Epoch(stage.name, 0, loss, nll, f1)
    context.on_epoch(epoch)
    return StageResult((epoch,), 0)


def make_learner(
    module: nn.Module, stage: StageConfig, config: RunConfig, task: TrainingTask
) -> Learner:
    """The module with an optimiser of its own parameters, a one-cycle schedule and an average."""
    optimizer = AdamW(module.parameters(), lr=stage.lr, weight_decay=stage.weight_decay, fused=True)
    steps = task.steps * stage.epochs + 1
    rise = max(0.2, 2 / steps)  # at least one step, or OneCycleLR divides by zero
    schedule = OneCycleLR(optimizer, max_lr=stage.lr, total_steps=steps, pct_start=rise)
    average = AveragedModel(module, multi_avg_fn=_warm_average(config.ema))
    return Learner(module, average, optimizer, schedule)


def _epochs(
    learner: Learner,
    stage: StageConfig,
    states: RandomStates,
    context: StageContext,
    train_epoch: Callable[[int], float],
    judge_epoch: Callable[[], tuple[float, float]] | None,
) -> StageResult:
    """Run all epochs of a stage, from its checkpoint on; the module ends with the kept weights."""
    history: list[Epoch] = []
    best: dict[str, Tensor] = {}
    state = context.checkpoint.load() if context.checkpoint else None
    if state:
        _restore(learner, states, state)
        history = [Epoch(**epoch) for epoch in state["history"]]
        best = state["best"]
        for epoch in history:
            context.on_restored(epoch)
    for number in range(len(history), stage.epochs):
        states.reseed()
        loss = train_epoch(number)
        nll, f1 = context.team.agree(judge_epoch) if judge_epoch else (math.nan, math.nan)
        if not math.isfinite(loss) or (judge_epoch and not math.isfinite(nll)):
            raise Diverged(
                f"stage {stage.name}, epoch {number + 1}: the loss is {loss}, the validation NLL "
                f"{nll}; expected numbers: lower the stage's lr ({stage.lr:g})"
            )
        history.append(Epoch(stage.name, number, loss, nll, f1))
        if _chosen(history, context.keep_last) == number:
            best = copy_state(learner.average.module)
        if context.checkpoint and context.team.writes and number + 1 < stage.epochs:
            context.checkpoint.save(_state(learner, states, history, best))
        context.on_epoch(history[-1])
    learner.module.load_state_dict(best)
    context.team.share(learner.module)
    return StageResult(tuple(history), _chosen(history, context.keep_last))


def _chosen(history: list[Epoch], keep_last: bool) -> int:
    """The epoch whose weights are kept: the last, or the best on validation."""
    if keep_last or math.isnan(history[-1].nll):
        return len(history) - 1
    return min(range(len(history)), key=lambda i: history[i].nll)


def _state(
    learner: Learner, states: RandomStates, history: list[Epoch], best: dict[str, Tensor]
) -> dict[str, Any]:
    return {
        "module": learner.module.state_dict(),
        "average": learner.average.state_dict(),
        "optimizer": learner.optimizer.state_dict(),
        "schedule": learner.schedule.state_dict(),
        "dice": states.state(),
        "history": [asdict(epoch) for epoch in history],
        "best": best,
    }


def _restore(learner: Learner, states: RandomStates, state: dict[str, Any]) -> None:
    learner.module.load_state_dict(state["module"])
    learner.average.load_state_dict(state["average"])
    learner.optimizer.load_state_dict(state["optimizer"])
    learner.schedule.load_state_dict(state["schedule"])
    states.restore(state["dice"])


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


def thaw(model: ChipNet, stage: StageConfig, epoch: int) -> None:
    """Mark what this epoch of a stage trains; frozen parts keep their batch-norm statistics too.

    "gradual" thaws the head in the first epoch and then the blocks, evenly, from the top down
    (Howard & Ruder 2018, "ULMFiT", section 3.3); with fewer epochs than blocks and one more, the
    lowest stay frozen.
    """
    blocks = model.blocks()
    thawed = len(blocks)
    if stage.trains == "last_blocks":
        thawed = stage.blocks
    elif stage.trains == "gradual":
        thawed = epoch * (len(blocks) + 1) // stage.epochs if stage.epochs > 1 else len(blocks)
    model.train()
    model.requires_grad_(True)
    for piece in blocks[thawed:]:
        for module in piece:
            module.requires_grad_(False)
            module.eval()


def judge(logits: NDArray[np.float32], data: PreparedChips) -> tuple[float, float]:
    """Balanced negative log-likelihood of logits (N, K), and macro-F1 averaged over the sources."""
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
