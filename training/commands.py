"""What each command of training.run does; each prints what it found and raises what it refuses."""

import argparse
from pathlib import Path

from rich.console import Console

from shipchip.classifier import ShipClassifier
from training import matrix as matrix_run
from training import promote as promotion
from training import report, splits
from training.config import ModelConfig, RunConfig, read_config, simulated_config
from training.errors import ConfigInvalid, DataInvalid, DataMissing
from training.matrix_config import MatrixConfig, simulated_matrix, with_sweep
from training.matrix_place import Place
from training.parallel import Team, join, leave
from training.pipeline import clear_stages, finish, untrained, write_curves, write_run
from training.pipeline import train as train_stages
from training.pretraining import other_chips
from training.pretraining import pretrain as learn_features
from training.progress import OnEpoch, tensorboard
from training.provenance import identity
from training.sides import index, load
from training.sources.discover import WHAT_TO_DOWNLOAD, discover
from training.sources.record import Source
from training.sources.simulated import SimulatedSource
from training.verify import notes, verify
from training.weights import read_record, sar_file


def train(options: argparse.Namespace, console: Console) -> None:
    """A model from sources to a checked file; the same command again goes on or is done."""
    team = join()
    console.quiet = not team.writes
    config, sources = run_config(options), _sources(options.data, options)
    items = team.agree(lambda: index(sources, config))
    _say_data(sources, items, console)
    sides = load(sources, items, config, options.runs / "store", console, team)
    weights = _weights_dir(options)
    if options.pretrain:
        options.pretrained = options.pretrained or "sar"
        other = other_chips(options.pretrain, config)
        learn_features(other, config, weights, options.runs / "store", console, team)
    named = identity(
        {
            "name": options.name,
            "config": config.model_dump(mode="json"),
            "manifest": splits.manifest_sha256(items),
            "pretrained": _pretraining(options, config, weights) or options.pretrained,
        }
    )
    folder = options.runs / f"{options.name}-{named}"
    if team.agree(folder.exists):
        console.print(f"{folder} is finished already; delete it to run it again", highlight=False)
        return
    half = folder.with_suffix(".half")
    if team.writes:
        half.mkdir(parents=True, exist_ok=True)
        write_run(half, config, items)
    model = untrained(config, options.pretrained, weights)
    history = train_stages(model, sides, config, half, console, team, _scribe(options, half))
    if team.writes:
        write_curves(half, history)
        told = _pretraining(options, config, weights)
        card = finish(model, sides, config, items, half, options.name, told)
        clear_stages(half, config)
        half.replace(folder)
        Console().print(report.scores_table(card.metrics))
        console.print(f"model {card.name} {card.version}: {folder / 'ship.onnx'}")
    leave(team)


def data(options: argparse.Namespace, console: Console) -> None:
    """Index, verify every chip, split; the table, the notes and the manifest."""
    config, sources = run_config(options), _sources(options.sources, options)
    items = index(sources, config)
    problems = verify(sources, [item.record for item in items])
    Console().print(report.counts_table(splits.counts(items)))
    for line in notes(sources):
        console.print(line, highlight=False, soft_wrap=True)
    console.print(f"manifest sha256 {splits.manifest_sha256(items)}; no ship stands on two sides")
    if options.manifest:
        options.manifest.parent.mkdir(parents=True, exist_ok=True)
        half = options.manifest.with_suffix(".half")
        half.write_text(splits.manifest(items), encoding="utf-8")
        half.replace(options.manifest)
    for problem in problems[:10]:
        told = f"{problem.source} {problem.key}: {problem.code}: {problem.message}"
        console.print(told, style="red", highlight=False, soft_wrap=True)
    if problems:
        raise DataInvalid(
            f"{len(problems)} of {len(items)} chips cannot be read, the first of them above; "
            "remove them, or fetch their archives again"
        )


def pretrain(options: argparse.Namespace, console: Console) -> None:
    """Features from other SAR chips, as a file of weights."""
    config = run_config(options)
    width = options.width or (config.model.width if options.model == "vgg16" else 1.0)
    model = ModelConfig.model_validate({"name": options.model, "width": width})
    config = config.model_copy(update={"model": model})
    chips = other_chips(options.chips, config)
    learn_features(chips, config, _weights_dir(options), options.runs / "store", console)


def matrix(options: argparse.Namespace, console: Console) -> None:
    """The experiment and its report."""
    config = _matrix_config(options)
    sources = _sources(options.data, options)
    team = join()
    console.quiet = not team.writes
    items = team.agree(lambda: index(sources, config.run))
    _say_data(sources, items, console)
    sides = load(sources, items, config.run, options.runs / "store", console, team)
    _pretrain_all(config, options, console, team)
    name = "-".join(w for w in ("matrix", options.sweep, options.simulated and "simulated") if w)
    folder = options.out or options.runs / name
    results = matrix_run.run(
        config,
        sides,
        items,
        Place(
            folder,
            _weights_dir(options),
            options.pretrained or "sar",
            console,
            team,
            _scribe(options, folder),
        ),
    )
    if team.writes:
        report.write_matrix_report(results, folder)
        console.print(f"report: {folder / 'report.html'}", highlight=False)
    leave(team)


def _pretrain_all(
    config: MatrixConfig, options: argparse.Namespace, console: Console, team: Team
) -> None:
    """SAR pretraining of every network of the matrix that starts from it, where chips are given."""
    if not (options.pretrain or options.simulated):
        return
    store, weights = options.runs / "store", _weights_dir(options)
    for name in config.models:
        if name.endswith("-pretrained"):
            run = config.run.model_copy(update={"model": config.model_of(name)})
            other = (
                SimulatedSource(
                    {"Cargo": 60, "Fishing": 60, "Tanker": 60}, 3, name="simulated-other"
                )
                if options.simulated
                else other_chips(options.pretrain, run)
            )
            learn_features(other, run, weights, store, console, team)


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


def run_config(options: argparse.Namespace) -> RunConfig:
    """The config that the options name: a file's, the simulated one, or the default."""
    if options.config:
        config = read_config(options.config, RunConfig)
    elif options.simulated:
        config = simulated_config(options.smoke)
    else:
        config = RunConfig()
    return config if options.seed is None else config.model_copy(update={"seed": options.seed})


def _matrix_config(options: argparse.Namespace) -> MatrixConfig:
    if options.config:
        config = read_config(options.config, MatrixConfig)
    else:
        config = simulated_matrix(options.smoke) if options.simulated else MatrixConfig()
    if options.sweep:
        config = with_sweep(config, options.sweep)
    changes: dict[str, object] = {}
    if options.models:
        changes["models"] = tuple(options.models)
    elif options.sweep:
        changes["models"] = config.models[-1:]
    if options.seeds and options.seed is not None:
        raise ConfigInvalid("--seeds and --seed exclude each other; give one of them")
    if options.seeds:
        changes["seeds"] = tuple(range(options.seeds))
    elif options.seed is not None:
        changes["seeds"] = (options.seed,)
    return MatrixConfig.model_validate(config.model_dump() | changes)


def _sources(folders: list[Path], options: argparse.Namespace) -> list[Source]:
    if options.simulated:
        return simulated_sources(options.smoke)
    if not folders:
        raise DataMissing(f"no folder of data was given.\n{WHAT_TO_DOWNLOAD}")
    return discover(folders)


def simulated_sources(smoke: bool) -> list[Source]:
    """A fine and a coarse simulated sensor; the coarse one sees no fishing boats, as Sentinel-1's
    chips here do not."""
    many = 1 if smoke else 6
    fine = {"Cargo": 60 * many, "Fishing": 30 * many, "Tanker": 30 * many}
    coarse = {"Cargo": 60 * many, "Tanker": 30 * many}
    return [
        SimulatedSource(fine, 1, size=96, spacing_m=4.0, looks=3.0, name="simulated-fine"),
        SimulatedSource(coarse, 2, size=40, spacing_m=10.0, looks=5.0, name="simulated-coarse"),
    ]


def _say_data(sources: list[Source], items: list[splits.Item], console: Console) -> None:
    console.print(report.counts_table(splits.counts(items)))
    for line in notes(sources):
        console.print(line, highlight=False, soft_wrap=True)


def _weights_dir(options: argparse.Namespace) -> Path:
    name = "weights-simulated" if options.simulated else "weights"
    return Path(options.weights_dir or options.runs / name)


def _pretraining(
    options: argparse.Namespace, config: RunConfig, weights: Path
) -> dict[str, object] | None:
    """What the card says of the features that training began with."""
    if options.pretrained is None:
        return None
    if options.pretrained == "sar":
        path = sar_file(config.model, weights)
        return read_record(path) if path.exists() else None
    if options.pretrained == "imagenet":
        return {"source": "imagenet", "chips": 0, "classes": []}
    return {"source": Path(options.pretrained).name, "chips": 0, "classes": []}


def _scribe(options: argparse.Namespace, folder: Path) -> OnEpoch:
    return tensorboard(folder / "tensorboard") if options.tensorboard else lambda _: None
