"""The model card in a model file: ModelCard and, in it, InputSpec and TrustSpec.

The card is one JSON string in the ONNX metadata under CARD_KEY. Class names, preprocessing
constants and trust constants are stored nowhere else; code that needs one reads the card.
"""

import json
from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    model_validator,
)

from shipchip.chip import Encoding
from shipchip.errors import CardInvalid, CardMissing

CARD_KEY = "shipchip.card"
SCHEMA: Literal["shipchip.card/1"] = "shipchip.card/1"

Metres = Annotated[float, Field(gt=0, le=1000)]


class Frozen(BaseModel):
    """Immutable, and an unknown key is an error: a misspelt setting must not be ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class SpacingRule(Frozen):
    """Pixel spacing assumed for a chip that has none of its own.

    A rule applies to chips of one sample `encoding` ("any": to all) whose longer side has at
    least `min_side` pixels. `spacing_m` is (row, column) in metres on the ground.
    """

    encoding: Literal["integer", "float", "complex", "any"]
    min_side: int = Field(default=0, ge=0)
    spacing_m: tuple[Metres, Metres]
    why: str

    def applies(self, encoding: Encoding, side: int) -> bool:
        """Whether the rule applies to a chip of this encoding and longer side in pixels."""
        return self.encoding in ("any", encoding) and side >= self.min_side


class InputSpec(Frozen):
    """How a chip becomes the model's input (see shipchip.prepare, the only reader).

    size            S: the input is (1, S, S) float32
    spacing_m       metres per input pixel, both axes; the field of view is S * spacing_m
    polarisations   the first of these that a chip has is the plane that is used
    db_min, db_max  decibels above the chip's own clutter are clipped to this range ...
    db_scale        ... and divided by this, so clutter is 0 and a ship is about 1
    spacing_rules   if a chip has no pixel spacing, the first rule that applies gives it
    clutter_window_m  side of the square around the chip's centre in which its clutter is read, so
                    that it does not depend on how much was cut out; 0 reads the whole chip
    """

    size: int = Field(ge=16, le=1024)
    spacing_m: Metres
    polarisations: tuple[str, ...] = Field(min_length=1)
    db_min: float
    db_max: float
    db_scale: float = Field(gt=0)
    spacing_rules: tuple[SpacingRule, ...] = Field(min_length=1)
    clutter_window_m: float = Field(default=0, ge=0, le=100_000)

    @model_validator(mode="after")
    def _coherent(self) -> "InputSpec":
        if not self.db_min < 0 < self.db_max:
            raise ValueError(f"db_min {self.db_min} < 0 < db_max {self.db_max} does not hold")
        last = self.spacing_rules[-1]
        if last.encoding != "any" or last.min_side:
            raise ValueError("the last spacing rule must apply to every chip")
        return self


class OodSpec(Frozen):
    """Gaussian with a low-rank covariance on the embedding (probabilistic PCA, D values).

    mean (D,), components (P, D) orthonormal rows, variances (P,), noise_variance of the other
    D - P directions; a score above `threshold` is out of distribution.
    """

    mean: tuple[float, ...]
    components: tuple[tuple[float, ...], ...]
    variances: tuple[Annotated[float, Field(gt=0)], ...]
    noise_variance: float = Field(gt=0)
    threshold: float

    @model_validator(mode="after")
    def _shapes(self) -> "OodSpec":
        if len(self.components) != len(self.variances):
            raise ValueError("as many components as variances are expected")
        if any(len(row) != len(self.mean) for row in self.components):
            raise ValueError("each component must be as long as the mean")
        return self


class TrustSpec(Frozen):
    """Constants of shipchip.trust, fitted on validation chips.

    temperature  divides the logits (Guo et al. 2017)
    coverage     the share of chips whose true class the prediction set should hold
    quantiles    per class, the largest 1 - probability that still enters the set
    ood          the out-of-distribution score and its threshold
    """

    temperature: float = Field(gt=0)
    coverage: float = Field(gt=0, lt=1)
    quantiles: tuple[Annotated[float, Field(ge=0, le=1)], ...]
    ood: OodSpec


class SpacingRange(Frozen):
    """Pixel spacings (least, most) in metres, of the finer and the coarser side of a pixel."""

    finer_m: tuple[Metres, Metres]
    coarser_m: tuple[Metres, Metres]

    def holds(self, spacing_m: tuple[float, float]) -> bool:
        """Whether a pixel of this spacing, (row, column) in metres, is in the range."""
        finer, coarser = sorted(spacing_m)
        return (
            self.finer_m[0] <= finer <= self.finer_m[1]
            and self.coarser_m[0] <= coarser <= self.coarser_m[1]
        )


class SizeSpec(Frozen):
    """Constants of shipchip.size, fitted on held-out ships of known size.

    coverage   the share of ships whose size an interval should hold
    length_factor, width_factor  an interval reaches from the estimate over this to the estimate
               times this
    validated  pixel spacings of the chips that had a known size
    """

    coverage: float = Field(gt=0, lt=1)
    length_factor: float = Field(gt=1)
    width_factor: float = Field(gt=1)
    validated: tuple[SpacingRange, ...] = Field(min_length=1)


class ModelCard(Frozen):
    """Everything a model file says about itself. `size` is None if the graph estimates no size.

    `metrics` and `training` are JSON records for people and reports. They stay open, because cards
    of all versions must load, and shipchip computes nothing from them.
    """

    schema_: Literal["shipchip.card/1"] = Field(alias="schema")
    name: str
    version: str
    architecture: str
    classes: tuple[str, ...] = Field(min_length=2)
    input: InputSpec
    trust: TrustSpec
    size: SizeSpec | None = None
    metrics: dict[str, JsonValue]
    training: dict[str, JsonValue]
    terms: str

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, populate_by_name=True
    )

    @model_validator(mode="after")
    def _classes_fit(self) -> "ModelCard":
        if len(set(self.classes)) != len(self.classes):
            raise ValueError(f"class names repeat: {self.classes}")
        if len(self.trust.quantiles) != len(self.classes):
            raise ValueError("one conformal quantile a class is expected")
        return self

    def to_json(self) -> str:
        """The string that is stored in the model file."""
        return self.model_dump_json(by_alias=True)


def card_from_metadata(metadata: dict[str, str]) -> ModelCard:
    """The card in an ONNX file's metadata.

    Raises CardMissing if there is none, CardInvalid if its schema is missing or unknown or its
    content does not match the schema.
    """
    text = metadata.get(CARD_KEY)
    if text is None:
        raise CardMissing(
            f"the model has no '{CARD_KEY}' metadata, so its classes and preprocessing are "
            "unknown; expected a file exported by `python -m training.run`"
        )
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CardInvalid(f"the model's card is not JSON: {error}") from error
    schema = content.get("schema") if isinstance(content, dict) else None
    if schema != SCHEMA:
        raise CardInvalid(
            f"the model's card has schema {schema!r}, this shipchip reads {SCHEMA!r}; "
            "export the model again or install the shipchip that wrote it"
        )
    try:
        return ModelCard.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise CardInvalid(f"the model's card is invalid at '{where}': {first['msg']}") from error
