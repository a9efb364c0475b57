"""The command line of training: `python -m training.run --help`.

Options become the typed request of a command; nothing behind this module knows argparse.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from rich.console import Console

from shipchip.errors import ShipchipError
from training.config import NETWORKS
from training.matrix.config import MODELS, SWEEPS

console = Console(stderr=True)

_COMMANDS = ("train", "data", "pretrain", "matrix", "evaluate", "export", "promote")


def main(arguments: list[str] | None = None, prog: str = "python -m training.run") -> int:
    """Run one command; returns the exit code: 0 done, 1 refused with a one-line reason."""
    words = sys.argv[1:] if arguments is None else arguments
    if not words or (words[0].startswith("-") and words[0] not in ("-h", "--help")):
        words = ["train", *words]  # `python -m training.run --data DIR` does it all
    elif words[0] not in (*_COMMANDS, "-h", "--help"):
        console.print(f"unknown command {words[0]!r}; expected one of {', '.join(_COMMANDS)}")
        return 1
    options = vars(parser(prog).parse_args(words))
    try:
        _run(options.pop("command"), options)
    except ShipchipError as error:
        console.print(f"{error.code}: {error}", style="red", highlight=False, soft_wrap=True)
        return 1
    except OSError as error:
        advice = "free space or correct the path, and run the same command again: it continues"
        message = f"cannot read or write: {error}; {advice}"
        console.print(message, style="red", highlight=False, soft_wrap=True)
        return 1
    return 0


def _run(name: str, options: dict[str, Any]) -> None:
    """Imports torch, which takes seconds: `--help` and a wrong option do not wait for it."""
    from training import commands, requests  # noqa: PLC0415
    from training.matrix.command import MatrixRequest, matrix  # noqa: PLC0415

    match name:
        case "train":
            commands.train(requests.TrainRequest(**options), console)
        case "data":
            commands.data(requests.DataRequest(**options), console)
        case "pretrain":
            commands.pretrain(requests.PretrainRequest(**options), console)
        case "matrix":
            matrix(MatrixRequest(**options), console)
        case "evaluate":
            commands.evaluate(requests.EvaluateRequest(**options), console)
        case "export":
            commands.export(requests.ExportRequest(**options), console)
        case "promote":
            commands.promote(requests.PromoteRequest(**options), console)


def parser(prog: str) -> argparse.ArgumentParser:
    """Every command with its options."""
    top = argparse.ArgumentParser(prog=prog, description=(__doc__ or "").splitlines()[0])
    add = top.add_subparsers(required=True, metavar="COMMAND")
    train = add.add_parser("train", help="index, split, train, test once, export (the default)")
    _data_options(train)
    _weights_options(train)
    _accept_option(train)
    train.add_argument("--name", default="ship", help="the model's name in its card")
    _ood_option(train)
    train.set_defaults(command="train")
    data = add.add_parser("data", help="index, verify and split: the table and the manifest")
    data.add_argument("data", nargs="*", type=Path, metavar="SOURCE", help="as downloaded")
    data.add_argument(
        "--manifest",
        type=Path,
        default=Path("runs/manifest.jsonl"),
        help="where it is written (default %(default)s)",
    )
    data.add_argument("--simulated", action="store_true", help="draw chips, no download")
    data.add_argument("--config", type=Path, help="a TOML file of training.config keys")
    _set_option(data)
    data.add_argument("--smoke", action="store_true", help="with --simulated: fewer")
    data.add_argument("--runs", type=Path, default=Path("runs"), help="has the store of chips")
    data.set_defaults(command="data")
    pretrain = add.add_parser("pretrain", help="learn features on other SAR chips")
    pretrain.add_argument("chips", type=Path, help="class folders or a zip of them, not ships")
    pretrain.add_argument("--model", choices=NETWORKS, default="vgg16_bn")
    pretrain.add_argument("--width", type=float, help="of a VGG16, see ModelConfig")
    pretrain.add_argument("--config", type=Path, help="a TOML file of training.config keys")
    _set_option(pretrain)
    _folders(pretrain)
    pretrain.set_defaults(command="pretrain")
    _evaluate_options(add.add_parser("evaluate", help="figures of a model file beside its targets"))
    _matrix_options(add.add_parser("matrix", help="the paper's experiment: models, sets, orders"))
    _export_options(add.add_parser("export", help="an exported model in int8"))
    up = add.add_parser("promote", help="make a run's model the default one")
    up.add_argument("folder", type=Path, help="a run folder")
    up.add_argument("--to", type=Path, default=Path("models"), help="the folder of the default")
    up.set_defaults(command="promote")
    return top


def _evaluate_options(evaluate: argparse.ArgumentParser) -> None:
    evaluate.add_argument("model", type=Path, help="an .onnx file that training.run exported")
    evaluate.add_argument("--data", nargs="+", type=Path, default=[], metavar="DIR")
    evaluate.add_argument("--simulated", action="store_true", help="it was trained on drawn chips")
    evaluate.add_argument("--smoke", action="store_true", help="with --simulated: fewer")
    _ood_option(evaluate)
    evaluate.add_argument("--int8", type=Path, metavar="FILE", help="the int8 file made from it")
    evaluate.add_argument("--json", type=Path, metavar="FILE", help="also write everything there")
    evaluate.add_argument("--runs", type=Path, default=Path("runs"), help="has the store of chips")
    evaluate.set_defaults(command="evaluate")


def _export_options(export: argparse.ArgumentParser) -> None:
    export.add_argument("model", type=Path, help="an .onnx file that training.run exported")
    export.add_argument("--int8", action="store_true", required=True, help="the only form there is")
    export.add_argument("--data", nargs="+", type=Path, default=[], metavar="DIR")
    export.add_argument("--simulated", action="store_true", help="it was trained on drawn chips")
    export.add_argument("--smoke", action="store_true", help="with --simulated: fewer")
    _ood_option(export)
    export.add_argument("--out", type=Path, metavar="FILE", help="default: MODEL.int8.onnx")
    export.add_argument("--runs", type=Path, default=Path("runs"), help="where prepared chips are")
    export.set_defaults(command="export")


def _matrix_options(matrix: argparse.ArgumentParser) -> None:
    _data_options(matrix)
    _weights_options(matrix)
    matrix.add_argument(
        "--models", nargs="+", choices=MODELS, metavar="MODEL", help=f"of {', '.join(MODELS)}"
    )
    matrix.add_argument("--seeds", type=int, metavar="N", help="seeds 0 to N-1")
    matrix.add_argument("--sweep", choices=SWEEPS, help="compare these instead, on one model")
    matrix.add_argument("--out", type=Path, help="the folder; default runs/matrix-…")
    _accept_option(matrix)
    matrix.add_argument(
        "--without-chips",
        action="store_true",
        help="a report without pictures of chips, to pass on",
    )
    matrix.set_defaults(command="matrix")


def _data_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--data", nargs="+", type=Path, default=[], metavar="DIR")
    command.add_argument("--simulated", action="store_true", help="draw chips, no download")
    command.add_argument("--smoke", action="store_true", help="with --simulated: a minute")
    command.add_argument("--config", type=Path, help="a TOML file of the command's config")
    _set_option(command)
    command.add_argument("--seed", type=int, help="overrides the config's")
    command.add_argument("--tensorboard", action="store_true", help="log every epoch for it")
    command.add_argument("--mlflow", action="store_true", help="log every epoch to MLflow")
    _folders(command)


def _set_option(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--set",
        dest="keys",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change a key of the config, such as stages.0.epochs=5; may be repeated",
    )


def _accept_option(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--accept-changes",
        action="store_true",
        help="resume a run of other code or another machine; the result records it",
    )


def _ood_option(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--ood",
        nargs="+",
        type=Path,
        default=[],
        metavar="DIR",
        help="folders or zips of chips that show no ship, to measure how well they are refused",
    )


def _folders(command: argparse.ArgumentParser) -> None:
    command.add_argument("--runs", type=Path, default=Path("runs"), help="where run folders go")
    command.add_argument("--weights-dir", type=Path, help="default: weights/ below --runs")


def _weights_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--pretrained", metavar="WHICH", help="imagenet, sar, or a file of weights"
    )
    command.add_argument(
        "--pretrain", type=Path, metavar="DIR", help="first learn features on these other SAR chips"
    )


if __name__ == "__main__":
    sys.exit(main())
