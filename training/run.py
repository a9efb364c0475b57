"""The command line of training: `python -m training.run --help`."""

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from shipchip.classifier import ShipClassifier
from shipchip.errors import ShipchipError
from training import report, splits
from training.config import RunConfig, read_config, simulated_config
from training.errors import DataMissing
from training.pipeline import Pretrained, finish, index, load, pretrain, train, write_run
from training.promote import promote
from training.sources.discover import WHAT_TO_DOWNLOAD, discover
from training.sources.folder import FolderSource
from training.sources.record import Source
from training.sources.simulated import SimulatedSource

console = Console(stderr=True)


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit code: 0 done, 1 refused with one line that says why."""
    words = sys.argv[1:] if arguments is None else arguments
    known = {"train", "data", "promote", "figure"}
    if not words or (words[0].startswith("-") and words[0] not in ("-h", "--help")):
        words = ["train", *words]  # `python -m training.run --data DIR` does it all
    elif words[0] not in known | {"-h", "--help"}:
        console.print(f"unknown command {words[0]!r}; expected one of {sorted(known)}")
        return 1
    options = _parser().parse_args(words)
    try:
        options.run(options)
    except ShipchipError as error:
        console.print(f"{error.code}: {error}", style="red", highlight=False, soft_wrap=True)
        return 1
    except OSError as error:
        console.print(f"cannot write or read: {error}", style="red", highlight=False)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training.run", description=__doc__)
    commands = parser.add_subparsers(required=True)
    run = commands.add_parser("train", help="index, split, train, test once, export (the default)")
    data = commands.add_parser("data", help="index and split only: print the table")
    for command in (run, data):
        command.add_argument("--data", nargs="+", type=Path, default=[], metavar="DIR")
        command.add_argument("--simulated", action="store_true", help="draw chips, no download")
        command.add_argument("--smoke", action="store_true", help="with --simulated: a minute")
        command.add_argument("--config", type=Path, help="a TOML file of training.config keys")
        command.add_argument("--seed", type=int, help="overrides the config's")
    run.add_argument("--pretrain", type=Path, metavar="DIR", help="class folders, any SAR")
    run.add_argument("--runs", type=Path, default=Path("runs"), help="where run folders go")
    run.add_argument("--name", default="ship", help="the model's name in its card")
    run.set_defaults(run=_train)
    data.set_defaults(run=_data)
    figure = commands.add_parser("figure", help="simulated chips with a model's answers, as a PNG")
    figure.add_argument("model", type=Path, help="an .onnx file")
    figure.add_argument("--out", type=Path, required=True, metavar="FILE.png")
    figure.set_defaults(run=_figure)
    up = commands.add_parser("promote", help="make a run's model the default one")
    up.add_argument("folder", type=Path, help="a run folder")
    up.add_argument("--to", type=Path, default=Path("models"), help="the folder of the default")
    up.set_defaults(run=lambda options: promote(options.folder, options.to))
    return parser


def _config(options: argparse.Namespace) -> RunConfig:
    if options.config:
        config = read_config(options.config)
    elif options.simulated:
        config = simulated_config(options.smoke)
    else:
        config = RunConfig()
    return config if options.seed is None else config.model_copy(update={"seed": options.seed})


def _sources(options: argparse.Namespace) -> list[Source]:
    if options.simulated:
        return simulated_sources(options.smoke)
    if not options.data:
        raise DataMissing(f"no --data folder was given.\n{WHAT_TO_DOWNLOAD}")
    return discover(options.data)


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


def _data(options: argparse.Namespace) -> None:
    items = index(_sources(options), _config(options))
    Console().print(report.counts_table(splits.counts(items)))
    console.print(f"manifest sha256 {splits.manifest_sha256(items)}; no ship stands on two sides")


def _figure(options: argparse.Namespace) -> None:
    source = SimulatedSource({"Cargo": 3, "Fishing": 3, "Tanker": 3}, seed=11, size=64)
    chips = [(record.label, source.read(record)) for record in source.index()]
    report.draw_answers(ShipClassifier(options.model, device="cpu"), chips, options.out)


def _train(options: argparse.Namespace) -> None:
    config, sources = _config(options), _sources(options)
    items = index(sources, config)
    console.print(report.counts_table(splits.counts(items)))
    for source in sources:
        if isinstance(source, FolderSource) and source.ungrouped:
            console.print(
                f"{source.name}: {source.ungrouped} chips name no ship, so each stands for itself; "
                "add groups.csv (path,group) if some show the same one"
            )
    store = options.runs / "store"
    sides = load(sources, items, config, store, console)
    start: Pretrained | None = None
    if options.pretrain:
        spec = config.input
        other = FolderSource(options.pretrain, None, extent_m=spec.size * spec.spacing_m)
        start = pretrain(other, config, store, console)
    model, history = train(sides, config, start and start.model, console)
    earlier = start.history if start else []
    folder = options.runs / datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    half = folder.with_suffix(".half")
    half.mkdir(parents=True)
    write_run(half, config, items, earlier + history)
    other_chips = start.record if start else None
    card = finish(model, sides, config, items, half, options.name, other_chips)
    half.replace(folder)
    Console().print(report.scores_table(card.metrics))
    console.print(f"model {card.name} {card.version}: {folder / 'ship.onnx'}")


if __name__ == "__main__":
    sys.exit(main())
