"""A list of names, as written by `find`, text editors, PowerShell or this program."""

import codecs
import csv
import io
import os
from collections.abc import Iterator
from itertools import islice
from typing import BinaryIO

from serving.batch.inputs.entries import InputError
from serving.batch.rows import columns, unguarded

# How each CSV of a batch begins.
_OUTPUT = ",".join(columns(())[:3]).encode() + b","

# UTF-32 before UTF-16: its mark begins with the other's.
_MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}


def read_list(stream: BinaryIO) -> list[str]:
    """Names from a list: one per line, or separated by NUL if it contains a NUL.

    Blank lines and Windows carriage returns are ignored. A byte order mark decides the encoding
    (UTF-8, UTF-16 or UTF-32); otherwise bytes that are not UTF-8 are kept as os.fsdecode returns
    them. Of a CSV that a batch has written, the column `path` is read. Raises InputError if the
    content contradicts the beginning of the list.
    """
    content = stream.read()
    data = _unmarked(content)
    if data.startswith(_OUTPUT):
        return list(_paths(data, marked=data is not content))
    if b"\0" in data:
        return [os.fsdecode(name) for name in _split(data, b"\0") if name]
    lines = (line.removesuffix(b"\r") for line in _split(data, b"\n"))
    return [os.fsdecode(line) for line in lines if line.strip()]


def _unmarked(data: bytes) -> bytes:
    """A list's content without its byte order mark, in UTF-8 if it has one."""
    mark = next((mark for mark in _MARKS if data.startswith(mark)), None)
    if mark is None:
        return data
    encoding = _MARKS[mark]
    try:
        return data[len(mark) :].decode(encoding).encode()
    except UnicodeDecodeError as error:
        raise InputError(
            f"the list begins with the byte order mark of {encoding}, but is not in it "
            f"({error.reason} at byte {len(mark) + error.start}); write it in UTF-8"
        ) from error


def _paths(data: bytes, *, marked: bool) -> Iterator[str]:
    """The first column of a CSV, without its header; `marked` as `csv_writer` marks it."""
    try:
        text = io.StringIO(data.decode(), newline="")
        for fields in islice(csv.reader(text, strict=True), 1, None):
            yield os.fsdecode((unguarded(fields[0]) if marked else fields[0]).encode())
    except (ValueError, csv.Error, IndexError) as error:
        raise InputError(f"the list begins as a CSV of a batch, but is damaged: {error}") from error


def _split(data: bytes, separator: bytes) -> Iterator[bytes]:
    """bytes.split as an iterator: a list of millions is in memory only once."""
    start = 0
    while (end := data.find(separator, start)) >= 0:
        yield data[start:end]
        start = end + 1
    yield data[start:]
