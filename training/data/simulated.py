"""Chips drawn from physics, so that tests and newcomers need no download.

A ship is a hull of its class's length and beam with point scatterers where such ships have them;
its radar cross-section is seen through the sensor's point spread, on K-distributed sea clutter
(a gamma texture under multilook speckle; Ward, Tough & Watts 2006). Real chips are harder.
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shipchip.chip import Chip
from training.data.record import Record, Source

Points = NDArray[np.float64]


@dataclass(frozen=True)
class ShipClass:
    """Hull statistics and deck layout of a class; lengths in metres.

    length_m, spread   median and log-spread of a log-normal length
    slenderness        length over beam
    bright_db          ship over clutter, mean power of its strong scatterers
    """

    length_m: float
    spread: float
    slenderness: float
    bright_db: float


SHIPS = {
    "Cargo": ShipClass(175.0, 0.25, 6.3, 22.0),
    "Fishing": ShipClass(45.0, 0.2, 4.0, 16.0),
    "Tanker": ShipClass(115.0, 0.25, 5.6, 19.0),
}


class SimulatedSource:
    """`ships` hulls a class, each seen from one to three times; equal seeds give equal chips.

    size        pixels a side
    spacing_m   metres a pixel
    looks       equivalent number of looks of the speckle
    """

    def __init__(
        self,
        ships: dict[str, int],
        seed: int = 0,
        size: int = 64,
        spacing_m: float = 6.0,
        looks: float = 4.0,
        name: str = "simulated",
    ) -> None:
        self.name = name
        self._ships, self._seed = ships, seed
        self._size, self._spacing_m, self._looks = size, spacing_m, looks

    def index(self) -> list[Record]:
        """One record a view, ship by ship; its size is that of the hull."""
        return [
            Record(
                self.name,
                key,
                label,
                ship,
                hashlib.sha256(self._draw(key).data).hexdigest(),
                hull_of(label, self._hull(key)),
            )
            for key, (label, ship) in self._views.items()
        ]

    def read(self, record: Record) -> Chip:
        """The chip of one view: amplitude (1, size, size), VV."""
        amplitude = self._draw(record.key)[None]
        return Chip(amplitude, ("VV",), (self._spacing_m, self._spacing_m), "float")

    def notes(self) -> list[str]:
        """None: its ships are known and its chips complete."""
        return []

    def context(self) -> str:
        """The pixel spacing."""
        return f"spacing {self._spacing_m}"

    @cached_property
    def _views(self) -> dict[str, tuple[str, str]]:
        views = {}
        for label, count in self._ships.items():
            for number in range(count):
                ship = f"{self.name}:{label}-{number}"
                for view in range(1 + number % 3):
                    views[f"{label}/{number:05d}-{view}"] = (label, ship)
        return views

    def outline(self, record: Record) -> Points:
        """Where the ship of a chip is: its scatterers (M, 2) as (row, column) in pixels."""
        return self._ship(record.key)[0]

    def _draw(self, key: str) -> NDArray[np.float32]:
        """Amplitude (size, size) of one view; the hull depends on the ship alone."""
        places, power, look = self._ship(key)
        fluctuating = power * look.exponential(1.0, len(power))
        ship_power = _spread(places, fluctuating, self._size)
        return np.sqrt(sea(look, self._size, self._looks) + ship_power).astype(np.float32)

    def _ship(self, key: str) -> tuple[Points, NDArray[np.float64], np.random.Generator]:
        """Places and powers of a view's scatterers, and the generator that draws the rest of it."""
        label, _, number = key.partition("/")
        ship, _, view = number.partition("-")
        look = np.random.default_rng([self._seed, ord(label[0]), int(ship), int(view) + 1])
        points, power = scatterers(label, self._hull(key))
        angle = look.uniform(0, 2 * np.pi)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        places = points @ turn.T / self._spacing_m + self._size / 2 + look.uniform(-2, 2, 2)
        return places, power, look

    def _hull(self, key: str) -> np.random.Generator:
        """The generator that draws the ship of a view, the same for all its views."""
        label, _, number = key.partition("/")
        return np.random.default_rng([self._seed, ord(label[0]), int(number.partition("-")[0])])


def simulated_sources(smoke: bool) -> list[Source]:
    """A fine and a coarse simulated sensor; the coarse one shows no fishing boats, like the
    Sentinel-1 chips of this project."""
    many = 1 if smoke else 6
    fine = {"Cargo": 60 * many, "Fishing": 30 * many, "Tanker": 30 * many}
    coarse = {"Cargo": 60 * many, "Tanker": 30 * many}
    return [
        SimulatedSource(fine, 1, size=96, spacing_m=4.0, looks=3.0, name="simulated-fine"),
        SimulatedSource(coarse, 2, size=40, spacing_m=10.0, looks=5.0, name="simulated-coarse"),
    ]


def hull_of(label: str, rng: np.random.Generator) -> tuple[float, float]:
    """Length and beam in metres, drawn for a ship of this class."""
    kind = SHIPS[label]
    length = kind.length_m * float(np.exp(kind.spread * rng.standard_normal()))
    return length, length / kind.slenderness * float(rng.uniform(0.9, 1.1))


def scatterers(label: str, rng: np.random.Generator) -> tuple[Points, NDArray[np.float64]]:
    """Scatterers of one ship: places (M, 2) in metres from its centre, bow up, and powers (M,)."""
    length, beam = hull_of(label, rng)
    side = np.linspace(-length / 2, length / 2, max(6, int(length / 6)))
    narrow = beam / 2 * np.sqrt(np.clip(1 - np.maximum(0, side / (length / 2)) ** 4, 0, 1))
    outline = np.concatenate([np.stack([side, narrow], 1), np.stack([side, -narrow], 1)])
    deck, strength = _deck(label, length, beam, rng)
    places = np.concatenate([outline, deck])
    base = 10 ** (SHIPS[label].bright_db / 10)
    power = np.concatenate([np.full(len(outline), 0.2), strength])
    return places, base * power * rng.lognormal(0, 0.3, len(places))


def _deck(
    label: str, length: float, beam: float, rng: np.random.Generator
) -> tuple[Points, NDArray[np.float64]]:
    """Hatches and cranes, a pipeline amidships, or a wheelhouse, and the superstructure aft."""
    aft = np.stack([np.full(4, -0.42 * length), np.linspace(-0.4, 0.4, 4) * beam], 1)
    if label == "Cargo":
        holds = np.repeat(np.linspace(-0.3, 0.42, int(rng.integers(5, 9))) * length, 2)
        row = np.stack([holds, np.tile([-0.3, 0.3], len(holds) // 2) * beam], 1)
        return np.concatenate([aft, row]), np.concatenate([np.full(4, 2.0), np.full(len(row), 1.0)])
    if label == "Tanker":
        pipe = np.linspace(-0.35, 0.4, max(8, int(length / 8))) * length
        row = np.stack([pipe, np.zeros(len(pipe))], 1)
        return np.concatenate([aft, row]), np.concatenate([np.full(4, 2.5), np.full(len(row), 0.7)])
    house = rng.uniform(-0.15, 0.3) * length + rng.uniform(-2, 2, 3)
    row = np.stack([house, rng.uniform(-0.3, 0.3, 3) * beam], 1)
    return row, np.full(3, 2.0)


def sea(rng: np.random.Generator, size: int, looks: float) -> NDArray[np.float64]:
    """Clutter power (size, size) of mean 1: speckle of `looks` looks on a gamma texture."""
    coarse = rng.gamma(6.0, 1 / 6.0, (size // 8 + 2, size // 8 + 2)).astype(np.float32)
    texture = np.asarray(Image.fromarray(coarse).resize((size, size), Image.Resampling.BILINEAR))
    return texture * rng.gamma(looks, 1 / looks, (size, size))


def _spread(places: Points, power: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Scatterers seen through a Gaussian point spread of 0.8 pixels: power (size, size)."""
    grid = np.arange(size)
    rows = np.exp(-((grid[None] - places[:, :1]) ** 2) / (2 * 0.8**2))
    columns = np.exp(-((grid[None] - places[:, 1:]) ** 2) / (2 * 0.8**2))
    return (rows * power[:, None]).T @ columns
