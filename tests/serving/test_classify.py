"""POST /v1/classify and its neighbours, over real HTTP: what a client may count on."""

import asyncio
import io
import re

import aiohttp
import httpx
import numpy as np
import pytest

from serving.schema import ClassifyResponse
from shipchip import ShipClassifier, __version__
from shipchip.answer import SIZE_FIELDS
from tests.tiny_model import draw_chip

Files = list[tuple[str, tuple[str, bytes]]]


def files_of(*named: tuple[str, bytes]) -> Files:
    return [("files", (name, content)) for name, content in named]


def npy(label: str) -> bytes:
    file = io.BytesIO()
    np.save(file, draw_chip(label).astype(np.complex64))
    return file.getvalue()


def test_one_file_gets_the_answer_that_the_library_gives(
    client: httpx.Client, ships: ShipClassifier, png: dict[str, bytes]
) -> None:
    response = client.post("/v1/classify", files=files_of(("ship.png", png["Tanker"])))
    assert response.status_code == 200
    body = response.json()
    assert set(body) == {"request_id", "model", "results"}
    expected = ships.classify_file(png["Tanker"])
    assert body["results"] == [
        {
            "filename": "ship.png",
            "status": "ok",
            "label": "Tanker",
            "confidence": pytest.approx(expected.confidence, abs=1e-6),
            "probabilities": pytest.approx(expected.probabilities, abs=1e-6),
            "prediction_set": list(expected.prediction_set),
            "in_distribution": True,
            "ood_score": pytest.approx(expected.ood_score, abs=1e-5),
            "verdict": "sure",
            "used": {
                "pixel_spacing_m": [10, 10],
                "pixel_spacing_from": "rule",
                "polarisation": "unknown",
                "quantity": "amplitude",
            },
            **dict.fromkeys(SIZE_FIELDS),
            "lon": None,
            "lat": None,
        }
    ]


def test_an_answer_names_the_model_that_gave_it(
    client: httpx.Client, ships: ShipClassifier, png: dict[str, bytes]
) -> None:
    response = client.post("/v1/classify", files=files_of(("a", png["Cargo"])))
    assert response.json()["model"] == {
        "name": "tiny",
        "version": "0.0.1-test",
        "sha256": ships.sha256,
    }


def test_results_keep_the_order_of_the_files_over_several_batches(
    client: httpx.Client, png: dict[str, bytes]
) -> None:
    labels = ["Cargo", "Fishing", "Tanker", "Fishing", "Cargo", "Tanker", "Tanker", "Fishing"] * 2
    named = [(f"{i}.png", png[label]) for i, label in enumerate(labels)]
    results = client.post("/v1/classify", files=files_of(*named)).json()["results"]
    assert [r["filename"] for r in results] == [name for name, _ in named]
    assert [r["label"] for r in results] == labels


def test_a_bad_chip_fails_alone_and_in_its_place(
    client: httpx.Client, png: dict[str, bytes]
) -> None:
    named = [
        ("1.png", png["Cargo"]),
        ("2.png", png["Cargo"][:200]),
        ("3.txt", b"not a picture"),
        ("4.png", b""),
        ("5.npy", npy("Fishing")),
    ]
    response = client.post("/v1/classify", files=files_of(*named))
    assert response.status_code == 200
    results = response.json()["results"]
    assert [r["filename"] for r in results] == [name for name, _ in named]
    outcome = [r["label"] if r["status"] == "ok" else r["error"]["code"] for r in results]
    assert outcome == ["Cargo", "truncated", "unsupported_format", "empty", "Fishing"]
    assert set(results[1]) == {"filename", "status", "error"}
    assert set(results[1]["error"]) == {"code", "message"}


def test_422_with_results_when_not_one_chip_could_be_classified(client: httpx.Client) -> None:
    response = client.post("/v1/classify", files=files_of(("a", b""), ("b", b"text")))
    assert response.status_code == 422
    assert [r["error"]["code"] for r in response.json()["results"]] == [
        "empty",
        "unsupported_format",
    ]


def test_a_file_over_the_limit_of_one_chip_fails_alone(
    client: httpx.Client, png: dict[str, bytes]
) -> None:
    named = (("big", b"\0" * (2**19 + 1)), ("ship", png["Cargo"]))
    response = client.post("/v1/classify", files=files_of(*named))
    assert response.status_code == 200
    assert [r["status"] for r in response.json()["results"]] == ["error", "ok"]
    assert response.json()["results"][0]["error"]["code"] == "too_large"


def test_file_names_come_back_as_they_were_sent(
    client: httpx.Client, png: dict[str, bytes]
) -> None:
    names = ["with space, comma;.png", "Schiff 船.png", "../../etc/passwd"]
    response = client.post("/v1/classify", files=files_of(*((n, png["Cargo"]) for n in names)))
    assert [r["filename"] for r in response.json()["results"]] == names


def test_aiohttp_s_file_names_come_back_as_they_were(
    client: httpx.Client, png: dict[str, bytes]
) -> None:
    names = ["with space.png", "Schiff 船.png", 'quote".png', "100%.png"]

    async def ask() -> list[str]:
        form = aiohttp.FormData()
        for name in names:
            form.add_field("files", png["Cargo"], filename=name)
        async with (
            aiohttp.ClientSession(str(client.base_url)) as session,
            session.post("/v1/classify", data=form) as response,
        ):
            return [result["filename"] for result in (await response.json())["results"]]

    assert asyncio.run(ask()) == names


@pytest.mark.parametrize(
    ("text", "spacing"), [("20", (20, 20)), ("13.93x3.9", (13.93, 3.9)), (" 5 X 7.5 ", (5, 7.5))]
)
def test_pixel_spacing_reaches_the_model(
    client: httpx.Client,
    ships: ShipClassifier,
    png: dict[str, bytes],
    text: str,
    spacing: tuple[float, float],
) -> None:
    upload = files_of(("a", png["Tanker"]))
    response = client.post("/v1/classify", files=upload, data={"pixel_spacing_m": text})
    expected = ships.classify_file(png["Tanker"], pixel_spacing_m=spacing)
    assert expected.ood_score != pytest.approx(ships.classify_file(png["Tanker"]).ood_score)
    assert response.json()["results"][0]["ood_score"] == pytest.approx(expected.ood_score, abs=1e-5)


def test_polarisation_chooses_the_plane(client: httpx.Client) -> None:
    file = io.BytesIO()
    np.save(file, np.stack([draw_chip("Cargo"), draw_chip("Fishing")]))  # (VH, VV)
    labels = {}
    for polarisation in ("VH", "vv"):
        upload = files_of(("a.npy", file.getvalue()))
        response = client.post("/v1/classify", files=upload, data={"polarisation": polarisation})
        labels[polarisation] = response.json()["results"][0]["label"]
    assert labels == {"VH": "Cargo", "vv": "Fishing"}


def test_quantity_says_what_the_samples_are(
    client: httpx.Client, ships: ShipClassifier, png: dict[str, bytes]
) -> None:
    upload = files_of(("a", png["Tanker"]))
    response = client.post("/v1/classify", files=upload, data={"quantity": "sigma0"})
    expected = ships.classify_file(png["Tanker"], quantity="sigma0")
    assert expected.ood_score != pytest.approx(ships.classify_file(png["Tanker"]).ood_score)
    assert response.json()["results"][0]["ood_score"] == pytest.approx(expected.ood_score, abs=1e-5)


def test_options_that_a_web_form_sends_empty_count_as_not_given(
    client: httpx.Client, ships: ShipClassifier, png: dict[str, bytes]
) -> None:
    empty = dict.fromkeys(("pixel_spacing_m", "explain", "polarisation", "quantity"), "")
    response = client.post("/v1/classify", files=files_of(("a", png["Tanker"])), data=empty)
    expected = ships.classify_file(png["Tanker"])
    assert response.json()["results"][0]["ood_score"] == pytest.approx(expected.ood_score, abs=1e-5)


def test_the_client_s_request_id_is_echoed(client: httpx.Client, png: dict[str, bytes]) -> None:
    sent = {"X-Request-ID": "scene-42:7"}
    response = client.post("/v1/classify", files=files_of(("a", png["Cargo"])), headers=sent)
    assert response.headers["X-Request-ID"] == "scene-42:7"
    assert response.json()["request_id"] == "scene-42:7"


@pytest.mark.parametrize("sent", ["", "two words", "x" * 129, 'quote"'])
def test_a_missing_or_unusable_request_id_is_made_anew(
    client: httpx.Client, png: dict[str, bytes], sent: str
) -> None:
    upload = files_of(("a", png["Cargo"]))
    response = client.post("/v1/classify", files=upload, headers={"X-Request-ID": sent})
    assert re.fullmatch("[0-9a-f]{32}", response.headers["X-Request-ID"])
    assert response.json()["request_id"] == response.headers["X-Request-ID"]


def test_v1_model_says_card_hash_and_provider(client: httpx.Client, ships: ShipClassifier) -> None:
    response = client.get("/v1/model")
    assert response.status_code == 200
    body = response.json()
    assert set(body) == {"card", "sha256", "execution_provider", "limits"}
    assert body["card"]["schema"] == "shipchip.card/1"
    assert type(ships.card).model_validate(body["card"]) == ships.card
    assert body["sha256"] == ships.sha256
    assert body["execution_provider"] in ("CPUExecutionProvider", "CUDAExecutionProvider")
    assert response.headers["X-Request-ID"]


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics"])
def test_operators_endpoints_answer(client: httpx.Client, path: str) -> None:
    assert client.get(path).status_code == 200


def test_docs_describe_the_form_and_the_answers(
    client: httpx.Client, png: dict[str, bytes]
) -> None:
    document = client.get("/docs.json").json()
    post = document["paths"]["/v1/classify"]["post"]
    assert set(post["responses"]) == {"200", "400", "401", "413", "422", "429", "500", "503", "504"}
    kinds = {"multipart/form-data", "application/json"}
    assert set(post["requestBody"]["content"]) == kinds
    assert document["info"]["version"] == __version__
    assert document["info"]["contact"] == {"name": "The shipchip developers"}
    assert set(document["paths"]["/v1/model"]) == {"get"}
    schemas = document["components"]["schemas"]
    form = schemas["ClassifyForm"]
    assert form["required"] == ["files"]
    assert form["properties"]["files"]["items"] == {"type": "string", "format": "binary"}
    assert set(form["properties"]) == {
        "files",
        "pixel_spacing_m",
        "explain",
        "polarisation",
        "quantity",
    }
    references = set(re.findall(r'"#/components/schemas/(\w+)"', client.get("/docs.json").text))
    assert references <= set(schemas)
    response = client.post("/v1/classify", files=files_of(("a", png["Cargo"]), ("b", b"")))
    ClassifyResponse.model_validate(response.json(), extra="forbid")
