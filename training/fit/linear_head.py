"""The final linear layer solved exactly, on frozen features that are computed once a run.

The paper freezes everything but the final layers. Then a stage has one best head, the solution of a
convex problem, and no epochs or rates to choose. A fine-tuning starts from the head of the stage
before, and is pulled to it by a ridge: what the new chips do not speak against stays.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from training.config import RunConfig, StageConfig
from training.data.store import PreparedChips
from training.errors import Diverged
from training.fit.epoch import bf16_pays, power_of, sampling_weights
from training.network.models import PooledNet

_STEPS = 200


@torch.inference_mode()
def frozen_features(
    network: PooledNet, chips: PreparedChips, batch_size: int = 64
) -> NDArray[np.float32]:
    """The pooled averages float32 (1 + V, N, D) of the chips and of their V views."""
    network.eval()
    device = network.mean.device
    rounds = []
    for number, inputs in enumerate((chips.inputs, *chips.views)):
        # Out-of-distribution scores are fitted on the chips as they are, so these are exact.
        fast = number > 0 and bf16_pays(device)
        parts = [torch.empty(0, len(network.mean))]  # there may be no chips
        for start in range(0, len(inputs), batch_size):
            batch = torch.from_numpy(np.array(inputs[start : start + batch_size])).to(device)
            with torch.autocast(device.type, torch.bfloat16, enabled=fast):
                pooled = network.pooled(batch.contiguous(memory_format=torch.channels_last))
            parts.append(pooled.float().cpu())
        rounds.append(torch.cat(parts).numpy())
    return np.stack(rounds)


def solve_head(
    network: PooledNet, chips: PreparedChips, stage: StageConfig, config: RunConfig
) -> float:
    """Set the head of `network` to the solution for the chips and their views; returns its loss.

    Minimises the mean cross-entropy, weighed by the config's sampling, plus |W - W'|^2 / (2
    strength), where W' are the weights before. Raises Diverged if that is no number.
    """
    every = chips.every_view()
    assert every.frozen is not None, "frozen features are computed before the first stage"
    device = network.mean.device
    features = network.standard(torch.from_numpy(every.frozen[0]).to(device))
    labels = torch.from_numpy(np.array(every.labels)).to(device)
    power = power_of(config.imbalance)
    weights = np.ones(len(every)) / len(every) if power is None else sampling_weights(every, power)
    weight = torch.from_numpy(weights.astype(np.float32)).to(device)
    head = network.head
    before = head.weight.detach().clone()
    parameters = [head.weight, head.bias]
    solver = torch.optim.LBFGS(parameters, max_iter=_STEPS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        wrong = functional.cross_entropy(head(features), labels, reduction="none")
        return (wrong * weight).sum() + (head.weight - before).square().sum() / (2 * stage.strength)

    def step() -> Tensor:
        solver.zero_grad()
        found = loss()
        found.backward()  # type: ignore[no-untyped-call]
        return found

    solver.step(step)  # type: ignore[no-untyped-call]
    found = float(loss().detach())
    if not np.isfinite(found):
        raise Diverged(
            f"stage {stage.name}: the loss is {found}, expected a number: lower the stage's "
            f"strength ({stage.strength:g})"
        )
    return found


@torch.inference_mode()
def head_logits(network: PooledNet, frozen: NDArray[np.float32]) -> NDArray[np.float32]:
    """Logits (N, K) from pooled averages (N, D)."""
    pooled = torch.from_numpy(frozen).to(network.mean.device)
    return np.asarray(network.head(network.standard(pooled)).cpu().numpy())
