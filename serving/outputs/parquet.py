"""The Parquet of a batch: a stream of rows in row groups of one size, with types of their own.

pyarrow is an extra, and is imported when a Parquet file is asked for.
"""

import importlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from serving.rows import Kind, OutputError, Row, kind_of

_GROUP = 8192  # rows: some MB while they are written, and large enough to be read fast


def demand() -> None:
    """OutputError where pyarrow is not installed."""
    _pyarrow()


def write(file: BinaryIO, names: Sequence[str], rows: Iterable[Row]) -> None:
    """All rows, and nothing else: equal rows give equal bytes with one version of pyarrow."""
    arrow, tables = _pyarrow()
    schema, remaining = _schema(arrow, names), iter(rows)
    with tables.ParquetWriter(file, schema, compression="snappy") as writer:
        while group := list(islice(remaining, _GROUP)):
            writer.write_table(arrow.Table.from_pylist(group, schema=schema))


def read(path: Path, names: Sequence[str]) -> Iterator[Row]:
    """The rows of a file; OutputError for other columns or types, or damage."""
    arrow, tables = _pyarrow()
    try:
        with tables.ParquetFile(path) as file:
            if not file.schema_arrow.equals(_schema(arrow, names)):
                raise OutputError(f"{path}: other columns; expected {', '.join(names)}")
            for batch in file.iter_batches(_GROUP):
                yield from batch.to_pylist()
    except arrow.ArrowInvalid as error:
        raise OutputError(f"{path}: damaged ({error}); make the file anew") from error


def _schema(arrow: Any, names: Sequence[str]) -> Any:
    """From the names alone, so that a column without any value keeps its type."""
    types: dict[Kind, Any] = {
        "text": arrow.string(),
        "number": arrow.float64(),
        "flag": arrow.bool_(),
        "set": arrow.list_(arrow.string()),
    }
    return arrow.schema([(name, types[kind_of(name)]) for name in names])


def _pyarrow() -> tuple[Any, Any]:
    try:
        return importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ModuleNotFoundError as error:
        raise OutputError("Parquet needs pyarrow: pip install 'shipchip[parquet]'") from error
