"""One retraining, from prepared sides to a checked model file in a run folder."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from safetensors.torch import load_file

from shipchip.card import ModelCard
from training import report, splits
from training.checkpoint import Checkpoint
from training.config import RunConfig, StageConfig
from training.errors import DataInvalid
from training.export import export
from training.final_test import final_chips, final_logits, score_sources
from training.loop import evaluate
from training.models import ChipNet, build, copy_state, device_of_choice
from training.parallel import ALONE, Team
from training.progress import EpochProgress, OnEpoch
from training.provenance import GIT_COMMIT
from training.results import Epoch
from training.sides import Sides
from training.sources.record import CLASSES
from training.splits import Item
from training.stages import Around, of_sources, run_stage
from training.trust_fit import fit_trust
from training.weights import load_pretrained
from training.whole import write_tensors, write_text

_STAGES = "stages"  # in a half-done run's folder: what it goes on from

TERMS = (
    "Research and development use. FUSAR-Ship is copyright Fudan University and asks to be cited; "
    "OpenSARShip is for research use and asks to be cited; MSTAR is a public release; SAR-ACD is "
    "for academic use."
)


def untrained(config: RunConfig, pretrained: str | None, weights: Path) -> ChipNet:
    """The network of a config with its first weights, which depend on the seed alone.

    pretrained  None, or what training.weights.load_pretrained takes
    """
    torch.manual_seed(config.seed)
    model = build(config.model, len(CLASSES)).to(device_of_choice())
    if pretrained is not None:
        load_pretrained(model, config.model, pretrained, weights)
    return model


def train(
    model: ChipNet,
    sides: Sides,
    config: RunConfig,
    folder: Path,
    console: Console,
    team: Team = ALONE,
    scribe: OnEpoch = lambda _: None,
) -> list[Epoch]:
    """Base training and the two fine-tunings; each stage's result is kept in `folder` at once.

    A stage that `folder` holds is read from there, a half-done one goes on from its checkpoint.
    """
    history: list[Epoch] = []
    stages = [stage for stage in config.stages if _matches(sides, stage, console)]
    if not stages:
        raise DataInvalid("no stage of the config matches any source that was found")
    with EpochProgress(console, sum(s.epochs for s in stages), scribe) as progress:
        for stage in stages:
            on_epoch = progress.on_epoch(1)
            history += _stage(model, sides, stage, config, folder, Around(on_epoch, team=team))
    return history


def _matches(sides: Sides, stage: StageConfig, console: Console) -> bool:
    both = (of_sources(side, stage.sources) for side in (sides.train, sides.validation))
    if all(len(side) for side in both):
        return True
    told = f"no training or no validation chip of {', '.join(stage.sources)}"
    console.print(f"stage {stage.name} skipped: {told}")
    return False


def _stage(
    model: ChipNet,
    sides: Sides,
    stage: StageConfig,
    config: RunConfig,
    folder: Path,
    around: Around,
) -> list[Epoch]:
    weights, lines = (folder / _STAGES / f"{stage.name}{e}" for e in (".safetensors", ".jsonl"))
    team = around.team
    if team.agree(weights.exists):
        model.load_state_dict(load_file(weights))
        history = [Epoch(**json.loads(line)) for line in lines.read_text("utf-8").splitlines()]
        for epoch in history:
            around.on_epoch(epoch)
        return history
    checkpoint = Checkpoint(
        folder / _STAGES / f"{stage.name}.checkpoint", f"{folder.name} {stage.name}"
    )
    around = Around(around.on_epoch, checkpoint, team)
    chips = of_sources(sides.train, stage.sources)
    chosen_by = of_sources(sides.validation, stage.sources)
    result = run_stage(model, chips, chosen_by, stage, config, around)

    def keep() -> None:
        write_history(list(result.history), lines)
        write_tensors(weights, copy_state(model))  # last: it stands for "finished"
        checkpoint.clear()

    team.agree(keep)
    return list(result.history)


def clear_stages(folder: Path) -> None:
    """Delete what `train` kept for going on; the run is finished."""
    shutil.rmtree(folder / _STAGES)


def finish(
    model: ChipNet,
    sides: Sides,
    config: RunConfig,
    items: list[Item],
    folder: Path,
    name: str,
    pretraining: dict[str, Any] | None,
) -> ModelCard:
    """Fit trust, read the test side once, export, compare; returns the card."""
    _, train_embeddings = evaluate(model, sides.train.inputs)
    logits, embeddings = evaluate(model, sides.validation.inputs)
    trust = fit_trust(
        train_embeddings, logits, embeddings, sides.validation.labels, config.coverage
    )
    metrics = score_sources(
        final_logits(model, sides.test), trust.temperature, sides.test, config.seed
    )
    card = ModelCard(
        schema="shipchip.card/1",
        name=name,
        version=f"0.1.0+{splits.manifest_sha256(items)[:8]}",
        architecture=f"{config.model.name}, width {config.model.width}, global average pool",
        classes=CLASSES,
        input=config.input,
        trust=trust,
        metrics=metrics,
        training=_training_record(items, config) | {"pretraining": pretraining},
        terms=TERMS,
    )
    (folder / "metrics.json").write_text(json.dumps(metrics, indent=2), encoding="utf-8")
    export(model, card, folder / "ship.onnx", final_chips(sides.test).inputs)
    return card


def _training_record(items: list[Item], config: RunConfig) -> dict[str, Any]:
    return {
        "sources": splits.counts(items),
        "manifest_sha256": splits.manifest_sha256(items),
        "config": config.model_dump(mode="json"),
        "git_commit": GIT_COMMIT,
        "seed": config.seed,
        "protocol": "base, then fine-tuned twice; each stage continues the last; checkpoints "
        "chosen on validation; test read once",
    }


def write_run(folder: Path, config: RunConfig, items: list[Item]) -> None:
    """Config and manifest, before anything is trained."""
    write_text(folder / "config.json", config.model_dump_json(indent=2))
    write_text(folder / "manifest.jsonl", splits.manifest(items))


def write_history(history: list[Epoch], path: Path) -> None:
    """One JSON line an epoch."""
    write_text(path, "".join(json.dumps(asdict(e)) + "\n" for e in history))


def write_curves(folder: Path, history: list[Epoch]) -> None:
    """The whole history, as lines and as a picture."""
    write_history(history, folder / "history.jsonl")
    report.draw_curves(history, folder / "curves.png")
