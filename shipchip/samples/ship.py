"""Ships as radar sees them: point scatterers on a hull, by class.

At C band a ship is a cloud of corners: rails, hatch coamings, cranes, pipes, the superstructure,
and the angle between hull and water. Which of them a class has, and how long its ships are, is all
that tells the classes apart. Lengths and slenderness of Cargo and Tanker follow the AIS reports in
OpenSARShip (Huang et al. 2017, doi 10.1109/JSTARS.2017.2755672); those of Fishing are estimates.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_STEP_M = 4.0  # between the scatterers of a line
_RCS, _RCS_SPREAD_DB = 0.85, 4.5  # m2 over the square of the length; of ships of one length


@dataclass(frozen=True)
class Parts:
    """M scatterers of one kind.

    places   (M, 3) metres: towards the bow, towards starboard, above the water
    strength (M,) shares of the radar cross-section
    loose    0..1, the share of the echo that loses coherence within the aperture: masts and rigging
             sway, and the corner between hull and water moves with the waves
    """

    places: Floats
    strength: Floats
    loose: float


@dataclass(frozen=True, eq=False)
class Ship:
    """A ship of point scatterers.

    label    Cargo, Fishing or Tanker
    length_m, beam_m
    places   (M, 3) metres from amidships: towards the bow, towards starboard, above the water
    rcs_m2   (M,) mean radar cross-section of each scatterer
    loose    (M,) 0..1, the share of each echo that loses coherence within the aperture
    """

    label: str
    length_m: float
    beam_m: float
    places: Floats
    rcs_m2: Floats
    loose: Floats


@dataclass(frozen=True)
class Hull:
    """Sizes of a class.

    length_m, spread  median and log-spread of a log-normal length
    limits_m          of the length
    slenderness       length over beam, from and to
    """

    length_m: float
    spread: float
    limits_m: tuple[float, float]
    slenderness: tuple[float, float]


HULLS = {
    "Cargo": Hull(147.0, 0.4, (70.0, 340.0), (5.6, 7.6)),
    "Fishing": Hull(45.0, 0.25, (25.0, 75.0), (3.6, 4.8)),
    "Tanker": Hull(103.0, 0.22, (60.0, 260.0), (6.0, 7.2)),
}


def draw_ship(label: str, rng: np.random.Generator) -> Ship:
    """A ship of this class.

    Its radar cross-section grows with the square of its length: that fits calibrated training chips
    of OpenSARShip, 40.5 dB m2 for tankers of 106 m and 43.4 dB m2 for cargo ships of 147 m.
    """
    hull = HULLS[label]
    length = hull.length_m * math.exp(hull.spread * rng.standard_normal())
    length = min(max(length, hull.limits_m[0]), hull.limits_m[1])
    beam = length / rng.uniform(*hull.slenderness)
    parts = _DECKS[label](length, beam, rng)
    places = np.concatenate([part.places for part in parts])
    strength = np.concatenate([part.strength for part in parts]) * rng.lognormal(
        0, 1.1, len(places)
    )
    loose = np.concatenate([np.full(len(part.places), part.loose) for part in parts])
    total = _RCS * length**2 * 10 ** (_RCS_SPREAD_DB / 10 * rng.standard_normal())
    return Ship(label, length, beam, places, total * strength / strength.sum(), loose)


def _line(start: Floats, end: Floats, share: float, loose: float = 0.0) -> Parts:
    """Scatterers every few metres from `start` to `end`, with this share together."""
    count = max(2, round(float(np.linalg.norm(end - start)) / _STEP_M) + 1)
    places = start + np.linspace(0, 1, count)[:, None] * (end - start)
    return Parts(places, np.full(count, share / count), loose)


def _at(along: float, across: float, height: float) -> Floats:
    return np.array([along, across, height])


def _sides(
    length: float, beam: float, height: float, share: float, loose: float = 0.05
) -> list[Parts]:
    """Both rails from the stern to where the bow narrows, and from there to the stem."""
    half, shoulder = length / 2, 0.36 * length
    rails = []
    for side in (-beam / 2, beam / 2):
        rails.append(
            _line(_at(-half, side, height), _at(shoulder, side, height), 0.42 * share, loose)
        )
        rails.append(_line(_at(shoulder, side, height), _at(half, 0, height), 0.08 * share, loose))
    return rails


def _house(
    along: float, beam: float, height: float, share: float, loose: float = 0.05
) -> list[Parts]:
    """A superstructure across the beam, its bridge, and the mast with the radar on top."""
    front = _line(
        _at(along, -0.4 * beam, 0.6 * height),
        _at(along, 0.4 * beam, 0.6 * height),
        0.7,
        0.1 + loose,
    )
    mast = Parts(_at(along, 0, height)[None], np.array([0.3]), 0.4 + loose)
    return [Parts(part.places, share * part.strength, part.loose) for part in (front, mast)]


def _cargo(length: float, beam: float, rng: np.random.Generator) -> list[Parts]:
    """Hatches in a row: a coaming across the deck fore and aft of each, and often cranes."""
    deck = 0.05 * length
    edges = np.linspace(-0.3, 0.42, int(rng.integers(5, 9))) * length
    cranes = rng.random() < 0.5
    parts = _sides(length, beam, deck, 0.3) + _house(-0.41 * length, beam, 2.2 * deck, 0.25)
    for edge in edges:
        ends = _at(edge, -0.4 * beam, deck), _at(edge, 0.4 * beam, deck)
        parts.append(_line(*ends, 0.35 / len(edges)))
        if cranes:
            pedestal = _at(edge, 0, 2 * deck)[None]
            parts.append(Parts(pedestal, np.array([0.1 / len(edges)]), 0.1))
    return parts


def _tanker(length: float, beam: float, rng: np.random.Generator) -> list[Parts]:
    """A flat deck with a rack of pipes along its middle, and the manifold across it amidships."""
    deck, manifold = 0.035 * length, rng.uniform(-0.05, 0.08) * length
    return [
        *_sides(length, beam, deck, 0.15),
        *_house(-0.4 * length, beam, 0.13 * length, 0.4),
        _line(_at(-0.33 * length, 0, deck), _at(0.4 * length, 0, deck), 0.15),
        _line(_at(manifold, -0.4 * beam, deck), _at(manifold, 0.4 * beam, deck), 0.12),
        Parts(_at(0.46 * length, 0, 1.5 * deck)[None], np.array([0.1]), 0.1),
    ]


def _fishing(length: float, beam: float, rng: np.random.Generator) -> list[Parts]:
    """A wheelhouse, a mast, and a gantry for the nets."""
    house = rng.choice([-0.25, 0.2]) * length
    return [
        *_sides(length, beam, 2.0, 0.25, 0.15),
        *_house(house, beam, 9.0, 0.5, 0.1),
        _line(_at(-0.8 * house, -0.3 * beam, 5.0), _at(-0.8 * house, 0.3 * beam, 5.0), 0.25, 0.15),
    ]


_DECKS: dict[str, Callable[[float, float, np.random.Generator], list[Parts]]] = {
    "Cargo": _cargo,
    "Fishing": _fishing,
    "Tanker": _tanker,
}
