"""Ship.xml of an OpenSARShip scene: the ships that AIS matched to its chips.

Nothing is fetched or expanded: a document type, which no Ship.xml has, is refused before it could
declare an entity.
"""

import math
import re
from dataclasses import dataclass
from xml.etree.ElementTree import Element, ParseError, TreeBuilder, XMLParser

# The end tag of GRD lists in version 2, which is not valid XML.
_BAD_END, _END = "<\\ShipList>", "</ShipList>"
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")
_BARE_AMPERSAND = re.compile(r"&(?!(?:amp|lt|gt|quot|apos|#\d+|#x[0-9a-fA-F]+);)")


class DoctypeFound(Exception):
    """The XML declares a document type, so perhaps entities."""


@dataclass(frozen=True)
class ListedShip:
    """One ship, as its list says; None or "" where it does not.

    mmsi               as written
    length, width      metres by AIS, as written
    incidence_degrees  at the ship
    position           (longitude, latitude) of the chip's centre in degrees
    """

    mmsi: str
    length: str
    width: str
    incidence_degrees: float | None
    position: tuple[float, float] | None


def parse_ship_list(xml: bytes) -> tuple[dict[tuple[int, int], ListedShip], bool]:
    """Ships by the (x, y) of their chip's centre in the scene, in pixels, and whether the XML was
    not valid and had to be mended.

    Raises DoctypeFound, or ValueError if it cannot be parsed even when mended.
    """
    root, mended = _root(xml)
    ships = {}
    for node in root.iter("ship"):
        x, y = (_number(node.findtext(f".//Center_{axis}")) for axis in "xy")
        if x is None or y is None:
            continue
        lon, lat = (_number(node.findtext(f".//Center_{k}itude")) for k in ("long", "lat"))
        ships[int(x), int(y)] = ListedShip(
            _text(node, ".//MMSI"),
            _text(node, "AISShipInformation/Length"),
            _text(node, "AISShipInformation/Width"),
            _number(node.findtext(".//Incidence")),
            None if lon is None or lat is None else (lon, lat),
        )
    return ships, mended


class _Builder(TreeBuilder):
    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise DoctypeFound(f"{name} {pubid or ''} {system or ''}".strip())


def _root(xml: bytes) -> tuple[Element, bool]:
    """The root element, and whether it took mending to get it."""
    try:
        return _parsed(xml), False
    except ValueError:
        return _parsed(_mend(xml)), True  # of text, any declared encoding is left aside


def _parsed(xml: bytes | str) -> Element:
    parser = XMLParser(target=_Builder())
    try:
        parser.feed(xml)
        root: Element = parser.close()
    except (ParseError, LookupError) as error:  # LookupError: an encoding that expat does not read
        raise ValueError(str(error)) from error
    return root


def _mend(xml: bytes) -> str:
    """The end tag of version 2 put right; bare ampersands, control and non-UTF-8 bytes of ship
    names made harmless."""
    text = xml.decode("utf-8", "replace").replace(_BAD_END, _END)
    return _BARE_AMPERSAND.sub("&amp;", _CONTROL.sub("", text))


def _text(node: Element, path: str) -> str:
    return (node.findtext(path) or "").strip()


def _number(text: str | None) -> float | None:
    """A finite number, or None."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None
