"""The columns of a batch, and how a row of them is written as text (CSV, JSON lines).

A CSV is written for spreadsheets. They run a cell that starts with = + - or @ as a formula, and
file names may start like that: such a cell gets an apostrophe before it. They read a file without a
byte order mark in the system's code page, which garbles names that are not ASCII: so the file gets
a mark. The page's CSV follows the same rules (serving/page/table.js).
"""

import csv
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, TextIO

from serving.chips import ChipFailure
from shipchip import ModelCard, Prediction
from shipchip.answer import SIZE_FIELDS

BatchRow = dict[str, Any]
ColumnKind = Literal["text", "number", "flag", "set"]

# The model computes in float32: further digits depend on how chips were batched.
_DIGITS = 6

MARK = "\ufeff"

FAILED = "failed"  # in the place of a label, in tables and folders

# With any apostrophes before it: otherwise the names '=a and =a would be the same cell.
_FORMULA = re.compile(r"'*[=+\-@\t\r]")


class OutputError(Exception):
    """The output cannot be written where it was asked for."""


class Column(NamedTuple):
    """A column: its name, the kind of its values, and what they mean (docs/batch.md)."""

    name: str
    kind: ColumnKind
    meaning: str


_BEFORE_CLASSES = (
    Column("path", "text", "the name of the chip, as found"),
    Column("status", "text", "`ok` or `error`"),
    Column("label", "text", "the most probable class"),
    Column("confidence", "number", "calibrated probability of the label"),
)
_AFTER_CLASSES = (
    Column(
        "prediction_set",
        "set",
        "the classes that cannot be excluded; joined by a vertical bar in CSV, a list elsewhere",
    ),
    Column(
        "in_distribution",
        "flag",
        "false: unlike the training chips, so doubt every number in this row",
    ),
    Column("ood_score", "number", "about 1 for chips like the training chips, higher for others"),
    Column("model_version", "text", "the version of the model that answered"),
    Column("error_code", "text", "the [code](api.md#codes) of a chip that failed"),
    Column("error_message", "text", "what was found, what was expected, what to do"),
    Column("verdict", "text", "`sure`, `undecided` or `unlike` ([meaning](api.md#answers))"),
    Column("pixel_spacing_row_m", "number", "metres on the ground between rows, as used"),
    Column("pixel_spacing_column_m", "number", "metres on the ground between columns, as used"),
    Column(
        "pixel_spacing_from",
        "text",
        "`request`, `file` or `rule`: a rule of the model card is a guess",
    ),
    Column("polarisation", "text", "of the plane that was used; `unknown` if the file has none"),
    Column("quantity", "text", "what the samples were read as: `amplitude`, `sigma0`, `complex`"),
    Column("length_m", "number", "length of the ship in metres; empty if the model gives none"),
    Column("length_low_m", "number", "lower end of its [interval](api.md#length-and-width)"),
    Column("length_high_m", "number", "upper end of its interval"),
    Column("width_m", "number", "width of the ship in metres"),
    Column("width_low_m", "number", "lower end of its interval"),
    Column("width_high_m", "number", "upper end of its interval"),
    Column(
        "length_validated",
        "flag",
        "whether such chips were measured against lengths from AIS; otherwise a guess",
    ),
    Column("lon", "number", "longitude of the centre in degrees (WGS 84), if georeferenced"),
    Column("lat", "number", "its latitude"),
    Column("map_file", "text", "the name of its picture in the folder of `--maps`"),
)
# After them where chips are windows of scenes.
SCENE_COLUMNS = (
    Column("nearest_m", "number", "metres to the nearest other position, if within a kilometre"),
    Column("near_another", "flag", "another position is within the ship's estimated length"),
)
_KINDS = {
    column.name: column.kind for column in (*_BEFORE_CLASSES, *_AFTER_CLASSES, *SCENE_COLUMNS)
}


def column_list(classes: Sequence[str]) -> tuple[Column, ...]:
    """All columns, in order; `p_<class>` follows the card's classes."""
    shares = (
        Column(f"p_{name.lower()}", "number", f"calibrated probability of {name}")
        for name in classes
    )
    return (*_BEFORE_CLASSES, *shares, *_AFTER_CLASSES)


def columns(
    classes: Sequence[str], carried: Sequence[str] = (), *, scenes: bool = False
) -> tuple[str, ...]:
    """The names of all columns, in order; those carried from a list are the last.

    scenes  whether chips are windows of scenes

    Raises OutputError if a carried column has the name of another one.
    """
    ours = [*column_list(classes), *(SCENE_COLUMNS if scenes else ())]
    lowered = [name.lower() for name in carried]  # SQL tells no case apart
    clash = [
        name
        for name, low in zip(carried, lowered, strict=True)
        if not is_carried(low) or lowered.count(low) > 1
    ]
    if clash:
        raise OutputError(
            f"the list has columns that the output has, too: {', '.join(clash)}; rename them"
        )
    return (*(column.name for column in ours), *carried)


def is_carried(name: str) -> bool:
    """Whether a column with this name is none of the output's own."""
    return name not in _KINDS and not name.startswith("p_")


def column_kind(name: str) -> ColumnKind:
    """The kind of a column's values: str, float, bool, or a list of str."""
    return _KINDS[name] if name in _KINDS else "number" if name.startswith("p_") else "text"


def to_row(path: str, result: Prediction | ChipFailure, card: ModelCard) -> BatchRow:
    """All columns of one chip; None for columns that do not apply."""
    row: BatchRow = dict.fromkeys(columns(card.classes))
    row |= {"path": readable(path), "model_version": card.version}
    if isinstance(result, ChipFailure):
        return row | {
            "status": "error",
            "error_code": result.code,
            "error_message": readable(result.message),
        }
    spacing = result.used.pixel_spacing_m
    shares = {f"p_{k.lower()}": round(p, _DIGITS) for k, p in result.probabilities.items()}
    return row | {
        "status": "ok",
        "label": result.label,
        "confidence": round(result.confidence, _DIGITS),
        **shares,
        "prediction_set": list(result.prediction_set),
        "in_distribution": result.in_distribution,
        "ood_score": round(result.ood_score, _DIGITS),
        "verdict": result.verdict,
        "pixel_spacing_row_m": spacing[0],
        "pixel_spacing_column_m": spacing[1],
        "pixel_spacing_from": result.used.pixel_spacing_from,
        "polarisation": result.used.polarisation,
        "quantity": result.used.quantity,
        **{name: getattr(result, name) for name in SIZE_FIELDS},
        "lon": result.lon,
        "lat": result.lat,
    }


def partial_of(out: Path) -> Path:
    """The file for rows of an unfinished run, beside the output."""
    return out.with_name(f".{out.name}.partial")


def csv_writer(file: TextIO, names: Sequence[str]) -> Callable[[BatchRow], None]:
    """A function that writes one row as CSV for spreadsheets; the header is written at once."""
    file.write(MARK)
    return _csv_writer(file, names, guarded)


def plain_csv_writer(file: TextIO, names: Sequence[str]) -> Callable[[BatchRow], None]:
    """The same without a byte order mark, and without apostrophes before formulas."""
    return _csv_writer(file, names, str)


def _csv_writer(
    file: TextIO, names: Sequence[str], cell: Callable[[str], str]
) -> Callable[[BatchRow], None]:
    # The dialect of RFC 4180: with "\n" alone as its end of line, Python before 3.13 leaves a
    # "\r" in a file name unquoted, and readers break the row there.
    writer = csv.writer(file, lineterminator="\r\n")
    writer.writerow(names)
    return lambda row: writer.writerow([_csv_value(row[name], cell) for name in names])


def jsonl_writer(file: TextIO, names: Sequence[str]) -> Callable[[BatchRow], None]:
    """A function that writes one row as a line of JSON, its columns in the order of `names`."""

    def write(row: BatchRow) -> None:
        ordered = {name: row[name] for name in names}
        file.write(json.dumps(ordered, ensure_ascii=False, allow_nan=False) + "\n")

    return write


def readable(text: str) -> str:
    r"""Text as valid UTF-8: bytes of a name that are not become \xff and the like."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _csv_value(value: Any, cell: Callable[[str], str]) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        value = "|".join(value)
    return cell(value) if isinstance(value, str) else value


def guarded(text: str) -> str:
    """The text as a cell that is no formula."""
    return f"'{text}" if _FORMULA.match(text) else text


def unguarded(cell: str) -> str:
    """The text of which `guarded` made this cell."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell
