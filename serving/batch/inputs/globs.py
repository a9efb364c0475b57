"""Globs over paths with forward slashes, as git and shells read them.

    *.tif              in any folder, for there is no slash in it
    Cargo/*.png        in the folder Cargo at the top
    **/Cargo/*.png     in any folder Cargo
    Cargo/**, Cargo/   everything below Cargo

`*` and `?` do not match a slash, `[abc]` and `[!a-z]` match one character; case counts.
"""

import re
from collections.abc import Callable, Sequence

from serving.batch.inputs.entries import InputError


def matcher(patterns: Sequence[str]) -> Callable[[str], bool]:
    """Whether a relative path matches one of the patterns; without any, all do.

    Raises InputError for a pattern that cannot be understood.
    """
    if not patterns:
        return lambda _: True
    compiled = [_compile(pattern) for pattern in patterns]
    return lambda name: any(one.fullmatch(name) for one in compiled)


def _compile(pattern: str) -> re.Pattern[str]:
    parts = [part for part in pattern.split("/") if part not in ("", ".")]
    if not parts or pattern.startswith("/"):
        raise InputError(
            f"pattern {pattern!r}; expected one such as *.tif or **/Cargo/*.png, which is matched "
            "against the path below the folder or in the archive"
        )
    if "/" not in pattern:
        parts.insert(0, "**")
    if pattern.endswith("/") or parts[-1] == "**":
        parts = [*parts, "**", "*"]
    try:
        folders = "".join("(?:[^/]+/)*" if p == "**" else f"{_part(p)}/" for p in parts[:-1])
        return re.compile(folders + _part(parts[-1]))
    except re.error as error:
        raise InputError(f"pattern {pattern!r} cannot be understood: {error}") from error


def _part(glob: str) -> str:
    """The regular expression of what stands between two slashes."""
    pieces = re.split(r"(\[!?\]?[^\]]*\]|\*+|\?)", glob)
    return "".join(_piece(piece) for piece in pieces)


def _piece(piece: str) -> str:
    if piece.startswith("*"):
        return "[^/]*"
    if piece == "?":
        return "[^/]"
    if piece.startswith("[") and piece.endswith("]") and len(piece) > 2:
        inner = piece[1:-1].replace("\\", r"\\").replace("[", r"\[")
        inverse = inner.startswith("!")
        return f"[{'^' if inverse else ''}{_class(inner[inverse:])}]"
    return re.escape(piece)


def _class(inner: str) -> str:
    return re.sub(r"([\]^&~|])", r"\\\1", inner)
