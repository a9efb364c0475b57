"""What a TIFF says about its bands: names, scale and offset, units, and the no-data value.

GDAL (and so rasterio, QGIS, Earth Engine and Sentinel Hub) writes them into the tags 42112 and
42113, SNAP into the tag 65000. Both are XML, but only a few plain elements are of interest: they
are found by patterns in time that grows with the text's length and no faster, and nothing is parsed
that could refer to anything else. What is not understood is refused, not left out: a scale that is
not applied gives wrong amplitudes.
"""

import html
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from shipchip.decode.bands import Band
from shipchip.errors import Corrupt, UnsupportedBands

GDAL_METADATA, GDAL_NODATA, SNAP_METADATA = METADATA_TAGS = 42112, 42113, 65000
_MOST_CHARACTERS_A_VALUE = 1000
# SNAP writes all of a product's metadata, some megabytes.
_MOST_CHARACTERS = {GDAL_METADATA: 2**20, SNAP_METADATA: 2**22, GDAL_NODATA: 1000}

_ITEM = re.compile(r"<Item\s([^<>]*)>([^<]*)</Item>")
# A word that is not followed by "=" is left at once (++): else each of its letters would be tried.
_ATTRIBUTE = re.compile(r"""(?<!\w)(\w++)\s*+=\s*+(?:"([^"]*)"|'([^']*)')""")
_ROLES = ("description", "unittype", "scale", "offset")
_SNAP_BAND, _SNAP_END = "<Spectral_Band_Info>", "</Spectral_Band_Info>"
_SNAP_FIELD = re.compile(
    "<(BAND_NAME|PHYSICAL_UNIT|SCALING_FACTOR|SCALING_OFFSET|LOG10_SCALED|NO_DATA_VALUE_USED"
    "|NO_DATA_VALUE|VIRTUAL_BAND)>([^<]*)</"
)
_MOST_SNAP_BANDS = 1000
# How C on Windows, and so an old GDAL there, writes that a number is none.
_WINDOWS_NAN = re.compile(r"[-+]?1\.#(ind|qnan|snan)0*", re.IGNORECASE)


def read_bands(tags: Mapping[int, Any], count: int) -> tuple[Band, ...]:
    """What the tags of a TIFF say about its `count` bands.

    Raises Corrupt for malformed numbers and contradictions, UnsupportedBands for names of another
    number of bands.
    """
    if GDAL_METADATA not in tags and SNAP_METADATA not in tags:
        return (Band(),) * count
    items = _gdal_items(_text(tags, GDAL_METADATA), count)
    named = all((number, "description") in items for number in range(count))
    bands = _snap_bands(_text(tags, SNAP_METADATA), count, needed=not named)
    for (number, role), text in items.items():
        band = bands[number]
        if role == "description":
            bands[number] = replace(band, name=text)
        elif role == "unittype":
            bands[number] = replace(band, unit=text)
        elif role == "scale":
            bands[number] = replace(band, scale=_number(text, "scale"))
        else:
            bands[number] = replace(band, offset=_number(text, "offset"))
    return tuple(bands)


def read_nodata(tags: Mapping[int, Any]) -> float | None:
    """The no-data value of all bands, possibly NaN; None if there is none. Corrupt if its text is
    no number."""
    value = tags.get(GDAL_NODATA)
    if isinstance(value, int | float):  # GDAL writes text, but the number is plain
        return float(value)
    text = _text(tags, GDAL_NODATA).strip(" \t\r\n\0")
    return _nodata(text) if text else None


def _gdal_items(text: str, count: int) -> dict[tuple[int, str], str]:
    """(band, role) -> text. An item without a band is one of all bands that have none of their own,
    as GDAL's own items always have a band."""
    items: dict[tuple[int, str], str] = {}
    of_all: dict[tuple[int, str], str] = {}
    for item in _ITEM.finditer(text):
        named = {name: a or b for name, a, b in _ATTRIBUTE.findall(item[1])}
        role, sample = named.get("role", "").lower(), named.get("sample")
        if role not in _ROLES:
            continue
        value = _short(html.unescape(item[2]).strip(), role)
        if sample is None and (role != "description" or count == 1):
            for number in range(count):
                _set(of_all, (number, role), value)
        elif sample is not None and re.fullmatch("[0-9]{1,9}", sample) and int(sample) < count:
            _set(items, (int(sample), role), value)
        else:
            raise Corrupt(
                f"the TIFF's metadata give a {role} to the band {sample!r}; there are {count} "
                "bands, counted from 0. Write the file again with metadata of its own bands"
            )
    return of_all | items


def _set(items: dict[tuple[int, str], str], key: tuple[int, str], value: str) -> None:
    """Add an item; Corrupt if it is there with another value."""
    if items.setdefault(key, value) != value:
        raise Corrupt(
            f"the TIFF's metadata give two values for the {key[1]} of band {key[0]}: "
            f"{items[key]!r} and {value!r}"
        )


def _snap_bands(text: str, count: int, *, needed: bool) -> list[Band]:
    """The bands as SNAP describes them; it may list virtual bands that are not in the file."""
    found: list[dict[str, str]] = []
    for block in text.split(_SNAP_BAND, _MOST_SNAP_BANDS)[1:]:
        body = block.partition(_SNAP_END)[0]
        fields: dict[str, str] = {}
        for field in _SNAP_FIELD.finditer(body):
            fields.setdefault(field[1], _short(html.unescape(field[2]).strip(), field[1]))
        found.append(fields)
    if len(found) != count:
        found = [fields for fields in found if fields.get("VIRTUAL_BAND", "") != "true"]
    if len(found) == count:
        return [_snap_band(fields) for fields in found]
    if found and needed:
        names = ", ".join(repr(fields.get("BAND_NAME", "")) for fields in found[:8])
        raise UnsupportedBands(
            f"SNAP's metadata describe {len(found)} bands ({names}), the TIFF has {count}: write "
            "it again with metadata of its own bands"
        )
    return [Band()] * count


def _snap_band(fields: Mapping[str, str]) -> Band:
    """One band of SNAP's metadata."""
    nodata = fields.get("NO_DATA_VALUE", "")
    return Band(
        name=fields.get("BAND_NAME", ""),
        unit=fields.get("PHYSICAL_UNIT", ""),
        scale=_number(fields.get("SCALING_FACTOR") or "1", "scale"),
        offset=_number(fields.get("SCALING_OFFSET") or "0", "offset"),
        logarithmic=fields.get("LOG10_SCALED") == "true",
        nodata=_nodata(nodata) if nodata and fields.get("NO_DATA_VALUE_USED") == "true" else None,
    )


def _text(tags: Mapping[int, Any], tag: int) -> str:
    """A tag's text, "" if it is not there. Corrupt if it is too long, or no text."""
    value = tags.get(tag, "")
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if not isinstance(value, str):
        raise Corrupt(f"the TIFF's tag {tag} holds {type(value).__name__}; expected text")
    if len(value) > _MOST_CHARACTERS[tag]:
        raise Corrupt(
            f"the TIFF's tag {tag} holds {len(value)} characters, at most {_MOST_CHARACTERS[tag]} "
            "are read; write the file with metadata of its bands only"
        )
    return value


def _short(text: str, what: str) -> str:
    """The text of one value, unless it is too long to be one."""
    if len(text) > _MOST_CHARACTERS_A_VALUE:
        raise Corrupt(
            f"the TIFF's metadata have a {what} of {len(text)} characters; expected at most "
            f"{_MOST_CHARACTERS_A_VALUE}"
        )
    return text


def _number(text: str, what: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not abs(value) < float("inf"):
        raise Corrupt(f"the TIFF's {what} is {text!r}; expected a number")
    return value


def _nodata(text: str) -> float:
    if _WINDOWS_NAN.fullmatch(text):
        return float("nan")
    try:
        return float(text)
    except ValueError:
        raise Corrupt(
            f"the TIFF's no-data value is {text[:40]!r}; expected a number or 'nan' (gdal_edit "
            "-a_nodata VALUE), or no such tag (gdal_edit -unsetnodata)"
        ) from None
