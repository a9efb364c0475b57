"""A model file measured again, compared with its targets and with the figures in its card."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pydantic import JsonValue
from rich.console import Console

from shipchip.classifier import ShipClassifier
from training.card.record import dataset_of_card, seen_in_pretraining, training_of_card
from training.card.schema import Int8Figures, Interval, JsonRecord, ModelFigures
from training.data.dataset import Dataset, Workspace, load_ood_chips
from training.data.record import Source
from training.errors import ExportMismatch
from training.evaluation.final_test import lost_by, measure_file, measure_file_presented
from training.evaluation.presentations import presentations_table
from training.evaluation.tables import evaluation_table, verdict_line
from training.evaluation.targets import TargetRecord, rows
from training.identity import arrays_sha256
from training.int8.comparison import (
    THREADS,
    check_related,
    chips_per_second,
    time_in_turns,
    times_as_fast,
)

CARD_TOLERANCE = 1e-6  # of a figure that is measured again on a CPU
_NEW = {"by_ship", "presentations", "sizes", "length_kept"}  # cards of earlier versions lack them
_SHOWN = 10


class Evaluation(JsonRecord):
    """What `evaluate` finds, and writes with --json.

    bytes         size of the file
    speed         chips per second on comparison.THREADS threads
    card_differs  where the card has another figure; None if it has no such figures
    notes         to read beside the figures
    bars          the rows of the table of targets
    """

    name: str
    version: str
    sha256: str
    bytes: int
    metrics: ModelFigures
    speed: Interval
    int8: Int8Figures | None
    card_differs: tuple[str, ...] | None
    notes: tuple[str, ...]
    bars: tuple[TargetRecord, ...]


def evaluate_file(
    model: Path,
    sources: list[Source],
    work: Workspace,
    ood: Sequence[Path] = (),
    int8: Path | None = None,
) -> Evaluation:
    """What `evaluate` reports of a file.

    ood   folders or archives of chips that show no ship
    int8  a file made from `model`; None leaves it out

    Raises what ShipClassifier, dataset_of_card, load_ood_chips and check_related do.
    """
    ships = ShipClassifier(model, device="cpu", threads=THREADS)
    int8_ships = ShipClassifier(int8, device="cpu", threads=THREADS) if int8 else None
    if int8_ships:
        check_related(int8_ships, ships)
    config, _, dataset = dataset_of_card(ships.card, sources, work)
    others = load_ood_chips(ood, ships.card.input, work) if ood else None
    work.console.print(f"measuring {model} on the test side", highlight=False, soft_wrap=True)
    metrics = measure_file(ships, dataset.test, others, config.seed)
    presented = measure_file_presented(ships, dataset.test, dataset.sources)
    metrics = metrics.model_copy(update={"presentations": presented})
    given = arrays_sha256(others) if others else None
    note = seen_in_pretraining(training_of_card(ships.card), others or {}, given)
    speed, int8_figures = _timed(ships, int8_ships, dataset, config.seed)
    size = model.stat().st_size
    return Evaluation(
        name=ships.card.name,
        version=ships.card.version,
        sha256=ships.sha256,
        bytes=size,
        metrics=metrics,
        speed=speed,
        int8=int8_figures,
        card_differs=card_differs(ships.card.metrics, metrics),
        notes=(note,) if note else (),
        bars=tuple(row.record() for row in rows(metrics, size, speed, int8_figures)),
    )


def _timed(
    ships: ShipClassifier, int8_ships: ShipClassifier | None, dataset: Dataset, seed: int
) -> tuple[Interval, Int8Figures | None]:
    """Speed does not depend on what a chip shows, so it is measured on validation chips."""
    chips = dataset.validation.inputs
    if int8_ships is None:
        return chips_per_second(time_in_turns([ships], chips)[0]), None
    taken = time_in_turns([ships, int8_ships], chips)
    return chips_per_second(taken[0]), Int8Figures(
        sha256=int8_ships.sha256,
        loss=lost_by(int8_ships, ships, dataset.test, seed),
        speed=chips_per_second(taken[1]),
        times_as_fast=times_as_fast(taken[0], taken[1]),
    )


def print_evaluation(found: Evaluation, console: Console) -> None:
    """Print the table, the notes, and whether the card has the same figures."""
    held = rows(found.metrics, found.bytes, found.speed, found.int8)
    if found.metrics.presentations is not None:
        console.print(presentations_table(found.metrics.presentations))
    console.print(evaluation_table(held, f"{found.name} {found.version}"))
    for line in (verdict_line(held), *found.notes, _of_card(found.card_differs)):
        console.print(line, highlight=False, soft_wrap=True)


def _of_card(differs: Sequence[str] | None) -> str:
    if differs is None:
        return "the card has no such figures, so there is nothing to compare"
    if not differs:
        return "the card has the same figures"
    more = f" and {len(differs) - _SHOWN} more" if len(differs) > _SHOWN else ""
    return f"the card has other figures: {'; '.join(differs[:_SHOWN])}{more}"


def check_card(found: Evaluation) -> None:
    """Raises ExportMismatch if the card has other figures than those measured."""
    if found.card_differs:
        raise ExportMismatch(
            f"{len(found.card_differs)} figures of the card of {found.name} {found.version} are "
            "not those of the file; train it again and promote that, or, if it is an int8 file, "
            "export it again"
        )


def card_differs(recorded: Mapping[str, JsonValue], found: ModelFigures) -> tuple[str, ...] | None:
    """Where a card's metrics differ from those measured by more than CARD_TOLERANCE.

    None if the card has no such figures, or those of an earlier version. Out-of-distribution
    figures are compared only if both have them, because a user may lack such chips.
    """
    if "sources" not in recorded or "pooled" not in recorded:
        return None
    known, new = dict(recorded), found.plain()
    if known.get("out_of_distribution") is None or new["out_of_distribution"] is None:
        known.pop("out_of_distribution", None)
        del new["out_of_distribution"]
    return tuple(_differences(known, new, ""))


def _differences(recorded: JsonValue, found: JsonValue, place: str) -> Iterator[str]:
    if isinstance(recorded, dict) and isinstance(found, dict):
        for key in sorted({*recorded, *found}):
            where = f"{place}.{key}" if place else key
            if key in _NEW and key not in recorded:
                continue
            if key not in recorded or key not in found:
                yield f"{where} ({'measured' if key in found else 'card'} only)"
            else:
                yield from _differences(recorded[key], found[key], where)
    elif isinstance(recorded, list) and isinstance(found, list) and len(recorded) == len(found):
        for number, pair in enumerate(zip(recorded, found, strict=True)):
            yield from _differences(*pair, f"{place}[{number}]")
    elif not _alike(recorded, found):
        yield f"{place} (card {recorded}, measured {found})"


def _alike(recorded: JsonValue, found: JsonValue) -> bool:
    if isinstance(recorded, int | float) and isinstance(found, int | float):
        return abs(recorded - found) <= CARD_TOLERANCE
    return bool(recorded == found)
