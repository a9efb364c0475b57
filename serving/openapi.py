"""The input spec of the API, and its description at /docs.json.

BentoML's own description has no GET routes, errors that this service never sends, and lacks those
that it does send. A route of ours comes before BentoML's (`bentoml.asgi_app`).
"""

import json
from typing import Annotated, Any

import bentoml
from pydantic import Field, WithJsonSchema
from pydantic.json_schema import models_json_schema
from starlette.requests import Request

from serving.access import KEY_HEADER
from serving.chips import Polarisation
from serving.forms import Form, Upload
from serving.http import CLASSIFY, CLASSIFY_BASE64, FORM
from serving.json_form import Base64Form
from serving.schema import ClassifyResponse, ErrorEnvelope, ModelInfo
from shipchip import __version__
from shipchip.chip import Quantity

MODEL, DOCS = "/v1/model", "/docs.json"

SpacingField = Annotated[
    tuple[float, float], WithJsonSchema({"type": "string", "examples": ["10", "13.93x3.87"]})
]

_REFUSALS = {
    400: "the request is malformed: no file is classified",
    401: "keys are set here, and the request has none of them",
    413: "the body is too large, or has too many files",
    429: "too many chips wait; Retry-After tells in how many seconds to come back",
    500: "a fault of the program; never the answer to bad input",
    503: "the service cannot answer now",
    504: "not done in time",
}

_HEADERS = {401: ("WWW-Authenticate",), 429: ("Retry-After",)}
_KEYS = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "header": {"type": "apiKey", "in": "header", "name": KEY_HEADER},
}
_ASKED: list[dict[str, list[str]]] = [{}, {"bearer": []}, {"header": []}]  # {}: no keys are set


class ClassifyForm(bentoml.IODescriptor):  # type: ignore[misc]  # BentoML's SDK is untyped
    """The fields of POST /v1/classify."""

    # BentoML's parser of it is not used: it would fetch a URL that stands in a file's place, write
    # every file to disk, lose its name, and answer 500 to a long name.

    files: list[Upload] = Field(
        min_length=1, description="the chips: PNG, JPEG, TIFF, GeoTIFF or .npy"
    )
    pixel_spacing_m: SpacingField | None = Field(
        default=None,
        description="metres a pixel on the ground: 10, or row and column as 13.93x3.87; overrides "
        "the files'",
    )
    explain: bool = Field(
        default=False, description="also return pictures of each chip and its activation map"
    )
    polarisation: Polarisation | None = Field(
        default=None, description="take this plane of chips that have several"
    )
    quantity: Quantity = Field(
        default="auto", description="what the samples are, where the files would be misread"
    )

    @classmethod
    async def from_http_request(cls, request: Request, serde: object) -> "ClassifyForm":
        """The form that serving.http has read and checked, within its limits."""
        del serde
        form: Form = request.scope[FORM]
        made: ClassifyForm = cls.model_construct(
            files=list(form.files),
            pixel_spacing_m=form.options.pixel_spacing_m,
            explain=form.explain,
            polarisation=form.options.polarisation,
            quantity=form.options.quantity,
        )
        return made


def openapi_json() -> str:
    """The description of the API, OpenAPI 3.1, from the models of forms and answers."""
    about = "Classify one chip or many; 422 where not one of them could be."
    spec = {
        "openapi": "3.1.0",  # pydantic's schemas are JSON Schema 2020-12
        "info": {
            "title": "shipchip",
            "version": __version__,
            "description": "Tells Cargo, Fishing and Tanker apart on small SAR chips of one ship.",
            "contact": {"name": "The shipchip developers"},
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "."}],
        "paths": {
            CLASSIFY: {"post": _classify("classify", about)},
            CLASSIFY_BASE64: {"post": _classify("classify_base64", about)},
            MODEL: {"get": _model()},
            "/livez": {"get": _check("livez", "Whether a worker runs.")},
            "/readyz": {"get": _check("readyz", "Whether the model has answered.", 503)},
            "/healthz": {"get": _check("healthz", "The same as /readyz; deprecated.", 503)},
            "/metrics": {"get": _metrics()},
        },
        "components": {"schemas": _schemas(), "securitySchemes": _KEYS},
    }
    return json.dumps(spec, ensure_ascii=False)


def _schemas() -> dict[str, Any]:
    models = (ClassifyForm, ClassifyResponse, ErrorEnvelope, ModelInfo)
    _, schema = models_json_schema(
        [*((model, "serialization") for model in models), (Base64Form, "validation")],
        ref_template="#/components/schemas/{model}",
    )
    definitions: dict[str, Any] = schema["$defs"]
    return definitions


def _classify(name: str, description: str) -> dict[str, Any]:
    content = {
        "multipart/form-data": {"schema": _ref("ClassifyForm")},
        "application/json": {"schema": _ref("Base64Form")},
    }
    return {
        "operationId": name,
        "tags": ["Service APIs"],
        "description": description,
        "security": _ASKED,
        "requestBody": {"required": True, "content": content},
        "responses": {
            "200": _answer("at least one chip was classified", "ClassifyResponse"),
            "422": _answer("not one chip could be classified", "ClassifyResponse"),
            **_errors(400, 401, 413, 429, 500, 503, 504),
        },
    }


def _model() -> dict[str, Any]:
    return {
        "operationId": "model",
        "tags": ["Service APIs"],
        "description": "The model that answers: card, sha256 of its file, what it runs on, limits.",
        "security": _ASKED,
        "responses": {"200": _answer("the model", "ModelInfo"), **_errors(401, 500, 503, 504)},
    }


def _check(name: str, description: str, *errors: int) -> dict[str, Any]:
    return {
        "operationId": name,
        "tags": ["Infrastructure"],
        "description": description,
        "responses": {"200": {"description": "yes"}, **_errors(*errors)},
    }


def _metrics() -> dict[str, Any]:
    return {
        "operationId": "metrics",
        "tags": ["Infrastructure"],
        "description": "Metrics of all workers, as Prometheus reads them.",
        "security": _ASKED,
        "responses": {
            "200": {"description": "metrics", "content": {"text/plain": {}}},
            **_errors(401),
        },
    }


def _errors(*statuses: int) -> dict[str, Any]:
    return {
        str(status): _answer(_REFUSALS[status], "ErrorEnvelope", *_HEADERS.get(status, ()))
        for status in statuses
    }


def _answer(description: str, schema: str, *headers: str) -> dict[str, Any]:
    return {
        "description": description,
        "headers": {name: {"schema": {"type": "string"}} for name in ("X-Request-ID", *headers)},
        "content": {"application/json": {"schema": _ref(schema)}},
    }


def _ref(schema: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{schema}"}
