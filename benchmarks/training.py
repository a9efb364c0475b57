"""Training speed as ratios within one run: `python -m benchmarks.training --help`.

frozen   a fine-tuning of the head: features once a view, against features once an epoch
base     base training in operations a second, against this machine's own matrix product
loader   how many times faster chips are drawn and augmented than they are trained on

Chips are noise of the right shape: speed does not depend on what they show.
"""

import argparse
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch.utils.flop_counter import FlopCounterMode

from training.config import NETWORKS, ModelConfig, RunConfig, StageConfig
from training.data.record import CLASSES, Record
from training.data.store import PreparedChips
from training.fit.checkpoint import RandomStates
from training.fit.epoch import TrainingTask, bf16_pays, train_one_epoch
from training.fit.processes import ALONE
from training.fit.stage import make_learner, run_stage
from training.identity import machine
from training.network.augment import augment, mixup
from training.network.models import ChipNet, build, device_of_choice


def main() -> int:
    """Measure, print a table, and give 0."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", choices=NETWORKS, default="vgg16_bn")
    parser.add_argument("--width", type=float, default=0.5, help="of a VGG16")
    parser.add_argument("--size", type=int, default=64, help="side of a chip in pixels")
    parser.add_argument("--chips", type=int, default=512)
    parser.add_argument("--epochs", type=int, default=40, help="of the fine-tuning")
    options = parser.parse_args()
    width = options.width if options.model.startswith("vgg16") else 1.0
    model = ModelConfig.model_validate({"name": options.model, "width": width})
    spec = RunConfig().input.model_copy(update={"size": options.size})
    config = RunConfig(model=model, input=spec)
    train, held = chips(options.chips, options.size), chips(options.chips // 8, options.size)
    table = Table(
        "figure", "value", "ratio", "bar", title=f"{options.model} {width:g}, {machine()}"
    )
    frozen(table, config, train, held, options.epochs)
    base(table, config, train)
    Console().print(table)
    return 0


def chips(n: int, size: int) -> PreparedChips:
    """Noise of a chip's shape, with labels in turn."""
    rng = np.random.default_rng(n)
    labels = np.arange(n, dtype=np.int64) % len(CLASSES)
    records = tuple(
        Record("noise", str(i), CLASSES[k], str(i), str(i)) for i, k in enumerate(labels)
    )
    inputs = rng.normal(0, 0.3, (n, 1, size, size)).astype(np.float32)
    return PreparedChips(inputs, labels, records, CLASSES)


def network(config: RunConfig) -> ChipNet:
    """Weights drawn alike each time."""
    torch.manual_seed(0)
    return build(config.model, len(CLASSES)).to(device_of_choice())


def seconds(work: Callable[[], object]) -> float:
    """Wall time, with whatever a GPU still has to do."""
    began = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - began


def frozen(
    table: Table, config: RunConfig, train: PreparedChips, held: PreparedChips, epochs: int
) -> None:
    """The stage as it is, and the same stage as a plain loop over chips, epoch by epoch."""
    stage = StageConfig(name="head", trains="head", epochs=epochs, lr=2e-3)
    model = network(config)
    fast = seconds(lambda: run_stage(model, train, held, stage, config))
    model = network(config)
    model.requires_grad_(False)
    model.head.requires_grad_(True)
    device = next(model.parameters()).device
    inputs = torch.from_numpy(train.inputs).to(device)
    task = TrainingTask.of(train, config, device)
    learner = make_learner(model, stage, config, task)
    states = RandomStates.of(0, stage.name, device)
    plain_epochs = max(2, epochs // 10)

    def plain() -> None:
        for _ in range(plain_epochs):
            model.eval()
            train_one_epoch(learner, inputs, task, config, states, ALONE)

    slow = seconds(plain) / plain_epochs * epochs
    table.add_row(f"frozen stage, {epochs} epochs of {stage.views} views", f"{fast:.1f} s", "")
    reported = f"{slow:.1f} s (from {plain_epochs} epochs)"
    table.add_row("the same as a plain loop", reported, f"{slow / fast:.1f}x the time", ">= 8")


def base(table: Table, config: RunConfig, train: PreparedChips) -> None:
    """Base training beside a matrix product, and the loader beside base training."""
    model = network(config)
    device = next(model.parameters()).device
    inputs = torch.from_numpy(train.inputs).to(device)
    task = TrainingTask.of(train, config, device)
    stage = StageConfig(name="base", epochs=9, lr=1e-3)
    learner = make_learner(model, stage, config, task)
    states = RandomStates.of(0, stage.name, device)
    model.train()

    def epoch() -> None:
        train_one_epoch(learner, inputs, task, config, states, ALONE)

    def load() -> None:
        for rows in task.batches(states.rng):
            batch = augment(inputs[rows], config.augment, config.input.db_scale, states.generator)
            mixup(batch, task.targets(rows), config.augment.mixup, states.generator)

    seconds(epoch)  # the first one allocates and chooses kernels
    rate = len(train) / min(seconds(epoch) for _ in range(3))
    load_rate = len(train) / min(seconds(load) for _ in range(3))
    operations = 3 * flops(model, config) * rate  # forward, and backward at twice that
    limit = matrix_product_rate(device)
    table.add_row("base training", f"{rate:.0f} chips/s", "")
    table.add_row("  in operations", f"{operations / 1e9:.0f} GFLOP/s", "")
    share = f"{operations / limit:.0%} of it"
    table.add_row("a matrix product", f"{limit / 1e9:.0f} GFLOP/s", share, ">= 75%")
    ratio = f"{load_rate / rate:.1f}x training"
    table.add_row("drawing and augmenting alone", f"{load_rate:.0f} chips/s", ratio)


def flops(model: ChipNet, config: RunConfig) -> float:
    """Operations of one chip, forward."""
    size = config.input.size
    example = torch.zeros(1, 1, size, size, device=next(model.parameters()).device)
    model.eval()
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        model(example)
    model.train()
    return float(counter.get_total_flops())


def matrix_product_rate(device: torch.device) -> float:
    """Operations a second of one large square matrix product in the precision of training."""
    side = 8192 if device.type == "cuda" else 2048  # a smaller one does not fill a large GPU
    precision = torch.bfloat16 if bf16_pays(device) else torch.float32
    left, right = (torch.randn(side, side, device=device, dtype=precision) for _ in range(2))
    seconds(lambda: left @ right)
    return 2 * side**3 / min(seconds(lambda: left @ right) for _ in range(5))


if __name__ == "__main__":
    sys.exit(main())
