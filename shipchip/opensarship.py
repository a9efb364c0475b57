"""Facts in the file names of OpenSARShip 1 and 2 (Sentinel-1; Huang et al. 2017, doi
10.1109/JSTARS.2017.2755672).

A scene is an archive or a folder named after the Sentinel-1 product it was cut from. Its chips are
in `Patch/` (GRD amplitude, or SLC re/im pairs); `Patch_Cal/` and `Patch_Uint8/` show the same ships
again, and `Patch_RGB/` holds screenshots of plots.
"""

import math
import re
from dataclasses import dataclass
from typing import Literal

from shipchip.chip import Quantity

GRD_SPACING_M = (10.0, 10.0)
SLC_AZIMUTH_M, SLC_SLANT_RANGE_M, MEAN_INCIDENCE_DEGREES = 13.93, 2.33, 37.0

# The folder of a scene that holds its chips.
CHIP_FOLDER = "Patch"

# Parts must not overlap, or rejecting a long name would take for ever.
_SCENE = re.compile(
    r"S1[ABCD]_\w\w_(GRD|SLC)\w?_+1S([DS][VH])_(?:[^\W_]+_){3}([0-9A-F]{6})_[0-9A-F]{4}"
)
_CHIP = re.compile(
    rf"(?:^|/){CHIP_FOLDER}/([^/]+)_x([0-9]{{1,9}})_y([0-9]{{1,9}})(?:_[vh]{{2}})?\.tiff?$",
    re.IGNORECASE,
)

# Planes of a file by the product's polarisation: in the order of the names, as SNAP reads them.
_PLANES = {"SV": ("VV",), "SH": ("HH",), "DV": ("VH", "VV"), "DH": ("HH", "HV")}


@dataclass(frozen=True)
class SceneName:
    """The facts in a scene's name.

    planes     polarisations of a chip's planes, in order
    data_take  the same for the GRD and the SLC product of one data-take
    """

    product: Literal["GRD", "SLC"]
    planes: tuple[str, ...]
    data_take: str

    @property
    def quantity(self) -> Quantity:
        """What the samples under `Patch/` are."""
        return "complex_pairs" if self.product == "SLC" else "amplitude"

    def spacing_m(self, incidence_degrees: float | None = None) -> tuple[float, float]:
        """(row, column) metres on the ground; an SLC chip's by its incidence, else by the mean."""
        return slc_spacing(incidence_degrees) if self.product == "SLC" else GRD_SPACING_M


@dataclass(frozen=True)
class ChipName:
    """The facts in a chip's name: the type of ship, and its centre (x, y) in scene pixels."""

    ship_type: str
    place: tuple[int, int]


def scene_of(name: str) -> SceneName | None:
    """The scene by the name of its archive or folder; None if it is not the name of a scene."""
    match = _SCENE.search(name)
    if match is None:
        return None
    product: Literal["GRD", "SLC"] = "SLC" if match[1] == "SLC" else "GRD"
    return SceneName(product, _PLANES[match[2]], match[3])


def parse_chip_name(name: str) -> ChipName | None:
    """The chip by its path in the scene (.../Patch/Cargo_x10661_y11170_vv.tif), or None."""
    match = _CHIP.search(name)
    return match and ChipName(match[1], (int(match[2]), int(match[3])))


def slc_spacing(incidence_degrees: float | None) -> tuple[float, float]:
    """(azimuth, ground range) metres of an IW SLC pixel; ground = slant / sin(incidence)."""
    incidence = math.radians(incidence_degrees or MEAN_INCIDENCE_DEGREES)
    return SLC_AZIMUTH_M, SLC_SLANT_RANGE_M / math.sin(incidence)
