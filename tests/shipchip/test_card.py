"""A model's card is read whole or refused; nothing in it has a silent default."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from shipchip import InputSpec, ModelCard, ModelError
from shipchip.card import CARD_KEY, OodSpec, SpacingRule, card_from_metadata
from tests.shipchip.inputs import spec
from tests.tiny_model import tiny_card


def content() -> dict[str, Any]:
    """The tiny card as a dictionary, to be spoilt by a test."""
    card: dict[str, Any] = json.loads(tiny_card().to_json())
    return card


def code(card: Any) -> tuple[str, str]:
    """Code and message of the error that reading `card` raises."""
    text = card if isinstance(card, str) else json.dumps(card)
    with pytest.raises(ModelError) as caught:
        card_from_metadata({CARD_KEY: text})
    return caught.value.code, str(caught.value)


def test_round_trip() -> None:
    card = tiny_card()
    assert card_from_metadata({CARD_KEY: card.to_json(), "other": "x"}) == card
    assert json.loads(card.to_json())["schema"] == "shipchip.card/1"


def test_a_file_without_card_is_missing_it() -> None:
    with pytest.raises(ModelError) as caught:
        card_from_metadata({"producer": "somebody else"})
    assert caught.value.code == "card_missing"


@pytest.mark.parametrize("schema", [None, "", "shipchip.card/2", 1])
def test_an_unknown_schema_is_invalid(schema: Any) -> None:
    assert code(content() | {"schema": schema})[0] == "card_invalid"


def test_a_missing_schema_is_invalid_not_the_newest() -> None:
    card = content()
    del card["schema"]
    assert code(card)[0] == "card_invalid"


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"card"', "7", "[" * 100_000])
def test_what_is_no_json_object_is_invalid(text: str) -> None:
    assert code(text)[0] == "card_invalid"


@pytest.mark.parametrize("key", sorted(set(json.loads(tiny_card().to_json())) - {"schema", "size"}))
def test_every_key_is_needed(key: str) -> None:
    card = content()
    del card[key]
    assert code(card)[0] == "card_invalid"
    assert key in code(card)[1], "the message names the key"


@pytest.mark.parametrize(
    "path", [(), ("input",), ("trust",), ("trust", "ood"), ("input", "spacing_rules", 0)]
)
def test_an_unknown_key_is_invalid_everywhere(path: tuple[Any, ...]) -> None:
    card = content()
    inner: Any = card
    for step in path:
        inner = inner[step]
    inner["db_maximum"] = 1
    assert code(card)[0] == "card_invalid"
    assert "db_maximum" in code(card)[1]


def spoilt(path: str, value: Any) -> dict[str, Any]:
    card = content()
    *outer, last = path.split(".")
    inner: Any = card
    for step in outer:
        inner = inner[step]
    inner[last] = value
    return card


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("classes", ["Cargo", "Fishing", "Cargo"]),
        ("classes", ["Cargo"]),
        ("classes", ["Cargo", "Fishing"]),  # the quantiles are three
        ("trust.quantiles", [0.5, 0.5]),
        ("trust.quantiles", [0.5, 0.5, 0.5, 0.5]),
        ("trust.quantiles", [0.5, 0.5, 1.5]),
        ("trust.temperature", 0),
        ("trust.coverage", 1),
        ("trust.ood.noise_variance", 0),
        ("trust.ood.variances", [0.04, 0.02]),
        ("trust.ood.components", [[1.0, 0.0, 0.0]]),
        ("trust.ood.threshold", float("inf")),
        ("trust.ood.threshold", float("nan")),
        ("input.size", 15),
        ("input.spacing_m", 0),
        ("input.spacing_m", "ten"),
        ("input.polarisations", []),
        ("input.db_scale", 0),
        ("input.db_min", 1),
        ("input.db_max", -1),
        ("input.spacing_rules", []),
        ("name", 5),
    ],
)
def test_a_contradicting_card_is_invalid(path: str, value: Any) -> None:
    assert code(spoilt(path, value))[0] == "card_invalid"


def test_the_last_spacing_rule_must_apply_to_every_chip() -> None:
    for rule in (
        SpacingRule(encoding="float", spacing_m=(1, 1), why="not to integers"),
        SpacingRule(encoding="any", min_side=9, spacing_m=(1, 1), why="not to small ones"),
    ):
        with pytest.raises(ValidationError, match="last spacing rule"):
            spec(spacing_rules=(rule,))


def test_a_card_cannot_be_changed() -> None:
    card: ModelCard = tiny_card()
    given: InputSpec = card.input
    ood: OodSpec = card.trust.ood
    for model, field in ((card, "name"), (given, "size"), (ood, "threshold")):
        with pytest.raises(ValidationError, match="frozen"):
            setattr(model, field, 1)
