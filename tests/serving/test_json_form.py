"""POST /v1/classify_base64: what /v1/classify does, asked in JSON."""

import base64
import json
import socket
from typing import Any

import httpx
import pytest

from serving.json_form import max_json_bytes, read_json_form
from serving.refusals import Refused
from serving.settings import Settings
from tests.serving.test_refusals import assert_refused

PATH = "/v1/classify_base64"
JSON = {"Content-Type": "application/json"}


def encoded(content: bytes, name: str = "a.png") -> dict[str, str]:
    return {"filename": name, "data": base64.b64encode(content).decode()}


FILE = encoded(b"x")


@pytest.mark.parametrize(
    ("options", "fields"),
    [
        ({}, {}),
        ({"pixel_spacing_m": 20}, {"pixel_spacing_m": "20"}),
        ({"pixel_spacing_m": [13.93, 3.9]}, {"pixel_spacing_m": "13.93x3.9"}),
        ({"pixel_spacing_m": "13.93x3.9"}, {"pixel_spacing_m": "13.93x3.9"}),
        ({"quantity": "sigma0"}, {"quantity": "sigma0"}),
        ({"explain": True}, {"explain": "true"}),
        ({"polarisation": "VH"}, {"polarisation": "VH"}),
        (dict.fromkeys(("pixel_spacing_m", "explain", "polarisation", "quantity")), {}),
    ],
)
def test_the_results_are_those_of_the_multipart_form(
    client: httpx.Client, png: dict[str, bytes], options: dict[str, Any], fields: dict[str, str]
) -> None:
    named = [("船.png", png["Cargo"]), ("cut", png["Cargo"][:200]), ("", b""), ("t", png["Tanker"])]
    asked = {"files": [encoded(content, name) for name, content in named], **options}
    upload = [("files", (name or "", content)) for name, content in named]
    as_json = client.post(PATH, json=asked)
    form = client.post("/v1/classify", files=[u for u in upload if u[1][0]], data=fields)
    assert as_json.status_code == form.status_code
    results = as_json.json()["results"]
    assert [r["filename"] for r in results] == [name for name, _ in named]
    assert results.pop(2)["error"]["code"] in ("empty", "polarisation_missing")
    assert results == form.json()["results"]
    assert as_json.json()["model"] == form.json()["model"]


def test_422_with_results_when_not_one_chip_could_be_classified(client: httpx.Client) -> None:
    response = client.post(PATH, json={"files": [FILE, encoded(b"")]})
    assert response.status_code == 422
    codes = [result["error"]["code"] for result in response.json()["results"]]
    assert codes == ["unsupported_format", "empty"]


def test_a_file_over_the_limit_of_one_chip_fails_alone_by_its_decoded_size(
    client: httpx.Client, png: dict[str, bytes]
) -> None:
    within, over = b"\0" * 2**19, b"\0" * (2**19 + 1)
    codes = []
    for content in (within, over):
        asked = {"files": [encoded(content), encoded(png["Cargo"])]}
        first, second = client.post(PATH, json=asked).json()["results"]
        assert second["status"] == "ok"
        codes.append(first["error"]["code"])
    assert codes == ["unsupported_format", "too_large"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("", "malformed_json"),
        ("no json", "malformed_json"),
        ('{"files": [', "malformed_json"),
        ("[]", "malformed_json"),
        ('"http://a.example/chip.png"', "malformed_json"),
        ('{"files": NaN}', "malformed_json"),
        ('{"files": ' + "9" * 5000 + "}", "malformed_json"),
        ('{"files": ' + "[" * 1500 + "]" * 1500 + "}", "malformed_json"),
        ("[" * 500_000, "malformed_json"),
        ('{"files": [' + "{}," * 100_000 + "{}]}", "malformed_json"),
        ("{}", "no_files"),
        ('{"files": []}', "no_files"),
        ('{"files": null}', "not_a_file"),
        ('{"files": "http://a.example/chip.png"}', "not_a_file"),
        ('{"files": ["http://a.example/chip.png"]}', "not_a_file"),
        ('{"files": [{"filename": "a"}]}', "not_a_file"),
        ('{"files": [{"data": ""}]}', "not_a_file"),
        ('{"files": [{"filename": 3, "data": ""}]}', "not_a_file"),
        ('{"files": [{"filename": "\\ud800", "data": ""}]}', "not_a_file"),
        ('{"files": [{"filename": "a", "data": "", "url": "http://a"}]}', "unknown_field"),
        ('{"files": [{"filename": "a", "data": ""}], "colour": 1}', "unknown_field"),
        ('{"files": [{"filename": "a", "data": ""}], "\\ud800": 1}', "malformed_json"),
        ('{"files": [{"filename": "a", "data": ""}], "\\u0000": 1}', "unknown_field"),
        ('{"files": [{"filename": "a", "data": ""}], "files": []}', "duplicate_field"),
        ('{"files": [{"filename": "%s", "data": ""}]}' % ("n" * 256), "filename_too_long"),
    ],
)
def test_a_malformed_body_is_400(client: httpx.Client, body: str, code: str) -> None:
    assert_refused(client.post(PATH, content=body.encode(), headers=JSON), 400, code)


@pytest.mark.parametrize(
    ("option", "code"),
    [
        ({"pixel_spacing_m": "10,5"}, "bad_pixel_spacing"),
        ({"pixel_spacing_m": "ten"}, "bad_pixel_spacing"),
        ({"pixel_spacing_m": True}, "bad_pixel_spacing"),
        ({"pixel_spacing_m": []}, "bad_pixel_spacing"),
        ({"pixel_spacing_m": [1, 2, 3]}, "bad_pixel_spacing"),
        ({"pixel_spacing_m": -10}, "bad_pixel_spacing"),
        ({"pixel_spacing_m": 10**400}, "bad_pixel_spacing"),
        ({"explain": "true"}, "bad_field"),
        ({"explain": 1}, "bad_field"),
        ({"polarisation": "VX"}, "bad_field"),
        ({"quantity": "decibels"}, "bad_field"),
        ({"quantity": ["auto"]}, "bad_field"),
    ],
)
def test_an_option_that_does_not_fit_is_400(
    client: httpx.Client, option: dict[str, Any], code: str
) -> None:
    body = assert_refused(client.post(PATH, json={"files": [FILE], **option}), 400, code)
    assert code != "bad_field" or next(iter(option)) in body["error"]["message"]


@pytest.mark.parametrize(
    "data", ["=", "a", "ab", "abc", "ab c", "YQ==\n", "YQ==YQ==", "YQ-_", "data:;base64,YQ==", "ä"]
)
def test_what_is_no_base64_is_named_by_its_file(client: httpx.Client, data: str) -> None:
    asked = {"files": [FILE, {"filename": "wrong.png", "data": data}]}
    body = assert_refused(client.post(PATH, json=asked), 400, "bad_base64")
    assert "files[1], 'wrong.png'" in body["error"]["message"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {**JSON, "Content-Encoding": "gzip"},
    ],
)
def test_another_content_type_is_400(client: httpx.Client, headers: dict[str, str]) -> None:
    response = client.post(PATH, content=json.dumps({"files": [FILE]}), headers=headers)
    assert_refused(response, 400, "wrong_content_type")


def test_options_in_the_address_are_refused(client: httpx.Client) -> None:
    asked = {"files": [FILE]}
    assert_refused(client.post(f"{PATH}?explain=true", json=asked), 400, "unknown_field")


def test_too_many_files_are_413(client: httpx.Client) -> None:
    assert_refused(client.post(PATH, json={"files": [FILE] * 17}), 413, "too_many_files")


def test_a_body_too_large_is_413_whether_encoded_or_decoded(client: httpx.Client) -> None:
    """The limit, 1 MiB, is one of decoded bytes; the encoded body has room for them and no more."""
    third = encoded(b"\0" * (2**20 // 3))
    assert client.post(PATH, json={"files": [third] * 3}).status_code == 422
    fourth = {"files": [*[third] * 3, encoded(b"\0" * 20)]}
    assert_refused(client.post(PATH, json=fourth), 413, "request_too_large")
    assert_refused(client.post(PATH, json={"files": [third] * 6}), 413, "request_too_large")


def test_the_encoded_limit_holds_a_full_request_of_any_settings() -> None:
    for settings in (Settings(), Settings(max_request_bytes=3000, max_files=1)):
        share = settings.max_request_bytes // settings.max_files
        files = [encoded(b"\0" * share, "ä" * 255) for _ in range(settings.max_files)]
        body = json.dumps({"files": files, "pixel_spacing_m": [1.5, 2.5]}).encode()
        assert len(body) <= max_json_bytes(settings)
        assert len(read_json_form(body, settings).files) == settings.max_files


def test_no_message_holds_more_than_a_line_of_what_was_sent() -> None:
    bodies = [
        {"files": [FILE], "n" * 10_000: 1},
        {"files": [{**FILE, "n" * 10_000: 1}]},
        {"files": [{"filename": "n" * 255, "data": "!" * 10_000}]},
        {"files": [FILE], "polarisation": "n" * 10_000},
    ]
    for body in bodies:
        with pytest.raises(Refused) as refused:
            read_json_form(json.dumps(body).encode(), Settings())
        assert len(refused.value.message) < 500


def test_an_address_is_never_fetched(client: httpx.Client) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/chip.png"
        for files in (url, [url], [{"filename": url, "data": url}], [{"url": url}]):
            assert client.post(PATH, json={"files": files}).status_code == 400
        assert client.post(PATH, json={"files": [encoded(b"x", url)]}).status_code == 422
        with pytest.raises(BlockingIOError):
            listener.accept()
