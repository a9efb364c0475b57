"""CSV that spreadsheets open as it is meant.

A spreadsheet takes a cell that starts with = + - @ for a formula, and a file name may start so; a
text cell of that kind gets an apostrophe before it. It takes a file without a byte order mark for
one of the system's code page, and garbles names that are not ASCII; so there is one. The page's CSV
follows the same rule (serving/page/table.js).
"""

import re

MARK = "\ufeff"

# With apostrophes before it already: without them, a name that starts with '= could not be told
# from one that starts with =.
_FORMULA = re.compile(r"'*[=+\-@\t\r]")


def guarded(text: str) -> str:
    """The text as a cell that is no formula."""
    return f"'{text}" if _FORMULA.match(text) else text


def unguarded(cell: str) -> str:
    """The text of which `guarded` made this cell."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell
