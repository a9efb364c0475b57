"""What the service answers, as pydantic models. The names are a contract with clients."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from serving.chips import ChipFailure
from serving.pictures import ExplainedPrediction
from serving.settings import Settings
from shipchip import ModelCard, Prediction, ShipClassifier
from shipchip.answer import SIZE_FIELDS, SpacingOrigin, Verdict
from shipchip.chip import ReadQuantity

Probability = Annotated[float, Field(ge=0, le=1)]
# The data alone, without `data:image/png;base64,` before it.
Base64Png = Annotated[
    str, Field(json_schema_extra={"contentEncoding": "base64", "contentMediaType": "image/png"})
]


def _is_none(value: object) -> bool:
    return value is None


class ErrorDetail(BaseModel):
    """Programs branch on `code`, which is stable; people read `message`."""

    code: str
    message: str


class ChipUsed(BaseModel):
    """What was assumed of a chip."""

    model_config = ConfigDict(from_attributes=True)

    pixel_spacing_m: tuple[float, float] = Field(description="row, column: metres on the ground")
    pixel_spacing_from: SpacingOrigin = Field(
        description="the request, the file, or a rule of the model card: a guess"
    )
    polarisation: Literal["VV", "VH", "HH", "HV", "unknown"] = Field(
        description="of the plane that the model saw"
    )
    quantity: ReadQuantity = Field(description="what the samples were read as")
    clipped: Probability | None = Field(
        default=None,
        exclude_if=_is_none,
        description="share of the samples that were clipped; absent if none were",
    )


class ChipOk(BaseModel):
    """The answer for one chip."""

    filename: str
    status: Literal["ok"] = "ok"
    label: str = Field(description="the most probable class")
    confidence: Probability = Field(description="calibrated probability of `label`")
    probabilities: dict[str, Probability] = Field(description="calibrated, by class, sum 1")
    prediction_set: list[str] = Field(
        description="classes that hold the true one at the coverage that the card states"
    )
    in_distribution: bool = Field(
        description="false: unlike the training chips, doubt every number here"
    )
    ood_score: float = Field(description="about 1 for chips like the training chips, then higher")
    verdict: Verdict = Field(
        description="sure: the label is the only class in the prediction set; undecided: there are "
        "several; unlike: out of distribution"
    )
    used: ChipUsed = Field(description="what was assumed of the chip")
    length_m: float | None = Field(
        description="length of the ship in metres; null if the model estimates none"
    )
    length_low_m: float | None = Field(
        description="lower end of an interval that holds the length at the coverage that the card "
        "states as size.coverage, where length_validated is true"
    )
    length_high_m: float | None = Field(description="its upper end")
    width_m: float | None = Field(description="width of the ship in metres, as length_m")
    width_low_m: float | None = Field(description="lower end of its interval")
    width_high_m: float | None = Field(description="upper end of its interval")
    length_validated: bool | None = Field(
        description="whether such chips were measured against lengths from AIS: the pixel spacing "
        "is not a rule's guess and like that of these chips, and the chip is in distribution"
    )
    lon: float | None = Field(
        description="degrees (WGS 84) of the chip's centre; null unless the file is georeferenced"
    )
    lat: float | None = Field(description="the same")
    preview: Base64Png | None = Field(
        default=None,
        exclude_if=_is_none,
        description="with `explain`: the chip as the model saw it, black at 6 dB below clutter and "
        "white at 36 dB above",
    )
    activation_map: Base64Png | None = Field(
        default=None,
        exclude_if=_is_none,
        description="with `explain`: `preview` with the label's class activation map over it, in "
        "colours of its share of the map's highest value; no colour where the map is nothing",
    )


class ChipFailed(BaseModel):
    """Why one chip was not classified; the other chips of the request are not touched by it."""

    filename: str
    status: Literal["error"] = "error"
    error: ErrorDetail


ChipResult = Annotated[ChipOk | ChipFailed, Field(discriminator="status")]


class ModelName(BaseModel):
    """Which model answered."""

    name: str
    version: str
    sha256: str


class ClassifyResponse(BaseModel):
    """One result a file, in the order of the upload."""

    request_id: str
    model: ModelName
    results: list[ChipResult]


class RequestError(ErrorDetail):
    """Why the whole request was refused."""

    request_id: str


class ErrorEnvelope(BaseModel):
    """The body of every error that concerns the request rather than a chip."""

    error: RequestError


class Limits(BaseModel):
    """What one request may hold; clients divide their chips by it."""

    max_files: int = Field(description="chips in one request")
    max_request_bytes: int = Field(description="bytes of one request's body")
    max_bytes: int = Field(description="bytes of one chip's file")


class ModelInfo(BaseModel):
    """The model that answers: its card, its file's hash, what it runs on, and what it takes."""

    card: ModelCard
    sha256: str
    execution_provider: str = Field(description="as ONNX Runtime names it")
    limits: Limits


def chip_result(filename: str, result: Prediction | ChipFailure) -> ChipOk | ChipFailed:
    """The result of one file as it goes over HTTP."""
    if isinstance(result, ChipFailure):
        detail = ErrorDetail(code=result.code, message=result.message)
        return ChipFailed(filename=filename, error=detail)
    drawn = result if isinstance(result, ExplainedPrediction) else None
    return ChipOk(
        filename=filename,
        label=result.label,
        confidence=result.confidence,
        probabilities=result.probabilities,
        prediction_set=list(result.prediction_set),
        in_distribution=result.in_distribution,
        ood_score=result.ood_score,
        verdict=result.verdict,
        used=ChipUsed.model_validate(result.used),
        **{name: getattr(result, name) for name in SIZE_FIELDS},
        lon=result.lon,
        lat=result.lat,
        preview=drawn.preview if drawn else None,
        activation_map=drawn.overlay if drawn else None,
    )


def model_name(ships: ShipClassifier) -> ModelName:
    """The model as an answer names it."""
    return ModelName(name=ships.card.name, version=ships.card.version, sha256=ships.sha256)


def model_info(ships: ShipClassifier, settings: Settings) -> ModelInfo:
    """The model as GET /v1/model answers."""
    return ModelInfo(
        card=ships.card,
        sha256=ships.sha256,
        execution_provider=ships.provider,
        limits=Limits.model_validate(settings, from_attributes=True),
    )
