"""What a report is made of: sections of blocks, laid out as HTML or Markdown by `render`.

Both forms come from the same blocks, so they cannot tell different numbers.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal


@dataclass(frozen=True)
class Mark:
    """A sign beside a figure, explained once by a legend."""

    sign: str
    meaning: str
    tone: Literal["good", "bad", "plain"] = "plain"


@dataclass(frozen=True)
class Entry:
    """One place of a table: a figure, marks beside it, and smaller lines below."""

    text: str
    under: tuple[str, ...] = ()
    marks: tuple[Mark, ...] = ()


@dataclass(frozen=True)
class Paragraph:
    """Running text."""

    kind: ClassVar[str] = "paragraph"
    text: str


@dataclass(frozen=True)
class Table:
    """Rows of entries under a head. `folded`: HTML shows the title, and the rows on demand."""

    kind: ClassVar[str] = "table"
    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[Entry, ...], ...]
    folded: bool = False


@dataclass(frozen=True)
class Legend:
    """What the marks of a section mean."""

    kind: ClassVar[str] = "legend"
    marks: tuple[Mark, ...]


@dataclass(frozen=True)
class Picture:
    """A figure as PNG; `name` is its file's stem where it is written to one."""

    kind: ClassVar[str] = "picture"
    name: str
    png: bytes
    caption: str


@dataclass(frozen=True)
class Verbatim:
    """Text as it is, such as JSON."""

    kind: ClassVar[str] = "verbatim"
    title: str
    text: str


@dataclass(frozen=True)
class Gallery:
    """Thumbnails cut from one PNG of `columns` squares a row, each with its lines of text.

    facts   one mapping a thumbnail, all with the same keys: what is told of it
    """

    kind: ClassVar[str] = "gallery"
    name: str
    png: bytes
    columns: int
    facts: tuple[Mapping[str, str], ...]

    @property
    def rows(self) -> int:
        """Rows of squares in the PNG."""
        return -(-len(self.facts) // self.columns)

    def table(self) -> Table:
        """What is told of the thumbnails, without them."""
        head = tuple(self.facts[0])
        rows = tuple(tuple(Entry(fact[key]) for key in head) for fact in self.facts)
        return Table("Row by row", head, rows)


Block = Paragraph | Table | Legend | Picture | Verbatim | Gallery


@dataclass(frozen=True)
class Section:
    """A numbered part of the report; `anchor` is its place in a link."""

    anchor: str
    title: str
    blocks: tuple[Block, ...]
