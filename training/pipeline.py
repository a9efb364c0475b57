"""One retraining, from sources to a checked model file in a run folder."""

import json
import subprocess
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from rich.console import Console
from rich.progress import Progress

from shipchip.card import ModelCard
from shipchip.trust import probabilities
from training import report, splits
from training.config import RunConfig
from training.errors import DataInvalid
from training.export import export
from training.loop import evaluate
from training.metrics import scores
from training.models import ChipNet, build, device_of_choice
from training.results import Epoch
from training.sources.record import CLASSES, Record, Source, drop_repeats
from training.splits import Item
from training.stages import of_sources, run_stage
from training.store import Prepared, prepare_all
from training.trust_fit import fit_trust

TERMS = (
    "Research and development use. FUSAR-Ship is copyright Fudan University and asks to be cited; "
    "OpenSARShip is for research use and asks to be cited; MSTAR is a public release; SAR-ACD is "
    "for academic use."
)


def _git_commit() -> str:
    """The commit of this code, or "unknown" outside a checkout."""
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()


# Asked when the code is loaded, not at the end of a long run: this is the code that runs.
GIT_COMMIT = _git_commit()


@dataclass(frozen=True, eq=False)
class Sides:
    """Prepared chips by the side of the split they stand on."""

    train: Prepared
    validation: Prepared
    test: Prepared


def index(sources: list[Source], config: RunConfig) -> list[Item]:
    """All chips of all sources without repeats, split; Leak or DataInvalid before any work."""
    records = drop_repeats(record for source in sources for record in source.index())
    return splits.split_records(records, config.split, config.seed)


def load(
    sources: list[Source], items: list[Item], config: RunConfig, store: Path, console: Console
) -> Sides:
    """Prepared chips, from the store or decoded now."""
    records = [item.record for item in items]
    data = _prepare(sources, records, config, store, console, classes=CLASSES)
    side = np.array([item.split for item in items])
    return Sides(*(data.where(side == name) for name in splits.SPLITS))


def _prepare(
    sources: list[Source],
    records: list[Record],
    config: RunConfig,
    store: Path,
    console: Console,
    classes: tuple[str, ...] | None,
) -> Prepared:
    with Progress(console=console) as progress:
        task = progress.add_task("preparing chips", total=len(records))
        step = partial(progress.advance, task)
        data = prepare_all(sources, records, config.input, store, step, classes)
        progress.update(task, completed=len(records))
    return data


class Pretrained(NamedTuple):
    """A network that has learnt other SAR chips, how, and from what (for the card)."""

    model: ChipNet
    history: list[Epoch]
    record: dict[str, Any]


def pretrain(source: Source, config: RunConfig, store: Path, console: Console) -> Pretrained:
    """Features from other SAR chips, told apart by their own classes."""
    if config.pretrain is None:
        raise DataInvalid("chips to pretrain on are given, but the config has no pretrain stage")
    records = drop_repeats(source.index())
    data = _prepare([source], records, config, store, console, classes=None)
    held = np.random.default_rng(config.seed).random(len(data)) < 0.05
    torch.manual_seed(config.seed)
    model = build(config.model, len(data.classes)).to(device_of_choice())
    with EpochProgress(console, config.pretrain.epochs) as on_epoch:
        result = run_stage(
            model, data.where(~held), data.where(held), config.pretrain, config, on_epoch
        )
    record = {"source": source.name, "chips": len(data), "classes": list(data.classes)}
    return Pretrained(model, list(result.history), record)


def train(
    sides: Sides, config: RunConfig, start: ChipNet | None, console: Console
) -> tuple[ChipNet, list[Epoch]]:
    """Base training and the two fine-tunings; `start` gives pretrained features."""
    torch.manual_seed(config.seed)
    if start is None:
        model = build(config.model, len(CLASSES)).to(device_of_choice())
    else:
        model = start
        model.replace_head(len(CLASSES))
    history: list[Epoch] = []
    with EpochProgress(console, sum(s.epochs for s in config.stages)) as on_epoch:
        for stage in config.stages:
            chips = of_sources(sides.train, stage.sources)
            chosen_by = of_sources(sides.validation, stage.sources)
            if not len(chips) or not len(chosen_by):
                console.print(f"stage {stage.name} skipped: no source matches {stage.sources}")
                continue
            history += run_stage(model, chips, chosen_by, stage, config, on_epoch).history
    if not history:
        raise DataInvalid("no stage of the config matches any source that was found")
    return model, history


class EpochProgress:
    """A progress bar over epochs with what the last one gave; a context manager."""

    def __init__(self, console: Console, epochs: int) -> None:
        self._progress = Progress(*Progress.get_default_columns(), console=console)
        self._epochs = epochs

    def __enter__(self) -> Callable[[Epoch], None]:
        self._progress.start()
        task = self._progress.add_task("training", total=self._epochs)

        def on_epoch(epoch: Epoch) -> None:
            told = f"{epoch.stage}: val NLL {epoch.nll:.3f}, macro-F1 {epoch.macro_f1:.3f}"
            self._progress.update(task, advance=1, description=told)
            if not self._progress.console.is_terminal:
                self._progress.console.print(f"epoch {epoch.epoch + 1} of {told}")

        return on_epoch

    def __exit__(self, *error: object) -> None:
        self._progress.stop()


def finish(
    model: ChipNet,
    sides: Sides,
    config: RunConfig,
    items: list[Item],
    folder: Path,
    name: str,
    pretraining: dict[str, Any] | None,
) -> ModelCard:
    """Fit trust, read the test side (here, and nowhere else), export, compare; returns the card."""
    _, train_embeddings = evaluate(model, sides.train.inputs)
    logits, embeddings = evaluate(model, sides.validation.inputs)
    trust = fit_trust(
        train_embeddings, logits, embeddings, sides.validation.labels, config.coverage
    )
    test_logits, _ = evaluate(model, sides.test.inputs)
    metrics = score_sources(probabilities(test_logits, trust.temperature), sides.test, config.seed)
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
    export(model, card, folder / "ship.onnx", sides.test.inputs)
    return card


def score_sources(
    probs: np.ndarray[Any, np.dtype[np.floating[Any]]], test: Prepared, seed: int
) -> dict[str, dict[str, Any]]:
    """Scores of each source over the classes it has; never pooled, or the sensor gives the class
    away."""
    names = np.array([record.source for record in test.records])
    groups = np.array([record.group for record in test.records])
    return {
        name: scores(
            probs[names == name],
            test.labels[names == name],
            list(groups[names == name]),
            test.classes,
            seed,
        )
        for name in sorted(set(names.tolist()))
    }


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


def write_run(folder: Path, config: RunConfig, items: list[Item], history: list[Epoch]) -> None:
    """Config, manifest, history and curves, before the export that may still refuse."""
    (folder / "config.json").write_text(config.model_dump_json(indent=2), encoding="utf-8")
    (folder / "manifest.jsonl").write_text(splits.manifest(items), encoding="utf-8")
    lines = [json.dumps(asdict(epoch)) for epoch in history]
    (folder / "history.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    report.draw_curves(history, folder / "curves.png")
