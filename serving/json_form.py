"""POST /v1/classify_base64: the form of POST /v1/classify as JSON, its files in base64.

    {"files": [{"filename": "a.tiff", "data": "SUkq…"}], "pixel_spacing_m": [13.93, 3.9]}

For clients that cannot send multipart. What is read ends as the same `Form`, held to the same
limits, so from here on there is one road for both.
"""

import binascii
import json
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, WithJsonSchema
from pydantic_core import ErrorDetails

from serving.chips import ChipOptions, Polarisation
from serving.forms import MAX_FILENAME, Form, Upload
from serving.refusals import Refused
from serving.settings import Settings
from shipchip.chip import Quantity
from shipchip.errors import BadPixelSpacing
from shipchip.spacing import Spacing, check_spacing, parse_spacing

# JSON beside the base64: braces, quotes, names of files and fields.
_ROOM_A_FILE = 2048
_ROOM_A_REQUEST = 16_384
# Brackets, commas and colons; of `{},{},…` a parser would make fifty times its size in objects.
_MARKS_A_FILE = 64
_MARKS_A_REQUEST = 1024

# Its length is checked with its numbers, under the code that the multipart form has for both.
_Pair = Annotated[
    list[float],
    WithJsonSchema({"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}),
]


class Base64File(BaseModel):
    """One chip's file; its name is only ever echoed, never opened."""

    model_config = ConfigDict(extra="forbid", strict=True)

    filename: str = Field(max_length=MAX_FILENAME)
    data: str = Field(
        description="the file in base64: standard alphabet, padded, in one line",
        json_schema_extra={"contentEncoding": "base64"},
    )


class Base64Form(BaseModel):
    """The fields of POST /v1/classify_base64; null counts as not given."""

    model_config = ConfigDict(extra="forbid", strict=True)

    files: list[Base64File] = Field(
        min_length=1, description="the chips: PNG, JPEG, TIFF, GeoTIFF or .npy"
    )
    pixel_spacing_m: float | _Pair | str | None = Field(
        default=None,
        description="metres a pixel on the ground: one number, [row, column], or text as in the "
        "form; overrides the files'",
    )
    explain: bool | None = Field(
        default=None, description="also return pictures of each chip and its activation map"
    )
    polarisation: Polarisation | None = Field(
        default=None, description="take this plane of chips that have several"
    )
    quantity: Quantity | None = Field(
        default=None, description="what the samples are, where the files would be misread"
    )


def is_json(content_type: str) -> bool:
    """Whether a Content-Type announces JSON."""
    return content_type.partition(";")[0].strip().lower() == "application/json"


def max_json_bytes(settings: Settings) -> int:
    """Bytes of a JSON body whose files take all of `max_request_bytes` once decoded."""
    names = settings.max_files * _ROOM_A_FILE + _ROOM_A_REQUEST
    return settings.max_request_bytes * 4 // 3 + names


def read_json_form(body: bytes, settings: Settings) -> Form:
    """The checked form. Refused, 400 or 413, names the first thing that does not fit."""
    fields = _parse(body, settings)
    files = fields.get("files")
    if isinstance(files, list) and len(files) > settings.max_files:
        raise Refused(
            413,
            "too_many_files",
            f"{len(files)} files, the limit is {settings.max_files}: send several requests",
        )
    try:
        asked = Base64Form.model_validate(fields)
    except ValidationError as error:
        raise _refusal(error.errors(include_url=False, include_input=False)[0]) from error
    uploads = tuple(_upload(place, file) for place, file in enumerate(asked.files))
    size = sum(len(upload.content) for upload in uploads)
    if size > settings.max_request_bytes:
        raise Refused(
            413,
            "request_too_large",
            f"{size} bytes in one request, the limit is {settings.max_request_bytes}: send several "
            "requests",
        )
    options = ChipOptions(
        asked.polarisation, _spacing(asked.pixel_spacing_m), asked.quantity or "auto"
    )
    return Form(uploads, options, bool(asked.explain))


def _parse(body: bytes, settings: Settings) -> dict[str, Any]:
    marks = sum(body.count(mark) for mark in (b"{", b"[", b",", b":"))
    if marks > settings.max_files * _MARKS_A_FILE + _MARKS_A_REQUEST:
        raise _malformed(f"{marks} brackets, commas and colons; a form has a few a file")
    try:
        fields = json.loads(
            body.decode(), object_pairs_hook=_object, parse_constant=_refuse_constant
        )
    except RecursionError as error:
        raise _malformed("nested too deeply") from error
    # No UTF-8, no JSON, or a number of more digits than Python reads.
    except ValueError as error:
        raise _malformed(str(error)[:200]) from error
    if not isinstance(fields, dict):
        raise _malformed('expected an object: {"files": [{"filename": …, "data": …}]}')
    return fields


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        name.encode()  # half a surrogate pair is a ValueError: pydantic could not name the field
        if name in found:
            raise Refused(
                400, "duplicate_field", f"field {_quoted(name)} stands twice; send it once"
            )
        found[name] = value
    return found


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


def _upload(place: int, file: Base64File) -> Upload:
    try:
        content = binascii.a2b_base64(file.data, strict_mode=True)
    except ValueError as error:
        raise Refused(
            400,
            "bad_base64",
            f"files[{place}], {_quoted(file.filename)}: {error}; expected base64 of the standard "
            "alphabet, padded, without line breaks or a data: prefix",
        ) from error
    return Upload(file.filename, content)


def _spacing(value: float | list[float] | str | None) -> Spacing | None:
    if value is None:
        return None
    try:
        if isinstance(value, str):
            return parse_spacing(value)
        numbers = value if isinstance(value, list) else [value]
        if len(numbers) not in (1, 2):
            raise BadPixelSpacing(
                f"pixel spacing of {len(numbers)} numbers; expected metres as a number or as "
                "[row, column]"
            )
        return check_spacing((numbers[0], numbers[-1]))
    except BadPixelSpacing as error:
        raise Refused(400, error.code, str(error)) from error


def _refusal(error: ErrorDetails) -> Refused:
    """The first thing that does not fit, under the code that the multipart form has for it."""
    place = error["loc"]
    where = f"{_quoted(str(place[0]))}" + "".join(
        f"[{p}]" if isinstance(p, int) else f".{_quoted(p)}" for p in place[1:]
    )
    message = f"field {where}: {error['msg']}"
    if error["type"] == "extra_forbidden":
        return Refused(400, "unknown_field", f"{message}; expected {', '.join(_names(place))}")
    if place[0] != "files":
        code = "bad_pixel_spacing" if place[0] == "pixel_spacing_m" else "bad_field"
        return Refused(400, code, message)
    if len(place) == 1 and error["type"] in ("missing", "too_short"):
        return Refused(400, "no_files", "no `files`; send one chip or more")
    if error["type"] == "string_too_long":
        return Refused(400, "filename_too_long", message)
    return Refused(
        400,
        "not_a_file",
        f'{message}; expected {{"filename": …, "data": base64}} (addresses are never fetched)',
    )


def _names(place: tuple[int | str, ...]) -> tuple[str, ...]:
    model = Base64Form if len(place) == 1 else Base64File
    return tuple(model.model_fields)


def _quoted(text: str) -> str:
    """Of a client: cut short, and ASCII, so that it can be repeated in an answer."""
    return ascii(text[:80])


def _malformed(what: str) -> Refused:
    return Refused(400, "malformed_json", what)
