"""multipart/form-data (RFC 7578) -> parts, strictly, over a body that is already in memory.

Not python-multipart, which Starlette uses, for three reasons: it takes a body that breaks off for a
complete one, near-boundaries keep it busy for 0.2 s a MiB, and so do the semicolons of a header.
Here every step is one search in C, and the body has passed the size limit before.
"""

import binascii
import re
from dataclasses import dataclass
from itertools import islice
from urllib.parse import unquote, unquote_to_bytes

from serving.refusals import Refused

_MAX_PART_HEADER = 4096  # a percent-encoded name of 255 characters takes up to 3,060
_MAX_PARAMETERS = 8
_MAX_BOUNDARY = 70  # RFC 2046

# A parameter of a header. Nothing in it is tried twice: the time grows as the length does.
_PARAMETER = re.compile(r';\s*([^\s=;"]+)\s*=\s*("(?:[^"\\]++|\\.)*+"|[^;]*)')
_ESCAPED = re.compile(r'\\(["\\])')
_EXTENDED = re.compile(r"(utf-8|iso-8859-1)'[^']*'(.*)", re.IGNORECASE | re.ASCII)
_ENCODED_WORD = re.compile(
    r"=\?(utf-8|us-ascii|iso-8859-1)\?([bq])\?([!->@-~]*)\?=", re.IGNORECASE | re.ASCII
)
_PERCENT_ENCODED = re.compile(r"(?:[\w.~-]|%[0-9A-F]{2})+", re.ASCII)


@dataclass(frozen=True)
class Part:
    """One part; `filename` is None for a plain field and a string, maybe empty, for a file."""

    name: str
    filename: str | None
    content: bytes


def boundary_of(content_type: str) -> bytes:
    """The boundary in a Content-Type header. Refused (400) for any other type than multipart."""
    kind, parameters = _header(content_type)
    if kind != "multipart/form-data":
        raise Refused(
            400,
            "wrong_content_type",
            f"Content-Type {content_type[:80]!r}; expected multipart/form-data with the chips as "
            "`files` (curl -F files=@chip.tiff), or application/json with the chips in base64",
        )
    boundary = parameters.get("boundary", "").encode("latin-1", "replace")
    if not boundary:
        raise _malformed(
            "the Content-Type names no boundary; leave that header to your HTTP library, which "
            "writes it together with the body"
        )
    if len(boundary) > _MAX_BOUNDARY:
        raise _malformed(f"a boundary of {len(boundary)} bytes; expected 1 to {_MAX_BOUNDARY}")
    return boundary


def split_parts(body: bytes, boundary: bytes, max_parts: int) -> list[Part]:
    """The parts of a body, in order. Refused: 400 malformed_multipart, 413 too_many_parts."""
    dash = b"--" + boundary
    delimiter = b"\r\n" + dash
    at = 0 if body.startswith(dash) else body.find(delimiter) + 2
    if not body.startswith(dash, at):
        raise _malformed("the boundary of the Content-Type header is not in the body")
    parts: list[Part] = []
    at += len(dash)
    while not body.startswith(b"--", at):
        if len(parts) == max_parts:
            raise Refused(413, "too_many_parts", f"more than {max_parts} parts in one request")
        start = _end_of_line(body, at)
        end = body.find(delimiter, start - 2)
        if end < 0:
            raise _malformed(f"the body ends inside part {len(parts) + 1}")
        parts.append(_part(body, start, end))
        at = end + len(delimiter)
    return parts


def _end_of_line(body: bytes, at: int) -> int:
    """Past the CRLF that ends a boundary; RFC 2046 lets blanks stand before it."""
    line = body.find(b"\r\n", at, at + _MAX_BOUNDARY)
    if line < 0 or body[at:line].strip(b" \t"):
        raise _malformed("a boundary is not followed by a new line")
    return line + 2


def _part(body: bytes, start: int, end: int) -> Part:
    blank = body.find(b"\r\n\r\n", start, min(end, start + _MAX_PART_HEADER))
    if blank < 0:
        raise _malformed(f"a part without headers, or with more than {_MAX_PART_HEADER} bytes")
    for line in body[start:blank].split(b"\r\n"):
        key, _, value = line.partition(b":")
        if key.strip().lower() == b"content-disposition":
            kind, parameters = _header(value.decode("utf-8", "replace"))
            if kind == "form-data" and "name" in parameters:
                return Part(parameters["name"], _filename(parameters), body[blank + 4 : end])
    raise _malformed("a part without `Content-Disposition: form-data; name=...`")


def _header(value: str) -> tuple[str, dict[str, str]]:
    """What stands before the first semicolon, in small letters, and the parameters after it."""
    found = {}
    for parameter in islice(_PARAMETER.finditer(value), _MAX_PARAMETERS):
        key, text = parameter.groups()
        quoted = len(text) > 1 and text[0] == text[-1] == '"'
        found[key.lower()] = _ESCAPED.sub(r"\1", text[1:-1]) if quoted else text.strip()
    return value.partition(";")[0].strip().lower(), found


def _filename(parameters: dict[str, str]) -> str | None:
    """The file's name as its sender meant it; None for a part that is no file.

    RFC 7578 wants UTF-8 as it is. Older Python clients send `filename*` (RFC 5987) alone, .NET and
    PowerShell an encoded word (RFC 2047), aiohttp percent-encodes all that is not unreserved, and
    browsers percent-encode quotes and line ends.
    """
    extended = parameters.get("filename*")
    if extended is not None and (found := _EXTENDED.fullmatch(extended)):
        return unquote_to_bytes(found[2]).decode(found[1], "replace")
    plain = parameters.get("filename", extended)
    if plain is None:
        return None
    try:
        if word := _ENCODED_WORD.fullmatch(plain):
            return _decoded(*word.groups())
        if _PERCENT_ENCODED.fullmatch(plain):
            return unquote(plain, errors="strict")
    except ValueError:  # it only looked encoded
        return plain
    return plain.replace("%22", '"').replace("%0D", "\r").replace("%0A", "\n")


def _decoded(charset: str, encoding: str, text: str) -> str:
    """An encoded word (RFC 2047); ValueError where it is none."""
    base64 = encoding in "bB"
    content = binascii.a2b_base64(text) if base64 else binascii.a2b_qp(text, header=True)
    return content.decode(charset)


def _malformed(what: str) -> Refused:
    return Refused(400, "malformed_multipart", what)
