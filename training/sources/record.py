"""What a source tells of a chip, and how to read it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from shipchip.decode import Chip

CLASSES = ("Cargo", "Fishing", "Tanker")


@dataclass(frozen=True)
class Record:
    """One labelled chip.

    source   the data set: "fusar", "opensarship", "opensarship_slc", ...
    key      where the chip is, unique in its source: archive!member
    label    its class
    group    the ship, or what stands for it where no ship is known; never split
    sha256   of the file's bytes
    """

    source: str
    key: str
    label: str
    group: str
    sha256: str


class Source(Protocol):
    """A data set as it is downloaded: told what it holds, and read chip by chip."""

    @property
    def name(self) -> str:
        """The name that records of this source carry."""
        ...

    def index(self) -> list[Record]:
        """Every labelled chip in a stable order, byte-identical repeats included."""
        ...

    def read(self, record: Record) -> Chip:
        """Decode one chip, with what the source knows (spacing, polarisation) filled in."""
        ...


def drop_repeats(records: Iterable[Record]) -> list[Record]:
    """Records without byte-identical repeats; the first of each hash stays."""
    first: dict[str, Record] = {}
    for record in records:
        first.setdefault(record.sha256, record)
    return list(first.values())


def join_groups_of_repeats(records: list[Record]) -> dict[str, str]:
    """Group -> joined group: groups that share a byte-identical chip show one scene.

    FUSAR-Ship holds some scenes twice, about 218 index numbers apart; the repeats that betray
    this are dropped, but their neighbours are near-copies and must stay on one side of a split.
    """
    parent: dict[str, str] = {}

    def root(group: str) -> str:
        while parent.setdefault(group, group) != group:
            group = parent[group]
        return group

    seen: dict[str, str] = {}
    for record in records:
        other = seen.setdefault(record.sha256, record.group)
        first, second = sorted((root(other), root(record.group)))
        parent[second] = first
    return {record.group: root(record.group) for record in records}
