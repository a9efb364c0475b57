"""Ship.xml of an OpenSARShip scene: the ships that AIS matched to its chips."""

import math
import re
from dataclasses import dataclass, field
from xml.etree.ElementTree import Element

from defusedxml import DefusedXmlException, ElementTree

from training.errors import DataInvalid
from training.sources.record import mmsi_group

# Version 2 ends its GRD lists in this, which no parser takes.
_BAD_END, _END = "<\\ShipList>", "</ShipList>"
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")
_BARE_AMPERSAND = re.compile(r"&(?!(?:amp|lt|gt|quot|apos|#\d+|#x[0-9a-fA-F]+);)")


@dataclass(frozen=True)
class Ship:
    """One ship: its group by MMSI, None for a ship without; incidence in degrees, or None."""

    group: str | None
    incidence_degrees: float | None


@dataclass(frozen=True)
class ShipList:
    """Ships by the (x, y) of their chip's centre in the scene, in pixels.

    mended  whether the XML was not valid and could be mended
    fault   why there is no ship list at all; empty where there is one
    """

    ships: dict[tuple[int, int], Ship] = field(default_factory=dict)
    mended: bool = False
    fault: str = ""


def parse_ships(xml: bytes, where: str) -> ShipList:
    """Ships of a Ship.xml. One that cannot be parsed even when mended is a list with a `fault`.

    Raises DataInvalid where it declares entities or a document type, which no Ship.xml does.
    """
    try:
        root, mended = _root(xml)
    except DefusedXmlException as error:
        raise DataInvalid(
            f"{where}: Ship.xml declares a document type or entities ({error!r}), which none of "
            "OpenSARShip does; fetch the archive again"
        ) from error
    except (ElementTree.ParseError, ValueError) as error:
        return ShipList(fault=f"cannot be parsed ({error})")
    ships = {}
    for node in root.iter("ship"):
        x, y = (_number(node.findtext(f".//Center_{axis}")) for axis in "xy")
        if x is None or y is None:
            continue
        incidence = _number(node.findtext(".//Incidence"))
        known = incidence is not None and 10 < incidence < 80
        group = mmsi_group(node.findtext(".//MMSI"))
        ships[int(x), int(y)] = Ship(group, incidence if known else None)
    return ShipList(ships, mended)


def _root(xml: bytes) -> tuple[Element, bool]:
    """The root element, and whether it took mending to get it."""
    try:
        return ElementTree.fromstring(xml, forbid_dtd=True), False
    except DefusedXmlException:
        raise
    except (ElementTree.ParseError, ValueError):  # ValueError: an encoding expat does not read
        return ElementTree.fromstring(_mend(xml), forbid_dtd=True), True


def _mend(xml: bytes) -> str:
    """The end tag of version 2 put right; bare ampersands, control and non-UTF-8 bytes of ship
    names made harmless."""
    text = xml.decode("utf-8", "replace").replace(_BAD_END, _END)
    return _BARE_AMPERSAND.sub("&amp;", _CONTROL.sub("", text))


def _number(text: str | None) -> float | None:
    """A finite number, or None."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None
