"""How often the prediction sets of a card hold the true class, and what they rest on."""

from collections.abc import Iterator, Mapping
from typing import Any

from shipchip.card import ModelCard
from shipchip.trust import ships_needed
from training.report.wording import interval, share, table_head, table_row


def prediction_sets(card: ModelCard, scored: Mapping[str, Any]) -> Iterator[str]:
    """Markdown lines: coverage and mean size on the test side, and the held-out ships.

    scored  source -> its figures in the card
    """
    yield (
        "Share of chips whose set holds the true class; below it, by ship: each ship's share, then "
        f"the mean over ships. The target is {card.trust.coverage:.0%} by ship, for every class "
        "over all sources together. An interval of no width is of one ship, or of few chips that "
        "are all covered."
    )
    yield ""
    yield from table_head("source", *card.classes, "mean size")
    for source, score in {**scored, "all sources": {"sets": card.metrics["sets"]}}.items():
        yield from _coverage(source, card.classes, score["sets"])
    yield ""
    yield from _held_out(card)


def _coverage(source: str, classes: tuple[str, ...], sets: Mapping[str, Any]) -> Iterator[str]:
    by_chip = sets["coverage"]
    cells = (share(by_chip[name]) if name in by_chip else "-" for name in classes)
    yield table_row(source, *cells, interval(sets["mean_size"]))
    by_ship = {name: one["by_ship"] for name, one in by_chip.items() if "by_ship" in one}
    if by_ship:  # cards of earlier versions have no such figures
        cells = (share(by_ship[name]) if name in by_ship else "-" for name in classes)
        yield table_row(f"{source}, by ship", *cells, "")


def _held_out(card: ModelCard) -> Iterator[str]:
    counts, needed = card.training.get("held_out"), ships_needed(card.trust.coverage)
    if counts is None:
        yield (
            "The card does not say how many held-out ships the sets rest on. They were fitted by "
            "chip, so they may cover less than the target where a ship shows many chips."
        )
        return
    yield (
        "The sets were fitted on held-out ships, which weigh alike however many chips show them. "
        f"With fewer than {needed} ships of a class, its coverage can only be guaranteed by "
        "including the class in every set. With cross-validation the guarantee is approximate, "
        "because other networks than the final one answered for the held-out ships."
    )
    yield ""
    yield from table_head("class", "held-out ships", "chips", "least probability in a set", "")
    for name, quantile in zip(card.classes, card.trust.quantiles, strict=True):
        ships, chips = counts[name]["ships"], counts[name]["chips"]
        note = ""
        if ships < needed:
            note = "in every set: " + ("too few held-out ships" if ships else "no held-out chip")
        yield table_row(name, str(ships), str(chips), f"{1 - quantile:.3f}", note)
