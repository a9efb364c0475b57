"""The formats of an output: rows -> a file, and the same rows back; or rows -> standard output.

pyarrow is an extra, and is imported only when a Parquet file is asked for. Standard output is for
other programs: nothing is staged or resumed.
"""

import csv
import importlib
import io
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Literal, TextIO

from serving.batch.outputs.geojson import read_geojson, write_geojson
from serving.batch.outputs.geopackage import read_geopackage, write_geopackage
from serving.batch.rows import (
    MARK,
    BatchRow,
    ColumnKind,
    OutputError,
    column_kind,
    csv_writer,
    jsonl_writer,
    plain_csv_writer,
    unguarded,
)

TextFormat = Literal["csv", "plain-csv", "jsonl"]

_BLOCK = 1024  # rows that are rendered at once
_PARQUET_GROUP = 8192  # rows: some MB while they are written, and large enough to be read fast
_LONGEST_FIELD = 2**20  # a path of 4 KiB with a member of 64 KiB, every byte of it as \xff


class Renderer:
    """Rows -> the bytes of a text format; the first bytes begin with the header."""

    def __init__(self, kind: TextFormat, names: Sequence[str]) -> None:
        self._text = io.StringIO(newline="")
        self._write = _TEXT_WRITERS[kind](self._text, names)

    def __call__(self, rows: Iterable[BatchRow]) -> bytes:
        """UTF-8. Each call continues where the last one ended."""
        for row in rows:
            self._write(row)
        content = self._text.getvalue().encode("utf-8")
        self._text.seek(0)
        self._text.truncate()
        return content


@dataclass(frozen=True)
class Format:
    """One format. Reading and writing keep a bounded number of rows in memory.

    write  a file, column names, rows; equal rows give equal bytes
    read   the rows of a file with these columns; OutputError for other columns, or damage
    """

    write: Callable[[BinaryIO, Sequence[str], Iterable[BatchRow]], None]
    read: Callable[[Path, Sequence[str]], Iterator[BatchRow]]


def format_of(path: Path, *, plain_csv: bool = False) -> Format:
    """The format by the file's ending. OutputError for other endings, or if pyarrow is missing.

    A CSV is written for spreadsheets unless `plain_csv`; both kinds are read.
    """
    found = _FORMATS.get(path.suffix.lower())
    if found is _FORMATS[".csv"] and plain_csv:
        return _PLAIN_CSV
    if found is None:
        raise OutputError(f"output {path.name!r}; expected an ending of {', '.join(_FORMATS)}")
    if found is _FORMATS[".parquet"]:
        _pyarrow()
    return found


def parse_line(line: bytes, names: Sequence[str]) -> BatchRow:
    """The row of one line of JSON; ValueError unless it has exactly these columns, in order."""
    row = json.loads(line)
    if not isinstance(row, dict) or tuple(row) != tuple(names):
        raise ValueError(f"expected the columns {', '.join(names)}")
    return row


def _write_text(kind: TextFormat) -> Callable[[BinaryIO, Sequence[str], Iterable[BatchRow]], None]:
    def write(file: BinaryIO, names: Sequence[str], rows: Iterable[BatchRow]) -> None:
        render, remaining = Renderer(kind, names), iter(rows)
        file.write(render(()))
        while block := list(islice(remaining, _BLOCK)):
            file.write(render(block))

    return write


def _read_jsonl(path: Path, names: Sequence[str]) -> Iterator[BatchRow]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                yield parse_line(line, names)
            except ValueError as error:
                raise _damaged(path, number, error) from error


def _read_csv(path: Path, names: Sequence[str]) -> Iterator[BatchRow]:
    number = 0
    before = csv.field_size_limit(_LONGEST_FIELD)  # of the whole process: others keep theirs
    text = unguarded if _is_marked(path) else str
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, strict=True)
        try:
            if next(reader, None) != list(names):
                raise ValueError(f"expected the columns {', '.join(names)}")
            for number, fields in enumerate(reader, 1):  # noqa: B007 (for the error)
                yield _typed([text(field) for field in fields], names)
            # Otherwise a number that is cut short in the last column would be another number.
            if not _ends_with_a_line(path):
                raise ValueError("the last line has no end")
        except (ValueError, csv.Error) as error:
            raise _damaged(path, number, error) from error
        finally:
            csv.field_size_limit(before)


def _is_marked(path: Path) -> bool:
    """Whether a CSV was written for spreadsheets."""
    mark = MARK.encode()
    with path.open("rb") as file:
        return file.read(len(mark)) == mark


def _ends_with_a_line(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


def _typed(fields: Sequence[str], names: Sequence[str]) -> BatchRow:
    texts = dict(zip(names, fields, strict=True))
    return {name: _value(name, text, texts) for name, text in texts.items()}


def _value(name: str, text: str, row: dict[str, str]) -> Any:
    """The value of a field; what an empty field means depends on the row's status."""
    kind, failed = column_kind(name), row.get("status") == "error"
    if kind == "text":
        return text if text or (failed and name.startswith("error_")) else None
    if kind == "set" and not failed:
        return text.split("|") if text else []
    if not text:
        return None
    if kind == "number":
        return float(text)
    if kind == "flag" and text in _FLAGS:
        return _FLAGS[text]
    raise ValueError(f"{name} is {text!r}")


def _write_parquet(file: BinaryIO, names: Sequence[str], rows: Iterable[BatchRow]) -> None:
    """All rows, and nothing else: equal rows give equal bytes with one version of pyarrow."""
    arrow, tables = _pyarrow()
    schema, remaining = _parquet_schema(arrow, names), iter(rows)
    with tables.ParquetWriter(file, schema, compression="snappy") as writer:
        while group := list(islice(remaining, _PARQUET_GROUP)):
            writer.write_table(arrow.Table.from_pylist(group, schema=schema))


def _read_parquet(path: Path, names: Sequence[str]) -> Iterator[BatchRow]:
    """The rows of a file; OutputError for other columns or types, or damage."""
    arrow, tables = _pyarrow()
    try:
        with tables.ParquetFile(path) as file:
            if not file.schema_arrow.equals(_parquet_schema(arrow, names)):
                raise OutputError(f"{path}: other columns; expected {', '.join(names)}")
            for batch in file.iter_batches(_PARQUET_GROUP):
                yield from batch.to_pylist()
    except arrow.ArrowInvalid as error:
        raise OutputError(f"{path}: damaged ({error}); write the file again") from error


def _parquet_schema(arrow: Any, names: Sequence[str]) -> Any:
    """From the names alone, so that a column without any value keeps its type."""
    types: dict[ColumnKind, Any] = {
        "text": arrow.string(),
        "number": arrow.float64(),
        "flag": arrow.bool_(),
        "set": arrow.list_(arrow.string()),
    }
    return arrow.schema([(name, types[column_kind(name)]) for name in names])


def _pyarrow() -> tuple[Any, Any]:
    try:
        return importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ModuleNotFoundError as error:
        raise OutputError(
            "Parquet needs pyarrow; to install: "
            f"{sys.executable} -m pip install 'shipchip[parquet]'"
        ) from error


def _damaged(path: Path, row: int, error: Exception) -> OutputError:
    return OutputError(f"{path}, row {row}: no row of this run ({error}); write the file again")


_FLAGS = {"true": True, "false": False}
_TEXT_WRITERS: dict[TextFormat, Callable[[TextIO, Sequence[str]], Callable[[BatchRow], None]]] = {
    "csv": csv_writer,
    "plain-csv": plain_csv_writer,
    "jsonl": jsonl_writer,
}
_FORMATS = {
    ".csv": Format(_write_text("csv"), _read_csv),
    ".jsonl": Format(_write_text("jsonl"), _read_jsonl),
    ".parquet": Format(_write_parquet, _read_parquet),
    ".geojson": Format(write_geojson, read_geojson),
    ".gpkg": Format(write_geopackage, read_geopackage),
}
_PLAIN_CSV = Format(_write_text("plain-csv"), _read_csv)
ENDINGS = tuple(_FORMATS)


class PipeClosed(Exception):
    """The reader of standard output has closed it, as `head` does: no error, end quietly."""


def to_stdout(
    names: Sequence[str], kind: TextFormat = "csv"
) -> Callable[[Sequence[BatchRow]], None]:
    """Write the header now; returns a function that writes rows at once.

    Both raise PipeClosed if the reader is gone, and OutputError for any other error. After that,
    standard output leads to /dev/null, so that Python's own flush at exit cannot fail again.
    """
    render = Renderer(kind, names)
    _send(render(()))
    return lambda rows: _send(render(rows))


def _send(content: bytes) -> None:
    if sys.stdout is None:
        raise OutputError("cannot write to standard output: it is closed")
    try:
        left = memoryview(content)
        while left:  # with PYTHONUNBUFFERED, as in containers, a write may take a part only
            left = left[sys.stdout.buffer.write(left) :]
        sys.stdout.buffer.flush()
    except BrokenPipeError as error:
        _lead_nowhere()
        raise PipeClosed from error
    except OSError as error:
        _lead_nowhere()
        raise OutputError(f"cannot write to standard output: {error.strerror}") from error


def _lead_nowhere() -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
