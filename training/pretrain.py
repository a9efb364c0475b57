"""SAR pretraining: features learnt by classifying other SAR chips, kept as a file of weights.

Under radar, vehicles, aircraft and sea resemble ships more than photographs do, and need no
download. A finished pretraining is never run again; a killed one resumes.
"""

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import torch

from training.card.schema import FeaturesRecord
from training.config import RunConfig
from training.data.checks import pixel_sums
from training.data.class_folders import FolderSource
from training.data.dataset import Workspace, prepare_with_progress
from training.data.record import Source, drop_repeats
from training.data.splits import Item
from training.errors import DataInvalid, Leak
from training.fit.checkpoint import Checkpoint
from training.fit.progress import EpochProgress
from training.fit.stage import StageContext, run_stage
from training.identity import CODE, identity, short
from training.network.models import build, device_of_choice
from training.network.weights import read_features_record, sar_file, save_features

_HELD = 0.05  # share of chips that choose the epoch


def other_chips(path: Path, config: RunConfig) -> FolderSource:
    """Class folders of chips that are not ships. Each is taken to fill the input, because such
    targets do not share the scale of ships."""
    spec = config.input
    return FolderSource(path, None, extent_m=spec.size * spec.spacing_m)


def sums_of(source: Source) -> set[str]:
    """SHA-256 of all chips of a source: of their files, and of their samples."""
    records = drop_repeats(source.index())
    return {record.sha256 for record in records}.union(pixel_sums([source], records))


def check_unseen(
    learnt_on: Collection[str], items: list[Item], sources: Sequence[Source], config: RunConfig
) -> None:
    """Raises Leak if features are learnt from a chip that later measures a network.

    learnt_on  what `sums_of` gives of the chips that features are or were pretrained on
    items      of the run: its test and validation chips measure; with folds its training chips do
               too, because each fits trust in the fold that holds it out
    sources    which they are read from: a copy in another file format is the same chip
    """
    if not learnt_on:
        return
    measuring = [item for item in items if config.folds or item.split != "train"]
    pixels = pixel_sums(sources, [item.record for item in measuring])
    for item, content in zip(measuring, pixels, strict=True):
        if item.record.sha256 in learnt_on or content in learnt_on:
            why = f"of {item.record.source} is in {item.split}"
            if item.split == "train":
                why += f", and each of {config.folds} folds measures trust on training chips"
            raise Leak(
                f"chip {item.record.key} {why}, but features are pretrained on it; pretrain on "
                "chips of other ships or of none"
            )


def learn_features(
    source: Source,
    config: RunConfig,
    folder: Path,
    work: Workspace,
) -> FeaturesRecord:
    """Make the weights file of `config.model` in `folder` from other chips; returns its record.

    Raises DataInvalid if there are too few chips to learn from.
    """
    if config.pretrain is None:
        raise DataInvalid("chips to pretrain on are given, but the config has no pretrain stage")
    records = drop_repeats(source.index())
    data = prepare_with_progress([source], records, config.input, None, work)
    held = np.random.default_rng(config.seed).random(len(data)) < _HELD
    if len(data.classes) < 2 or not held.any():
        raise DataInvalid(
            f"{source.name} holds {len(data)} chips in {len(data.classes)} classes; pretraining "
            "needs at least two classes and some hundred chips"
        )
    path = sar_file(config.model, folder)
    named = identity(
        {
            "chips": sorted(record.sha256 for record in records),
            "config": config.model_dump(mode="json", exclude={"stages", "split", "coverage"}),
        }
    )
    if work.team.agree(lambda: path.exists() and read_features_record(path).identity == named):
        work.console.print(f"{path} is finished already", highlight=False)
        return read_features_record(path)
    torch.manual_seed(config.seed)
    model = build(config.model, len(data.classes)).to(device_of_choice())
    checkpoint = Checkpoint(path.with_suffix(".checkpoint"), f"{named} by {short(CODE)}")
    with EpochProgress(work.console, config.pretrain.epochs) as progress:
        context = StageContext(
            progress.on_epoch(1), checkpoint, work.team, on_restored=progress.on_restored(1)
        )
        train, chosen_by = data.where(~held), data.where(held)
        result = run_stage(model, train, chosen_by, config.pretrain, config, context)
    kept = result.history[result.chosen]
    record = FeaturesRecord(
        identity=named,
        source=source.name,
        chips=len(data),
        classes=data.classes,
        validation_macro_f1=kept.macro_f1,
        epochs=config.pretrain.epochs,
        model=config.model.model_dump(mode="json"),
        git_commit=CODE,
    )
    sums = sums_of(source)
    work.team.agree(lambda: save_features(model, path, record, config.input, sums))
    if work.team.writes:
        checkpoint.clear()
    work.console.print(f"{path}: macro-F1 {kept.macro_f1:.2f} on chips held back", highlight=False)
    return record
