"""Measurements of a ship, taken from a prepared chip by plain arithmetic inside the network.

They are what an analyst would measure: area, length, width and brightness of the ship above several
levels, the distribution of its backscatter, and the grain of the clutter. A linear model on a few
dozen such numbers needs far fewer chips than a convolutional network. They are computed in the
graph, so that the model file needs only the chip.
"""

import torch
from torch import Tensor, nn

from shipchip.card import InputSpec

LEVELS_DB = (7.0, 12.0, 18.0, 24.0, 30.0)  # above the chip's own clutter
_EDGE_DB = 3.2  # a level is this soft, so that noise moves a measurement a little, not by a jump
_CENTRE = 0.35  # of the field of view: a chip shows its ship at the centre, others at the edge
_SHARES = (0.25, 0.5, 0.75, 0.9, 0.95, 0.98, 0.99, 0.997)  # quantiles of the chip ...
_INNER_SHARES = (0.5, 0.75, 0.9, 0.95, 0.98)  # ... and of its inner quarter
_MIDDLE_DB = 24.0  # of the levels, roughly
_CLUTTER_DB = (-10.0, 8.0)  # what is taken for clutter
_SHAPE = ("area", "length", "width", "slenderness", "mean", "deviation", "filling")

NAMES: tuple[str, ...] = (
    *(f"{what} above {level:g} dB" for level in LEVELS_DB for what in _SHAPE),
    *(f"quantile {share:g}" for share in _SHARES),
    "maximum",
    "deviation",
    *(f"inner quantile {share:g}" for share in _INNER_SHARES),
    "clutter deviation",
    "clutter correlation",
)


class Measurements(nn.Module):
    """Prepared chips float32 (N, 1, S, S) -> measurements float32 (N, P), as NAMES says.

    Areas are in log square metres, lengths and widths in log metres: the roots of the eigenvalues
    of the second moments of what is above a level. Slenderness is length over width, filling the
    area over length times width, both in logs. Backscatter is in decibels above clutter over the
    InputSpec's scale. The clutter's correlation is that of neighbouring pixels: near 0.5 where a
    fine sensor was averaged down to the grid, towards 1 where a coarse one was interpolated.
    """

    def __init__(self, spec: InputSpec) -> None:
        super().__init__()
        self.size, self.spacing_m, self.scale = spec.size, spec.spacing_m, spec.db_scale
        place = (torch.arange(spec.size) + 0.5 - spec.size / 2) * spec.spacing_m
        y, x = torch.meshgrid(place, place, indexing="ij")
        near = torch.exp(-(y**2 + x**2) / (2 * (_CENTRE * spec.size * spec.spacing_m) ** 2))
        moments = torch.stack([torch.ones_like(y), y, x, y * y, x * x, y * x], -1)
        self.moments: Tensor
        self.near: Tensor
        self.levels: Tensor
        self.register_buffer("moments", (near[..., None] * moments).flatten(0, 1))
        self.register_buffer("near", near.flatten())
        self.register_buffer("levels", torch.tensor(LEVELS_DB)[None, :, None] / spec.db_scale)

    def forward(self, chips: Tensor) -> Tensor:
        """Measurements (N, P)."""
        flat = chips.flatten(1)
        inner = chips[:, 0, self.size // 4 : -(self.size // 4), self.size // 4 : -(self.size // 4)]
        parts = [
            self._above_levels(flat).flatten(1),
            _quantiles(flat, _SHARES),
            flat.amax(1, keepdim=True),
            flat.std(1, keepdim=True),
            _quantiles(inner.flatten(1), _INNER_SHARES),
            self._clutter(chips[:, 0]),
        ]
        return torch.cat(parts, 1)

    def _ramp(self, over: Tensor) -> Tensor:
        """0 to 1 across _EDGE_DB around 0. Not a sigmoid: its tails are small but not nothing, and
        ONNX Runtime's differ from torch's, which showed where nothing is above a level."""
        return (over * (self.scale / _EDGE_DB) + 0.5).clamp(0, 1)

    def _above_levels(self, flat: Tensor) -> Tensor:
        """(N, levels, 7): shape and brightness of what is above each level."""
        above = self._ramp(flat[:, None] - self.levels)
        moments = above @ self.moments
        pixels = moments[..., :1]
        whole = pixels + 1e-3 * self.size**2 / 4096  # so that nothing is divided by nothing
        y, x, yy, xx, yx = (moments[..., 1:] / whole).unbind(-1)
        vy, vx, vyx = yy - y * y, xx - x * x, yx - y * x
        middle, half = (vy + vx) / 2, torch.sqrt(((vy - vx) / 2) ** 2 + vyx**2 + 1e-6)
        least = (self.spacing_m / 2) ** 2  # square metres: nothing is smaller than half a pixel
        length = torch.sqrt((middle + half).clamp(min=least))
        width = torch.sqrt((middle - half).clamp(min=least))
        middle_level = _MIDDLE_DB / self.scale
        over = flat - middle_level  # so that the mean's square does not drown what it is taken from
        weighed = torch.stack([self.near * over, self.near * over * over], -1)
        mean, square = ((above @ weighed) / whole).unbind(-1)
        deviation = torch.sqrt((square - mean * mean).clamp(min=0) + 1e-4)
        mean = mean + middle_level * (pixels / whole)[..., 0]  # 0 where nothing is above
        area = pixels[..., 0] * self.spacing_m**2 + 100  # 100 square metres are nothing
        logs = [area.log(), length.log(), width.log(), (length / width).log()]
        return torch.stack([*logs, mean, deviation, (area / (length * width)).log()], -1)

    def _clutter(self, image: Tensor) -> Tensor:
        """(N, 2): deviation and neighbours' correlation of what is dimmer than a ship."""
        low, high = (level / self.scale for level in _CLUTTER_DB)
        sea = self._ramp(high - image)
        seen = image.clamp(low, high) * sea
        pixels = sea.sum((1, 2)) + 1e-6
        off = seen.clamp(low, high) - (seen.sum((1, 2)) / pixels)[:, None, None] * sea
        square = (off * off).mean((1, 2)) + 1e-6
        down = (off[:, 1:] * off[:, :-1]).mean((1, 2))
        across = (off[:, :, 1:] * off[:, :, :-1]).mean((1, 2))
        deviation = torch.sqrt((off * off).sum((1, 2)) / pixels)
        return torch.stack([deviation, (down + across) / 2 / square], 1)


def _quantiles(values: Tensor, shares: tuple[float, ...]) -> Tensor:
    """(N, len(shares)) of values (N, M): the sorted value at each share, none interpolated."""
    ordered = values.sort(1).values
    return ordered[:, [int(share * (values.shape[1] - 1)) for share in shares]]
