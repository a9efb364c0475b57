"""API keys and web pages of other origins: off by default, and exact where they are on."""

import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from pydantic import ValidationError

from serving.settings import Settings
from tests.serving.server import serving
from tests.serving.test_refusals import answer_on, assert_refused, begin_upload

OLD, NEW = "the-key-of-last-year", "the-key-of-this-year"
WRONG = "some-key-that-was-guessed"
PAGE = "https://app.example"
ASKED = {"Origin": PAGE, "Access-Control-Request-Method": "POST"}


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("guarded") / "log.txt"


@pytest.fixture(scope="module")
def guarded(model: Path, log: Path) -> Iterator[httpx.Client]:
    """The service with two keys and one origin."""
    given = {"api_key": f"{OLD}, {NEW}", "cors_origins": PAGE, "log_level": "debug"}
    with serving(model, log, **given) as client:
        yield client


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/classify"),
        ("POST", "/v1/classify_base64"),
        ("GET", "/v1/model"),
        ("GET", "/v1/nothing"),
        ("GET", "/metrics"),
    ],
)
def test_without_a_key_it_is_401_that_says_how(
    guarded: httpx.Client, method: str, path: str
) -> None:
    response = guarded.request(method, path)
    assert_refused(response, 401, "unauthorised")
    assert response.headers["WWW-Authenticate"] == "Bearer"


def test_metrics_can_be_opened_and_nothing_else_with_them(model: Path, log: Path) -> None:
    given = {"api_key": NEW, "open_metrics": "true"}
    with serving(model, log.with_name("open.txt"), **given) as client:
        assert client.get("/metrics").status_code == 200
        assert_refused(client.get("/v1/model"), 401, "unauthorised")


@pytest.mark.parametrize("key", [OLD, NEW])
@pytest.mark.parametrize("header", ["X-API-Key: {}", "Authorization: Bearer {}", "x-api-key: {}"])
def test_each_key_is_good_in_each_header(
    guarded: httpx.Client, png: dict[str, bytes], key: str, header: str
) -> None:
    name, value = header.format(key).split(": ")
    upload = [("files", ("a.png", png["Cargo"]))]
    response = guarded.post("/v1/classify", files=upload, headers={name: value})
    assert response.status_code == 200
    assert response.json()["results"][0]["label"] == "Cargo"


@pytest.mark.parametrize(
    "headers",
    [
        {"X-API-Key": WRONG},
        {"X-API-Key": ""},
        {"X-API-Key": OLD[:-1]},
        {"X-API-Key": OLD + "x"},
        {"X-API-Key": OLD.upper()},
        {"X-API-Key": f"{OLD}, {NEW}"},
        {"X-API-Key": f"Bearer {OLD}"},
        {"Authorization": OLD},
        {"Authorization": f"Basic {OLD}"},
        {"Authorization": "Bearer"},
        {"Authorization": f"Bearer {WRONG}"},
        {"Cookie": f"X-API-Key={OLD}"},
    ],
)
def test_anything_else_is_401(guarded: httpx.Client, headers: dict[str, str]) -> None:
    assert_refused(guarded.get("/v1/model", headers=headers), 401, "unauthorised")


def test_a_key_in_the_address_is_not_taken(guarded: httpx.Client) -> None:
    assert guarded.get(f"/v1/model?api_key={OLD}").status_code == 401


def test_who_has_no_key_cannot_make_the_service_read_a_body(guarded: httpx.Client) -> None:
    start = time.monotonic()
    with begin_upload(guarded, 2**20, b"") as raw:
        assert answer_on(raw).startswith(b"HTTP/1.1 401 ")
    assert time.monotonic() - start < 2


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/docs.json", "/docs", "/demo", "/"])
def test_health_and_the_page_ask_for_none(guarded: httpx.Client, path: str) -> None:
    assert guarded.get(path).status_code < 400


def test_no_key_is_ever_logged(guarded: httpx.Client, log: Path) -> None:
    for key in (OLD, WRONG):
        guarded.get("/v1/model", headers={"X-API-Key": key})
        guarded.post("/v1/classify", headers={"Authorization": f"Bearer {key}"})
    reported = log.read_text()
    assert "/v1/model" in reported
    assert [key for key in (OLD, NEW, WRONG) if key in reported] == []


def test_a_page_that_may_ask_learns_so_before_it_asks(guarded: httpx.Client) -> None:
    headers = {**ASKED, "Access-Control-Request-Headers": "x-api-key, content-type, x-request-id"}
    response = guarded.options("/v1/classify", headers=headers)
    assert response.status_code == 200
    assert response.headers["Access-Control-Allow-Origin"] == PAGE
    assert "POST" in response.headers["Access-Control-Allow-Methods"]
    assert response.headers["X-Request-ID"]


def test_a_page_may_read_answers_and_refusals(guarded: httpx.Client) -> None:
    for key, status in ((NEW, 200), (WRONG, 401)):
        headers = {"Origin": PAGE, "X-API-Key": key}
        response = guarded.get("/v1/model", headers=headers)
        assert response.status_code == status
        assert response.headers["Access-Control-Allow-Origin"] == PAGE
        assert "X-Request-ID" in response.headers["Access-Control-Expose-Headers"]
        assert "Origin" in response.headers["Vary"]


def test_another_page_may_not(guarded: httpx.Client) -> None:
    headers = {**ASKED, "Origin": "https://app.example.evil.example"}
    response = guarded.options("/v1/classify", headers=headers)
    assert_refused(response, 400, "cors_refused")
    assert "Access-Control-Allow-Origin" not in response.headers
    answer = guarded.get("/v1/model", headers={"Origin": "null", "X-API-Key": NEW})
    assert "Access-Control-Allow-Origin" not in answer.headers


def test_unless_set_no_key_is_asked_for_and_no_page_may_ask(client: httpx.Client) -> None:
    response = client.get("/v1/model", headers={"Origin": PAGE})
    assert response.status_code == 200
    assert [name for name in response.headers if name.startswith("access-control")] == []
    assert client.options("/v1/classify", headers=ASKED).status_code == 405


@pytest.mark.parametrize(
    "keys", ["", " , ", "short", f"short,{OLD}", "a key with blanks in it", "schlüssel-schlüssel"]
)
def test_a_key_that_could_be_guessed_or_sent_by_nobody_stops_the_start_unseen(keys: str) -> None:
    with pytest.raises(ValidationError, match="api_key") as refused:
        Settings(api_key=keys)  # type: ignore[arg-type]
    message = f"{refused.value} {refused.value.errors()}"
    assert [part for part in keys.split(",") if len(part) > 4 and part in message] == []


def test_settings_never_show_their_keys() -> None:
    settings = Settings(api_key=f"{OLD},{NEW}")  # type: ignore[arg-type]
    assert settings.api_keys() == (OLD, NEW)
    assert (
        OLD not in f"{settings} {settings!r} {settings.model_dump()} {settings.model_dump_json()}"
    )


@pytest.mark.parametrize(
    "origins",
    ["app.example", "https://app.example/", "https://app.example/page", "ftp://a", "null"],
)
def test_what_is_no_origin_stops_the_start(monkeypatch: pytest.MonkeyPatch, origins: str) -> None:
    monkeypatch.setenv("SHIPCHIP_CORS_ORIGINS", f"{PAGE},{origins}")
    with pytest.raises(ValidationError, match="is no origin"):
        Settings()
