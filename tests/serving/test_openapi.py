"""/docs.json is true: what is drawn from it is answered as it says."""

import json
import re
import tomllib
from typing import Any

import httpx
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from serving.schema import ClassifyResponse, ErrorEnvelope, ModelInfo
from shipchip import ModelCard
from tests.serving.schemas import drawn
from tests.serving.server import ROOT

MODELS: dict[str, type[BaseModel]] = {
    "ClassifyResponse": ClassifyResponse,
    "ErrorEnvelope": ErrorEnvelope,
    "ModelInfo": ModelInfo,
}
OURS = {
    "/v1/classify": ("post", {200, 400, 401, 413, 422, 429, 500, 503, 504}),
    "/v1/classify_base64": ("post", {200, 400, 401, 413, 422, 429, 500, 503, 504}),
    "/v1/model": ("get", {200, 401, 500, 503, 504}),
}
DRAWS = settings(
    max_examples=60,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(scope="module")
def document(client: httpx.Client) -> dict[str, Any]:
    answer: dict[str, Any] = client.get("/docs.json").json()
    return answer


def assert_as_documented(response: httpx.Response, operation: dict[str, Any]) -> None:
    """Status, type, headers and body are among those that the operation tells."""
    assert str(response.status_code) in operation["responses"], response.text
    reported = operation["responses"][str(response.status_code)]
    kind = response.headers["Content-Type"].partition(";")[0]
    assert kind in reported["content"]
    assert set(reported["headers"]) <= {
        name.title().replace("-Id", "-ID") for name in response.headers
    }
    name = reported["content"][kind]["schema"]["$ref"].rpartition("/")[2]
    MODELS[name].model_validate(response.json(), extra="forbid", strict=False)


def test_every_path_of_ours_is_there_with_every_status_it_has(document: dict[str, Any]) -> None:
    for path, (method, statuses) in OURS.items():
        assert set(document["paths"][path]) == {method}
        assert set(document["paths"][path][method]["responses"]) == {str(s) for s in statuses}


def test_every_path_stands_in_the_manual_and_the_other_way_round(document: dict[str, Any]) -> None:
    manual = (ROOT / "docs" / "api.md").read_text()
    reported = set(re.findall(r"^\| `(?:GET|POST) (/\S*)` \|", manual, re.MULTILINE))
    assert reported == {*document["paths"], "/docs.json", "/docs", "/demo", "/demo/samples"}


def test_the_document_is_of_this_release_and_of_its_makers(document: dict[str, Any]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    makers = yaml.safe_load((ROOT / "CITATION.cff").read_text())["authors"]
    assert document["info"]["version"] == project["version"]
    assert [document["info"]["contact"]] == makers


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    reported = json.dumps(document).split('"#/components/schemas/')[1:]
    assert {text.partition('"')[0] for text in reported} <= set(schemas)
    assert set(document["components"]["securitySchemes"]) == {"bearer", "header"}


def test_both_forms_take_the_same_fields(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    form, as_json = schemas["ClassifyForm"], schemas["Base64Form"]
    assert set(form["properties"]) == set(as_json["properties"])
    assert form["required"] == as_json["required"] == ["files"]
    assert as_json["additionalProperties"] is False


def test_get_model_answers_as_documented(client: httpx.Client, document: dict[str, Any]) -> None:
    response = client.get("/v1/model")
    assert_as_documented(response, document["paths"]["/v1/model"]["get"])
    ModelCard.model_validate(response.json()["card"])


@given(data=st.data())
@DRAWS
def test_json_drawn_from_the_schema_is_answered_as_documented(
    client: httpx.Client, document: dict[str, Any], png: dict[str, bytes], data: st.DataObject
) -> None:
    schemas = document["components"]["schemas"]
    body = data.draw(drawn(schemas["Base64Form"], schemas, list(png.values())))
    response = client.post("/v1/classify_base64", json=body)
    assert_as_documented(response, document["paths"]["/v1/classify_base64"]["post"])
    if response.status_code in (200, 422):
        names = [file["filename"] for file in body["files"]]
        assert [result["filename"] for result in response.json()["results"]] == names


@given(data=st.data())
@DRAWS
def test_forms_drawn_from_the_schema_are_answered_as_documented(
    client: httpx.Client, document: dict[str, Any], png: dict[str, bytes], data: st.DataObject
) -> None:
    schemas = document["components"]["schemas"]
    form = data.draw(drawn(schemas["ClassifyForm"], schemas, list(png.values())))
    upload = [("files", (f"{place}.png", content)) for place, content in enumerate(form["files"])]
    fields = {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in form.items()
        if name != "files"
    }
    response = client.post("/v1/classify", files=upload, data=fields)
    assert_as_documented(response, document["paths"]["/v1/classify"]["post"])
    if upload and response.status_code not in (413, 422):
        assert response.status_code == 200 or response.json()["error"]["code"]


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)


@given(body=ANYTHING, field=st.sampled_from(["files", "pixel_spacing_m", "explain", "quantity"]))
@DRAWS
def test_json_of_any_other_shape_is_answered_as_documented(
    client: httpx.Client, document: dict[str, Any], body: Any, field: str
) -> None:
    good = {"files": [{"filename": "a", "data": ""}]}
    for sent in (body, {**good, field: body}, {"files": [body]}):
        text = json.dumps(sent)
        response = client.post(
            "/v1/classify_base64", content=text, headers={"Content-Type": "application/json"}
        )
        assert_as_documented(response, document["paths"]["/v1/classify_base64"]["post"])


@given(content=st.binary(max_size=300), kind=st.sampled_from(["multipart/form-data", "a/b", ""]))
@DRAWS
def test_bytes_of_any_kind_are_answered_as_documented(
    client: httpx.Client, document: dict[str, Any], content: bytes, kind: str
) -> None:
    headers = {"Content-Type": f"{kind}; boundary=b"}
    for path in ("/v1/classify", "/v1/classify_base64"):
        response = client.post(path, content=b"--b\r\n" + content, headers=headers)
        assert_as_documented(response, document["paths"][path]["post"])
