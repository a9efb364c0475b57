"""Sections as one HTML file that needs nothing else, and as Markdown."""

import base64
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from training.report.document import (
    Block,
    Entry,
    Gallery,
    Legend,
    Mark,
    Paragraph,
    Picture,
    Section,
    Table,
    Verbatim,
)


def html(title: str, sections: Sequence[Section]) -> str:
    """The page; whatever comes from data is escaped."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["data_uri"] = _data_uri
    return environment.get_template("report.html.j2").render(title=title, sections=sections)


def _data_uri(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def markdown(title: str, sections: Sequence[Section], figures: str | None = None) -> str:
    """The same tables; pictures are links into the folder `figures`, or left out without one."""
    lines = [f"# {_plain(title)}", ""]
    for number, section in enumerate(sections, start=1):
        lines += [f"## {number}. {_plain(section.title)}", ""]
        for block in section.blocks:
            lines += [*_block(block, figures), ""]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).rstrip() + "\n"


def pictures(sections: Sequence[Section]) -> dict[str, bytes]:
    """Name -> PNG of all figures, for the files that `markdown` links to."""
    blocks = [block for section in sections for block in section.blocks]
    return {block.name: block.png for block in blocks if isinstance(block, Picture | Gallery)}


def _block(block: Block, figures: str | None) -> Iterator[str]:
    match block:
        case Paragraph():
            yield _plain(block.text)
        case Legend():
            yield from (f"- `{mark.sign}` {_plain(mark.meaning)}" for mark in block.marks)
        case Table():
            yield from _table(block)
        case Picture():
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
    yield _row(_plain(name) for name in table.head)
    yield _row("---" for _ in table.head)
    yield from (_row(_place(entry) for entry in row) for row in table.rows)


def _row(places: Iterator[str]) -> str:
    return "| " + " | ".join(places) + " |"


def _place(entry: Entry) -> str:
    marked = " ".join([_plain(entry.text), *(_sign(mark) for mark in entry.marks)])
    return "<br>".join([marked, *(_plain(line) for line in entry.under)])


def _sign(mark: Mark) -> str:
    return f"`{mark.sign}`"


def _plain(text: str) -> str:
    """Text that Markdown shows as it is: no HTML, no cell border, no emphasis, on one line."""
    escaped = re.sub(r"([\\`*_\[\]|#])", r"\\\1", " ".join(text.split()))
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
