"""Markdown as an HTML page that needs no other file."""

import base64
import html
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Literal

from markdown_it import MarkdownIt
from markdown_it.token import Token

_SHELL = Path(__file__).with_name("page.html")
# The tags that a report writes itself.
_OURS = re.compile(r"<br>|<details><summary>[^<>]*</summary>\n?|</details>\n?")


@dataclass(frozen=True)
class Mark:
    """A sign beside a figure, explained once by a legend."""

    sign: str
    meaning: str
    tone: Literal["good", "bad", "plain"] = "plain"


def html_page(
    title: str,
    warning: str,
    sections: Sequence[tuple[str, str]],
    text: str,
    pictures: Mapping[str, bytes],
    marks: Mapping[str, Mark],
) -> str:
    """The page: what stands above the first section, links to all sections, the sections.

    Tags other than those that a report writes are shown as text.

    sections  anchor and title of each heading of second rank in `text`
    pictures  name -> PNG, of what `text` links to as figures/NAME.png; they are put into the page
    marks     sign -> mark, shown in colour with its meaning
    """
    reader = MarkdownIt("commonmark", {"xhtmlOut": False}).enable("table")
    tokens = reader.parse(text)
    for token in _flat(tokens):
        _complete(token, pictures, marks)
    headings = [t for t in tokens if t.type == "heading_open" and t.tag == "h2"]
    for heading, (anchor, _) in zip(headings, sections, strict=True):
        heading.attrSet("id", anchor)
    first = tokens.index(headings[0]) if headings else len(tokens)
    links = (f'<li><a href="#{anchor}">{html.escape(name)}</a></li>' for anchor, name in sections)
    alert = f'<p class="warning" role="alert">{html.escape(warning)}</p>' if warning else ""
    return Template(_SHELL.read_text(encoding="utf-8")).substitute(
        title=html.escape(title),
        warning=alert,
        summary=reader.renderer.render(tokens[:first], reader.options, {}),
        links="\n".join(links),
        body=reader.renderer.render(tokens[first:], reader.options, {}),
    )


def _flat(tokens: Sequence[Token]) -> Iterator[Token]:
    for token in tokens:
        yield token
        yield from token.children or ()


def _complete(token: Token, pictures: Mapping[str, bytes], marks: Mapping[str, Mark]) -> None:
    """Change one token before it is written as HTML."""
    if token.type in ("html_block", "html_inline") and not _OURS.fullmatch(token.content):
        token.type = "text"
    elif token.type == "code_inline" and token.content in marks:
        mark = marks[token.content]
        token.attrs = {"class": f"mark {mark.tone}", "title": mark.meaning}
    elif token.type == "image":
        png = pictures[Path(str(token.attrs["src"])).stem]
        token.attrs["src"] = "data:image/png;base64," + base64.b64encode(png).decode("ascii")
