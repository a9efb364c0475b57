"""The columns of a batch, and the files they are written to (CSV, JSON lines)."""

import csv
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from serving.intake import Failure
from shipchip import ModelCard, Prediction

Row = dict[str, Any]

# The model computes in float32: beyond six digits stands how chips fell into batches.
_DIGITS = 6


class OutputError(Exception):
    """The output cannot be written where it was asked for."""


def columns(classes: Sequence[str]) -> tuple[str, ...]:
    """The names of all columns, in order; `p_<class>` follows the card's classes."""
    return (
        "path",
        "status",
        "label",
        "confidence",
        *(f"p_{name.lower()}" for name in classes),
        "prediction_set",
        "in_distribution",
        "ood_score",
        "model_version",
        "error_code",
        "error_message",
    )


def to_row(path: str, result: Prediction | Failure, card: ModelCard) -> Row:
    """All columns of one chip; None where there is nothing to say."""
    row: Row = dict.fromkeys(columns(card.classes))
    row |= {"path": _readable(path), "model_version": card.version}
    if isinstance(result, Failure):
        return row | {
            "status": "error",
            "error_code": result.code,
            "error_message": _readable(result.message),
        }
    shares = {f"p_{k.lower()}": round(p, _DIGITS) for k, p in result.probabilities.items()}
    return row | {
        "status": "ok",
        "label": result.label,
        "confidence": round(result.confidence, _DIGITS),
        **shares,
        "prediction_set": list(result.prediction_set),
        "in_distribution": result.in_distribution,
        "ood_score": round(result.ood_score, _DIGITS),
    }


@contextmanager
def writing(out: Path, names: Sequence[str]) -> Iterator[Callable[[Row], None]]:
    """A function that writes one row; `out` appears, whole, when the block has ended well.

    Until then the rows are in `partial_of(out)`, which goes if the block fails. Raises OutputError
    for an ending or a place that will not do, before anything else is done, and for a full disk.
    """
    make_writer = _WRITERS.get(out.suffix.lower())
    if make_writer is None:
        raise OutputError(f"output {out.name!r}; expected an ending of {', '.join(_WRITERS)}")
    if out.is_dir():
        raise OutputError(f"the output {out} is a folder; expected a file name")
    partial = partial_of(out)
    try:
        file = partial.open("w", encoding="utf-8", newline="")
    except OSError as error:
        raise OutputError(f"cannot write {out}: {error.strerror}") from error
    try:
        with file:
            yield make_writer(file, names)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(out)
    except OSError as error:
        raise OutputError(f"cannot write {out}: {error.strerror}") from error
    finally:
        partial.unlink(missing_ok=True)


def partial_of(out: Path) -> Path:
    """Where the rows of an unfinished run are: beside `out`, so that a rename is atomic."""
    return out.with_name(f".{out.name}.partial")


def _csv_writer(file: TextIO, names: Sequence[str]) -> Callable[[Row], None]:
    # The dialect of RFC 4180: with "\n" alone as its end of line, Python before 3.13 leaves a
    # "\r" in a file name unquoted, and readers break the row there.
    writer = csv.writer(file, lineterminator="\r\n")
    writer.writerow(names)
    return lambda row: writer.writerow([_csv_value(row[name]) for name in names])


def _csv_value(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "|".join(value) if isinstance(value, list) else value


def _jsonl_writer(file: TextIO, names: Sequence[str]) -> Callable[[Row], None]:
    def write(row: Row) -> None:
        ordered = {name: row[name] for name in names}
        file.write(json.dumps(ordered, ensure_ascii=False, allow_nan=False) + "\n")

    return write


_WRITERS = {".csv": _csv_writer, ".jsonl": _jsonl_writer}


def _readable(text: str) -> str:
    r"""Names need not be UTF-8, outputs must be: a byte that is not becomes \xff."""
    return os.fsencode(text).decode("utf-8", "backslashreplace")
