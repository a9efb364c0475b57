"""groups.csv of class folders: which ship a chip shows, in the columns path,group."""

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from training.errors import DataInvalid


@dataclass(frozen=True)
class Row:
    """A line of groups.csv: its number in the file, and what it says."""

    line: int
    path: str
    group: str


def parse_groups(content: bytes, name: str, where: str) -> dict[str, Row]:
    """Rows by the name of their chip in the archive.

    name   of the table in the archive; its paths count from its own folder or from the top
    where  what an error calls the table

    Raises DataInvalid where it is no table, lacks the columns or a group, or contradicts itself.
    """
    rows: dict[str, Row] = {}
    for row in _rows(content, where):
        for chip in {PurePosixPath(row.path), PurePosixPath(name).parent / row.path}:
            check_agreed([rows.setdefault(str(chip), row), row], where)
    return rows


def check_agreed(rows: Iterable[Row], where: str) -> None:
    """DataInvalid where these rows, all of one chip, name more than one group."""
    first, *others = rows
    for other in others:
        if other.group != first.group:
            raise DataInvalid(
                f"{where} puts one chip into two groups: line {first.line} says that {first.path} "
                f"is of {first.group}, line {other.line} that {other.path} is of {other.group}; "
                "correct one of them"
            )


def _rows(content: bytes, where: str) -> list[Row]:
    reader = csv.DictReader(io.StringIO(content.decode("utf-8-sig", errors="replace")), restval="")
    try:
        rows = [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise DataInvalid(f"{where} is no table ({error})") from error
    if not rows or not {"path", "group"} <= set(rows[0][1]):
        raise DataInvalid(f"{where} needs the columns path,group")
    parsed = [Row(n, row["path"].replace("\\", "/"), row["group"].strip()) for n, row in rows]
    empty = next((row for row in parsed if not row.group), None)
    if empty:
        raise DataInvalid(f"{where} gives {empty.path} no group in line {empty.line}; name one")
    return parsed
