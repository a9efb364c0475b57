"""How to train a model like that of a card again, on the full releases: exact commands."""

import json
from collections.abc import Iterator
from typing import Any

from shipchip.card import ModelCard
from training.card_data import config_of_card
from training.config import RECIPE

_PYTHON = ".venv/dev/bin/python -m training.run"


def retraining(card: ModelCard) -> Iterator[str]:
    """Markdown lines: where the data go, the config where it is not the default, the commands."""
    record = card.training["pretraining"]
    yield (
        "On the full releases, in a checkout. `DIR` holds `FUSAR_Ship1.0.zip` (doi "
        "10.1007/s11432-019-2772-5) and the OpenSARShip scene archives `S1A_IW_*` (doi "
        "10.1109/JSTARS.2017.2755672) as downloaded; `OTHER_SAR` holds class folders of chips that "
        "are no ships, or is a zip of them."
    )
    config, usual = config_of_card(card), RECIPE.model_dump(mode="json")
    if config.imbalance.loss != RECIPE.imbalance.loss:
        del usual["imbalance"]["sampling"]  # a config that changes the loss must give it
    changes = list(_changes(config.model_dump(mode="json"), usual))
    if changes:
        yield from ("", "`like.toml`, what differs from the `RECIPE` of `training/config.py`:")
        yield from ("", "```toml", *changes, "```")
    given = " --config like.toml" if changes else ""
    start = ""
    if record:
        start = (
            " --pretrain OTHER_SAR" if "chips" in record else f" --pretrained {record['source']}"
        )
    doubt = " --ood OTHER_SAR"
    yield from ("", "```", "make dev                      # makes .venv/dev with torch")
    yield f"{_PYTHON} data DIR    # what is there, split by ship"
    yield f"{_PYTHON} --data DIR{given}{start}{doubt}"
    yield f"{_PYTHON} evaluate runs/ship-ID/ship.onnx --data DIR{doubt}"
    yield f"{_PYTHON} promote runs/ship-ID"
    yield "```"


def _changes(content: dict[str, Any], default: dict[str, Any], place: str = "") -> Iterator[str]:
    """Lines `a.b = value` of TOML for what differs; None has no place in TOML and is left out."""
    for key, value in content.items():
        usual = default.get(key)
        if isinstance(value, dict) and isinstance(usual, dict):
            yield from _changes(value, usual, f"{place}{key}.")
        elif value != usual and value is not None:
            yield f"{place}{key} = {_toml(value)}"


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k} = {_toml(v)}" for k, v in value.items() if v is not None) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    if isinstance(value, str):
        return json.dumps(value)
    return str(value).lower() if isinstance(value, bool) else repr(value)
