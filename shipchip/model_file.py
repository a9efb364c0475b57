"""The bytes of a model file, checked against its known SHA-256.

The caller may give a checksum, and `<name>.sha256` beside the file may contain one. If the path is
a symbolic link, the same applies to the file that it points to. The returned bytes are the ones
that were checked, so a file that is replaced in between is never loaded.
"""

import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from shipchip.errors import ModelCorrupt, ModelNotFound

_PACKAGE = Path(__file__).resolve().parent
_OF_WHEEL = _PACKAGE / "_model" / "ship.onnx"  # put there by setup.py

# A checkout, a Bento and the image hold it in models/, beside the package.
DEFAULT_MODEL = _OF_WHEEL if _OF_WHEEL.exists() else _PACKAGE.parent / "models" / "ship.onnx"


def read_model(path: Path, expected: str | None = None) -> tuple[bytes, str]:
    """The content of a model file and its SHA-256.

    expected  the checksum that the content must have, if the caller knows it

    Raises ModelNotFound if a file cannot be read, ModelCorrupt if a checksum does not match.
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
    """The path, and everything that it points to, link by link."""
    yield path
    while path.is_symlink():
        path = path.parent / path.readlink()
        yield path


def _check_sum_beside(model: Path, found: str) -> None:
    """Compare with `<name>.sha256` beside `model`, if it exists: one line of sha256sum."""
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
