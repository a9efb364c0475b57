"""The kinds of file that samples come in: a sensor each, and how its product is stored.

The sensors follow the published modes: Gaofen-3's ultra-fine strip-map as FUSAR-Ship has it (Hou et
al. 2020, doi 10.1007/s11432-019-2772-5), and Sentinel-1's interferometric wide swath, SLC and GRD
(Sentinel-1 Product Definition, S1-RS-MDA-52-7440). What no document gives (level of the sea,
scaling to 8 bits, lanes, the size of a chip) follows real chips of the training side.
"""

import io
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import tifffile
from PIL import Image

from shipchip.opensarship import GRD_SPACING_M, MEAN_INCIDENCE_DEGREES, slc_spacing
from shipchip.samples.scene import Field, Sensor, draw_pose, observe
from shipchip.samples.ship import Floats, Ship

_GAOFEN3 = Sensor(
    pixel_m=(1.72, 1.91),
    resolution_m=(3.9, 4.4),
    hamming=0.75,
    looks=1,
    sea_db=-10.0,
    noise_db=-32.0,
    smear_m=30.0,
    smear_share=1.0,
    turn_degrees=8.0,
)
_SLC = Sensor(
    pixel_m=slc_spacing(MEAN_INCIDENCE_DEGREES),
    resolution_m=(24.0, 5.6),
    hamming=0.75,
    looks=1,
    sea_db=0.0,
    noise_db=-24.0,
    smear_m=20.0,
    smear_share=0.2,
)
_GRD = Sensor(
    pixel_m=GRD_SPACING_M,
    resolution_m=(23.0, 24.0),
    hamming=0.75,
    looks=4,
    sea_db=0.0,
    noise_db=-24.0,
    smear_m=20.0,
    smear_share=0.2,
)

DN = 500.0  # digital number of sigma0 1, in Sentinel-1's products about
_SEA_LEVEL, _SEA_SPREAD = 10.0, 0.4  # of 255: median and log-spread in FUSAR-Ship's scenes
_GRD_LENGTHS, _GRD_SIDES = 4.2, (17, 129)  # OpenSARShip's chips are about four ships wide
UTM_50_NORTH = 32650


@dataclass(frozen=True)
class Kind:
    """One kind of file.

    name    in the file's name, as is `suffix`
    sensor  that took it
    store   a ship as that sensor sees it, as the bytes of a file
    """

    name: str
    suffix: str
    sensor: Sensor
    store: Callable[[Ship, Sensor, np.random.Generator], bytes]

    def write(self, ship: Ship, rng: np.random.Generator) -> bytes:
        """A chip of this ship, drawn from a generator."""
        return self.store(ship, self.sensor, rng)


def _gaofen3(ship: Ship, sensor: Sensor, rng: np.random.Generator) -> bytes:
    """512 x 512 amplitude in 8 bits: the sea at about a tenth of white, much of a ship clipped."""
    pose = draw_pose(ship, 0.0, rng)
    amplitude = np.abs(observe(ship, pose, sensor, 512, rng)[0])
    level = _SEA_LEVEL * rng.lognormal(0, _SEA_SPREAD) / _median_rms(amplitude)
    return geotiff(np.clip(np.rint(level * amplitude), 0, 255).astype(np.uint8))


def _slc(ship: Ship, sensor: Sensor, rng: np.random.Generator) -> bytes:
    """64 x 64 complex samples, 13.93 m in azimuth by 2.33 m in slant range."""
    pose = draw_pose(ship, 90.0, rng)
    file = io.BytesIO()
    np.save(file, (DN * observe(ship, pose, sensor, 64, rng)[0]).astype(np.complex64))
    return file.getvalue()


def _grd_sigma0(ship: Ship, sensor: Sensor, rng: np.random.Generator) -> bytes:
    """sigma0 of VH and VV in a map projection, 10 m."""
    pose = draw_pose(ship, 0.0, rng)
    planes = [
        intensity(observe(ship, pose, sensor, _grd_side(ship), rng, cross))
        for cross in (True, False)
    ]
    corner = 500_000.0 + 10 * rng.integers(-9999, 9999), 4_000_000.0 + 10 * rng.integers(9999)
    return geotiff(np.stack(planes).astype(np.float32), corner)


def _grd_png(ship: Ship, sensor: Sensor, rng: np.random.Generator) -> bytes:
    """Amplitude at VV as 16-bit digital numbers, 10 m."""
    pose = draw_pose(ship, 0.0, rng)
    amplitude = np.sqrt(intensity(observe(ship, pose, sensor, _grd_side(ship), rng)))
    file = io.BytesIO()
    levels = np.clip(np.rint(DN * amplitude), 0, 65535).astype(np.uint16)
    Image.fromarray(levels).save(file, "PNG")
    return file.getvalue()


GAOFEN3 = Kind("gaofen3", ".tiff", _GAOFEN3, _gaofen3)
SIGMA0 = Kind("sentinel1-sigma0", ".tif", _GRD, _grd_sigma0)
SLC = Kind("sentinel1-slc", ".npy", _SLC, _slc)
GRD = Kind("sentinel1-grd", ".png", _GRD, _grd_png)


def _grd_side(ship: Ship) -> int:
    """Samples a side of a GRD chip: odd, so that the ship's middle is a sample."""
    low, high = _GRD_SIDES
    side = 2 * round(_GRD_LENGTHS * ship.length_m / GRD_SPACING_M[0] / 2) + 1
    return min(max(side, low), high)


def intensity(looks: Field) -> Floats:
    """The mean of |z|^2 over looks (L, H, W): (H, W)."""
    mean: Floats = np.mean(np.abs(looks) ** 2, axis=0)
    return mean


def _median_rms(amplitude: Floats) -> float:
    """Root mean square of the sea, from the median: of one look's intensity, ln 2 of the mean."""
    return math.sqrt(float(np.median(amplitude**2)) / math.log(2))


def geotiff(planes: np.ndarray, corner: tuple[float, float] | None = None) -> bytes:
    """A TIFF of (H, W) or (P, H, W); with a corner (easting, northing) a GeoTIFF of GRD pixels."""
    file = io.BytesIO()
    tags: list[tuple[int, int, int, tuple[float, ...], bool]] = []
    if corner is not None:
        # Projected model, pixel is area, WGS 84 / UTM zone 50N, metres.
        keys = [1, 1, 0, 4]
        for key, value in ((1024, 1), (1025, 1), (3072, UTM_50_NORTH), (3076, 9001)):
            keys += [key, 0, 1, value]
        row, column = GRD_SPACING_M
        tags = [
            (33550, 12, 3, (column, row, 0.0), True),
            (33922, 12, 6, (0.0, 0.0, 0.0, *corner, 0.0), True),
            (34735, 3, len(keys), tuple(keys), True),
        ]
    tifffile.imwrite(
        file,
        planes,
        photometric="minisblack",
        planarconfig=None if planes.ndim == 2 else "separate",
        metadata=None,
        software=False,
        extratags=tags,
    )
    return file.getvalue()
