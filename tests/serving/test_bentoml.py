"""The service as people who know BentoML meet it: its metrics, its clients, its own ways."""

import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families

from shipchip import ShipClassifier
from shipchip.errors import BadPixelSpacing
from tests.docs.blocks import blocks
from tests.serving.server import ROOT, environment, serving
from tests.tiny_model import draw_chip

OPTIONS: list[dict[str, Any]] = [
    {},
    {"pixel_spacing_m": {"tuple": [13.93, 3.9]}},  # JSON has no tuples
    {"pixel_spacing_m": [10, 10]},
    {"pixel_spacing_m": "10"},
    {"quantity": "sigma0"},
    {"explain": True},
    {"pixel_spacing_m": [3.0, 4.0], "quantity": "amplitude", "explain": False},
]


@pytest.fixture(scope="module")
def own(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A service without other clients."""
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


def test_the_method_of_the_api_does_the_work(model: Path, png: dict[str, bytes]) -> None:
    """Without HTTP and middleware it answers all the same."""
    script = (
        "import asyncio, sys; from serving.forms import Upload;"
        "from serving.service import Shipchip; service = Shipchip.inner(); service.warm_up()\n"
        "async def main():\n"
        "    chip = Upload('a.png', sys.stdin.buffer.read())\n"
        "    answer = await service.classify.local([chip], None, False, None, 'auto')\n"
        "    await service.close()\n"
        "    print(answer.body.decode())\n"
        "asyncio.run(main())"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        cwd=ROOT,
        env=environment(model),
        input=png["Tanker"],
        capture_output=True,
        check=True,
    )
    (result,) = json.loads(done.stdout.splitlines()[-1])["results"]
    assert (result["filename"], result["label"]) == ("a.png", "Tanker")


# In a process of its own, as users have it: it warns of pathspec and pydantic.
CLIENT = """
import asyncio, json, sys
from pathlib import Path
import bentoml

url, route = sys.argv[1:3]
files, options = map(json.loads, sys.argv[3:])
files = [Path(file) for file in files]

async def ask(given):
    async with bentoml.AsyncHTTPClient(url) as client:
        return await getattr(client, route)(files=files, **given)

for given in options:
    if isinstance(given.get("pixel_spacing_m"), dict):
        given["pixel_spacing_m"] = tuple(given["pixel_spacing_m"]["tuple"])
    with bentoml.SyncHTTPClient(url) as client:
        answers = [getattr(client, route)(files=files, **given), asyncio.run(ask(given))]
    print(json.dumps([getattr(a, "model_dump", lambda a=a: a)() for a in answers]))
"""


@pytest.mark.parametrize("route", ["classify", "classify_base64"])
def test_bentomls_clients_give_the_librarys_answers(
    own: httpx.Client,
    ships: ShipClassifier,
    png: dict[str, bytes],
    tmp_path: Path,
    route: str,
) -> None:
    for label, content in png.items():
        (tmp_path / f"{label}.png").write_bytes(content)
    files = [str(tmp_path / f"{label}.png") for label in png]
    words = [str(own.base_url), route, json.dumps(files), json.dumps(OPTIONS)]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CLIENT, *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for options, line in zip(OPTIONS, done.stdout.splitlines(), strict=True):
        for answer in json.loads(line):
            assert_same(answer, ships, png, options)


def documented(word: str) -> str:
    """The Python block of docs/api.md that has this word."""
    (text,) = [b.text for b in blocks("python") if b.file == "api.md" and word in b.text]
    return text


@pytest.mark.parametrize("word", ["bentoml.SyncHTTPClient", "shipchip.client"])
def test_the_examples_of_clients_in_the_manual_run(
    own: httpx.Client, tmp_path: Path, word: str
) -> None:
    Image.fromarray(draw_chip("Cargo")).save(tmp_path / "a.tiff")
    np.save(tmp_path / "b.npy", draw_chip("Tanker"), allow_pickle=False)
    script = documented(word).replace("http://localhost:3000", str(own.base_url))
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    if word == "bentoml.SyncHTTPClient":
        assert done.stdout == "['Cargo', 'Tanker']\n['sure', 'sure']\n"
    else:
        assert re.findall(r"label='(\w+)'", done.stdout) == ["Cargo", "Tanker"]


# A client with a token, and one without: what they print is the status.
KEYS = """
import sys, bentoml
from pathlib import Path
for token in ("a-key-of-this-test", None):
    with bentoml.SyncHTTPClient(sys.argv[1], token=token) as client:
        try:
            print(client.classify(files=[Path("a.png")])["results"][0]["label"])
        except bentoml.exceptions.BentoMLException as error:
            print(int(error.error_code))
"""


def test_bentomls_client_sends_a_key_as_its_token(
    model: Path, png: dict[str, bytes], tmp_path: Path
) -> None:
    (tmp_path / "a.png").write_bytes(png["Fishing"])
    with serving(model, tmp_path / "log.txt", api_key="a-key-of-this-test") as client:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", KEYS, str(client.base_url)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.stdout == "Fishing\n401\n", done.stderr


def assert_same(
    answer: Any, ships: ShipClassifier, png: dict[str, bytes], options: dict[str, Any]
) -> None:
    """The answer over HTTP is that of the library for the same chips."""
    given = {name: value for name, value in options.items() if name != "explain"}
    spacing = given.get("pixel_spacing_m")
    if spacing is not None:
        pair = spacing["tuple"] if isinstance(spacing, dict) else spacing
        given["pixel_spacing_m"] = float(pair) if isinstance(pair, str) else tuple(pair)
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
