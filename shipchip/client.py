"""A client of the service: sends chips over HTTP, returns typed answers.

from shipchip.client import Client

with Client("http://localhost:3000") as client:
    for answer in client.classify(["a.tiff", "b.npy"], pixel_spacing_m=10):
        print(answer.name, answer.label if answer.ok else answer.code)

It imports the standard library only. A client sends one request at a time, over one connection.
"""

import base64
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self
from uuid import uuid4

from shipchip.answer import SIZE_FIELDS, ShipSize, Used, Verdict
from shipchip.errors import ChipError, ServiceError, TooLarge
from shipchip.files import read_chip_file
from shipchip.spacing import Spacing, spacing_text
from shipchip.transport import Transport

if TYPE_CHECKING:  # it imports numpy
    from shipchip.chip import Quantity

ChipSource = bytes | str | os.PathLike[str]

_MAX_NAME = 200  # characters; the service takes 255


@dataclass(frozen=True, eq=False)
class Answer(ShipSize):
    """One chip's answer; the fields are those of shipchip.Prediction.

    name            the path as it was given, or "#N" if the Nth source was bytes
    preview         with `explain`: a PNG file, the chip as the model saw it; else None
    activation_map  with `explain`: the same with the map of the label over it; else None
    """

    name: str
    label: str
    confidence: float
    probabilities: dict[str, float]
    prediction_set: tuple[str, ...]
    in_distribution: bool
    ood_score: float
    verdict: Verdict
    used: Used
    lon: float | None
    lat: float | None
    preview: bytes | None = None
    activation_map: bytes | None = None
    ok: Literal[True] = field(default=True, init=False)


@dataclass(frozen=True)
class Failure:
    """Why one chip was not classified; codes as in shipchip.errors.ChipError."""

    name: str
    code: str
    message: str
    ok: Literal[False] = field(default=False, init=False)


@dataclass(frozen=True)
class _Limits:
    """What one request may contain."""

    files: int
    request_bytes: int
    file_bytes: int


@dataclass(frozen=True)
class _Part:
    """A chip to be sent: its name among the sources, and its part of a multipart body."""

    name: str
    content: bytes


class Client:
    """A service at `url`, http://HOST:PORT or https://HOST; `api_key` if it requires one.

    timeout_s  seconds without a byte from the service before the client gives up
    tries      how often a request is sent at most, after connection errors, 429 and 503

    Raises ServiceError for any other address.
    """

    def __init__(
        self,
        url: str,
        api_key: str | None = None,
        *,
        timeout_s: float = 120,
        tries: int = 6,
        longest_wait_s: float = 60,
    ) -> None:
        self._transport = Transport(
            url,
            {"Authorization": f"Bearer {api_key}"} if api_key else {},
            timeout_s=timeout_s,
            tries=tries,
            longest_wait_s=longest_wait_s,
        )
        self._limits: _Limits | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        self._transport.close()

    def model(self) -> dict[str, Any]:
        """GET /v1/model: the card, its file's sha256, the execution provider, the request limits.

        Raises ServiceRefused or ServiceUnavailable.
        """
        return self._transport.ask("GET", "/v1/model")

    def classify(
        self,
        sources: ChipSource | Iterable[ChipSource],
        *,
        pixel_spacing_m: float | Spacing | str | None = None,
        polarisation: str | None = None,
        quantity: "Quantity" = "auto",
        explain: bool = False,
    ) -> Iterator[Answer | Failure]:
        """One result per source, in order, as they arrive; options as in `shipchip.decode`.

        The chips are divided into requests by the service's limits; the next request is sent when
        the results of the previous one are consumed. Raises ServiceRefused or ServiceUnavailable
        after all results up to then were returned.

        pixel_spacing_m  may also be text: "10" or "13.93x3.87"
        """
        if isinstance(sources, bytes | str | os.PathLike):
            sources = [sources]
        options = {
            "pixel_spacing_m": None if pixel_spacing_m is None else spacing_text(pixel_spacing_m),
            "polarisation": polarisation,
            "quantity": quantity,
            "explain": "true" if explain else "false",
        }
        boundary = uuid4().hex
        given = {name: value for name, value in options.items() if value is not None}
        tail = b"".join(_field(boundary, name, value) for name, value in given.items())
        tail += f"--{boundary}--\r\n".encode()
        if self._limits is None:
            self._limits = self._ask_limits()
        limits = self._limits
        room = limits.request_bytes - len(tail)
        parts = _parts(sources, boundary, limits.file_bytes, room)
        for batch in _batches(parts, limits.files, room):
            yield from self._classified(batch, boundary, tail)

    def _ask_limits(self) -> _Limits:
        limits = self.model().get("limits")
        if not isinstance(limits, dict):
            raise ServiceError("GET /v1/model gives no limits; expected a shipchip of this version")
        return _Limits(limits["max_files"], limits["max_request_bytes"], limits["max_bytes"])

    def _classified(
        self, batch: Sequence[_Part | Failure], boundary: str, tail: bytes
    ) -> Iterator[Answer | Failure]:
        sent = [part for part in batch if isinstance(part, _Part)]
        results = iter(self._results(sent, boundary, tail) if sent else [])
        for part in batch:
            yield part if isinstance(part, Failure) else _result(part.name, next(results))

    def _results(self, sent: Sequence[_Part], boundary: str, tail: bytes) -> list[dict[str, Any]]:
        body = b"".join([*(part.content for part in sent), tail])
        content_type = f"multipart/form-data; boundary={boundary}"
        answer = self._transport.ask("POST", "/v1/classify", body, content_type)
        results: list[dict[str, Any]] = answer.get("results", [])
        if len(results) != len(sent):
            raise ServiceError(f"{len(results)} results for {len(sent)} chips; expected one each")
        return results


def _parts(
    sources: Iterable[ChipSource], boundary: str, most: int, room: int
) -> Iterator[_Part | Failure]:
    """One part per source, read on demand; a Failure for a source that cannot be sent."""
    for index, source in enumerate(sources):
        name = f"#{index + 1}" if isinstance(source, bytes) else os.fspath(source)
        try:
            content = source if isinstance(source, bytes) else read_chip_file(Path(source), most)
            part = _file(boundary, Path(name).name, content)
            if len(content) > most or len(part) > room:
                raise TooLarge(f"{len(content)} bytes; the service takes {min(most, room)}")
        except ChipError as error:
            yield Failure(name, error.code, str(error))
        else:
            yield _Part(name, part)


def _batches(
    parts: Iterator[_Part | Failure], most: int, room: int
) -> Iterator[list[_Part | Failure]]:
    """Parts in order, in batches of at most `most` parts and `room` bytes."""
    batch: list[_Part | Failure] = []
    size = 0
    for part in parts:
        more = len(part.content) if isinstance(part, _Part) else 0
        if batch and (len(batch) == most or size + more > room):
            yield batch
            batch, size = [], 0
        batch.append(part)
        size += more
    if batch:
        yield batch


def _file(boundary: str, name: str, content: bytes) -> bytes:
    # Quotes and line ends as browsers send them (WHATWG HTML, multipart/form-data).
    escaped = name[-_MAX_NAME:].translate({34: "%22", 13: "%0D", 10: "%0A"})
    head = f'Content-Disposition: form-data; name="files"; filename="{escaped}"\r\n\r\n'
    return b"".join([f"--{boundary}\r\n{head}".encode("utf-8", "replace"), content, b"\r\n"])


def _field(boundary: str, name: str, value: object) -> bytes:
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'
    return f"{head}{value}\r\n".encode()


def _result(name: str, result: dict[str, Any]) -> Answer | Failure:
    if result["status"] != "ok":
        return Failure(name, result["error"]["code"], result["error"]["message"])
    preview, activation_map = (_png(result.get(key)) for key in ("preview", "activation_map"))
    return Answer(
        name=name,
        label=result["label"],
        confidence=result["confidence"],
        probabilities=result["probabilities"],
        prediction_set=tuple(result["prediction_set"]),
        in_distribution=result["in_distribution"],
        ood_score=result["ood_score"],
        verdict=result["verdict"],
        used=_used(result["used"]),
        lon=result["lon"],
        lat=result["lat"],
        **{name: result[name] for name in SIZE_FIELDS},
        preview=preview,
        activation_map=activation_map,
    )


def _png(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text)


def _used(used: dict[str, Any]) -> Used:
    row, column = used["pixel_spacing_m"]
    return Used(
        pixel_spacing_m=(row, column),
        pixel_spacing_from=used["pixel_spacing_from"],
        polarisation=used["polarisation"],
        quantity=used["quantity"],
        clipped=used.get("clipped"),
    )
