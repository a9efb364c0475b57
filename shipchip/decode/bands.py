"""What a TIFF says about its bands: names, scale and offset, units, and the no-data value.

GDAL (and so rasterio, QGIS, Earth Engine and Sentinel Hub) writes them into the tags 42112 and
42113, SNAP into the tag 65000. Both are XML, but only a few plain elements are of interest: they
are found by patterns, within a bound, and nothing is parsed that could refer to anything else.
"""

import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from shipchip.errors import Corrupt

GDAL_METADATA, GDAL_NODATA, SNAP_METADATA = 42112, 42113, 65000
_MOST_CHARACTERS = 2**18

_ITEM = re.compile(r"<Item\s([^<>]*)>([^<]*)</Item>")
_NOT_A_NUMBER = re.compile(r"[+-]?(nan|1\.#(IND|QNAN)0*)", re.IGNORECASE)  # 1.#: of Windows
_ATTRIBUTE = re.compile(r'(\w+)="([^"]*)"')
_SNAP_BAND = re.compile(r"<Spectral_Band_Info>(.*?)</Spectral_Band_Info>", re.DOTALL)
_SNAP_FIELD = re.compile(r"<(BAND_NAME|PHYSICAL_UNIT)>([^<]*)</")

# A polarisation as a word of its own: Sigma0_VH, vv, SigmaVV, but not the VV of "NAVVY".
_POLARISATION = re.compile(
    r"(?:(?<![A-Za-z])|(?<=[a-z]))(VV|VH|HH|HV)(?![A-Za-z])|(?<![A-Za-z])(vv|vh|hh|hv)(?![A-Za-z])"
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
# An element of a polarimetric matrix: C11, T22, C12_real.
_MATRIX_ELEMENT = re.compile(r"(?<![A-Za-z0-9])[CT][1-4][1-4](?![0-9])")
_POWER_WORDS = frozenset({"sigma", "gamma", "beta", "intensity", "power", "nrcs"})
_AMPLITUDE_WORDS = frozenset({"amplitude", "amp", "magnitude"})
_REAL_WORDS, _IMAGINARY_WORDS = frozenset({"i", "real", "re"}), frozenset({"q", "imag", "im"})
_IMAGINARY_WORDS |= {"imaginary"}

Part = Literal["real", "imaginary"]


@dataclass(frozen=True)
class Band:
    """What a file says about one band: sample * scale + offset is in `unit`."""

    name: str = ""
    unit: str = ""
    scale: float = 1.0
    offset: float = 0.0

    @property
    def scaled(self) -> bool:
        """Whether the samples must be scaled before they mean anything."""
        return (self.scale, self.offset) != (1.0, 0.0)

    @property
    def polarisation(self) -> str | None:
        """ "VV", "VH", "HH" or "HV" if the name says one; two of them are a ratio, not a plane."""
        found = {(a or b).upper() for a, b in _POLARISATION.findall(self.name)}
        return found.pop() if len(found) == 1 else None

    @property
    def decibels(self) -> bool:
        """Whether its name or unit says decibels."""
        return bool(_DECIBELS.search(self.name) or _DECIBELS.search(self.unit))

    @property
    def foreign(self) -> bool:
        """Whether its name or unit says that it is no plane of backscatter in linear units."""
        several = len({(a or b).upper() for a, b in _POLARISATION.findall(self.name)}) > 1
        words = _words(self.name) | _words(self.unit)
        element = bool(_MATRIX_ELEMENT.search(self.name))  # which polarisation, it does not say
        return several or element or self.decibels or bool(words & _FOREIGN_WORDS)

    @property
    def quantity(self) -> Literal["amplitude", "sigma0"] | None:
        """What its name and unit say that the samples are."""
        words = _words(self.name) | _words(self.unit)
        if words & _AMPLITUDE_WORDS:
            return "amplitude"
        return "sigma0" if words & _POWER_WORDS else None

    @property
    def part(self) -> Part | None:
        """Which part of a complex plane it is, by a name such as i_VV or q_VV."""
        words = _words(self.name)
        if words & _REAL_WORDS:
            return "real"
        return "imaginary" if words & _IMAGINARY_WORDS else None


def _words(text: str) -> set[str]:
    return {word.lower() for word in _WORD.findall(text)}


def read_bands(tags: Mapping[int, Any], count: int) -> tuple[Band, ...]:
    """What the tags of a TIFF say about its `count` bands. Raises Corrupt for malformed numbers."""
    bands = [Band()] * count
    snap = _SNAP_BAND.findall(_text(tags.get(SNAP_METADATA)))
    for number, info in enumerate(snap[:count] if len(snap) == count else ()):
        fields = {key: html.unescape(value).strip() for key, value in _SNAP_FIELD.findall(info)}
        bands[number] = Band(fields.get("BAND_NAME", ""), fields.get("PHYSICAL_UNIT", ""))
    for attributes, value in _ITEM.findall(_text(tags.get(GDAL_METADATA))):
        named = dict(_ATTRIBUTE.findall(attributes))
        role, text = named.get("role", "").lower(), html.unescape(value).strip()
        for number in _of_bands(named.get("sample"), role, count):
            if role == "description":
                bands[number] = replace(bands[number], name=text)
            elif role == "unittype":
                bands[number] = replace(bands[number], unit=text)
            elif role == "scale":
                bands[number] = replace(bands[number], scale=_number(text))
            elif role == "offset":
                bands[number] = replace(bands[number], offset=_number(text))
    if any(band.scale == 0 for band in bands):
        raise Corrupt("the TIFF's scale is 0, by which every sample would be the same")
    return tuple(bands)


def _of_bands(sample: str | None, role: str, count: int) -> Sequence[int]:
    """The bands that an item is of. Scale, offset and unit without a number are of all bands."""
    if sample is None:
        return range(count) if role in ("scale", "offset", "unittype") else ()
    return (int(sample),) if sample.isdecimal() and int(sample) < count else ()


def read_nodata(tags: Mapping[int, Any]) -> float | None:
    """The no-data value, possibly NaN; None if there is none. Raises Corrupt if it is no number."""
    text = _text(tags.get(GDAL_NODATA)).strip(" \0")
    if _NOT_A_NUMBER.fullmatch(text):
        return float("nan")
    try:
        return float(text) if text else None
    except ValueError:
        raise Corrupt(
            f"the TIFF's no-data value is {text[:40]!r}; expected a number (gdal_edit "
            "-a_nodata, or -unsetnodata)"
        ) from None


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
    chosen: dict[tuple[str | None, Part | None], int] = {}
    for k in named:
        band = bands[k]
        if (band.polarisation in complete) == (band.part is not None):
            chosen.setdefault((band.polarisation, band.part), k)
    return list(chosen.values())


def _text(value: Any) -> str:
    """A tag's text within the bound; "" for tags of other types."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    return value[:_MOST_CHARACTERS] if isinstance(value, str) else ""


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not abs(value) < float("inf"):
        raise Corrupt(f"the TIFF's scale or offset is {text!r}; expected a number")
    return value
