"""The folder of a matrix, and what is checked before hours are spent on it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError
from rich.console import Console

from shipchip.atomic import write_text
from training.card.schema import JsonRecord
from training.data import splits
from training.data.record import CLASSES
from training.data.splits import Item
from training.errors import ConfigInvalid, DataInvalid
from training.fit.processes import ALONE, Team
from training.fit.progress import OnEpoch
from training.fit.stage import source_matches
from training.identity import Maker, accepted_makers, identity, made_by
from training.matrix.config import Cell, MatrixConfig, PaperModel, is_pretrained, with_cells
from training.network.weights import Weights, read_weights
from training.pretrain import check_unseen
from training.retrain import initial_network


@dataclass(frozen=True)
class MatrixFolder:
    """The folder of a matrix, and the context in which it runs.

    pretrained  what the models named "-pretrained" start from, see training.network.weights
    accept      whether other code, torch, device or number of processes may continue in it
    """

    folder: Path
    weights: Path
    pretrained: str
    console: Console
    team: Team = ALONE
    log_epoch: OnEpoch = field(default=lambda _: None)
    accept: bool = False

    def of(self, cell: Cell) -> Path:
        """The folder of a cell."""
        return self.folder / "cells" / cell.place

    def result(self, cell: Cell) -> Path:
        """The file that says a cell is finished."""
        return self.of(cell) / "result.json"


def check_sets(config: MatrixConfig, items: list[Item]) -> None:
    table = splits.counts(items)
    for name, patterns in config.sets.items():
        sources = [s for s in table if source_matches(s, patterns)]
        for side in splits.SPLITS:
            present = [k for k in CLASSES if any(table[s][k][side] for s in sources)]
            if len(present) < 2:
                raise DataInvalid(
                    f"data set {name} ({', '.join(patterns)}) has {len(present)} classes in "
                    f"{side}; at least two are needed; sources found: {', '.join(table)}"
                )


def read_starts(config: MatrixConfig, items: list[Item], place: MatrixFolder) -> dict[str, Weights]:
    """The weights that each pre-trained model starts from, read once for all its cells.

    Raises WeightsMissing, WeightsInvalid or Leak now, not after an hour.
    """
    starts: dict[str, Weights] = {}
    for name in config.models:
        if is_pretrained(name):
            run_config = config.run.model_copy(update={"model": config.model_of(name)})
            starts[name] = read_weights(place.pretrained, run_config, place.weights)
            check_unseen(starts[name].learnt_on, items, run_config)
            initial_network(run_config, starts[name])
    return starts


class _Claim(JsonRecord):
    """matrix.json: which matrix a folder belongs to.

    identity  of config and data
    weights   model -> sha256 of what it starts from
    """

    identity: str
    weights: dict[str, str]
    made_by: tuple[Maker, ...]
    models: tuple[PaperModel, ...]
    seeds: tuple[int, ...]


def claim_folder(
    config: MatrixConfig, items: list[Item], place: MatrixFolder, starts: Mapping[str, Weights]
) -> MatrixConfig:
    """Record the matrix of the folder and return it: `config` with the models and seeds that were
    run there before. Nothing else may differ.

    starts  what the pre-trained models start from
    Raises ConfigInvalid for another matrix, RunChanged if other code began it.
    """
    recipe = config.model_dump(mode="json", exclude={"models", "seeds"})
    claim = identity({"recipe": recipe, "manifest": splits.manifest_sha256(items)})
    weights = {name: start.sha256 for name, start in starts.items()}
    path = place.folder / "matrix.json"
    makers: list[Maker] = []
    if path.exists():
        found = _read_claim(path)
        weights = found.weights | weights
        if found.identity != claim or not found.weights.items() <= weights.items():
            raise ConfigInvalid(
                f"{place.folder} holds a matrix of another config, data or weights; name another "
                "--out, or delete it"
            )
        makers = list(found.made_by)
        config = with_cells(config, found.models, found.seeds)
    makers = accepted_makers(makers, made_by(place.team), place.folder, place.accept)
    written = _Claim(
        identity=claim,
        weights=weights,
        made_by=tuple(makers),
        models=config.models,
        seeds=config.seeds,
    )
    write_text(path, json.dumps(written.plain(), indent=2))
    write_text(place.folder / "manifest.jsonl", splits.manifest(items))
    write_text(place.folder / "config.json", config.model_dump_json(indent=2))
    return config


def _read_claim(path: Path) -> _Claim:
    try:
        return _Claim.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise ConfigInvalid(
            f"{path} is not of a matrix that this version continues "
            f"({error.errors()[0]['msg']}); name another --out"
        ) from error
