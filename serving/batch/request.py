"""The command line of a batch, and the settings that it stands for."""

import argparse
import os
import re
from pathlib import Path
from typing import get_args

from pydantic import ValidationError

from serving.batch.outputs.job import Shard
from serving.batch.outputs.place import Existing
from serving.chips import Polarisation
from serving.settings import Settings, setting_errors
from shipchip.chip import Quantity
from shipchip.classifier import Device
from shipchip.errors import BadPixelSpacing
from shipchip.spacing import parse_spacing


class CannotRun(Exception):
    """Nothing was classified; the message is the one line that says why."""


def settings_of(args: argparse.Namespace) -> Settings:
    """The environment's settings, with what the command line gives in their place."""
    given = {"model": args.model and args.model.absolute(), "device": args.device}
    given["batch_size"] = args.batch_size
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        raise CannotRun("; ".join(setting_errors(error))) from error


def existing_of(args: argparse.Namespace) -> Existing:
    """What to do with an output that exists."""
    if args.resume:
        return "resume"
    return "overwrite" if args.overwrite else "refuse"


def picture_folders(args: argparse.Namespace) -> list[Path]:
    """The folders for pictures that were asked for."""
    return [folder for folder in (args.maps, args.crops_by_label) if folder is not None]


def make_parser() -> argparse.ArgumentParser:
    """See the module."""
    parser = argparse.ArgumentParser(
        prog="python -m serving.batch",
        description="Classify chips, one row a chip, in the order of their paths.",
        epilog="`python -m serving.batch merge --out FILE SHARD...` joins the outputs of --shard. "
        "Exit status: 0 all classified, 1 some chips failed (their rows say why), 2 could not run.",
    )
    add = parser.add_argument
    add("sources", nargs="*", metavar="SOURCE", help="folders, zip or tar archives, or chips")
    add("--list", metavar="FILE", help="more chips, a path a line (or NUL apart); - reads them")
    add("--expand-list", action="store_true", help="read folders and archives that --list names")
    add("--glob", action="append", default=[], metavar="PATTERN", help="only these: '*.tif'")
    add("--out", required=True, metavar="FILE", help=".csv, .jsonl or .parquet; - prints CSV")
    add("--format", choices=("csv", "jsonl"), default="csv", help="of --out -")
    add("--plain-csv", action="store_true", help="no byte order mark, no apostrophe before = + - @")
    existing = parser.add_mutually_exclusive_group()
    existing.add_argument(
        "--resume", action="store_true", help="go on where a run that was killed has ended"
    )
    existing.add_argument("--overwrite", action="store_true", help="replace an output that exists")
    _add_chips(parser)
    _add_more(parser)
    _add_machine(parser)
    return parser


def _add_chips(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("what the chips are").add_argument
    add("--pixel-spacing", type=_spacing, metavar="M", help="metres: 10, or 13.93x3.87")
    add("--polarisation", type=str.upper, choices=get_args(Polarisation), help="plane to take")
    add("--quantity", choices=get_args(Quantity), default="auto", help="what the samples are")
    add(
        "--labelled",
        action="store_true",
        help="folders are named as classes: print a score table at the end",
    )


def _add_more(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("beside the rows").add_argument
    add("--maps", type=Path, metavar="DIR", help="write activation maps there")
    add("--crops-by-label", type=Path, metavar="DIR", help="link the chips there, by label")
    add("--copy", action="store_true", help="copy them instead")


def _add_machine(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("model and machine").add_argument
    add("--model", type=Path, help="the .onnx file (default: SHIPCHIP_MODEL, models/ship.onnx)")
    add("--device", choices=get_args(Device), help="cuda insists on a GPU (default: auto)")
    add("--batch-size", type=int, metavar="N", help="chips in one model run (default: 32)")
    add("--workers", type=_workers, default=_cores(), metavar="N", help="default: a core each")
    add("--shard", type=parse_shard, metavar="I/N", help="only part I (from 1) of N")
    add("--engine", choices=("local", "ray"), default="local", help="ray needs shipchip[scale]")
    add("--ray-address", metavar="ADDRESS", help="of a cluster (default: started on this machine)")


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def _workers(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1024:
        raise argparse.ArgumentTypeError(f"{text!r}; expected 1 to 1024 processes")
    return int(text)


def _spacing(text: str) -> tuple[float, float]:
    try:
        return parse_spacing(text)
    except BadPixelSpacing as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def parse_shard(text: str) -> Shard:
    """(2, 8) from "2/8". For argparse: raises its ArgumentTypeError for anything else."""
    found = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
    i, n = (int(part) for part in found.groups()) if found else (0, 0)
    if not 1 <= i <= n:
        raise argparse.ArgumentTypeError(
            f"shard {text!r}; expected i/n with i from 1 to n, such as 1/8 for the first of eight"
        )
    return i, n
