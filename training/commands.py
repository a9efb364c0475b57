"""What each command of training.run does; each prints what it found and raises what it refuses."""

import argparse
import json
from functools import partial

from rich.console import Console
from rich.progress import Progress

from shipchip.classifier import ShipClassifier
from training import matrix as matrix_run
from training import promote as promotion
from training import report, splits
from training.appraisal import appraise, check_card, tell
from training.card_data import sides_of_card
from training.config import RunConfig, validated
from training.errors import DataInvalid
from training.matrix_config import MatrixConfig
from training.matrix_place import Place
from training.options import (
    large_enough,
    matrix_config,
    other_source,
    pretraining_record,
    run_config,
    scribe_of,
    sources_of,
    weights_dir,
)
from training.parallel import Team, joined
from training.pipeline import (
    clear_stages,
    finish,
    training_record,
    untrained,
    write_curves,
    write_run,
)
from training.pipeline import train as learn_all
from training.pretraining import check_not_tested, other_chips
from training.pretraining import pretrain as learn_features
from training.provenance import identity
from training.quantise import convert
from training.sides import all_records, index, load
from training.sources.record import Source
from training.sources.simulated import SimulatedSource
from training.strangers import strangers
from training.verify import notes, verify
from training.whole import half_of, write_text


def train(options: argparse.Namespace, console: Console) -> None:
    """A model from sources to a checked file; the same command again goes on or is done."""
    with joined() as team:
        console.quiet = not team.writes
        _train(options, console, team)


def _train(options: argparse.Namespace, console: Console, team: Team) -> None:
    config, sources = run_config(options), sources_of(options.data, options)
    large_enough(config)
    items = team.agree(lambda: index(all_records(sources), config))
    _say_data(sources, items, console, console)
    store = options.runs / "store"
    sides = load(sources, items, config, store, console, team)
    strange = strangers(options.ood, config.input, store, console) if options.ood else None
    weights = weights_dir(options)
    if options.pretrain:
        options.pretrained = options.pretrained or "sar"
        other = other_chips(options.pretrain, config)
        check_not_tested(other.index(), items)
        learn_features(other, config, weights, store, console, team)
    start = partial(untrained, pretrained=options.pretrained, weights=weights)
    start(config)  # weights that are missing or do not fit are refused before anything is written
    pretraining = pretraining_record(options, config, weights)
    recipe = {"name": options.name, "config": config.model_dump(mode="json")}
    data = {"manifest": splits.manifest_sha256(items), "pretraining": pretraining}
    folder = options.runs / f"{options.name}-{identity(recipe | data)}"
    if team.agree(folder.exists):
        console.print(f"{folder} is finished already; delete it to run it again", highlight=False)
        return
    half = half_of(folder)
    team.agree(lambda: write_run(half, config, items))
    scribe = scribe_of(options, half, team)
    learnt, history = learn_all(sides, config, half, start, console, team, scribe)
    if team.writes:
        write_curves(half, history)
        record = training_record(items, config, pretraining)
        card = finish(learnt, sides, config, record, half, options.name, strange)
        clear_stages(half)
        half.replace(folder)
        Console().print(report.scores_table(card.metrics["sources"]))
        console.print(f"model {card.name} {card.version}: {folder / 'ship.onnx'}")


def data(options: argparse.Namespace, console: Console) -> None:
    """Index, verify every chip, split; the table, the notes and the manifest."""
    config, sources = run_config(options), sources_of(options.sources, options)
    items = index(all_records(sources), config)
    with Progress(console=console) as progress:
        task = progress.add_task("reading every chip", total=len(items))
        records = [item.record for item in items]
        problems = verify(sources, records, partial(progress.advance, task))
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
    width = options.width or (config.model.width if options.model == "vgg16" else 1.0)
    model = config.model.model_dump() | {"name": options.model, "width": width}
    config = validated(config.model_dump() | {"model": model}, RunConfig, "the options")
    large_enough(config)
    chips = other_chips(options.chips, config)
    with joined() as team:
        console.quiet = not team.writes
        learn_features(chips, config, weights_dir(options), options.runs / "store", console, team)


def matrix(options: argparse.Namespace, console: Console) -> None:
    """The experiment and its report."""
    with joined() as team:
        console.quiet = not team.writes
        _matrix(options, console, team)


def _matrix(options: argparse.Namespace, console: Console, team: Team) -> None:
    config = matrix_config(options)
    sources = sources_of(options.data, options)
    items = team.agree(lambda: index(all_records(sources), config.run))
    _say_data(sources, items, console, console)
    sides = load(sources, items, config.run, options.runs / "store", console, team)
    _pretrain_all(config, items, options, console, team)
    name = "-".join(w for w in ("matrix", options.sweep, options.simulated and "simulated") if w)
    folder = options.out or options.runs / name
    place = Place(
        folder=folder,
        weights=weights_dir(options),
        pretrained=options.pretrained or "sar",
        console=console,
        team=team,
        scribe=scribe_of(options, folder, team),
    )
    results = matrix_run.run(config, sides, items, place)
    if team.writes:
        report.write_matrix_report(results, folder, chips=not options.without_chips)
        console.print(f"report: {folder / 'report.html'}", highlight=False)


def _pretrain_all(
    config: MatrixConfig,
    items: list[splits.Item],
    options: argparse.Namespace,
    console: Console,
    team: Team,
) -> None:
    """SAR pretraining of every network of the matrix that starts from it, where chips are given."""
    if not (options.pretrain or options.simulated):
        return
    store, weights = options.runs / "store", weights_dir(options)
    for name in config.models:
        if name.endswith("-pretrained"):
            run = config.run.model_copy(update={"model": config.model_of(name)})
            other = other_source(options, run)
            check_not_tested(other.index(), items)
            learn_features(other, run, weights, store, console, team)


def evaluate(options: argparse.Namespace, console: Console) -> None:
    """Every figure of a model file beside its bar; ExportMismatch where its card says others."""
    sources = sources_of(options.data, options)
    store = options.runs / "store"
    found = appraise(options.model, sources, store, console, options.ood, options.int8)
    tell(found, Console())
    if options.json:
        write_text(options.json, json.dumps(found, indent=2))
    check_card(found)


def export(options: argparse.Namespace, console: Console) -> None:
    """An exported model in int8, compared with its fp32 file and measured, then put in place."""
    out = options.out or options.model.with_suffix(".int8.onnx")
    sources = sources_of(options.data, options)
    store = options.runs / "store"
    card = ShipClassifier(options.model, device="cpu").card
    config, _, sides = sides_of_card(card, sources, store, console)
    others = strangers(options.ood, card.input, store, console) if options.ood else None
    Console().print(convert(options.model, sides, out, config.seed, others).table())
    console.print(f"int8: {out}", highlight=False, soft_wrap=True)


def promote(options: argparse.Namespace, console: Console) -> None:
    """A run's model becomes the default one."""
    promotion.promote(options.folder, options.to)
    console.print(f"{options.to / 'ship.onnx'} is now of {options.folder}", highlight=False)


def figure(options: argparse.Namespace, console: Console) -> None:
    """Simulated chips with a model's answers."""
    source = SimulatedSource({"Cargo": 3, "Fishing": 3, "Tanker": 3}, seed=11, size=64)
    chips = [(record.label, source.read(record)) for record in source.index()]
    report.draw_answers(ShipClassifier(options.model, device="cpu"), chips, options.out)
    console.print(f"{options.out}", highlight=False)


def _say_data(
    sources: list[Source], items: list[splits.Item], table: Console, console: Console
) -> None:
    table.print(report.counts_table(splits.counts(items), splits.found(all_records(sources))))
    for line in notes(sources):
        console.print(line, highlight=False, soft_wrap=True)
