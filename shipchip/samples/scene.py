"""A ship on the sea, as a SAR would image it.

Samples are complex; their mean square is sigma0. Every part is a known one:

clutter      K-distributed: circular Gaussian speckle on a gamma texture that is rougher in a calm
             sea (Ward, Tough & Watts 2006), above the thermal noise
point        a scatterer of radar cross-section s has a peak of s / (resolution cell), and sidelobes
             of a spectrum with a generalised Hamming weighting in both directions
layover      what stands h metres high appears h / tan(incidence) closer to the radar
smear        the part of an echo that loses coherence within the aperture spreads along azimuth as a
             Lorentzian (Raney 1980, IEEE Trans. Antennas and Propagation 28)
hull         hull and water form a corner on the side that faces the radar, strongest broadside on
wake         a strip of calmed water astern; a ship that moves along range appears beside it,
             shifted along azimuth (Raney 1971, IEEE Trans. Aerospace and Electronic Systems 7)
sway         what stands high on a rolling ship moves along range, so it is shifted too
looks        each has its own speckle, and the scatterers add with other phases
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shipchip.samples.ship import Floats, Ship

Field = NDArray[np.complex128]

_TEXTURE_M = 30.0  # how far apart the sea's texture varies
_SEA_SIGMA0_DB = {1: -20.0, 2: -18.0, 3: -16.5, 4: -15.0}  # VV, middle incidence, by sea state
_SHAPE = {1: 15.0, 2: 25.0, 3: 40.0, 4: 60.0}  # of the texture's gamma distribution
_CROSS_SEA_DB, _CROSS_SHIP_DB = -9.0, -9.0  # VH under VV
_SPECULAR_DEGREES = 7.0
_RANGE_OVER_SPEED_S = 115.0  # slant range over platform speed, of both satellites about
_ROLL_MS = 0.9  # speed of a point as high as the ship is long, as it rolls; one deviation
_WAKE_DB = -4.0


@dataclass(frozen=True)
class Sensor:
    """What an imaging mode does; pairs are (azimuth, ground range).

    pixel_m       metres a sample
    resolution_m  width of a point at half power, metres
    hamming       of the spectrum's weighting: 1 is none, 0.54 is Hamming's
    looks         whose intensities are averaged
    sea_db        of the sea over that at VV: HH sees less of it
    noise_db      sigma0 of the thermal noise
    smear_m       half-width of what has lost coherence; it grows with distance over platform speed
    smear_share   of loose echoes: about 1 for the long aperture of a strip-map, less for a burst
    turn_degrees  how far azimuth is turned clockwise from the rows: chips of a north-up product
    """

    pixel_m: tuple[float, float]
    resolution_m: tuple[float, float]
    hamming: float
    looks: int
    sea_db: float
    noise_db: float
    smear_m: float
    smear_share: float
    turn_degrees: float = 0.0


@dataclass(frozen=True)
class Pose:
    """How the ship lies to the radar.

    heading_degrees    of the bow, clockwise from the direction of azimuth (up)
    incidence_degrees  at the ship
    radar_side         -1: the radar is on the left of the picture, 1: on the right
    speed_ms           0 is at anchor
    sea_state          1 (calm) to 4 (moderate)
    sway               metres along azimuth by which an echo is shifted, per metre of its height
    """

    heading_degrees: float
    incidence_degrees: float
    radar_side: int
    speed_ms: float
    sea_state: int
    sway: float


def draw_pose(ship: Ship, lane_degrees: float, rng: np.random.Generator) -> Pose:
    """At anchor or up to 8 m/s, on a sea of state 1 to 4.

    Half of the ships keep within about 12 degrees of a lane, up or down; the others head anywhere.
    """
    lane = lane_degrees + rng.choice([0.0, 180.0]) + 12.0 * rng.standard_normal()
    return Pose(
        heading_degrees=float(rng.choice([lane, rng.uniform(0, 360)])),
        incidence_degrees=rng.uniform(30, 44),
        radar_side=int(rng.choice([-1, 1])),
        speed_ms=float(rng.choice([0.0, rng.uniform(2, 8)])),
        sea_state=int(rng.integers(1, 5)),
        sway=_RANGE_OVER_SPEED_S * _ROLL_MS / ship.length_m * rng.standard_normal(),
    )


def observe(
    ship: Ship,
    pose: Pose,
    sensor: Sensor,
    size: int,
    rng: np.random.Generator,
    cross: bool = False,
) -> Field:
    """Complex looks (L, size, size); the mean of |z|^2 is sigma0. `cross` gives VH in place of VV.

    The ship's middle is at the middle of the picture.
    """
    margin = 16 * math.ceil(0.18 * size / 16) if sensor.turn_degrees else 0
    shape = size + 2 * margin
    at, rcs, loose = _echoes(ship, pose)
    loose = loose * sensor.smear_share
    rcs = rcs * (10 ** (_CROSS_SHIP_DB / 10) * rng.lognormal(0, 0.5, len(rcs)) if cross else 1)
    places = at / np.array(sensor.pixel_m) + (shape - 1) / 2
    power = _sea_power(pose, sensor, shape, rng, cross)
    power *= _wake(ship, pose, sensor, shape)
    power += _smeared(places, rcs * loose, sensor, shape)
    power += 10 ** (sensor.noise_db / 10)
    rows = _point(np.arange(shape) - places[:, :1], sensor, 0)
    columns = _point(np.arange(shape) - places[:, 1:], sensor, 1)
    cell = sensor.resolution_m[0] * sensor.resolution_m[1]
    amplitude = np.sqrt(rcs * (1 - loose) / cell)
    looks = []
    for _ in range(sensor.looks):
        echo = amplitude * np.exp(2j * np.pi * rng.random(len(rcs)))
        field = np.sqrt(power) * _speckle(sensor, shape, rng) + (rows.T * echo) @ columns
        looks.append(_turned(field, sensor, margin))
    return np.stack(looks)


def _rotation(degrees: float) -> Floats:
    """Takes (ahead, starboard) to (down, right), with ahead turned clockwise from up."""
    angle = math.radians(degrees)
    return np.array([[-math.cos(angle), math.sin(angle)], [math.sin(angle), math.cos(angle)]])


def _echoes(ship: Ship, pose: Pose) -> tuple[Floats, Floats, Floats]:
    """Places (M, 2) in metres down and right of the middle, cross-sections and loose shares."""
    flat = ship.places[:, :2] @ _rotation(pose.heading_degrees)
    height = ship.places[:, 2] / math.tan(math.radians(pose.incidence_degrees))
    flat[:, 1] += pose.radar_side * height
    flat[:, 0] += pose.sway * ship.places[:, 2]
    # The waterline, on the side that faces the radar.
    along = np.arange(-ship.length_m / 2, ship.length_m / 2, 3.0)
    facing = math.cos(math.radians(pose.heading_degrees)) * pose.radar_side
    side = np.full(len(along), math.copysign(ship.beam_m / 2, facing))
    wall = np.stack([along, side], 1) @ _rotation(pose.heading_degrees)
    off = math.degrees(math.asin(min(1.0, abs(math.sin(math.radians(pose.heading_degrees))))))
    corner = 0.15 + 2.5 * math.exp(-((off / _SPECULAR_DEGREES) ** 2))
    strength = np.full(len(along), corner * ship.rcs_m2.sum() / len(along))
    places = np.concatenate([flat, wall])
    rcs = np.concatenate([ship.rcs_m2, strength])
    return places, rcs, np.concatenate([ship.loose, np.full(len(along), 0.3)])


def _sea_power(
    pose: Pose, sensor: Sensor, shape: int, rng: np.random.Generator, cross: bool
) -> Floats:
    """Mean power (shape, shape) of the sea, with its texture and the ship's wake."""
    sigma0 = (
        _SEA_SIGMA0_DB[pose.sea_state]
        + sensor.sea_db
        + rng.normal(0, 1)
        + (_CROSS_SEA_DB if cross else 0)
    )
    nu = _SHAPE[pose.sea_state]
    cells = tuple(math.ceil(shape * pixel / _TEXTURE_M) + 2 for pixel in sensor.pixel_m)
    coarse = rng.gamma(nu, 1 / nu, cells).astype(np.float32)
    smooth = Image.fromarray(coarse).resize((shape, shape), Image.Resampling.BICUBIC)
    return 10 ** (sigma0 / 10) * np.clip(np.asarray(smooth, np.float64), 0.05, None)


def _wake(ship: Ship, pose: Pose, sensor: Sensor, shape: int) -> Floats:
    """What the sea's power (shape, shape) is multiplied by: 1, or less in the wake."""
    away = math.sin(math.radians(pose.heading_degrees)) * -pose.radar_side
    radial = pose.speed_ms * away * math.sin(math.radians(pose.incidence_degrees))
    down, right = ((np.arange(shape) - (shape - 1) / 2) * pixel for pixel in sensor.pixel_m)
    # A ship that moves away is shifted against the direction of flight, which is up.
    down = down + _RANGE_OVER_SPEED_S * radial
    turned = _rotation(pose.heading_degrees)
    ahead = turned[0, 0] * down[:, None] + turned[0, 1] * right
    across = turned[1, 0] * down[:, None] + turned[1, 1] * right
    calm = (ahead < -ship.length_m / 2) & (np.abs(across) < 0.7 * ship.beam_m)
    return np.where(calm & (pose.speed_ms > 0), 10 ** (_WAKE_DB / 10), 1.0)


def _smeared(places: Floats, power: Floats, sensor: Sensor, shape: int) -> Floats:
    """Mean sigma0 (shape, shape) of what has lost coherence: wide in azimuth, narrow in range."""
    grid = np.arange(shape)
    half = sensor.smear_m / sensor.pixel_m[0]
    rows = 1 / (np.pi * half * (1 + ((grid - places[:, :1]) / half) ** 2))
    columns = _point(grid - places[:, 1:], sensor, 1) ** 2
    columns /= columns.sum(1, keepdims=True) + 1e-9
    result: Floats = (rows.T * (power / math.prod(sensor.pixel_m))) @ columns
    return result


def _point(off: Floats, sensor: Sensor, axis: int) -> Floats:
    """The response to a point, `off` samples away: a weighted sinc of peak 1."""
    weight = sensor.hamming
    widened = 0.886 + 1.05 * (1 - weight)  # half-power width of the weighted sinc over that of 1
    at = off * sensor.pixel_m[axis] / sensor.resolution_m[axis] * widened
    beside = (1 - weight) / 2 * (np.sinc(at - 1) + np.sinc(at + 1))
    response: Floats = (weight * np.sinc(at) + beside) / weight
    return response


def _speckle(sensor: Sensor, shape: int, rng: np.random.Generator) -> Field:
    """Circular Gaussian noise (shape, shape) of mean power 1, as smooth as the point response."""
    noise = rng.standard_normal((2, shape, shape))
    field = (noise[0] + 1j * noise[1]) / math.sqrt(2)
    for axis in (0, 1):
        centred = np.asarray(np.fft.fftfreq(shape, 1 / shape), np.float64)
        spectrum = np.fft.fft(_point(centred, sensor, axis))
        spectrum /= np.sqrt(np.mean(np.abs(spectrum) ** 2))
        along = spectrum[:, None] if axis == 0 else spectrum
        field = np.fft.ifft(np.fft.fft(field, axis=axis) * along, axis=axis)
    smooth: Field = field
    return smooth


def _turned(field: Field, sensor: Sensor, margin: int) -> Field:
    """The middle of the field, turned clockwise in metres by the sensor's angle."""
    size = len(field) - 2 * margin
    if not sensor.turn_degrees:
        return field
    angle = math.radians(sensor.turn_degrees)
    down, right = sensor.pixel_m
    middle, source = (size - 1) / 2, (len(field) - 1) / 2
    a, b = math.cos(angle), math.sin(angle) * down / right
    d, e = -math.sin(angle) * right / down, math.cos(angle)
    offsets = (source - (a + b) * middle, source - (d + e) * middle)
    # Pillow samples at the middle of a pixel.
    c, f = (o + 0.5 - (x + y) * 0.5 for o, (x, y) in zip(offsets, ((a, b), (d, e)), strict=True))
    parts = [
        np.asarray(
            Image.fromarray(part.astype(np.float32)).transform(
                (size, size),
                Image.Transform.AFFINE,
                (a, b, c, d, e, f),
                Image.Resampling.BICUBIC,
            )
        )
        for part in (field.real, field.imag)
    ]
    return parts[0] + 1j * parts[1]
