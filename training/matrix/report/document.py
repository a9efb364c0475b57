"""The report as sections of blocks, the wording of its figures, and both renderings of it."""

import base64
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from training.card.schema import Interval


@dataclass(frozen=True)
class Mark:
    """A sign beside a figure, explained once by a legend."""

    sign: str
    meaning: str
    tone: Literal["good", "bad", "plain"] = "plain"


@dataclass(frozen=True)
class TableCell:
    """One cell of a table: a figure, marks beside it, and smaller lines below."""

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
    rows: tuple[tuple[TableCell, ...], ...]
    folded: bool = False


@dataclass(frozen=True)
class Legend:
    """What the marks of a section mean."""

    kind: ClassVar[str] = "legend"
    marks: tuple[Mark, ...]


@dataclass(frozen=True)
class ReportPicture:
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

    facts   one mapping a thumbnail, all with the same keys: what is known of it
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
        """The facts of the thumbnails, without the pictures."""
        head = tuple(self.facts[0])
        rows = tuple(tuple(TableCell(fact[key]) for key in head) for fact in self.facts)
        return Table("Row by row", head, rows)


Block = Paragraph | Table | Legend | ReportPicture | Verbatim | Gallery


@dataclass(frozen=True)
class Section:
    """A numbered part of the report; `anchor` is its place in a link."""

    anchor: str
    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Head:
    """What stands above the sections: a title, a warning or none, and the rows of the summary."""

    title: str
    warning: str
    summary: tuple[tuple[TableCell, ...], ...]

    @property
    def table(self) -> Table:
        """The summary."""
        return Table("Summary", ("", ""), self.summary)


RISES = Mark("+", "the interval lies above 0", "good")
FALLS = Mark("-", "the interval lies below 0", "bad")


def path_name(path: Sequence[str]) -> str:
    """("fusar", "mix") -> "fusar → mix"."""
    return " → ".join(path)


def difference(figure: Interval | None) -> TableCell:
    """A signed difference with its interval, and a mark if the interval excludes 0."""
    if figure is None:
        return TableCell("-")
    value, low, high = map(_signed, (figure.value, figure.low, figure.high))
    return TableCell(f"{value} ({low} to {high})", marks=direction(figure))


def _signed(value: float) -> str:
    # Adding 0 turns the -0.0 that rounding may leave into 0.0.
    return f"{round(value, 2) + 0:+.2f}"


def direction(figure: Interval) -> tuple[Mark, ...]:
    """RISES or FALLS if the interval excludes 0."""
    if figure.low > 0:
        return (RISES,)
    return (FALLS,) if figure.high < 0 else ()


def entries(*texts: str) -> tuple[TableCell, ...]:
    """Plain cells of a row."""
    return tuple(TableCell(text) for text in texts)


def html(head: Head, sections: Sequence[Section]) -> str:
    """The page; text from data is escaped. A warning stays in sight, also on a print's sheets."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["data_uri"] = _data_uri
    return environment.get_template("report.html.j2").render(head=head, sections=sections)


def _data_uri(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def markdown(head: Head, sections: Sequence[Section], figures: str | None = None) -> str:
    """The same tables; pictures are links into the folder `figures`, or left out without one."""
    lines = [f"# {_plain(head.title)}", ""]
    if head.warning:
        lines += [f"**{_plain(head.warning)}**", ""]
    lines += [*_table(head.table), ""]
    for number, section in enumerate(sections, start=1):
        lines += [f"## {number}. {_plain(section.title)}", ""]
        for block in section.blocks:
            lines += [*_block(block, figures), ""]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).rstrip() + "\n"


def report_pictures(sections: Sequence[Section]) -> dict[str, bytes]:
    """Name -> PNG of all figures, for the files that `markdown` links to."""
    blocks = [block for section in sections for block in section.blocks]
    return {block.name: block.png for block in blocks if isinstance(block, ReportPicture | Gallery)}


def _block(block: Block, figures: str | None) -> Iterator[str]:
    match block:
        case Paragraph():
            yield _plain(block.text)
        case Legend():
            yield from (f"- `{mark.sign}` {_plain(mark.meaning)}" for mark in block.marks)
        case Table():
            yield from _table(block)
        case ReportPicture():
            if figures:
                yield f"![{_plain(block.caption)}]({figures}/{block.name}.png)"
        case Verbatim():
            # A fence longer than any in the text cannot be ended by it.
            fence = "`" * max(3, 1 + max(map(len, re.findall("`+", block.text)), default=0))
            yield from (f"<details><summary>{_plain(block.title)}</summary>", "")
            yield from (fence, block.text, fence, "", "</details>")
        case Gallery():
            if figures:
                yield from (f"![Mistakes, row by row]({figures}/{block.name}.png)", "")
            yield from _table(block.table())


def _table(table: Table) -> Iterator[str]:
    yield from (f"**{_plain(table.title)}**", "")
    yield _line(_plain(name) for name in table.head)
    yield _line("---" for _ in table.head)
    yield from (_line(_cell(entry) for entry in row) for row in table.rows)


def _line(places: Iterator[str]) -> str:
    return "| " + " | ".join(places) + " |"


def _cell(entry: TableCell) -> str:
    marked = " ".join([_plain(entry.text), *(_sign(mark) for mark in entry.marks)])
    return "<br>".join([marked, *(_plain(line) for line in entry.under)])


def _sign(mark: Mark) -> str:
    return f"`{mark.sign}`"


def _plain(text: str) -> str:
    """Text that Markdown shows as it is: no HTML, no cell border, no emphasis, on one line."""
    escaped = re.sub(r"([\\`*_\[\]|#])", r"\\\1", " ".join(text.split()))
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
