"""Length and width of a ship by kernel ridge regression on a network's embedding, in the graph.

The logarithm of a size is a sum over the ships of known size, each term falling with the distance
of the embeddings (Saunders, Gammerman & Vovk 1998). A few hundred ships have a length from AIS,
which is too few to train a network on. Over a linear model it gains 2 m of mean absolute error
(docs/experiments/log.md).
"""

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.kernel_ridge import KernelRidge
from torch import Tensor, nn

# The kernel's width over the D numbers of an embedding, each in standard deviations, and the ridge.
_GAMMA, _RIDGE = 0.3, 0.2
_FARTHEST = 5.0  # standard deviations; embeddings are clipped to it
FEWEST = 20  # ships of known size, below which there is nothing to learn


class SizeRegression(nn.Module):
    """Embeddings float32 (N, D) -> length and width float32 (N, 2) in metres.

    All parameters are buffers:

    mean, deviation  (D,) of the embeddings of chips of known size
    centres          (M, D), these embeddings in standard deviations
    weights, level   (M, 2) and (2,), of the logarithms of their sizes
    """

    def __init__(
        self, mean: Tensor, deviation: Tensor, centres: Tensor, weights: Tensor, level: Tensor
    ) -> None:
        super().__init__()
        self.mean: Tensor
        self.deviation: Tensor
        self.centres: Tensor
        self.weights: Tensor
        self.level: Tensor
        self.register_buffer("mean", mean)
        self.register_buffer("deviation", deviation)
        self.register_buffer("centres", centres)
        self.register_buffer("weights", weights)
        self.register_buffer("level", level)

    def forward(self, embedding: Tensor) -> Tensor:
        """Sizes (N, 2) in metres."""
        seen = ((embedding - self.mean) / self.deviation).clamp(-_FARTHEST, _FARTHEST)
        squares = (seen**2).sum(1, keepdim=True) + (self.centres**2).sum(1)
        distance = (squares - 2 * seen @ self.centres.T).clamp(min=0)
        near = torch.exp(distance * (-_GAMMA / self.centres.shape[1]))
        return torch.exp(near @ self.weights + self.level)


def fit_size(embeddings: NDArray[np.float32], sizes_m: NDArray[np.float64]) -> SizeRegression:
    """The regression on embeddings (M, D) of chips whose sizes (M, 2), in metres, are known."""
    seen = embeddings.astype(np.float64)
    mean, deviation = seen.mean(0), seen.std(0) + 1e-6
    centres = np.clip((seen - mean) / deviation, -_FARTHEST, _FARTHEST)
    centres = centres.astype(np.float16).astype(np.float64)  # the file stores them in halves
    logs = np.log(sizes_m)
    level = logs.mean(0)
    model = KernelRidge(alpha=_RIDGE, kernel="rbf", gamma=_GAMMA / centres.shape[1])
    model.fit(centres, logs - level)
    parts = (mean, deviation, centres, model.dual_coef_, level)
    return SizeRegression(*(_tensor(part) for part in parts))


def _tensor(values: NDArray[np.float64]) -> Tensor:
    return torch.from_numpy(np.asarray(values, dtype=np.float32))
