"""Linear experts on measurements, one per source, and a gate that weighs them for each chip.

Sensors and products differ in what a measurement means: a Gaofen-3 chip of 8 bits saturates, a
Sentinel-1 pixel is as large as a fishing boat. One linear model for all sources did worse than one
for each (docs/experiments/log.md). So each source has its own, and the gate, which sees the same
measurements but not the source, weighs them: a mixture of experts (Jacobs et al. 1991) whose
log-probabilities are averaged.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

from shipchip.card import InputSpec
from training.config import ExpertsConfig
from training.data.store import PreparedChips
from training.network.measurements import NAMES, Measurements

_FARTHEST = 5.0  # standard deviations; measurements are clipped to it


class Experts(nn.Module):
    """E linear models of K classes on P measurements, and the gate between them.

    All parameters are buffers: they are fitted by `fit_experts`, not by gradient descent.
    """

    def __init__(self, spec: InputSpec, experts: int, classes: int) -> None:
        super().__init__()
        count = len(NAMES)
        self.measures = Measurements(spec)
        shapes = {
            "mean": (count,),
            "deviation": (count,),
            "gate": (experts, count),
            "gate_bias": (experts,),
            "means": (experts, count),
            "deviations": (experts, count),
            "weights": (experts, classes, count),
            "biases": (experts, classes),
        }
        for name, shape in shapes.items():
            self.register_buffer(name, torch.zeros(shape))

    def forward(self, chips: Tensor) -> tuple[Tensor, Tensor]:
        """chips (N, 1, S, S) -> log-probabilities (N, K) up to a constant a chip, and measurements
        (N, P) in standard deviations of the training chips."""
        measured = self.measures(chips)
        standard = (measured - self.mean) / self.deviation
        gate = torch.softmax(
            standard.clamp(-_FARTHEST, _FARTHEST) @ self.gate.T + self.gate_bias, 1
        )
        own = (measured[:, None] - self.means) / self.deviations
        own = own.clamp(-_FARTHEST, _FARTHEST)
        logits = (own[:, :, None] * self.weights).sum(-1) + self.biases
        answers = torch.log_softmax(logits, -1)
        return (gate[..., None] * answers).sum(1), standard


def fit_experts(chips: PreparedChips, spec: InputSpec, config: ExpertsConfig) -> Experts:
    """Experts of the sources of `chips`, and the gate between them."""
    sources = np.array([record.source for record in chips.records])
    names = sorted(set(sources.tolist()))
    experts = Experts(spec, len(names), len(chips.classes))
    measured = measure_chips(experts.measures, chips.inputs)
    mean, deviation = measured.mean(0), measured.std(0) + 1e-6
    _put(experts.get_buffer("mean"), mean)
    _put(experts.get_buffer("deviation"), deviation)
    if len(names) > 1:
        standard = np.clip((measured - mean) / deviation, -_FARTHEST, _FARTHEST)
        gate = LogisticRegression(max_iter=5000, class_weight="balanced").fit(standard, sources)
        weight, bias = _of_every_class(gate, names)
        _put(experts.get_buffer("gate"), weight)
        _put(experts.get_buffer("gate_bias"), bias)
    for number, name in enumerate(names):
        _fit_one(experts, number, measured, chips, sources == name, config)
    return experts


def _fit_one(
    experts: Experts,
    number: int,
    measured: NDArray[np.float64],
    chips: PreparedChips,
    own: NDArray[np.bool_],
    config: ExpertsConfig,
) -> None:
    """Multinomial logistic regression on the chips of one source."""
    mean, deviation = measured[own].mean(0), measured[own].std(0) + 1e-6
    standard = np.clip((measured - mean) / deviation, -_FARTHEST, _FARTHEST)
    weight = chip_weights(chips.labels, own, len(chips.classes), config)
    used = weight > 0
    model = LogisticRegression(C=config.strength, max_iter=5000)
    model.fit(standard[used], chips.labels[used], sample_weight=weight[used])
    weights, biases = _of_every_class(model, list(range(len(chips.classes))))
    for name, value in (
        ("means", mean),
        ("deviations", deviation),
        ("weights", weights),
        ("biases", biases),
    ):
        _put(experts.get_buffer(name)[number], value)


def chip_weights(
    labels: NDArray[np.int64], own: NDArray[np.bool_], classes: int, config: ExpertsConfig
) -> NDArray[np.float64]:
    """Weights (N,) of chips for the expert of the source whose chips are `own`; they sum to the
    number of its chips.

    Its classes weigh as chips**power. A class that the source lacks is borrowed from the others at
    a small weight, so that the expert can still predict it.
    """
    counts = np.bincount(labels[own], minlength=classes)
    share = np.where(counts > 0, np.maximum(counts, 1.0) ** config.power, 0.0)
    share /= share.sum()
    weight = np.zeros(len(labels))
    weight[own] = share[labels[own]] / counts[labels[own]]
    for absent in np.flatnonzero(counts == 0):
        others = labels == absent
        weight[others] = config.borrowed / max(1, others.sum())
    return np.asarray(weight * own.sum() / weight.sum())


@torch.inference_mode()
def measure_chips(
    measures: Measurements, inputs: NDArray[np.float32], batch_size: int = 128
) -> NDArray[np.float64]:
    """Measurements float64 (N, P) of prepared chips (N, 1, S, S)."""
    parts = [
        measures(torch.from_numpy(np.array(inputs[i : i + batch_size])))
        for i in range(0, len(inputs), batch_size)
    ]
    return np.asarray(torch.cat(parts).numpy(), dtype=np.float64)


@torch.inference_mode()
def embed_chips(
    experts: Experts, inputs: NDArray[np.float32], batch_size: int = 128
) -> NDArray[np.float32]:
    """The embedding float32 (N, P) that experts give of prepared chips (N, 1, S, S)."""
    device = experts.get_buffer("mean").device
    parts = [
        experts(torch.from_numpy(np.array(inputs[i : i + batch_size])).to(device))[1].cpu()
        for i in range(0, len(inputs), batch_size)
    ]
    return np.asarray(torch.cat(parts).numpy())


def _of_every_class(
    model: LogisticRegression, classes: list[str] | list[int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weights (K, P) and biases (K,) of a fitted model; classes that it never saw get logits that
    no other loses against."""
    weights = np.zeros((len(classes), model.coef_.shape[1]))
    biases = np.full(len(classes), -20.0)
    seen = [classes.index(c) for c in model.classes_.tolist()]
    two = len(seen) == 2  # then scikit-learn keeps the second class's logit alone
    weights[seen] = np.concatenate([-model.coef_, model.coef_]) / 2 if two else model.coef_
    bias = model.intercept_
    biases[seen] = np.concatenate([-bias, bias]) / 2 if two else bias
    return weights, biases


def _put(buffer: Tensor, value: NDArray[np.float64]) -> None:
    buffer.copy_(torch.from_numpy(np.asarray(value)))
