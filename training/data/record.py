"""What a source records of each chip, and how the chip is read."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from shipchip.chip import Chip

CLASSES = ("Cargo", "Fishing", "Tanker")

# Groups by MMSI are shared by all sources; every other group belongs to one source.
_MMSI = "mmsi:"
_DIGITS = re.compile(r"([0-9]{1,15})(?:\.0*)?")


@dataclass(frozen=True)
class Record:
    """One labelled chip.

    source   the data set: "fusar", "opensarship", "opensarship_slc", ...
    key      where the chip is, unique in its source: archive!member
    label    its class
    group    the ship by MMSI, otherwise a proxy group; a group is never split
    sha256   of the file's bytes
    size_m   the ship's (length, width) in metres by AIS; None if unknown
    """

    source: str
    key: str
    label: str
    group: str
    sha256: str
    size_m: tuple[float, float] | None = None

    @property
    def ship_known(self) -> bool:
        """Whether the group is a ship's MMSI."""
        return self.group.startswith(_MMSI)


class Source(Protocol):
    """A data set as downloaded: indexed first, then read chip by chip."""

    @property
    def name(self) -> str:
        """The name that records of this source carry."""
        ...

    def index(self) -> list[Record]:
        """Every labelled chip in a stable order, byte-identical repeats included."""
        ...

    def read(self, record: Record) -> Chip:
        """Decode one chip, with what the source knows (spacing, polarisation) filled in.

        Raises a ChipError on bad content, DataInvalid if the bytes cannot be had.
        """
        ...

    def context(self) -> str:
        """What besides a chip's bytes determines what `read` gives, usually its pixel spacing."""
        ...

    def notes(self) -> list[str]:
        """What a user should know about this copy, one line each: what is missing or was mended."""
        ...


def mmsi_group(mmsi: str | None) -> str | None:
    """The group of a ship, the same in all sources; None if the text names no ship.

    >>> mmsi_group(" 413000001.0"), mmsi_group("000000000"), mmsi_group("NaN")
    ('mmsi:413000001', None, None)
    """
    match = _DIGITS.fullmatch((mmsi or "").strip())
    number = int(match[1]) if match else 0
    return f"{_MMSI}{number}" if number else None


def drop_repeats(records: Iterable[Record], contents: Sequence[str] | None = None) -> list[Record]:
    """Records without repeats: the first of each stays, and their groups become one.

    contents  one per record, equal for repeats; by default the SHA-256 of their files

    A repeat shows that two groups are of one scene. FUSAR-Ship holds some scenes twice, about 218
    index numbers apart: the neighbours of a repeat are near-copies and must stay on one side of a
    split, though they are not repeats themselves.
    """
    everything = list(records)
    sums = contents or [record.sha256 for record in everything]
    joined = join_groups_of_repeats(everything, sums)
    first: dict[str, Record] = {}
    for record, content in zip(everything, sums, strict=True):
        first.setdefault(content, record)
    return [replace(record, group=joined[record.group]) for record in first.values()]


def join_groups_of_repeats(records: Sequence[Record], contents: Sequence[str]) -> dict[str, str]:
    """Group -> joined group: groups that share a chip are one, named by the first.

    An MMSI comes before other names, so that chips of the ship in other sources still join it.
    """
    parent: dict[str, str] = {}

    def root(group: str) -> str:
        while parent.setdefault(group, group) != group:
            group = parent[group]
        return group

    def rank(group: str) -> tuple[bool, str]:
        return not group.startswith(_MMSI), group

    seen: dict[str, str] = {}
    for record, content in zip(records, contents, strict=True):
        other = seen.setdefault(content, record.group)
        first, second = sorted((root(other), root(record.group)), key=rank)
        parent[second] = first
    return {record.group: root(record.group) for record in records}
