"""Which stages of a config can run on the chips that there are, and why others are skipped."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from training.config import RunConfig, StageConfig
from training.data.dataset import Dataset
from training.data.record import Record
from training.data.store import concatenated
from training.errors import DataInvalid
from training.fit.cross_validation import folds_of
from training.fit.stage import source_matches

Records = list[Record]


@dataclass(frozen=True)
class StagePlan:
    """The stages that every network of a run goes through, and why others are skipped.

    skipped  name of a stage of the config -> what it lacks
    """

    stages: tuple[StageConfig, ...]
    skipped: dict[str, str] = field(default_factory=dict)

    def protocol(self, config: RunConfig) -> str:
        """How the run is trained, chosen and tested: a line for the card."""
        stages = " then ".join(stage.name for stage in self.stages)
        skipped = "".join(f"; {name} skipped: {why}" for name, why in self.skipped.items())
        if not config.folds:
            return (
                f"{stages}; epochs chosen and trust fitted on validation; test read once{skipped}"
            )
        return (
            f"{stages}, on training and validation chips, last epochs; trust fitted on the "
            f"predictions of {config.folds} folds for held-out chips; test read once{skipped}"
        )


def plan_stages(dataset: Dataset, config: RunConfig) -> StagePlan:
    """The stages that can run. Without folds a stage needs validation chips of its own sources.

    Raises DataInvalid if the chips to train on do not show two classes and two ships of each,
    if a fold would leave one class to train on, or if no stage matches a source.
    """
    networks = list(_trained_on(dataset, config))
    _check_classes(networks)
    held = None if config.folds else list(dataset.validation.records)
    lacks = {stage.name: _lack(stage, networks, held) for stage in config.stages}
    stages = tuple(stage for stage in config.stages if lacks[stage.name] is None)
    if not stages:
        raise DataInvalid("no stage of the config matches any source that was found")
    return StagePlan(stages, {name: why for name, why in lacks.items() if why is not None})


def _trained_on(dataset: Dataset, config: RunConfig) -> Iterator[tuple[str, Records]]:
    """Each network's name and the chips that it is trained on; the final network comes first."""
    if not config.folds:
        yield "the model", list(dataset.train.records)
        return
    everything = concatenated(dataset.train, dataset.validation)
    yield "the model", list(everything.records)
    for number, held in enumerate(folds_of(everything, config)):
        yield (
            f"fold {number}",
            [r for r, out in zip(everything.records, held, strict=True) if not out],
        )


def _check_classes(networks: list[tuple[str, Records]]) -> None:
    _, everything = networks[0]
    ships: dict[str, set[str]] = {}
    for record in everything:
        ships.setdefault(record.label, set()).add(record.group)
    if len(ships) < 2:
        raise DataInvalid(
            f"the chips to train on are of {len(ships)} class ({', '.join(ships)}); at least two "
            "classes are needed: add chips of another"
        )
    for label, of_label in sorted(ships.items()):
        if len(of_label) < 2:
            raise DataInvalid(
                f"the chips to train on show one {label} ship; at least two are needed: add chips "
                f"of other {label} ships, or take the class out"
            )
    for name, records in networks:
        classes = {record.label for record in records}
        if len(classes) < 2:
            raise DataInvalid(
                f"{name} would be trained on {', '.join(classes)} alone, because all other ships "
                "are held back; lower `folds` in the config, or add ships"
            )


def _lack(
    stage: StageConfig, networks: list[tuple[str, Records]], held: Records | None
) -> str | None:
    """The chips that a stage lacks in some network; None if it can run in all of them."""
    sources = ", ".join(stage.sources)
    for name, records in networks:
        if not any(source_matches(record.source, stage.sources) for record in records):
            return f"no training chip of {sources}" + ("" if name == "the model" else f" in {name}")
    if held is not None and not any(
        source_matches(record.source, stage.sources) for record in held
    ):
        return f"no validation chip of {sources}"
    return None
