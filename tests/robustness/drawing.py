"""Requests that nobody should send, drawn from a seed: each kind of attack is one function."""

import base64
import json
import random
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import numpy as np
import tifffile

from tests.robustness.files import chunk, formats, npy_header, png, saved
from tests.tiny_model import draw_chip

Body = bytes | Iterator[bytes]
BOUNDARY = "b0undary"
MULTIPART = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


@dataclass
class Drawn:
    """One request, as httpx takes it."""

    method: str = "POST"
    path: str = "/v1/classify"
    headers: dict[str, str] = field(default_factory=lambda: dict(MULTIPART))
    body: Body = b""


def part(disposition: str, content: bytes, extra: str = "") -> bytes:
    head = f"--{BOUNDARY}\r\nContent-Disposition: form-data; {disposition}\r\n{extra}\r\n"
    return head.encode("utf-8", "surrogatepass") + content + b"\r\n"


END = f"--{BOUNDARY}--\r\n".encode()


def upload(*files: bytes, **fields: str) -> Drawn:
    parts = [part(f'name="files"; filename="{i}.png"', file) for i, file in enumerate(files)]
    parts += [part(f'name="{name}"', value.encode()) for name, value in fields.items()]
    return Drawn(body=b"".join(parts) + END)


def as_json(body: Any) -> Drawn:
    text = json.dumps(body) if not isinstance(body, str) else body
    headers = {"Content-Type": "application/json"}
    return Drawn(path="/v1/classify_base64", headers=headers, body=text.encode())


class Drawer:
    """Draws requests; the same seed gives the same. `urls` are addresses and paths to be tried."""

    def __init__(self, seed: int, urls: list[str]) -> None:
        self.random = random.Random(seed)
        self.urls = urls
        self.files = formats()
        common = [self.mutated] * 8 + [self.fields] * 3 + [self.addresses] * 3
        self.kinds = [
            *common,
            self.pixel_bomb,
            self.compression_bomb,
            self.many_parts,
            self.names,
            self.broken_multipart,
            self.past_the_limit,
            self.broken_json,
            self.elsewhere,
        ]

    def __call__(self) -> Drawn:
        """The next request."""
        return self.random.choice(self.kinds)()

    def mutated(self) -> Drawn:
        """One to three files of any format with bytes changed, cut, doubled or put in."""
        files = [self._mutate(self.random.choice(self.files)) for _ in range(self._below(3) + 1)]
        if self._below(4) == 0:
            encoded = [{"filename": "a", "data": base64.b64encode(f).decode()} for f in files]
            return as_json({"files": encoded})
        return upload(*files, explain=self.random.choice(["true", "false"]))

    def fields(self) -> Drawn:
        """Fields of wrong names, types, sizes and numbers."""
        value = self.random.choice(
            ["nan", "inf", "-1", "1e999", "1," * 90, "\0", "ä" * 200, "null", "[]", "{}", "True"]
        )
        name = self.random.choice(
            ["pixel_spacing_m", "explain", "polarisation", "quantity", "files", "__class__", ""]
        )
        file = self.random.choice(self.files)
        if self._below(2):
            return upload(file, **{name: value})
        wrong = self.random.choice([value, -1, 1e308, 10**30, [value], {value: value}, None, True])
        entry = {"filename": "a", "data": base64.b64encode(file).decode()}
        return as_json({"files": [entry], name: wrong})

    def addresses(self) -> Drawn:
        """An address or a path wherever text can stand."""
        url = self.random.choice(self.urls)
        file = self.random.choice(self.files)
        entry = {"filename": url, "data": base64.b64encode(file).decode()}
        choices: list[Callable[[], Drawn]] = [
            lambda: Drawn(body=part('name="files"', url.encode()) + END),
            lambda: Drawn(body=part(f'name="files"; filename="{url}"', file) + END),
            lambda: Drawn(body=part(f'name="files"; filename="{url}"', url.encode()) + END),
            lambda: Drawn(body=part('name="files"; filename=""', url.encode()) + END),
            lambda: upload(file, pixel_spacing_m=url),
            lambda: upload(file, **{url[:50]: url}),
            lambda: Drawn(path=f"/v1/classify?files={quote(url)}", body=upload(file).body),
            lambda: Drawn(
                headers={**MULTIPART, "Referer": quote(url), "Host": quote(url)}, body=END
            ),
            lambda: Drawn(headers={"Content-Type": "text/uri-list"}, body=url.encode()),
            lambda: Drawn(
                body=part('name="files"; filename="a"', file, f"Content-Location: {url}\r\n") + END
            ),
            lambda: upload(self._document(url)),
            lambda: as_json({"files": [entry]}),
            lambda: as_json({"files": url}),
            lambda: as_json({"files": [url]}),
            lambda: as_json({"files": [{"url": url}]}),
            lambda: as_json({"files": [{"filename": "a", "data": url}]}),
            lambda: as_json({"files": [{**entry, "path": url}]}),
            lambda: as_json(url),
        ]
        return self.random.choice(choices)()

    def _document(self, url: str) -> bytes:
        """A file whose content leads elsewhere."""
        describe = {"description": url.encode("ascii", "replace").decode()}
        tiff = saved(lambda f: tifffile.imwrite(f, draw_chip("Cargo"), **describe))
        vrt = f'<VRTDataset><SourceFilename relativeToVRT="1">{url}</SourceFilename></VRTDataset>'
        svg = f'<svg xmlns="http://www.w3.org/2000/svg"><image href="{url}"/></svg>'
        entity = f'<!DOCTYPE a [<!ENTITY b SYSTEM "{url}">]><a>&b;</a>'
        pickle = b"\x80\x04cposix\nsystem\n(Vcat " + url.encode() + b"\ntR."
        return self.random.choice(
            [tiff, vrt.encode(), svg.encode(), entity.encode(), npy_header("|O", (1,)) + pickle]
        )

    def pixel_bomb(self) -> Drawn:
        """Headers that tell of more pixels than a chip may have, or than memory holds."""
        side = self.random.choice([3000, 30_000, 2**31 - 1])
        tags = struct.pack(
            "<2sHIHHHIIHHIIHHIIHHIII",
            b"II", 42, 8, 4, 256, 4, 1, side, 257, 4, 1, side, 258, 3, 1, 8, 273, 4, 1, 100, 0
        )  # fmt: skip
        shape = self.random.choice([(side, side), (side,) * 9, (-1, 5), (2**62, 2**62)])
        return upload(png(side, side, b"\0" * 1000), tags, npy_header("<f8", shape))

    def compression_bomb(self) -> Drawn:
        """Little that unpacks to much: in the pixels, and in a text chunk beside them."""
        much = zlib.compress(b"\0" * 30_000_000, 9)
        text = chunk(b"zTXt", b"a\0\0" + much) + chunk(b"iCCP", b"a\0\0" + much)
        square = np.zeros((2000, 2000), np.uint8)
        tiff = saved(lambda f: tifffile.imwrite(f, square, compression="zlib"))
        return upload(png(40, 40, b"\0" * 30_000_000), png(48, 40, b"", text), tiff)

    def many_parts(self) -> Drawn:
        """2,000 parts: files, fields, or as many objects."""
        kinds = ['name="files"; filename="a"', 'name="explain"', 'name=""']
        body = part(self.random.choice(kinds), b"x") * 2000 + END
        listed = as_json({"files": [{"filename": "a", "data": ""}] * 2000})
        return self.random.choice([Drawn(body=body), listed])

    def names(self) -> Drawn:
        """File names that are long, empty, or odd."""
        name = self.random.choice(
            ["n" * 255, "n" * 256, "n" * 300, "n" * 5000, "", ".", "..", "a\0b", "a\\", "%00",
             "\u202egnp.a", "船" * 255, "CON", "a;b", "a=b", "\r", "{}", "${HOME}", "`id`"]
        )  # fmt: skip
        file = self.random.choice(self.files)
        if self._below(2):
            encoded = base64.b64encode(file).decode()
            return as_json({"files": [{"filename": name, "data": encoded}]})
        return Drawn(body=part(f'name="files"; filename="{name}"', file) + END)

    def broken_multipart(self) -> Drawn:
        """A body whose frame was changed, or that is not what its header says."""
        whole = upload(*self.random.choices(self.files, k=2)).body
        assert isinstance(whole, bytes)
        kind = self.random.choice(
            ["multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; "
             "boundary=--", "multipart/mixed; boundary=b0undary",
             "application/x-www-form-urlencoded",
             MULTIPART["Content-Type"], MULTIPART["Content-Type"]]
        )  # fmt: skip
        cut = whole[: self._below(len(whole))]
        frame = whole.replace(b"\r\n", self.random.choice([b"\n", b"\r", b"\r\n\r\n"]))
        near = (b"\r\n--" + BOUNDARY.encode()[:-1]) * 5000
        body = self.random.choice([cut, frame, near, self._mutate(whole)])
        return Drawn(headers={"Content-Type": kind}, body=body)

    def past_the_limit(self) -> Drawn:
        """A chunked body that does not tell how long it is, and goes on past the limit."""
        start = part('name="files"; filename="a"', b"")[:-2]

        def chunks() -> Iterator[bytes]:
            yield start
            for _ in range(160):
                yield b"\0" * 2**14

        return Drawn(body=chunks())

    def broken_json(self) -> Drawn:
        """JSON that is deep, cut, doubled, or none."""
        return as_json(
            self.random.choice(
                ["[" * 100_000, '{"a":' * 50_000, "{", '{"files": [' + "{}," * 50_000 + "{}]}",
                 '{"files": 1, "files": 2}', "\ufeff{}", "nul", "9" * 10_000, '"\\ud800"',
                 '{"files": [{"filename": "\\ud800", "data": ""}]}', '{"\\u0000": 1}']
            )
        )  # fmt: skip

    def elsewhere(self) -> Drawn:
        """Other methods, other paths."""
        method = self.random.choice(["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"])
        path = self.random.choice(
            ["/v1/classify", "/v1/model", "/v1/../v1/model", "//v1/classify", "/v1/classify/",
             "/%2e%2e/%2e%2e/etc/passwd", "/demo/../../etc/passwd", "/static_content/..%2f..%2fa",
             "/" + "a" * 5000, "/\u202e", "/metrics/x", "/schema.json", "/demo%00"]
        )  # fmt: skip
        return Drawn(method=method, path=path, headers={}, body=b"")

    def _mutate(self, content: bytes) -> bytes:
        changed = bytearray(content)
        for _ in range(self._below(8) + 1):
            at = self._below(len(changed) + 1)
            match self._below(5):
                case 0:
                    changed[at : at + 1] = bytes([self._below(256)])
                case 1:  # headers are where mistakes hurt
                    near = self._below(min(128, len(changed) + 1))
                    changed[near : near + 4] = self.random.choice(
                        [b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\0\0\0\x80"]
                    )
                case 2:
                    del changed[at:]
                case 3:
                    changed[at:at] = changed[: self._below(64)]
                case _:
                    changed[at : at + self._below(16)] = self.random.randbytes(self._below(16))
        return bytes(changed)

    def _below(self, stop: int) -> int:
        return self.random.randrange(stop)
