"""The report as it is written: Markdown text with pictures."""

import html
import re
from collections.abc import Iterable, Sequence

from training.card.schema import Interval
from training.evaluation.tables import table_head, table_row
from training.matrix.report.html_page import Mark, html_page

RISES = Mark("+", "the interval lies above 0", "good")
FALLS = Mark("-", "the interval lies below 0", "bad")


class Markdown(str):
    """Text that is Markdown already. Every other string is escaped before it is written."""

    __slots__ = ()


def escaped(text: str) -> Markdown:
    """Markdown that shows the text as it is: no HTML, no cell border, no emphasis, on one line."""
    if isinstance(text, Markdown):
        return text
    marked = re.sub(r"([\\`*_\[\]|#])", r"\\\1", " ".join(text.split()))
    return Markdown(marked.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"))


def cell(text: str, under: Iterable[str] = (), marks: Iterable[Mark] = ()) -> Markdown:
    """One cell of a table: a figure, marks beside it, and lines below."""
    marked = " ".join([escaped(text), *(f"`{mark.sign}`" for mark in marks)])
    return Markdown("<br>".join([marked, *map(escaped, under)]))


def path_name(path: Sequence[str]) -> str:
    """("fusar", "mix") -> "fusar → mix"."""
    return " → ".join(path)


def difference(figure: Interval | None) -> str:
    """A signed difference with its interval."""
    if figure is None:
        return "-"
    value, low, high = map(_signed, (figure.value, figure.low, figure.high))
    return f"{value} ({low} to {high})"


def _signed(value: float) -> str:
    # Adding 0 turns the -0.0 that rounding may leave into 0.0.
    return f"{round(value, 2) + 0:+.2f}"


def difference_cell(figure: Interval | None) -> Markdown:
    """A difference, with a mark if its interval excludes 0."""
    marks = []
    if figure is not None and figure.low > 0:
        marks = [RISES]
    elif figure is not None and figure.high < 0:
        marks = [FALLS]
    return cell(difference(figure), marks=marks)


_PICTURE = re.compile(r" ?!\[.*?(?<!\\)\]\(figures/.*?\)(?:\n\*.*\*)?")


class Page:
    """A report that is written from top to bottom.

    warning   stands above everything and stays in sight in HTML; empty: none
    pictures  name -> PNG of each picture written so far
    """

    def __init__(self, title: str, warning: str = "") -> None:
        self.title, self.warning = title, warning
        self.pictures: dict[str, bytes] = {}
        self._sections: list[tuple[str, str]] = []
        self._marks: dict[str, Mark] = {}
        self._lines: list[str] = []

    def section(self, anchor: str, title: str) -> None:
        """Begin a numbered section; `anchor` is its place in a link."""
        self._sections.append((anchor, title))
        self._lines += [f"## {len(self._sections)}. {escaped(title)}", ""]

    def text(self, *paragraphs: str) -> None:
        """Running text."""
        for text in paragraphs:
            self._lines += [escaped(text), ""]

    def legend(self, *marks: Mark) -> None:
        """What the marks of a section mean."""
        self._marks |= {mark.sign: mark for mark in marks}
        self._lines += [*(f"- `{mark.sign}` {escaped(mark.meaning)}" for mark in marks), ""]

    def table(
        self, title: str, head: Sequence[str], rows: Iterable[Sequence[str]], folded: bool = False
    ) -> None:
        """Rows under a head. `folded`: the title is shown, and the rows on demand."""
        lines = [*table_head(*map(escaped, head)), *(table_row(*map(escaped, r)) for r in rows)]
        if folded:
            self._fold(title, lines)
        else:
            self._lines += [f"**{escaped(title)}**", "", *lines, ""]

    def verbatim(self, title: str, text: str) -> None:
        """Text as it is, such as JSON, shown on demand."""
        # A fence longer than any in the text cannot be ended by it.
        fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
        self._fold(title, [fence, text, fence])

    def picture(self, name: str, png: bytes, caption: str) -> None:
        """A figure; `name` is its file's stem where it is written to one."""
        self._lines += [self.image(name, png, caption), f"*{escaped(caption)}*", ""]

    def image(self, name: str, png: bytes, alt: str) -> Markdown:
        """A picture for a cell of a table."""
        self.pictures[name] = png
        return Markdown(f"![{escaped(alt)}](figures/{name}.png)")

    def _fold(self, title: str, lines: Sequence[str]) -> None:
        summary = f"<details><summary>{html.escape(title)}</summary>"
        self._lines += [summary, "", *lines, "", "</details>", ""]

    def markdown(self, figures: bool = True) -> str:
        """The report; without `figures`, without the links to pictures in that folder."""
        lines = [f"# {escaped(self.title)}", ""]
        if self.warning:
            lines += [f"**{escaped(self.warning)}**", ""]
        text = "\n".join([*lines, *self._lines])
        if not figures:
            text = _PICTURE.sub("", text)
        return re.sub(r"\n{3,}", "\n\n", text).rstrip() + "\n"

    def html(self) -> str:
        """The same page, which needs no other file."""
        body = "\n".join(self._lines)
        return html_page(self.title, self.warning, self._sections, body, self.pictures, self._marks)
