"""A chip in memory: what `decode` returns and `prepare` takes.

What the stored samples mean, unless `quantity` says so:

    stored as                                    read as
    8/16/32-bit integers                         amplitude
    complex                                      single-look complex: amplitude is |z|
    float, whole numbers only                    amplitude (digital numbers: OpenSARShip Patch)
    float TIFF with fractions                    sigma0, linear (OpenSARShip Patch_Cal, SNAP)
    float .npy with fractions                    amplitude
    2 or 4 real planes that look complex         (re, im) pairs: amplitude is |z|

Names of bands and scales in the file come first: shipchip.decode.bands, docs/formats.md. Without
names, two planes are (VH, VV), four are (HH, HV, VH, VV), four of (re, im) pairs are (VH, VV).
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from shipchip.errors import TooManyPixels, TooSmall

# What the samples of a file are; "auto" follows the table above.
Quantity = Literal["auto", "amplitude", "sigma0", "complex_pairs"]
# How the samples were stored.
Encoding = Literal["integer", "float", "complex"]
# What the samples were read as.
ReadQuantity = Literal["amplitude", "sigma0", "complex"]

# Names of the planes, by how many there are.
PLANE_NAMES = {1: ("unknown",), 2: ("VH", "VV"), 4: ("HH", "HV", "VH", "VV")}


@dataclass(frozen=True, eq=False)
class Chip:
    """A decoded chip.

    amplitude        float32 (P, H, W), finite, >= 0, one plane per polarisation
    polarisations    P names: "VV", "VH", "HH", "HV", or "unknown" if the file does not say
    pixel_spacing_m  (row, column) spacing in metres, None if unknown
    encoding         how the samples were stored; (re, im) pairs count as "complex"
    quantity         what the samples were read as
    pixel_spacing_from  "request" if the caller gave it, "file" if the file has it, None if unknown
    clipped          share of the samples, 0 to 1, that were negative and were set to 0
    position         (longitude, latitude) of the centre in degrees, WGS 84; None if unknown
    valid            bool (P, H, W): False where the file says that there is no data, and
                     `amplitude` is 0; None if there is data everywhere
    """

    amplitude: NDArray[np.float32]
    polarisations: tuple[str, ...]
    pixel_spacing_m: tuple[float, float] | None
    encoding: Encoding
    quantity: ReadQuantity = "amplitude"
    pixel_spacing_from: Literal["request", "file"] | None = None
    clipped: float = 0.0
    position: tuple[float, float] | None = None
    valid: NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class DecodeLimits:
    """Limits checked before pixels are decoded: bytes per file, pixels per plane, shortest side.

    `max_pixels` applies to pixels of up to 16 bytes (four float32 planes, two complex64 planes).
    Fewer wider pixels are allowed, so the memory of a chip is bounded too.
    """

    max_bytes: int = 32 * 2**20
    max_pixels: int = 2048 * 2048
    min_side: int = 8

    def check(self, height: int, width: int, pixel_bytes: int = 1) -> None:
        """TooManyPixels or TooSmall for an announced size; `pixel_bytes` counts all planes."""
        if height * width * max(1, pixel_bytes / 16) > self.max_pixels:
            raise TooManyPixels(
                f"{height} x {width} pixels of {pixel_bytes} bytes, the limit is "
                f"{self.max_pixels}: cut the chip out around one ship; a whole scene is read by "
                "shipchip classify --scene"
            )
        if min(height, width) < self.min_side:
            raise TooSmall(f"{height} x {width} pixels; expected at least {self.min_side} a side")
