"""What each command of training.run does; each prints what it found and raises what it refuses."""

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress

from shipchip.atomic import write_text
from shipchip.card import ModelCard
from shipchip.classifier import ShipClassifier
from training.card.record import dataset_of_card, figures_of_card, training_of_card
from training.card.schema import TrainingRecord
from training.config import RunConfig
from training.data import splits
from training.data.checks import notes, verify
from training.data.dataset import (
    Dataset,
    Workspace,
    all_records,
    distinct_records,
    index,
    load_dataset,
    load_ood_chips,
    ood_kinds_among,
)
from training.data.record import Source
from training.errors import DataInvalid
from training.evaluation.evaluate import check_card, evaluate_file, print_evaluation
from training.evaluation.tables import counts_table, scores_table
from training.fit.cross_validation import Start
from training.fit.processes import join_team
from training.fit.stage_plan import plan_stages
from training.identity import accepted_makers, identity, locked, made_by, makers_of
from training.int8.quantise import export_int8
from training.network.weights import Weights, read_weights
from training.pretrain import check_unseen, learn_features, other_chips, sums_of
from training.promote import promote_model
from training.requests import (
    DataRequest,
    EvaluateRequest,
    ExportRequest,
    PretrainRequest,
    PromoteRequest,
    TrainingRequest,
    TrainRequest,
)
from training.retrain import (
    clear_stages,
    finish_run,
    initial_network,
    measure_run,
    train_networks,
    training_record,
    unfinished_folder,
    write_curves,
    write_run,
)


def train(request: TrainRequest, console: Console) -> None:
    """Train, export, check and test a model once; run again, it resumes or is already done."""
    with join_team() as team:
        console.quiet = not team.writes
        _train(request, Workspace(request.store, console, team))


def _train(request: TrainRequest, work: Workspace) -> None:
    console, team = work.console, work.team
    config, sources, name = request.run_config(), request.sources(), request.model_name()
    request.check_pretraining()
    found = distinct_records(sources, config, work)
    items = team.agree(lambda: index(found, config))
    print_data(sources, items, console, console)
    dataset = load_dataset(sources, items, config, work)
    planned = plan_stages(dataset, config)
    for stage, why in planned.skipped.items():
        console.print(f"stage {stage} skipped: {why}", highlight=False, soft_wrap=True)
    ood = load_ood_chips(request.ood, config.input, work) if request.ood else None
    start, features = _features(request, config, items, sources, work)
    pretraining = features.record if features else None
    learnt = ood_kinds_among(features.learnt_on, request.ood) if features else ()
    content = {
        "name": name,
        "config": config.model_dump(mode="json"),
        "manifest": splits.manifest_sha256(items),
        "pretraining": pretraining.plain() if pretraining else None,
    }
    folder = request.runs / f"{name}-{identity(content)}"
    temporary = unfinished_folder(folder)
    with locked(folder if team.agree(folder.exists) else temporary, team):
        finished = team.agree(folder.exists)  # perhaps by the process that held the lock before
        place, now = folder if finished else temporary, made_by(team)
        makers = team.agree(
            lambda: accepted_makers(makers_of(place), now, place, request.accept_changes)
        )
        record = training_record(items, config, planned, pretraining, makers, ood, learnt)
        if finished:
            team.agree(lambda: _complete(folder, dataset, record, ood, console))
            return
        team.agree(lambda: write_run(temporary, config, items, makers))
        log_epoch = request.epoch_logger(temporary, team)
        runs = config.model_copy(update={"stages": planned.stages})
        trained, history = train_networks(dataset, runs, temporary, start, work, log_epoch)
        if team.writes:
            write_curves(temporary, history)
            card = finish_run(trained, dataset, config, record, temporary, name, ood)
            temporary.replace(folder)  # from here on it is finished, whatever kills the process
            clear_stages(folder)
            _print_model(card, folder, console)


def _features(
    request: TrainRequest,
    config: RunConfig,
    items: list[splits.Item],
    sources: list[Source],
    work: Workspace,
) -> tuple[Start, Weights | None]:
    """What builds a network with its first weights, and the features among these."""
    pretrained = request.pretrained or ("imagenet" if config.takes_features else None)
    if request.pretrain:
        pretrained = "sar"
        other = other_chips(request.pretrain, config)
        learn_unseen_features(other, config, items, sources, request, work)
    features = read_weights(pretrained, config, request.weights) if pretrained else None
    if features:
        check_unseen(features.learnt_on, items, sources, config)
    start = partial(initial_network, weights=features)
    start(config)  # weights that do not fit are refused here, before anything is written
    return start, features


def learn_unseen_features(
    other: Source,
    config: RunConfig,
    items: list[splits.Item],
    sources: list[Source],
    request: TrainingRequest,
    work: Workspace,
) -> None:
    """Learn features on other chips; Leak if the run measures a network on one of them."""
    check_unseen(sums_of(other), items, sources, config)
    learn_features(other, config, request.weights, work)


def _complete(
    folder: Path,
    dataset: Dataset,
    record: TrainingRecord,
    ood: Mapping[str, NDArray[np.float32]] | None,
    console: Console,
) -> None:
    """Measure a finished run on chips of --ood that it was not measured on yet."""
    clear_stages(folder)
    card = ShipClassifier(folder / "ship.onnx", device="cpu").card
    if ood is None or training_of_card(card).ood_sha256 == record.ood_sha256:
        console.print(f"{folder} is finished already; delete it to run it again", highlight=False)
        return
    console.print(f"{folder} is finished already; measuring it on the chips of --ood")
    _print_model(measure_run(folder, dataset, record, ood), folder, console)


def _print_model(card: ModelCard, folder: Path, console: Console) -> None:
    Console().print(scores_table(figures_of_card(card).sources))
    console.print(f"model {card.name} {card.version}: {folder / 'ship.onnx'}", soft_wrap=True)


def data(request: DataRequest, console: Console) -> None:
    """Index, check and split the chips; print the table and notes, write the manifest."""
    config, sources = request.run_config(), request.sources()
    items = index(all_records(sources), config)
    with Progress(console=console) as progress:
        task = progress.add_task("reading every chip", total=len(items))
        records = [item.record for item in items]
        problems = verify(sources, records, partial(progress.advance, task))
    if not problems:
        found = distinct_records(sources, config, Workspace(request.store, console))
        items = index(found, config)
    print_data(sources, items, Console(), console)
    for problem in problems[:10]:
        line = f"{problem.source} {problem.key}: {problem.code}: {problem.message}"
        console.print(line, style="red", highlight=False, soft_wrap=True)
    if problems:
        raise DataInvalid(
            f"{len(problems)} of {len(items)} chips cannot be read, the first of them above; "
            "remove them, or fetch their archives again"
        )
    write_text(request.manifest, splits.manifest(items))
    line = f"manifest {request.manifest}, sha256 {splits.manifest_sha256(items)}"
    console.print(f"{line}; no ship is on two sides", highlight=False, soft_wrap=True)


def pretrain(request: PretrainRequest, console: Console) -> None:
    """Features from other SAR chips, as a file of weights."""
    config = request.run_config()
    chips = other_chips(request.chips, config)
    with join_team() as team:
        console.quiet = not team.writes
        learn_features(chips, config, request.weights, Workspace(request.store, console, team))


def evaluate(request: EvaluateRequest, console: Console) -> None:
    """Every figure of a model file beside its target; ExportMismatch if its card differs."""
    work = Workspace(request.store, console)
    found = evaluate_file(request.model, request.sources(), work, request.ood, request.int8)
    print_evaluation(found, Console())
    if request.json:
        write_text(request.json, json.dumps(found.plain(), indent=2))
    check_card(found)


def export(request: ExportRequest, console: Console) -> None:
    """An exported model in int8, compared with its fp32 file and measured, then put in place."""
    out = request.out or request.model.with_suffix(".int8.onnx")
    sources, work = request.sources(), Workspace(request.store, console)
    card = ShipClassifier(request.model, device="cpu").card
    config, _, dataset = dataset_of_card(card, sources, work)
    others = load_ood_chips(request.ood, card.input, work) if request.ood else None
    Console().print(export_int8(request.model, dataset, out, config.seed, others).table())
    console.print(f"int8: {out}", highlight=False, soft_wrap=True)


def promote(request: PromoteRequest, console: Console) -> None:
    """Make a run's model the default one."""
    outdated = promote_model(request.folder, request.to)
    console.print(
        f"{request.to / 'ship.onnx'} is now the model of {request.folder}", highlight=False
    )
    if outdated:
        line = f"deleted {request.to / 'ship.int8.onnx'}, which was made from another model"
        console.print(f"{line}; make it again: export --int8", highlight=False, soft_wrap=True)


def print_data(
    sources: list[Source], items: list[splits.Item], table: Console, console: Console
) -> None:
    """Print what the sources hold, by class and side, on `table`, and their notes on `console`."""
    table.print(counts_table(splits.counts(items), splits.found(all_records(sources))))
    for line in notes(sources, [item.record for item in items]):
        console.print(line, highlight=False, soft_wrap=True)
