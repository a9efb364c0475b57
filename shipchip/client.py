"""A client of the service: chips go over HTTP, typed answers come back.

from shipchip.client import Client

for answer in Client("http://localhost:3000").classify(["a.tiff", "b.npy"], pixel_spacing_m=10):
    print(answer.name, answer.label if answer.ok else answer.code)

It needs the standard library alone. One request is under way at a time.
"""

import base64
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

from shipchip.decode import Quantity, read_file
from shipchip.errors import ChipError, ServiceError, TooLarge
from shipchip.raster import DecodeLimits
from shipchip.transport import Transport

Source = bytes | str | os.PathLike[str]

_MAX_NAME = 200  # characters; the service takes 255


@dataclass(frozen=True, eq=False)
class Answer:
    """One chip's answer; the numbers are those of shipchip.Prediction.

    name            the path as it was given, or "#N" for the Nth source where that was bytes
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
    """What one request may hold."""

    files: int
    request_bytes: int
    file_bytes: int


@dataclass(frozen=True)
class _Part:
    """A chip on its way: its place among the sources, and its part of a multipart body."""

    index: int
    name: str
    content: bytes


class Client:
    """A service at `url`, http://HOST:PORT or https://HOST; `api_key` where it asks for one.

    timeout_s  seconds without a byte from the service before it is given up
    tries      times a request is sent in all, where the service is not reached or says 429 or 503

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

    def model(self) -> dict[str, Any]:
        """GET /v1/model: the card, the file's sha256, what it runs on, the limits of a request.

        Raises ServiceRefused or ServiceUnavailable.
        """
        return self._transport.ask("GET", "/v1/model")

    def classify(
        self,
        sources: Source | Iterable[Source],
        *,
        pixel_spacing_m: float | tuple[float, float] | None = None,
        polarisation: str | None = None,
        quantity: Quantity = "auto",
        explain: bool = False,
    ) -> list[Answer | Failure]:
        """One result a path or bytes, in order; options as in `shipchip.decode`.

        As many requests are sent as the service's limits ask for. Raises ServiceRefused where one
        is refused, ServiceUnavailable where the service cannot be asked.
        """
        if isinstance(sources, bytes | str | os.PathLike):
            sources = [sources]
        spacing: object = pixel_spacing_m
        if isinstance(pixel_spacing_m, tuple):
            spacing = ",".join(str(metres) for metres in pixel_spacing_m)
        options = {
            "pixel_spacing_m": spacing,
            "polarisation": polarisation,
            "quantity": quantity,
            "explain": "true" if explain else "false",
        }
        boundary = uuid4().hex
        given = {name: value for name, value in options.items() if value is not None}
        tail = b"".join(_field(boundary, name, value) for name, value in given.items())
        tail += f"--{boundary}--\r\n".encode()
        limits = self._limits()
        room = limits.request_bytes - len(tail)
        answers: dict[int, Answer | Failure] = {}
        parts = _parts(sources, boundary, limits.file_bytes, room, answers)
        for batch in _batches(parts, limits.files, room):
            answers |= self._classified(batch, boundary, tail)
        return [answers[i] for i in sorted(answers)]

    def _limits(self) -> _Limits:
        told = self.model().get("limits")
        if not isinstance(told, dict):
            raise ServiceError("GET /v1/model tells no limits; expected a shipchip of this version")
        return _Limits(told["max_files"], told["max_request_bytes"], told["max_bytes"])

    def _classified(
        self, batch: Sequence[_Part], boundary: str, tail: bytes
    ) -> dict[int, Answer | Failure]:
        body = b"".join([*(part.content for part in batch), tail])
        content_type = f"multipart/form-data; boundary={boundary}"
        answer = self._transport.ask("POST", "/v1/classify", body, content_type)
        results = answer.get("results", [])
        if len(results) != len(batch):
            raise ServiceError(f"{len(results)} results for {len(batch)} chips; expected one each")
        return {
            part.index: _result(part.name, result)
            for part, result in zip(batch, results, strict=True)
        }


def _parts(
    sources: Iterable[Source],
    boundary: str,
    most: int,
    room: int,
    answers: dict[int, Answer | Failure],
) -> Iterator[_Part]:
    """A part a source, read when it is asked for; what cannot be sent is answered in `answers`."""
    limits = DecodeLimits(max_bytes=most)
    for index, source in enumerate(sources):
        name = f"#{index + 1}" if isinstance(source, bytes) else os.fspath(source)
        try:
            content = source if isinstance(source, bytes) else read_file(Path(source), limits)
            part = _file(boundary, Path(name).name, content)
            if len(content) > most or len(part) > room:
                raise TooLarge(f"{len(content)} bytes; the service takes {min(most, room)}")
        except ChipError as error:
            answers[index] = Failure(name, error.code, str(error))
            continue
        yield _Part(index, name, part)


def _batches(parts: Iterator[_Part], most: int, room: int) -> Iterator[list[_Part]]:
    """Parts in order, at most `most` together and `room` bytes."""
    batch: list[_Part] = []
    size = 0
    for part in parts:
        if batch and (len(batch) == most or size + len(part.content) > room):
            yield batch
            batch, size = [], 0
        batch.append(part)
        size += len(part.content)
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
    pictures = {key: result.get(key) for key in ("preview", "activation_map")}
    return Answer(
        name=name,
        label=result["label"],
        confidence=result["confidence"],
        probabilities=result["probabilities"],
        prediction_set=tuple(result["prediction_set"]),
        in_distribution=result["in_distribution"],
        ood_score=result["ood_score"],
        **{key: png and base64.b64decode(png) for key, png in pictures.items()},
    )
