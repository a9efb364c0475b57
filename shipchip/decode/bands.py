"""What the names and units of bands mean, and which bands are planes of backscatter."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

# A polarisation as a word of its own: Sigma0_VH, vv, SigmaVV, but not the VV of "NAVVY".
_POLARISATION = re.compile(
    r"(?:(?<![A-Za-z])|(?<=[a-z]))(VV|VH|HH|HV)(?![A-Za-z])|(?<![A-Za-z])(vv|vh|hh|hv)(?![A-Za-z])"
)
# An element of a covariance (C), coherency (T) or scattering matrix (S): C11, C12_real, s22. Which
# polarisations its numbers stand for differs from product to product.
_ELEMENT = re.compile(
    r"(?<![A-Za-z0-9])([CTS])([1-4])([1-4])(?:_?(?:re|im|real|imag|imaginary))?(?![A-Za-z0-9])",
    re.IGNORECASE,
)
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_DECIBELS = re.compile(
    r"(?:(?<![A-Za-z])|(?<=VV|VH|HH|HV))(?:d[bB]|D[bB]|[dD]ecibels?)(?![A-Za-z])"
)
# fmt: off
_FOREIGN_WORDS = frozenset((
    "phase", "angle", "incidence", "incident", "elevation", "dem", "height", "mask", "layover",
    "shadow", "ratio", "coherence", "coh", "correlation", "lat", "lon", "latitude", "longitude",
    "alpha", "entropy", "anisotropy", "difference", "diff", "index", "degrees", "degree",
    "radians", "rad", "deg", "quality", "count", "date", "time",
    "lia", "theta", "std", "stddev", "stdev", "variance", "var", "nesz", "noise", "log", "texture",
))
# fmt: on
_POWER_WORDS = frozenset({"sigma", "gamma", "beta", "intensity", "power", "nrcs"})
_AMPLITUDE_WORDS = frozenset({"amplitude", "amp", "magnitude"})
_REAL_WORDS, _IMAGINARY_WORDS = frozenset({"i", "real", "re"}), frozenset({"q", "imag", "im"})
_IMAGINARY_WORDS |= {"imaginary"}

ComplexPart = Literal["real", "imaginary"]


@dataclass(frozen=True)
class Band:
    """What a file says about one band: sample * scale + offset is in `unit`.

    logarithmic  whether that is the decimal logarithm of what the band holds
    nodata       sample, as stored, that means that there is none, possibly NaN; None if none does
    """

    name: str = ""
    unit: str = ""
    scale: float = 1.0
    offset: float = 0.0
    logarithmic: bool = False
    nodata: float | None = None

    @property
    def scaled(self) -> bool:
        """Whether the samples must be scaled before they mean anything."""
        return (self.scale, self.offset) != (1.0, 0.0)

    @property
    def polarisation(self) -> str | None:
        """ "VV", "VH", "HH" or "HV" if the name says one; two of them are a ratio, not a plane."""
        found = self.polarisations
        return next(iter(found)) if len(found) == 1 else None

    @property
    def polarisations(self) -> set[str]:
        """All that the name says."""
        return {(a or b).upper() for a, b in _POLARISATION.findall(self.name)}

    @property
    def element(self) -> str | None:
        """ "C11", "T22", "S12", ... if it is one of a matrix, whose names say no polarisation."""
        found = None if self.polarisations else _ELEMENT.search(self.name)
        return "".join(found.groups()).upper() if found else None

    @property
    def decibels(self) -> bool:
        """Whether its name, unit or scale says decibels or another logarithm."""
        return self.logarithmic or bool(_DECIBELS.search(self.name) or _DECIBELS.search(self.unit))

    @property
    def foreign(self) -> bool:
        """Whether its name or unit says that it is no plane of backscatter in linear units."""
        words = _words(self.name) | _words(self.unit)
        element = self.element or ""
        product = element[:1] in ("C", "T") and element[1] != element[2]  # of two polarisations
        several = len(self.polarisations) > 1
        return several or product or self.decibels or bool(words & _FOREIGN_WORDS)

    @property
    def of_backscatter(self) -> bool:
        """Whether its name or unit has to do with backscatter, be it decibels, phase or ratio."""
        return bool(self.polarisations) or self.decibels or self.quantity is not None

    @property
    def quantity(self) -> Literal["amplitude", "sigma0"] | None:
        """What its name and unit say that the samples are."""
        words = _words(self.name) | _words(self.unit)
        if words & _AMPLITUDE_WORDS:
            return "amplitude"
        if words & _POWER_WORDS or (self.element or "")[:1] in ("C", "T"):
            return "sigma0"
        # Beside a polarisation, T33 is a tile or a UTM zone, but C11 is still |VH|^2.
        element = _ELEMENT.search(self.name)
        covariance = element is not None and element[1] in "Cc" and element[2] == element[3]
        return "sigma0" if covariance else None

    @property
    def part(self) -> ComplexPart | None:
        """Which part of a complex plane it is, by a name such as i_VV or q_VV."""
        words = _words(self.name)
        if words & _REAL_WORDS:
            return "real"
        return "imaginary" if words & _IMAGINARY_WORDS else None


def _words(text: str) -> set[str]:
    return {word.lower() for word in _WORD.findall(text)}


def named_planes(bands: Sequence[Band]) -> list[int]:
    """Which bands are planes of backscatter: all that are not foreign, or those alone that name a
    polarisation if any of these does. The first of several bands of one polarisation is kept, and
    both parts of a complex one."""
    kept = [k for k, band in enumerate(bands) if not band.foreign]
    named = [k for k in kept if bands[k].polarisation is not None]
    if not named:
        return kept
    complete = {
        bands[k].polarisation
        for k in named
        if bands[k].part == "real"
        and any(
            bands[m].part == "imaginary" and bands[m].polarisation == bands[k].polarisation
            for m in named
        )
    }
    chosen: dict[tuple[str | None, ComplexPart | None], int] = {}
    for k in named:
        band = bands[k]
        if (band.polarisation in complete) == (band.part is not None):
            chosen.setdefault((band.polarisation, band.part), k)
    return list(chosen.values())
