"""shipchip.client against the real service, and against a busy one: what a program may count on."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.client import HTTPConnection
from itertools import pairwise
from pathlib import Path

import httpx
import pytest

from shipchip import ShipClassifier
from shipchip.client import Answer, Client, Failure
from shipchip.errors import ServiceError, ServiceRefused, ServiceUnavailable
from tests.serving.front import Front, Reply, in_front_of
from tests.serving.server import ROOT

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def ask(client: httpx.Client) -> Iterator[Client]:
    with Client(str(client.base_url)) as ask:
        yield ask


@pytest.fixture
def front(client: httpx.Client) -> Iterator[Front]:
    """The service, seen through a server that can be busy; POSTs are counted."""
    with in_front_of(client) as front:
        yield front


def test_paths_and_bytes_get_typed_answers_in_order(
    ask: Client, png: dict[str, bytes], tmp_path: Path, ships: ShipClassifier
) -> None:
    path = tmp_path / "ship.png"
    path.write_bytes(png["Tanker"])
    one, other = ask.classify([path, png["Cargo"]])
    assert isinstance(one, Answer)
    assert one.ok
    assert (one.name, one.label) == (str(path), "Tanker")
    assert isinstance(other, Answer)
    assert (other.name, other.label) == ("#2", "Cargo")
    expected = ships.classify_file(path)
    assert one.confidence == pytest.approx(expected.confidence, abs=1e-6)
    assert one.probabilities == pytest.approx(expected.probabilities, abs=1e-6)
    assert one.prediction_set == expected.prediction_set
    assert one.in_distribution is expected.in_distribution
    assert one.ood_score == pytest.approx(expected.ood_score, abs=1e-5)
    assert one.preview is one.activation_map is None


def test_one_path_alone_will_do(ask: Client, png: dict[str, bytes], tmp_path: Path) -> None:
    path = tmp_path / "ship.png"
    path.write_bytes(png["Tanker"])
    for source in (path, str(path), png["Tanker"]):
        (answer,) = ask.classify(source)
        assert isinstance(answer, Answer)
        assert answer.label == "Tanker"
    assert list(ask.classify([])) == []


def test_options_reach_the_service(
    ask: Client, png: dict[str, bytes], ships: ShipClassifier
) -> None:
    (answer,) = ask.classify(png["Tanker"], pixel_spacing_m=(13.93, 3.9), quantity="sigma0")
    expected = ships.classify_file(png["Tanker"], pixel_spacing_m=(13.93, 3.9), quantity="sigma0")
    assert isinstance(answer, Answer)
    assert answer.ood_score == pytest.approx(expected.ood_score, abs=1e-5)
    (one,) = ask.classify(png["Tanker"], pixel_spacing_m=20)
    assert isinstance(one, Answer)
    assert one.ood_score != pytest.approx(answer.ood_score)
    (missing,) = ask.classify(png["Tanker"], polarisation="VH")
    assert isinstance(missing, Failure)
    assert missing.code == "polarisation_missing"


def test_a_pair_with_a_decimal_comma_is_refused_with_the_way_to_write_it(
    ask: Client, png: dict[str, bytes]
) -> None:
    (text,) = ask.classify(png["Tanker"], pixel_spacing_m="13.93x3.9")
    (pair,) = ask.classify(png["Tanker"], pixel_spacing_m=(13.93, 3.9))
    assert (text.ok and text.ood_score) == (pair.ok and pair.ood_score)
    with pytest.raises(ServiceRefused, match=r"has a comma; write .*13\.93x3\.87"):
        list(ask.classify(png["Tanker"], pixel_spacing_m="10,5"))


def test_explain_brings_both_pictures(ask: Client, png: dict[str, bytes]) -> None:
    (answer,) = ask.classify(png["Cargo"], explain=True)
    assert isinstance(answer, Answer)
    assert answer.preview is not None
    assert answer.activation_map is not None
    assert answer.preview.startswith(PNG)
    assert answer.activation_map.startswith(PNG)
    assert answer.preview != answer.activation_map


def test_a_chip_that_cannot_be_classified_or_read_is_a_value_in_its_place(
    ask: Client, png: dict[str, bytes], tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(b"\0" * (2**19 + 1))
    sources = [
        png["Cargo"][:200], tmp_path / "none.tif", tmp_path / "pipe", tmp_path / "large",
        b"\0" * 2**20, b"", png["Cargo"],
    ]  # fmt: skip
    answers = list(ask.classify(sources))
    reported = [answer.label if answer.ok else answer.code for answer in answers]
    assert reported == [
        "truncated", "not_found", "unreadable", "too_large", "too_large", "empty", "Cargo",
    ]  # fmt: skip
    assert all(answer.message for answer in answers if not answer.ok)


def test_chips_are_divided_over_requests_by_count(front: Front, png: dict[str, bytes]) -> None:
    labels = ["Cargo", "Fishing", "Tanker", "Tanker"] * 10
    answers = list(Client(front.url).classify(png[label] for label in labels))
    assert [answer.label for answer in answers if answer.ok] == labels
    assert len(front.asked) == 3  # 40 chips, 16 in one request


def test_chips_are_divided_over_requests_by_bytes(front: Front, png: dict[str, bytes]) -> None:
    padded = png["Cargo"] + b"\0" * 400_000  # what follows the end of a PNG is not read
    answers = list(Client(front.url).classify([padded] * 5))
    assert [answer.label for answer in answers if answer.ok] == ["Cargo"] * 5
    assert len(front.asked) == 3  # two fit into 1 MiB
    assert all(int(asked["Content-Length"]) <= 2**20 for asked in front.asked)


def test_answers_come_as_they_are_given_and_are_kept_when_a_later_request_fails(
    front: Front, png: dict[str, bytes]
) -> None:
    front.replies += [None, Reply(400, {}, b'{"error": {"code": "no", "message": "more"}}')]
    answers = Client(front.url).classify([png["Cargo"]] * 20)
    taken = [next(answers)]
    assert len(front.asked) == 1  # the second request is sent when it is needed
    with pytest.raises(ServiceRefused, match="400, no: more"):
        taken.extend(answers)
    assert [answer.ok for answer in taken] == [True] * 16


def test_the_limits_are_asked_for_once(client: httpx.Client, png: dict[str, bytes]) -> None:
    with in_front_of(client, path="/v1/model") as front:
        one = Client(front.url)
        for _ in range(3):
            list(one.classify(png["Cargo"]))
        assert len(front.asked) == 1


def test_one_connection_serves_all_requests(
    client: httpx.Client, png: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[HTTPConnection] = []
    connect = HTTPConnection.connect

    def counted(connection: HTTPConnection) -> None:
        opened.append(connection)
        connect(connection)

    monkeypatch.setattr(HTTPConnection, "connect", counted)
    with Client(str(client.base_url)) as one:
        for _ in range(3):
            assert len(list(one.classify([png["Cargo"]] * 20))) == 20
        with pytest.raises(ServiceRefused):
            list(one.classify(png["Cargo"], quantity="decibels"))  # type: ignore[arg-type]
        one.model()
    assert len(opened) == 1


def test_it_needs_no_package_but_the_standard_library(
    client: httpx.Client, png: dict[str, bytes], tmp_path: Path
) -> None:
    """`-S` leaves out the folder of installed packages: nothing of it can be imported."""
    path = tmp_path / "ship.png"
    path.write_bytes(png["Tanker"])
    script = f"""
import sys
from shipchip.client import Client
with Client({str(client.base_url)!r}) as client:
    for answer in client.classify([{str(path)!r}, "none.png"], pixel_spacing_m=(6, 6.5)):
        print(answer.label if answer.ok else answer.code)
print(sorted({{name.partition(".")[0] for name in sys.modules}} - sys.stdlib_module_names))
"""
    ran = subprocess.run(
        [sys.executable, "-S", "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ran.stderr == ""
    assert ran.stdout.split() == ["Tanker", "not_found", "['__main__',", "'shipchip']"]


@pytest.mark.parametrize(
    "name",
    ['quote".png', "blank\r\n\r\nline.png", "船.png", "x" * 250, os.fsdecode(b"no\xffutf8.png")],
)
def test_any_file_name_can_be_sent(
    ask: Client, png: dict[str, bytes], tmp_path: Path, name: str
) -> None:
    (tmp_path / name).write_bytes(png["Fishing"])
    (answer,) = ask.classify(tmp_path / name)
    assert isinstance(answer, Answer)
    assert (answer.name, answer.label) == (str(tmp_path / name), "Fishing")


def test_the_key_goes_with_every_request_and_nothing_without_one(
    front: Front, png: dict[str, bytes]
) -> None:
    list(Client(front.url, api_key="secret-secret-secret").classify(png["Cargo"]))
    list(Client(front.url).classify(png["Cargo"]))
    assert [asked.get("Authorization") for asked in front.asked] == [
        "Bearer secret-secret-secret",
        None,
    ]


def test_busy_answers_are_asked_again_after_the_time_that_they_tell(
    front: Front, png: dict[str, bytes]
) -> None:
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)
    front.replies += [
        Reply(429, {"Retry-After": "1"}, b'{"error": {"code": "overloaded"}}'),
        Reply(503, {"Retry-After": soon}, b"<html>a proxy's page"),
        Reply(429, {"Retry-After": "0"}),
    ]
    (answer,) = Client(front.url).classify(png["Cargo"])
    assert answer.ok
    waits = [after - before for before, after in pairwise(front.times)]
    assert len(waits) == 3
    assert 1 <= waits[0] < 5
    assert waits[1] < 5
    assert waits[2] < 1.5  # the answer said 0; by default it is 2


def test_a_connection_that_breaks_off_is_tried_again(front: Front, png: dict[str, bytes]) -> None:
    front.replies.append(Reply(0))
    (answer,) = Client(front.url).classify(png["Cargo"])
    assert answer.ok
    assert len(front.asked) == 2


def test_tries_are_bounded(front: Front, png: dict[str, bytes]) -> None:
    busy = Reply(429, {"Retry-After": "0"}, b'{"error": {"code": "overloaded", "message": "no"}}')
    front.replies += [busy] * 9
    with pytest.raises(ServiceUnavailable, match="answers 429, overloaded: no; asked 3 times"):
        list(Client(front.url, tries=3).classify(png["Cargo"]))
    assert len(front.asked) == 3


def test_a_wait_longer_than_wanted_ends_the_tries(front: Front, png: dict[str, bytes]) -> None:
    front.replies.append(Reply(503, {"Retry-After": "3600"}))
    with pytest.raises(ServiceUnavailable, match="asked once"):
        list(Client(front.url).classify(png["Cargo"]))


def test_a_service_too_slow_is_not_asked_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(ServiceUnavailable, match=r"timed out.*asked once"):
            Client(url, timeout_s=0.2).model()


def test_nobody_there_is_service_unavailable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with pytest.raises(ServiceUnavailable, match="ConnectionRefusedError") as caught:
        Client(f"http://127.0.0.1:{port}", tries=2).model()
    assert caught.value.code == "service_unavailable"


def test_a_refused_request_says_status_code_and_request_id(
    ask: Client, png: dict[str, bytes]
) -> None:
    with pytest.raises(ServiceRefused, match="400, bad_pixel_spacing") as caught:
        list(ask.classify(png["Cargo"], pixel_spacing_m=-1))
    refused = caught.value
    assert (refused.code, refused.status, refused.reason) == (
        "service_refused",
        400,
        "bad_pixel_spacing",
    )
    assert refused.request_id


def test_no_redirect_takes_the_key_elsewhere(client: httpx.Client, front: Front) -> None:
    away = Reply(307, {"Location": f"{front.url}/v1/classify"})
    with in_front_of(client, away, path="/v1/model") as moved, pytest.raises(ServiceRefused) as no:
        Client(moved.url, api_key="secret-secret-secret").model()
    assert (no.value.status, no.value.reason) == (307, None)
    assert front.asked == []


@pytest.mark.parametrize(
    "url", ["localhost:3000", "ftp://host", "file:///etc/passwd", "http://", "http://host:port"]
)
def test_an_address_of_no_service_is_refused_at_once(url: str) -> None:
    with pytest.raises(ServiceError, match="address"):
        Client(url)


def test_what_answers_but_is_no_shipchip_is_a_service_error(client: httpx.Client) -> None:
    with (
        in_front_of(client, Reply(200, {}, b"[]"), path="/v1/model") as other,
        pytest.raises(ServiceError, match="gives no limits"),
    ):
        list(Client(other.url).classify(PNG))
