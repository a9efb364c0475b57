"""What BentoML and clients are told of the API: the form it takes, and /docs.json.

BentoML writes the document from its APIs alone: without GET routes, with error bodies that this
service never sends, and without the statuses that it does send. So its paths are replaced here.
"""

from typing import Annotated, Any

import attrs
import bentoml
from pydantic import Field, WithJsonSchema
from pydantic.json_schema import models_json_schema

from serving.access import KEY_HEADER
from serving.chips import Polarisation
from serving.forms import Upload
from serving.http import CLASSIFY, CLASSIFY_BASE64
from serving.json_form import Base64Form
from serving.schema import ClassifyResponse, ErrorEnvelope, ModelInfo
from shipchip import __version__
from shipchip.chip import Quantity

MODEL = "/v1/model"

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
    """The fields of POST /v1/classify.

    BentoML's parser of it is not used: it would fetch a URL that stands in a file's place, write
    every file to disk, lose its name, and answer 500 to a long name. serving.http reads the form.
    """

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


class DocumentedService(bentoml.Service[Any]):  # type: ignore[misc]  # BentoML's SDK is untyped
    """A BentoML service that describes itself by the schemas of this package."""

    @property
    def openapi_spec(self) -> Any:
        """BentoML's document, with our paths and schemas in the place of its own."""
        spec = super().openapi_spec
        theirs = spec.paths[CLASSIFY]
        about = theirs.post["description"]
        forms = {
            CLASSIFY: _classify("classify", about, "multipart/form-data", "ClassifyForm"),
            CLASSIFY_BASE64: _classify("classify_base64", about, "application/json", "Base64Form"),
        }
        ours = {
            **{path: attrs.evolve(theirs, post=post) for path, post in forms.items()},
            MODEL: attrs.evolve(theirs, post=None, get=_model()),
        }
        return attrs.evolve(
            spec,
            openapi="3.1.0",  # pydantic's schemas are JSON Schema 2020-12
            info=attrs.evolve(
                spec.info,
                description=self.description,
                version=__version__,
                contact=attrs.evolve(spec.info.contact, name="The shipchip developers", email=None),
            ),
            paths={**spec.paths, **ours},
            components={"schemas": _schemas(), "securitySchemes": _KEYS},
        )


def _schemas() -> dict[str, Any]:
    models = (ClassifyForm, ClassifyResponse, ErrorEnvelope, ModelInfo)
    _, schema = models_json_schema(
        [*((model, "serialization") for model in models), (Base64Form, "validation")],
        ref_template="#/components/schemas/{model}",
    )
    definitions: dict[str, Any] = schema["$defs"]
    return definitions


def _classify(name: str, description: str, kind: str, form: str) -> dict[str, Any]:
    return {
        "operationId": name,
        "tags": ["Service APIs"],
        "description": description,
        "security": _ASKED,
        "requestBody": {"required": True, "content": {kind: {"schema": _ref(form)}}},
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
