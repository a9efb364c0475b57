"""One retraining, from prepared chips to a checked model file in a run folder."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from shipchip.atomic import write_text
from shipchip.card import ModelCard, SizeSpec, SpacingRange
from shipchip.classifier import ShipClassifier
from shipchip.prepare import spacing_of
from training.card.record import RECORD
from training.card.schema import FeaturesRecord, TrainingRecord
from training.config import RunConfig, StageConfig
from training.data import splits
from training.data.dataset import Dataset, Workspace
from training.data.record import CLASSES
from training.data.splits import Item
from training.evaluation.final_test import final_chips, measure_file, measure_file_presented
from training.evaluation.trust import fit_trust, held_out_counts, size_factors
from training.export import export_onnx, identified, write_card
from training.fit.checkpoint import Checkpoint
from training.fit.cross_validation import Start, TrainedRun, cross_validate
from training.fit.processes import Team
from training.fit.progress import Epoch, EpochProgress, OnEpoch
from training.fit.stage import StageContext, of_sources, run_stage
from training.fit.stage_plan import StagePlan
from training.identity import Maker, arrays_sha256, write_makers
from training.network.models import ChipNet, build, copy_state, device_of_choice
from training.network.weight_files import write_tensors
from training.network.weights import Weights, load_features
from training.plots import draw_curves

_STAGES = "stages"  # in the folder of an unfinished run: what it resumes from

TERMS = (
    "Research and development use. FUSAR-Ship is copyright Fudan University and asks to be cited; "
    "OpenSARShip is for research use and asks to be cited; MSTAR is a public release; SAR-ACD is "
    "for academic use."
)


def initial_network(config: RunConfig, weights: Weights | None) -> ChipNet:
    """The network of a config with its first weights: random ones of its seed, or the features of
    `weights`."""
    torch.manual_seed(config.seed)
    planes = weights.planes if weights else 1
    model = build(config.model, len(CLASSES), planes).to(device_of_choice())
    if weights:
        load_features(model, weights)
    return model


def train_networks(
    dataset: Dataset,
    config: RunConfig,
    folder: Path,
    start: Start,
    work: Workspace,
    log_epoch: OnEpoch = lambda _: None,
) -> tuple[TrainedRun, list[Epoch]]:
    """Train every network of a run through its stages, each stored in `folder` when finished.

    A stage in `folder` is read from there; an unfinished one resumes from its checkpoint.
    """
    networks = config.members * (config.folds + 1)
    with EpochProgress(
        work.console, networks * sum(s.epochs for s in config.stages), log_epoch
    ) as progress:
        stagewise = _Stagewise(config.stages, folder, progress, work.team, alone=networks == 1)
        return cross_validate(dataset, config, start, stagewise)


@dataclass(frozen=True, eq=False)
class _Stagewise:
    """Trains networks one after the other through `stages`; see cross_validation.TrainOne.

    alone  whether there is only one network, so that its epochs need no prefix
    """

    stages: Sequence[StageConfig]
    folder: Path
    progress: EpochProgress
    team: Team
    alone: bool

    def __call__(
        self, network: ChipNet, dataset: Dataset, config: RunConfig, name: str
    ) -> list[Epoch]:
        on_epoch = self.progress.on_epoch(1, "" if self.alone else name)
        history: list[Epoch] = []
        for stage in self.stages:
            checkpoint = Checkpoint(
                self._file(name, stage, ".checkpoint"), f"{self.folder.name} {name} {stage.name}"
            )
            context = StageContext(
                on_epoch,
                checkpoint,
                self.team,
                keep_last=config.folds > 0,
                on_restored=self.progress.on_restored(1),
            )
            history += self._stage(network, dataset, stage, config, context, name)
        return history

    def _file(self, name: str, stage: StageConfig, ending: str) -> Path:
        return self.folder / _STAGES / name / f"{stage.name}{ending}"

    def _stage(
        self,
        network: ChipNet,
        dataset: Dataset,
        stage: StageConfig,
        config: RunConfig,
        context: StageContext,
        name: str,
    ) -> list[Epoch]:
        weights, lines = (self._file(name, stage, e) for e in (".safetensors", ".jsonl"))
        if self.team.agree(weights.exists):
            network.load_state_dict(load_file(weights))
            history = [Epoch.of_json(line) for line in lines.read_text("utf-8").splitlines()]
            for epoch in history:
                context.on_restored(epoch)
            return history
        chips = of_sources(dataset.train, stage.sources)
        held = of_sources(dataset.validation, stage.sources)
        result = run_stage(network, chips, held, stage, config, context)

        def keep() -> None:
            write_history(list(result.history), lines)
            write_tensors(weights, copy_state(network))  # last: it means "finished"
            if context.checkpoint:
                context.checkpoint.clear()

        self.team.agree(keep)
        return list(result.history)


def unfinished_folder(folder: Path) -> Path:
    """The name of a run's folder until the run is finished."""
    return folder.with_name(f"{folder.name}.half")


def clear_stages(folder: Path) -> None:
    """Delete what `train_networks` kept for resuming; the run is finished."""
    shutil.rmtree(folder / _STAGES, ignore_errors=True)


def finish_run(
    trained: TrainedRun,
    dataset: Dataset,
    config: RunConfig,
    record: TrainingRecord,
    folder: Path,
    name: str,
    ood: Mapping[str, NDArray[np.float32]] | None = None,
) -> ModelCard:
    """Fit trust, export, compare, test the file once; returns its card.

    record   the training record of the card, from `training_record`
    ood      kind -> prepared chips (N, 1, S, S) that show no ship, to measure how well the model
             recognises them; None if there are none
    """
    card = ModelCard(
        schema="shipchip.card/1",
        name=name,
        version="",  # set later, see export.identified
        architecture=architecture(config),
        classes=CLASSES,
        input=config.input,
        trust=fit_trust(trained.held_out, trained.embeddings, config.coverage),
        size=_size_spec(trained, dataset, config),
        metrics={},
        training=record.model_copy(
            update={"held_out": held_out_counts(trained.held_out, CLASSES)}
        ).plain(),
        terms=TERMS,
    )
    path = folder / "ship.onnx"
    size = trained.size if card.size else None
    export_onnx(trained.network, card, path, final_chips(dataset.test).inputs, size)
    return measure_run(folder, dataset, record, ood)


# A pixel spacing this much beyond those of chips of known size is still like them: products of one
# mode differ by their incidence angle.
_LIKE = 1.05


def _size_spec(trained: TrainedRun, dataset: Dataset, config: RunConfig) -> SizeSpec | None:
    """What the card says of size estimates; None if there are none, or too few to trust."""
    factors = size_factors(trained.held_out, config.coverage) if trained.size else None
    if factors is None:
        return None
    by_name = {source.name: source for source in dataset.sources}
    spacings: dict[str, list[list[float]]] = {}
    for record in (*dataset.train.records, *dataset.validation.records):
        if record.size_m is not None:
            spacing, _ = spacing_of(by_name[record.source].read(record), config.input)
            spacings.setdefault(record.source, []).append(sorted(spacing))
    validated = []
    for found in spacings.values():
        least, most = np.min(found, axis=0) / _LIKE, np.max(found, axis=0) * _LIKE
        finer, coarser = zip(least.tolist(), most.tolist(), strict=True)
        validated.append(SpacingRange(finer_m=finer, coarser_m=coarser))
    length, width = factors
    return SizeSpec(
        coverage=config.coverage,
        length_factor=length,
        width_factor=width,
        validated=tuple(validated),
    )


def measure_run(
    folder: Path,
    dataset: Dataset,
    record: TrainingRecord,
    ood: Mapping[str, NDArray[np.float32]] | None,
) -> ModelCard:
    """Measure the file of a run on the test side, write the figures into its card, and return it.

    The card is written last, so that an interrupted run has no figures in it.

    record, ood  as `finish_run` takes them
    """
    path = folder / "ship.onnx"
    ships = ShipClassifier(path, device="cpu")
    metrics = measure_file(ships, dataset.test, ood, record.seed)
    presented = measure_file_presented(ships, dataset.test, dataset.sources)
    metrics = metrics.model_copy(update={"presentations": presented})
    write_makers(folder, list(record.made_by))
    write_text(folder / "metrics.json", json.dumps(metrics.plain(), indent=2))
    training = ships.card.training | record.plain()  # keeps the counts of held-out ships
    card = ships.card.model_copy(update={"metrics": metrics.plain(), "training": training})
    card = identified(card, path)
    write_card(card, path)
    return card


def architecture(config: RunConfig) -> str:
    """The network in a line."""
    text = f"{config.model.name}, width {config.model.width:g}, global average pool"
    if config.model.pooled:
        blocks = " and ".join(map(str, config.model.pooled))
        text += f" of blocks {blocks}"
    if config.takes_features:
        text += ", features frozen"
    if config.members > 1:
        text = f"{config.members} networks ({text}), each on a mirror image"
    if config.experts.share:
        text += f"; linear experts on measurements of the ship, share {config.experts.share:g}"
    return text


def training_record(
    items: list[Item],
    config: RunConfig,
    planned: StagePlan,
    pretraining: FeaturesRecord | None,
    makers: list[Maker],
    ood: Mapping[str, NDArray[np.float32]] | None,
    ood_learnt: tuple[str, ...] = (),
) -> TrainingRecord:
    """The training record of a card: on what data, how, by which code.

    makers      the code and machines that trained the run, in order
    ood         as `finish_run` takes it
    ood_learnt  kinds of it with a chip that the features were pretrained on
    """
    return TrainingRecord(
        record=RECORD,
        sources=splits.counts(items),
        manifest_sha256=splits.manifest_sha256(items),
        split_version=splits.SPLIT_VERSION,
        config=config.model_dump(mode="json"),
        git_commit=makers[-1]["code"],
        made_by=tuple(makers),
        seed=config.seed,
        protocol=planned.protocol(config),
        pretraining=pretraining,
        ood_sha256=None if ood is None else arrays_sha256(ood),
        ood_learnt=None if ood is None else ood_learnt,
    )


def write_run(folder: Path, config: RunConfig, items: list[Item], makers: list[Maker]) -> None:
    """Record code and machine, config and manifest before training begins."""
    write_makers(folder, makers)
    write_text(folder / "config.json", config.model_dump_json(indent=2))
    write_text(folder / "manifest.jsonl", splits.manifest(items))


def write_history(history: list[Epoch], path: Path) -> None:
    """One JSON line per epoch."""
    write_text(path, "".join(e.to_json() + "\n" for e in history))


def write_curves(folder: Path, history: list[Epoch]) -> None:
    """The complete history, as lines and as a picture."""
    write_history(history, folder / "history.jsonl")
    draw_curves(history, folder / "curves.png")
