"""CSV that spreadsheets open correctly.

Spreadsheets run a cell that starts with = + - or @ as a formula, and file names may start so:
such a text gets an apostrophe before it. They read a file without a byte order mark in the system's
code page, which garbles names that are not ASCII: so there is a mark. The page's CSV follows the
same rule (serving/page/table.js).
"""

import re

MARK = "\ufeff"

# With any apostrophes before it: otherwise the names '=a and =a would be the same cell.
_FORMULA = re.compile(r"'*[=+\-@\t\r]")


def guarded(text: str) -> str:
    """The text as a cell that is no formula."""
    return f"'{text}" if _FORMULA.match(text) else text


def unguarded(cell: str) -> str:
    """The text of which `guarded` made this cell."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell
