"""What each command of training.run does; each prints what it found and raises what it refuses."""

import argparse
import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress

from shipchip.card import ModelCard
from shipchip.classifier import ShipClassifier
from training import promote as promotion
from training.atomic import half_of, write_text
from training.card.record import dataset_of_card
from training.config import RunConfig, validated
from training.data import splits
from training.data.checks import notes, verify
from training.data.dataset import Dataset, all_records, distinct_records, index, load_dataset
from training.data.ood import load_ood_chips
from training.data.record import Source
from training.data.simulated import SimulatedSource
from training.errors import DataInvalid
from training.evaluation.evaluate import check_card, evaluate_file, print_evaluation
from training.evaluation.tables import counts_table, scores_table
from training.fit.cross_validation import Start, plan_stages
from training.fit.processes import Team, join_team
from training.identity import accepted_makers, identity, locked, made_by, makers_of
from training.int8.quantise import export_int8
from training.matrix import run as matrix_run
from training.matrix.config import MatrixConfig, is_pretrained
from training.matrix.folder import MatrixFolder
from training.matrix.report import write_matrix_report
from training.network.weights import read_weights
from training.options import (
    check_pretraining,
    large_enough,
    matrix_config,
    other_source,
    run_config,
    run_name,
    scribe_of,
    sources_of,
    weights_dir,
)
from training.plots import draw_answers
from training.pretrain import check_unseen, learn_features, other_chips
from training.retrain import (
    clear_stages,
    finish_run,
    initial_network,
    measure_run,
    training_record,
    write_curves,
    write_run,
)
from training.retrain import train_networks as learn_all


def train(options: argparse.Namespace, console: Console) -> None:
    """A model from sources to a checked file; the same command again goes on or is done."""
    with join_team() as team:
        console.quiet = not team.writes
        _train(options, console, team)


def _train(options: argparse.Namespace, console: Console, team: Team) -> None:
    config, sources = run_config(options), sources_of(options.data, options)
    name = run_name(options)
    large_enough(config)
    check_pretraining(options)
    store = options.runs / "store"
    found = distinct_records(sources, config, store, console, team)
    items = team.agree(lambda: index(found, config))
    _say_data(sources, items, console, console)
    dataset = load_dataset(sources, items, config, store, console, team)
    planned = plan_stages(dataset, config)
    for stage, why in planned.skipped.items():
        console.print(f"stage {stage} skipped: {why}", highlight=False, soft_wrap=True)
    ood = load_ood_chips(options.ood, config.input, store, console) if options.ood else None
    start, pretraining = _features(options, config, items, console, team)
    recipe = {"name": name, "config": config.model_dump(mode="json")}
    data = {"manifest": splits.manifest_sha256(items), "pretraining": pretraining}
    folder = options.runs / f"{name}-{identity(recipe | data)}"
    half = half_of(folder)
    with locked(folder if team.agree(folder.exists) else half, team):
        finished = team.agree(folder.exists)  # perhaps by the process that held the lock before
        place, now = folder if finished else half, made_by(team)
        makers = team.agree(
            lambda: accepted_makers(makers_of(place), now, place, options.accept_changes)
        )
        record = training_record(items, config, planned, pretraining, makers, ood)
        if finished:
            team.agree(lambda: _complete(folder, dataset, record, ood, console))
            return
        team.agree(lambda: write_run(half, config, items, makers))
        log_epoch = scribe_of(options, half, team)
        runs = config.model_copy(update={"stages": planned.stages})
        trained, history = learn_all(dataset, runs, half, start, console, team, log_epoch)
        if team.writes:
            write_curves(half, history)
            card = finish_run(trained, dataset, config, record, half, name, ood)
            half.replace(folder)  # from here on it is finished, whatever kills the process
            clear_stages(folder)
            _say_model(card, folder, console)


def _features(
    options: argparse.Namespace,
    config: RunConfig,
    items: list[splits.Item],
    console: Console,
    team: Team,
) -> tuple[Start, dict[str, object] | None]:
    """What gives a network its first weights, and the record of the features among them."""
    weights = weights_dir(options)
    if options.pretrain:
        options.pretrained = "sar"
        other = other_chips(options.pretrain, config)
        check_unseen({chip.sha256 for chip in other.index()}, items, config)
        learn_features(other, config, weights, options.runs / "store", console, team)
    features = read_weights(options.pretrained, config, weights) if options.pretrained else None
    if features:
        check_unseen(features.learnt_on, items, config)
    start = partial(initial_network, weights=features)
    start(config)  # weights that do not fit are refused here, before anything is written
    return start, dict(features.record) if features else None


def _complete(
    folder: Path,
    dataset: Dataset,
    record: dict[str, Any],
    ood: Mapping[str, NDArray[np.float32]] | None,
    console: Console,
) -> None:
    """Measure what a finished run was not yet asked: its doubt of the chips of --ood."""
    clear_stages(folder)
    card = ShipClassifier(folder / "ship.onnx", device="cpu").card
    if ood is None or card.training["ood_sha256"] == record["ood_sha256"]:
        console.print(f"{folder} is finished already; delete it to run it again", highlight=False)
        return
    console.print(f"{folder} is finished already; measuring it on the chips of --ood")
    _say_model(measure_run(folder, dataset, record, ood), folder, console)


def _say_model(card: ModelCard, folder: Path, console: Console) -> None:
    Console().print(scores_table(card.metrics["sources"]))
    console.print(f"model {card.name} {card.version}: {folder / 'ship.onnx'}", soft_wrap=True)


def data(options: argparse.Namespace, console: Console) -> None:
    """Index, verify every chip, split; the table, the notes and the manifest."""
    config, sources = run_config(options), sources_of(options.sources, options)
    items = index(all_records(sources), config)
    with Progress(console=console) as progress:
        task = progress.add_task("reading every chip", total=len(items))
        records = [item.record for item in items]
        problems = verify(sources, records, partial(progress.advance, task))
    if not problems:
        found = distinct_records(sources, config, options.runs / "store", console)
        items = index(found, config)
    _say_data(sources, items, Console(), console)
    for problem in problems[:10]:
        told = f"{problem.source} {problem.key}: {problem.code}: {problem.message}"
        console.print(told, style="red", highlight=False, soft_wrap=True)
    if problems:
        raise DataInvalid(
            f"{len(problems)} of {len(items)} chips cannot be read, the first of them above; "
            "remove them, or fetch their archives again"
        )
    write_text(options.manifest, splits.manifest(items))
    told = f"{options.manifest}, sha256 {splits.manifest_sha256(items)}"
    console.print(f"manifest {told}; no ship stands on two sides", highlight=False, soft_wrap=True)


def pretrain(options: argparse.Namespace, console: Console) -> None:
    """Features from other SAR chips, as a file of weights."""
    config = run_config(options)
    width = options.width or (config.model.width if options.model.startswith("vgg16") else 1.0)
    model = config.model.model_dump() | {"name": options.model, "width": width}
    config = validated(config.model_dump() | {"model": model}, RunConfig, "the options")
    large_enough(config)
    chips = other_chips(options.chips, config)
    with join_team() as team:
        console.quiet = not team.writes
        learn_features(chips, config, weights_dir(options), options.runs / "store", console, team)


def matrix(options: argparse.Namespace, console: Console) -> None:
    """The experiment and its report."""
    with join_team() as team:
        console.quiet = not team.writes
        _matrix(options, console, team)


def _matrix(options: argparse.Namespace, console: Console, team: Team) -> None:
    config = matrix_config(options)
    check_pretraining(options, config.models)
    sources = sources_of(options.data, options)
    store = options.runs / "store"
    found = distinct_records(sources, config.run, store, console, team)
    items = team.agree(lambda: index(found, config.run))
    _say_data(sources, items, console, console)
    dataset = load_dataset(sources, items, config.run, store, console, team)
    _pretrain_all(config, items, options, console, team)
    name = "-".join(w for w in ("matrix", options.sweep, options.simulated and "simulated") if w)
    folder = options.out or options.runs / name
    place = MatrixFolder(
        folder=folder,
        weights=weights_dir(options),
        pretrained=options.pretrained or "sar",
        console=console,
        team=team,
        log_epoch=scribe_of(options, folder, team),
        accept=options.accept_changes,
    )
    results = matrix_run.run_matrix(config, dataset, items, place)
    if team.writes:
        write_matrix_report(results, folder, chips=not options.without_chips)
        console.print(f"report: {folder / 'report.html'}", highlight=False)


def _pretrain_all(
    config: MatrixConfig,
    items: list[splits.Item],
    options: argparse.Namespace,
    console: Console,
    team: Team,
) -> None:
    """SAR pretraining of every network of the matrix that starts from it, where chips are given."""
    wanted = options.pretrain or (options.simulated and options.pretrained in (None, "sar"))
    if not wanted:
        return
    store, weights = options.runs / "store", weights_dir(options)
    for name in config.models:
        if is_pretrained(name):
            run = config.run.model_copy(update={"model": config.model_of(name)})
            other = other_source(options, run)
            check_unseen({chip.sha256 for chip in other.index()}, items, run)
            learn_features(other, run, weights, store, console, team)


def evaluate(options: argparse.Namespace, console: Console) -> None:
    """Every figure of a model file beside its bar; ExportMismatch where its card says others."""
    sources = sources_of(options.data, options)
    store = options.runs / "store"
    found = evaluate_file(options.model, sources, store, console, options.ood, options.int8)
    print_evaluation(found, Console())
    if options.json:
        write_text(options.json, json.dumps(found, indent=2))
    check_card(found)


def export(options: argparse.Namespace, console: Console) -> None:
    """An exported model in int8, compared with its fp32 file and measured, then put in place."""
    out = options.out or options.model.with_suffix(".int8.onnx")
    sources = sources_of(options.data, options)
    store = options.runs / "store"
    card = ShipClassifier(options.model, device="cpu").card
    config, _, dataset = dataset_of_card(card, sources, store, console)
    others = load_ood_chips(options.ood, card.input, store, console) if options.ood else None
    Console().print(export_int8(options.model, dataset, out, config.seed, others).table())
    console.print(f"int8: {out}", highlight=False, soft_wrap=True)


def promote(options: argparse.Namespace, console: Console) -> None:
    """A run's model becomes the default one."""
    outdated = promotion.promote_model(options.folder, options.to)
    console.print(f"{options.to / 'ship.onnx'} is now of {options.folder}", highlight=False)
    if outdated:
        told = f"deleted {options.to / 'ship.int8.onnx'}, which was made from another model"
        console.print(f"{told}; make it again: export --int8", highlight=False, soft_wrap=True)


def figure(options: argparse.Namespace, console: Console) -> None:
    """Simulated chips with a model's answers."""
    source = SimulatedSource({"Cargo": 3, "Fishing": 3, "Tanker": 3}, seed=11, size=64)
    chips = [(record.label, source.read(record)) for record in source.index()]
    draw_answers(ShipClassifier(options.model, device="cpu"), chips, options.out)
    console.print(f"{options.out}", highlight=False)


def _say_data(
    sources: list[Source], items: list[splits.Item], table: Console, console: Console
) -> None:
    table.print(counts_table(splits.counts(items), splits.found(all_records(sources))))
    for line in notes(sources, [item.record for item in items]):
        console.print(line, highlight=False, soft_wrap=True)
