"""Sections of the model card for people: prediction sets, sizes, and how to train it again."""

import json
from collections.abc import Iterator, Mapping

from pydantic import JsonValue

from shipchip.card import ModelCard
from shipchip.trust import ships_needed
from training.card.record import config_of_card, figures_of_card, training_of_card
from training.card.schema import ModelFigures, SetFigures, SourceScore
from training.config import RECIPE
from training.evaluation.tables import interval_text, share, table_head, table_row


def prediction_sets_section(card: ModelCard, scored: Mapping[str, SourceScore]) -> Iterator[str]:
    """Markdown lines: coverage and mean size on the test side, and the held-out ships.

    scored  source -> its figures in the card
    """
    yield (
        "Share of chips whose set contains the true class, and below it the same by ship: the mean "
        f"over ships of each ship's share. The target is {card.trust.coverage:.0%} by ship, for "
        "every class over all sources together. An interval without width comes from one ship, or "
        "from few chips that are all covered."
    )
    yield ""
    yield from table_head("source", *card.classes, "mean size")
    for source, score in scored.items():
        yield from _coverage(source, card.classes, score.sets)
    yield from _coverage("all sources", card.classes, figures_of_card(card).sets)
    yield ""
    yield from _held_out(card)


def _coverage(source: str, classes: tuple[str, ...], sets: SetFigures) -> Iterator[str]:
    by_chip = sets.coverage
    cells = (share(by_chip[name]) if name in by_chip else "-" for name in classes)
    yield table_row(source, *cells, interval_text(sets.mean_size))
    by_ship = {name: one.by_ship for name, one in by_chip.items() if one.by_ship}
    if by_ship:  # cards of earlier versions have no such figures
        cells = (share(by_ship[name]) if name in by_ship else "-" for name in classes)
        yield table_row(f"{source}, by ship", *cells, "")


def _held_out(card: ModelCard) -> Iterator[str]:
    counts, needed = training_of_card(card).held_out, ships_needed(card.trust.coverage)
    if counts is None:
        yield (
            "The card does not say how many ships were held out to fit the sets. They were fitted "
            "by chip, so they may cover less than the target if some ships have many chips."
        )
        return
    yield (
        "The sets were fitted on held-out ships, each with equal weight. "
        f"With fewer than {needed} ships of a class, its coverage can only be guaranteed by "
        "including the class in every set. With cross-validation the guarantee is approximate, "
        "because the predictions for held-out ships are those of the networks of the folds."
    )
    yield ""
    yield from table_head("class", "held-out ships", "chips", "least probability in a set", "")
    for name, quantile in zip(card.classes, card.trust.quantiles, strict=True):
        ships, chips = counts[name].ships, counts[name].chips
        note = ""
        if ships < needed:
            note = "in every set: " + ("too few held-out ships" if ships else "no held-out chip")
        yield table_row(name, str(ships), str(chips), f"{1 - quantile:.3f}", note)


def sizes_section(card: ModelCard, metrics: ModelFigures) -> Iterator[str]:
    """Markdown lines: errors and intervals of lengths and widths on the test side."""
    if card.size is None or metrics.sizes is None:
        yield "This model estimates no sizes, or was measured on no ship of known size."
        return
    up, down = card.size.length_factor - 1, 1 - 1 / card.size.length_factor
    yield (
        "Length and width of each ship are estimated from the measurements and the network's "
        "features, by a regression on AIS sizes. Here they are compared with the AIS sizes of the "
        "test side. An interval "
        f"reaches {down:.0%} below and {up:.0%} above the estimated length; it should hold "
        f"{card.size.coverage:.0%} of lengths."
    )
    yield ""
    yield from table_head(
        "source",
        "chips (ships)",
        "length, mean error",
        "median",
        "in interval",
        "width, mean error",
        "in interval",
    )
    for source, one in {**metrics.sizes.sources, "all sources": metrics.sizes.all}.items():
        yield table_row(
            source,
            f"{one.chips} ({one.ships})",
            f"{interval_text(one.length_error_m)} m",
            f"{one.length_error_share:.1%}",
            share(one.length_held),
            f"{interval_text(one.width_error_m)} m",
            share(one.width_held),
        )
    yield ""
    yield from table_head("length", "chips", "mean error", "in interval")
    for name, part in metrics.sizes.all.by_length.items():
        cells = (str(part.chips), f"{part.length_error_m:.1f} m", f"{part.length_held:.0%}")
        yield table_row(name, *cells)
    yield ""
    ranges = "; ".join(
        f"{known.finer_m[0]:.2f} to {known.finer_m[1]:.2f} m by {known.coarser_m[0]:.2f} to "
        f"{known.coarser_m[1]:.2f} m"
        for known in card.size.validated
    )
    yield (
        f"Sizes were only validated for pixels of {ranges}. For other pixels, a default spacing, "
        "or a chip out of distribution, `length_validated` is false: treat the size as a guess."
    )


_PYTHON = ".venv/dev/bin/python -m training.run"


def retraining_section(card: ModelCard) -> Iterator[str]:
    """Markdown lines: where the data go, the config where it is not the default, the commands."""
    record = training_of_card(card).pretraining
    yield (
        "In a checkout: `DIR` has `FUSAR_Ship1.0.zip` (doi "
        "10.1007/s11432-019-2772-5) and the OpenSARShip scene archives `S1A_IW_*` (doi "
        "10.1109/JSTARS.2017.2755672) as downloaded; `OTHER_SAR` has class folders of chips that "
        "are not ships, or is a zip of them."
    )
    config, usual = config_of_card(card), RECIPE.model_dump(mode="json")
    if config.imbalance.loss != RECIPE.imbalance.loss:
        del usual["imbalance"]["sampling"]  # a config that changes the loss must give it
    changes = list(_changes(config.model_dump(mode="json"), usual))
    if changes:
        yield from ("", "`like.toml`, which differs from the `RECIPE` of `training/config.py`:")
        yield from ("", "```toml", *changes, "```")
    given = " --config like.toml" if changes else ""
    start = ""
    if record:
        pretrained = f" --pretrained {record.source}"
        start = pretrained if record.chips is None else " --pretrain OTHER_SAR"
    doubt = " --ood OTHER_SAR"
    yield from ("", "```", "make dev                      # makes .venv/dev with torch")
    yield f"{_PYTHON} data DIR    # what is there, split by ship"
    yield f"{_PYTHON} --data DIR{given}{start}{doubt}"
    yield f"{_PYTHON} evaluate runs/ship-ID/ship.onnx --data DIR{doubt}"
    yield f"{_PYTHON} promote runs/ship-ID"
    yield "```"


def _changes(
    content: Mapping[str, JsonValue], default: Mapping[str, JsonValue], place: str = ""
) -> Iterator[str]:
    """Lines `a.b = value` of TOML for what differs; TOML has no null, so None is left out."""
    for key, value in content.items():
        usual = default.get(key)
        if isinstance(value, dict) and isinstance(usual, dict):
            yield from _changes(value, usual, f"{place}{key}.")
        elif value != usual and value is not None:
            yield f"{place}{key} = {_toml(value)}"


def _toml(value: JsonValue) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k} = {_toml(v)}" for k, v in value.items() if v is not None) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    if isinstance(value, str):
        return json.dumps(value)
    return str(value).lower() if isinstance(value, bool) else repr(value)
