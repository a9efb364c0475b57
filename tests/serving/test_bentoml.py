"""The service as people who know BentoML meet it: its metrics, its clients, its own ways."""

import asyncio
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bentoml
import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from shipchip import ShipClassifier
from shipchip.errors import BadPixelSpacing
from tests.serving.server import ROOT, serving

# BentoML's client uses deprecated functions of pathspec and pydantic, and leaves its temporary
# folder to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

OPTIONS: list[dict[str, Any]] = [
    {},
    {"pixel_spacing_m": (13.93, 3.9)},
    {"pixel_spacing_m": [10, 10]},
    {"pixel_spacing_m": "10"},
    {"quantity": "sigma0"},
    {"explain": True},
    {"pixel_spacing_m": (3.0, 4.0), "quantity": "amplitude", "explain": False},
]


@pytest.fixture(scope="module")
def own(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A service that nobody else asks."""
    with serving(model, tmp_path_factory.mktemp("own") / "log.txt") as client:
        yield client


def counted(exposition: str, name: str, *labels: str) -> Counter[tuple[str, ...]]:
    """A counter's values by labels."""
    found: Counter[tuple[str, ...]] = Counter()
    for family in text_string_to_metric_families(exposition):
        for sample in family.samples:
            if sample.name == f"{name}_total":
                found[tuple(sample.labels[label] for label in labels)] += int(sample.value)
    return found


def test_bentomls_counters_agree_with_ours(own: httpx.Client, png: dict[str, bytes]) -> None:
    chip, bad = ("files", ("a.png", png["Cargo"])), ("files", ("b.png", b"no chip"))
    answers: Counter[tuple[str, str]] = Counter()
    for number in range(100):
        if number % 5 == 0:
            response = own.post("/v1/classify", files=[bad])
        elif number % 5 == 1:
            response = own.post("/v1/classify", data={"nothing": "here"})
        elif number % 5 == 2:
            response = own.post("/v1/classify_base64", content=b"{}")
        else:
            response = own.post("/v1/classify", files=[chip, bad])
        answers[response.request.url.path, str(response.status_code)] += 1
    assert {status for _, status in answers} == {"200", "400", "422"}
    exposition = own.get("/metrics").text
    theirs = counted(exposition, "bentoml_service_request", "endpoint", "http_response_code")
    asked = {key: n for key, n in theirs.items() if key[0].startswith("/v1/") and n}
    assert asked == answers
    ours = counted(exposition, "shipchip_requests", "status")
    by_status: Counter[tuple[str, ...]] = Counter()
    for (_, status), count in answers.items():
        by_status[status,] += count
    assert ours == by_status


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("route", ["classify", "classify_base64"])
def test_bentomls_client_gives_the_librarys_answers(
    own: httpx.Client,
    ships: ShipClassifier,
    png: dict[str, bytes],
    tmp_path: Path,
    options: dict[str, Any],
    route: str,
) -> None:
    files = []
    for label, content in png.items():
        (tmp_path / f"{label}.png").write_bytes(content)
        files.append(tmp_path / f"{label}.png")
    with bentoml.SyncHTTPClient(str(own.base_url)) as client:
        answer = getattr(client, route)(files=files, **options)
    assert_same(answer, ships, png, options)


def test_bentomls_asynchronous_client_gives_the_librarys_answers(
    own: httpx.Client, ships: ShipClassifier, png: dict[str, bytes], tmp_path: Path
) -> None:
    files = []
    for label, content in png.items():
        (tmp_path / f"{label}.png").write_bytes(content)
        files.append(tmp_path / f"{label}.png")

    async def ask() -> Any:
        async with bentoml.AsyncHTTPClient(str(own.base_url)) as client:
            return await client.classify(files=files, pixel_spacing_m=(13.93, 3.9))

    assert_same(asyncio.run(ask()), ships, png, {"pixel_spacing_m": (13.93, 3.9)})


def assert_same(
    answer: Any, ships: ShipClassifier, png: dict[str, bytes], options: dict[str, Any]
) -> None:
    """The answer over HTTP is that of the library for the same chips."""
    answer = answer.model_dump() if hasattr(answer, "model_dump") else answer
    given = {name: value for name, value in options.items() if name != "explain"}
    spacing = given.get("pixel_spacing_m")
    if spacing is not None:
        given["pixel_spacing_m"] = float(spacing) if isinstance(spacing, str) else tuple(spacing)
    for (label, content), result in zip(png.items(), answer["results"], strict=True):
        expected = ships.classify_file(content, **given)
        assert result["filename"] == f"{label}.png"
        assert result["label"] == expected.label
        assert result["probabilities"] == pytest.approx(expected.probabilities, abs=1e-5)
        assert result["used"]["pixel_spacing_m"] == list(expected.used.pixel_spacing_m)
        assert (result.get("preview") is not None) == options.get("explain", False)


def test_a_pair_as_json_is_still_checked(own: httpx.Client, png: dict[str, bytes]) -> None:
    chip = ("files", ("a.png", png["Cargo"]))
    for text in ("[10, 0]", "[10]", "[1, 2, 3]", "[a, b]"):
        response = own.post("/v1/classify", files=[chip], data={"pixel_spacing_m": text})
        assert response.json()["error"]["code"] == BadPixelSpacing.code, text


PRIVATE = re.compile(r"^\s*(?:from|import) ((?:bentoml\._|_bentoml)\S*)", re.MULTILINE)


def test_private_modules_of_bentoml_are_imported_in_one_place_only() -> None:
    """serving.server says for what; its tests fail if BentoML moves it."""
    found = {
        str(file.relative_to(ROOT)): set(PRIVATE.findall(file.read_text()))
        for file in (ROOT / "serving").rglob("*.py")
    }
    assert {file: names for file, names in found.items() if names} == {
        "serving/server.py": {"bentoml._internal.configuration.containers"}
    }
