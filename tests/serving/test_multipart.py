"""The multipart splitter: what it gives back, and that no bytes make it fail otherwise."""

import time
from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.multipart import Part, boundary_of, split_parts
from serving.refusals import Refused

END = b"\r\n--b--\r\n"


def encode(parts: list[tuple[str, bytes]]) -> bytes:
    lines = [
        f'--b\r\nContent-Disposition: form-data; name="{name}"; filename="f"\r\n\r\n'.encode()
        + content
        + b"\r\n"
        for name, content in parts
    ]
    return b"".join(lines) + b"--b--\r\n"


@given(st.lists(st.tuples(st.sampled_from(["files", "explain"]), st.binary()), max_size=8))
def test_parts_come_back_byte_for_byte_and_in_order(parts: list[tuple[str, bytes]]) -> None:
    if any(b"\r\n--b" in b"\r\n" + content for _, content in parts):
        return  # no client sends its boundary inside a part
    assert split_parts(encode(parts), b"b", 8) == [Part(n, "f", c) for n, c in parts]


DISPOSITION = b"Content-Disposition: form-data; name=files"
tokens = st.sampled_from(
    [b"--b", b"\r\n", b"--", b"\r\n\r\n", b"--b--", b"b", b"\r", b" ", b";", b"=", DISPOSITION]
)


@given(st.lists(tokens | st.binary(max_size=4), max_size=40))
def test_no_body_makes_it_fail_in_another_way(pieces: list[bytes]) -> None:
    with suppress(Refused):
        assert len(split_parts(b"".join(pieces), b"b", 5)) <= 5


@given(st.text(max_size=120))
def test_no_content_type_makes_it_fail_in_another_way(value: str) -> None:
    header = value.encode("utf-8", "replace").decode("latin-1")  # as ASGI servers give headers
    for text in (header, f"multipart/form-data; boundary={header}"):
        with suppress(Refused):
            assert 0 < len(boundary_of(text)) <= 70


def test_text_before_and_after_the_parts_is_passed_over() -> None:
    body = b"for old mail readers\r\n" + encode([("files", b"x")]) + b"and after"
    assert split_parts(body, b"b", 1) == [Part("files", "f", b"x")]


def test_blanks_after_a_boundary_and_an_empty_part_are_legal() -> None:
    body = b"--b \t\r\nContent-Disposition: form-data; name=explain\r\n\r\n" + END
    assert split_parts(body, b"b", 1) == [Part("explain", None, b"")]


def test_a_boundary_that_is_the_start_of_a_line_of_data_is_refused() -> None:
    body = encode([("files", b"data\r\n--bc and more")])
    with pytest.raises(Refused, match="not followed by a new line"):
        split_parts(body, b"b", 9)


@pytest.mark.parametrize(
    ("parameters", "filename"),
    [
        ('filename="Schiff 船.png"', "Schiff 船.png"),
        ("filename=船.png", "船.png"),
        ("filename*=utf-8''Schiff%20%E8%88%B9.png", "Schiff 船.png"),  # urllib3 before 1.25
        ("filename*=UTF-8'en'a%3Bb.png", "a;b.png"),
        ("filename*=\"iso-8859-1''na%EFve.png\"", "naïve.png"),
        ("filename*=klingon''a%20b.png", "klingon''a%20b.png"),
        (
            'filename="=?utf-8?B?U2NoaWZmIOiIuS5wbmc=?="; '
            "filename*=utf-8''Schiff%20%E8%88%B9.png",
            "Schiff 船.png",
        ),  # .NET and PowerShell
        ('filename="=?utf-8?B?U2NoaWZmIOiIuS5wbmc=?="', "Schiff 船.png"),
        ("filename==?UTF-8?Q?Schiff_=E8=88=B9.png?=", "Schiff 船.png"),
        ('filename="=?utf-8?B?/w==?="', "=?utf-8?B?/w==?="),
        ('filename="Schiff%20%E8%88%B9.png"', "Schiff 船.png"),  # aiohttp
        ('filename="a %22b%22.png"', 'a "b".png'),  # browsers
        ('filename="100%.png"', "100%.png"),
        ('filename="50%20 of it.png"', "50%20 of it.png"),
        ('filename="%FF.png"', "%FF.png"),
        ("filename=\"a; filename*=utf-8''b.png\"", "a; filename*=utf-8''b.png"),
        ('filename=""', ""),
        ("", None),
    ],
)
def test_a_file_s_name_is_what_its_sender_meant(parameters: str, filename: str | None) -> None:
    head = f'--b\r\nContent-Disposition: form-data; name="files"; {parameters}\r\n\r\n'
    assert split_parts(head.encode() + END, b"b", 1) == [Part("files", filename, b"")]


@given(st.text(max_size=80))
def test_no_file_name_makes_it_fail_in_another_way(value: str) -> None:
    for parameter in ("filename=", "filename*=", 'filename="=?utf-8?B?', "filename*=utf-8''"):
        head = f"--b\r\nContent-Disposition: form-data; name=files; {parameter}{value}\r\n\r\n"
        with suppress(Refused):
            assert len(split_parts(head.encode("utf-8", "replace") + END, b"b", 1)) == 1


def test_a_missing_boundary_says_what_to_do() -> None:
    with pytest.raises(Refused, match="leave that header to your HTTP library"):
        boundary_of("multipart/form-data")


@pytest.mark.parametrize("filler", [";", "; ", ";a", ";a=", '; a="', ';a="\\"'])
@pytest.mark.parametrize("quote", ["", '"'])
def test_a_header_full_of_semicolons_takes_little_more_than_to_split_it(
    filler: str, quote: str
) -> None:
    """It is read on the event loop, and uvicorn takes 64 KiB of headers."""
    value = f"multipart/form-data; boundary=b; a={quote}{filler * (60_000 // len(filler))}"

    def seconds(read: Callable[[str], object]) -> float:
        start = time.process_time()
        read(value)
        return time.process_time() - start

    split = min(seconds(lambda text: text.split(";")) for _ in range(9))
    assert min(seconds(boundary_of) for _ in range(9)) < 25 * split
