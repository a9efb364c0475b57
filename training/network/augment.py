"""Random changes of a batch of prepared chips, on the device that the batch is on."""

import math

import torch
from torch import Tensor
from torch.nn import functional

from training.config import AugmentConfig


def augment(
    batch: Tensor, config: AugmentConfig, db_scale: float, generator: torch.Generator
) -> Tensor:
    """A changed copy of (N, 1, S, S); 0 stays clutter, new borders show mirrored sea."""
    changed = _move(batch, config, generator)
    return _radiometry(changed, config, db_scale, generator)


def _uniform(n: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    return torch.rand(n, generator=generator, device=generator.device) * (high - low) + low


def _move(batch: Tensor, config: AugmentConfig, generator: torch.Generator) -> Tensor:
    """One affine map per chip: rotation, flip, zoom and shift in a single resampling."""
    n = len(batch)
    angle = _uniform(n, 0, 2 * math.pi if config.rotate else 0, generator)
    zoom = 1 + _uniform(n, -config.zoom, config.zoom, generator)
    sides = torch.randint(0, 2, (n,), generator=generator, device=generator.device)
    mirror = sides * 2.0 - 1 if config.flip else torch.ones_like(angle)
    shift = torch.stack([_uniform(n, -2 * config.shift, 2 * config.shift, generator)] * 2, 1)
    shift[:, 1] = _uniform(n, -2 * config.shift, 2 * config.shift, generator)
    cos, sin = torch.cos(angle) / zoom, torch.sin(angle) / zoom
    rows = torch.stack(
        [torch.stack([cos * mirror, -sin], 1), torch.stack([sin * mirror, cos], 1)], 1
    )
    theta = torch.cat([rows, shift[:, :, None]], 2).to(batch)
    grid = functional.affine_grid(theta, list(batch.shape), align_corners=False)
    return functional.grid_sample(batch, grid, padding_mode="reflection", align_corners=False)


def _radiometry(
    batch: Tensor, config: AugmentConfig, db_scale: float, generator: torch.Generator
) -> Tensor:
    """Changes of contrast, clutter level and noise, in decibels."""
    n = len(batch)

    def column(low: float, high: float) -> Tensor:
        return _uniform(n, low, high, generator).to(batch)[:, None, None, None]

    contrast = column(1 - config.contrast, 1 + config.contrast)
    level = column(-config.level_db, config.level_db) / db_scale
    deviation = column(0, config.noise_db) / db_scale
    noise = torch.randn(batch.shape, generator=generator, device=generator.device).to(batch)
    return batch * contrast + level + noise * deviation


def mixup(
    batch: Tensor, targets: Tensor, alpha: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Each chip mixed with another: inputs (N, 1, S, S) and one-hot targets (N, K) alike."""
    if alpha == 0:
        return batch, targets
    beta = torch._sample_dirichlet(
        torch.full((len(batch), 2), alpha, device=generator.device), generator
    )
    weight = beta.max(dim=1).values.to(batch)
    other = torch.randperm(len(batch), generator=generator, device=generator.device)
    w = weight[:, None, None, None]
    mixed = batch * w + batch[other] * (1 - w)
    return mixed, targets * weight[:, None] + targets[other] * (1 - weight[:, None])
