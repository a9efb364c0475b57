"""The bytes of a model file, checked against the SHA-256 that is known of it.

The caller may give a sum, and `<name>.sha256` beside the file may hold one. Where the path is a
symbolic link, the same goes for the file that it points to. The bytes that were checked are the
ones that are returned, so a file that is replaced in between is never loaded.
"""

import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from shipchip.errors import ModelCorrupt, ModelNotFound


def read_model(path: Path, expected: str | None = None) -> tuple[bytes, str]:
    """The content of a model file and its SHA-256.

    expected  the sum that the content must have, where the caller knows it

    Raises ModelNotFound where a file cannot be read, ModelCorrupt where a sum does not match.
    """
    if not path.is_file():
        raise ModelNotFound(
            f"no model at {path}; expected an .onnx file exported by `python -m training.run`"
        )
    try:
        content = path.read_bytes()
        names = list(_names(path))
    except OSError as error:
        raise ModelNotFound(f"the model at {path} cannot be read: {error}") from error
    found = hashlib.sha256(content).hexdigest()
    if expected not in (None, found):
        raise ModelCorrupt(
            f"{path} was replaced while it was being loaded: its sha256 is {found}, expected "
            f"{expected}; start again"
        )
    for name in names:
        _check_sum_beside(name, found)
    return content, found


def _names(path: Path) -> Iterator[Path]:
    """The path, and what it points to, link by link."""
    yield path
    while path.is_symlink():
        path = path.parent / path.readlink()
        yield path


def _check_sum_beside(model: Path, found: str) -> None:
    """Compare with `<name>.sha256` beside `model`, where there is one: a line of sha256sum."""
    beside = model.with_name(f"{model.name}.sha256")
    if not os.path.lexists(beside):
        return
    try:
        text = beside.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise ModelNotFound(f"the sha256 of {model} cannot be checked: {error}") from error
    line = re.fullmatch(r"([0-9a-fA-F]{64}) [ *](.+)\n?", text)
    if line is None or line[2] != model.name:
        raise ModelCorrupt(
            f"{beside} holds {text[:80]!r}; expected a line of `sha256sum {model.name}`"
        )
    if line[1].lower() != found:
        raise ModelCorrupt(
            f"the sha256 of {model} is {found}, but {beside.name} says {line[1].lower()}; put back "
            f"the file that belongs to it, or remove {beside.name} to use a model of your own"
        )
