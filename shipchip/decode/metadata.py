"""What a TIFF says about its bands: names, scale and offset, units, and the no-data value.

GDAL (and so rasterio, QGIS, Earth Engine and Sentinel Hub) writes them into the tags 42112 and
42113, SNAP into the tag 65000. Both are XML, but only a few plain elements are of interest: they
are found by patterns, within a bound, and nothing is parsed that could refer to anything else.
"""

import html
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from shipchip.decode.bands import Band
from shipchip.errors import Corrupt

GDAL_METADATA, GDAL_NODATA, SNAP_METADATA = METADATA_TAGS = 42112, 42113, 65000
_MOST_CHARACTERS = 2**18

_ITEM = re.compile(r"<Item\s([^<>]*)>([^<]*)</Item>")
_ATTRIBUTE = re.compile(r'(\w+)="([^"]*)"')
_SNAP_BAND = re.compile(r"<Spectral_Band_Info>(.*?)</Spectral_Band_Info>", re.DOTALL)
_SNAP_FIELD = re.compile(r"<(BAND_NAME|PHYSICAL_UNIT)>([^<]*)</")


def read_bands(tags: Mapping[int, Any], count: int) -> tuple[Band, ...]:
    """What the tags of a TIFF say about its `count` bands. Raises Corrupt for malformed numbers."""
    bands = [Band()] * count
    snap = _SNAP_BAND.findall(_text(tags.get(SNAP_METADATA)))
    for number, info in enumerate(snap[:count] if len(snap) == count else ()):
        fields = {key: html.unescape(value).strip() for key, value in _SNAP_FIELD.findall(info)}
        bands[number] = Band(fields.get("BAND_NAME", ""), fields.get("PHYSICAL_UNIT", ""))
    for attributes, value in _ITEM.findall(_text(tags.get(GDAL_METADATA))):
        named = dict(_ATTRIBUTE.findall(attributes))
        role, sample = named.get("role", "").lower(), named.get("sample", "")
        if not sample.isdecimal() or int(sample) >= count:
            continue
        number, text = int(sample), html.unescape(value).strip()
        if role == "description":
            bands[number] = replace(bands[number], name=text)
        elif role == "unittype":
            bands[number] = replace(bands[number], unit=text)
        elif role == "scale":
            bands[number] = replace(bands[number], scale=_number(text))
        elif role == "offset":
            bands[number] = replace(bands[number], offset=_number(text))
    return tuple(bands)


def read_nodata(tags: Mapping[int, Any]) -> float | None:
    """The no-data value, possibly NaN; None if there is none or its text is no number."""
    text = _text(tags.get(GDAL_NODATA)).strip(" \0")
    try:
        return float(text) if text else None
    except ValueError:
        return None


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
