"""The parts of a request -> the checked form of POST /v1/classify."""

import re
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from serving.chips import ChipOptions, Polarisation
from serving.multipart import Part
from serving.refusals import Refused
from serving.settings import Settings
from shipchip.chip import Quantity
from shipchip.errors import BadPixelSpacing
from shipchip.spacing import parse_spacing

MAX_FILENAME = 255
_MAX_FIELD = 256
_CHOICES: dict[str, dict[str, Any]] = {
    "explain": {"true": True, "false": False, "1": True, "0": False},
    "polarisation": {name: name for name in get_args(Polarisation)},
    "quantity": {name: name for name in get_args(Quantity)},
}
# (13.93, 3.9) and [10, 10], as BentoML's clients send them.
_JSON_PAIR = re.compile(r"\[\s*([^\s,\]]+)\s*,\s*([^\s,\]]+)\s*\]")
_FIELDS = ("pixel_spacing_m", *_CHOICES)
# What `_choice` folds, so that vv and True are understood too.
_FOLD = {"explain": str.lower, "polarisation": str.upper, "quantity": str.lower}


@dataclass(frozen=True)
class Upload:
    """One uploaded file, in memory; its name is only ever echoed, never opened."""

    filename: str
    content: bytes

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        del source, handler
        return core_schema.is_instance_schema(cls)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """BentoML's clients look for type "file" (validation), OpenAPI for a binary string."""
        del schema
        return {"type": "file" if handler.mode == "validation" else "string", "format": "binary"}


@dataclass(frozen=True)
class Form:
    """What one request asks: its chips, what the caller knows of them, and whether to explain."""

    files: tuple[Upload, ...]
    options: ChipOptions
    explain: bool


def read_form(parts: list[Part], settings: Settings) -> Form:
    """The checked form. Refused, 400 or 413, names the first part that does not fit."""
    uploads: list[Upload] = []
    values: dict[str, Any] = {}
    for part in parts:
        if part.name == "files":
            uploads.append(_upload(part))
        elif part.name not in _FIELDS:
            raise Refused(
                400,
                "unknown_field",
                f"field {part.name[:80]!r}; expected files, {', '.join(_FIELDS)}",
            )
        elif part.name in values:
            raise Refused(400, "duplicate_field", f"field {part.name!r} stands twice; send it once")
        else:
            values[part.name] = _field(part)
    if not uploads:
        raise Refused(400, "no_files", "no `files`; send one chip or more (-F files=@chip.tiff)")
    if len(uploads) > settings.max_files:
        raise Refused(
            413,
            "too_many_files",
            f"{len(uploads)} files, the limit is {settings.max_files}: send several requests",
        )
    given = {name: value for name, value in values.items() if value is not None}
    explain = given.pop("explain", False)
    return Form(tuple(uploads), ChipOptions(**given), explain)


def _upload(part: Part) -> Upload:
    if part.filename is None:
        raise Refused(
            400,
            "not_a_file",
            "a `files` part is text; expected an uploaded file (addresses are never fetched)",
        )
    if len(part.filename) > MAX_FILENAME:
        raise Refused(
            400,
            "filename_too_long",
            f"a file name of {len(part.filename)} characters, the limit is {MAX_FILENAME}",
        )
    return Upload(part.filename, part.content)


def _field(part: Part) -> Any:
    """The value of one field; None where the field was sent empty, as web forms send it."""
    if part.filename is not None:
        raise Refused(400, "bad_field", f"field {part.name!r} is a file; expected text")
    if len(part.content) > _MAX_FIELD:
        raise Refused(
            400, "bad_field", f"field {part.name!r} has {len(part.content)} bytes; expected a word"
        )
    # BentoML's client sends every field as JSON: a string in quotes, nothing as null.
    text = part.content.decode("utf-8", "replace").strip().strip('"')
    if text in ("", "null"):
        return None
    if part.name == "pixel_spacing_m":
        pair = _JSON_PAIR.fullmatch(text)
        try:
            return parse_spacing(f"{pair[1]}x{pair[2]}" if pair else text)
        except BadPixelSpacing as error:
            raise Refused(400, error.code, str(error)) from error
    return _choice(part.name, text)


def _choice(name: str, text: str) -> Any:
    choices = _CHOICES[name]
    folded = _FOLD[name](text)
    if folded not in choices:
        raise Refused(400, "bad_field", f"{name} is {text!r}; expected one of {list(choices)}")
    return choices[folded]
