"""The command line of a batch -> a checked, typed request."""

import argparse
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from pydantic import ValidationError

from serving.batch.ending import PROG
from serving.batch.inputs import SceneRequest
from serving.batch.inputs.scenes import WINDOW_M
from serving.batch.outputs.formats import TextFormat
from serving.batch.outputs.job import Shard
from serving.batch.outputs.place import Existing
from serving.chips import ChipOptions, Polarisation
from serving.cores import usable_cores
from serving.settings import Settings, setting_errors
from shipchip import DecodeLimits
from shipchip.chip import Quantity
from shipchip.errors import BadPixelSpacing
from shipchip.runtime import Device
from shipchip.spacing import parse_spacing


class CannotRun(Exception):
    """Nothing was classified; the message is the one line that says why."""


@dataclass(frozen=True)
class BatchRequest:
    """What one run is asked to do; the environment's settings are in it.

    sources      folders, archives and chips
    list_name    a file with more names; "-" is standard input
    expand_list  whether folders and archives in the list are read too
    patterns     globs; without any, every file is taken
    out          the output; None is standard output
    text_format  of rows on standard output, or of a CSV
    existing     what to do if the output exists
    options      what the caller knows about the chips
    labelled     whether folders are named after classes
    ais          whether Ship.xml of OpenSARShip scenes gives columns
    maps         the folder for activation maps, if they are wanted
    crops        the folder for chips sorted by label, if they are wanted
    copy         whether chips are copied there rather than linked
    batch_size   chips per chunk, which is one model run
    workers      processes on this machine
    ray_address  of a Ray cluster; without one, Ray is started on this machine
    scene        scenes in which the positions in `list_name` are; None for chips
    """

    sources: tuple[str, ...]
    list_name: str | None
    expand_list: bool
    patterns: tuple[str, ...]
    out: Path | None
    text_format: TextFormat
    existing: Existing
    options: ChipOptions
    labelled: bool
    ais: bool
    maps: Path | None
    crops: Path | None
    copy: bool
    model: Path
    device: Device
    batch_size: int
    limits: DecodeLimits
    workers: int
    shard: Shard | None
    engine: Literal["local", "ray"]
    ray_address: str | None
    scene: SceneRequest | None = None

    @property
    def picture_folders(self) -> list[Path]:
        """The folders for pictures that were asked for."""
        return [folder for folder in (self.maps, self.crops) if folder is not None]


@dataclass(frozen=True)
class MergeRequest:
    """The outputs of all shards, to be joined into one."""

    out: Path
    shards: tuple[Path, ...]
    existing: Existing


def parse_request(argv: Sequence[str], prog: str = PROG) -> BatchRequest:
    """The request of a command line.

    Raises CannotRun if options contradict each other or a setting is invalid. argparse itself exits
    with status 2 for options that it does not understand.
    """
    args = _make_parser(prog).parse_args(argv)
    out = None if args.out == "-" else Path(args.out)
    _check_options(args, out)
    settings = _settings(args)
    return BatchRequest(
        sources=tuple(args.sources),
        list_name=args.list if args.positions is None else args.positions,
        expand_list=args.expand_list,
        patterns=tuple(args.glob),
        out=out,
        text_format="plain-csv" if args.plain_csv else args.format or "csv",
        existing=_existing(args),
        options=ChipOptions(args.polarisation, args.pixel_spacing, args.quantity),
        labelled=args.labelled,
        ais=args.ais,
        maps=args.maps,
        crops=args.crops_by_label,
        copy=args.copy,
        model=settings.model,
        device=settings.device,
        batch_size=settings.batch_size,
        limits=settings.decode_limits(),
        workers=args.workers,
        shard=args.shard,
        engine=args.engine,
        ray_address=args.ray_address,
        scene=_scene(args),
    )


def _scene(args: argparse.Namespace) -> SceneRequest | None:
    if not args.scene:
        return None
    return SceneRequest(
        tuple(args.scene),
        args.window,
        args.land,
        columns=args.pixels or args.lon_lat,
        in_pixels=args.pixels is not None,
        spacing_m=args.pixel_spacing,
    )


def parse_merge(argv: Sequence[str], prog: str) -> MergeRequest:
    """The request to join shards, from the words after `merge`."""
    parser = argparse.ArgumentParser(prog=prog, description="Join the outputs of all shards.")
    parser.add_argument(
        "shards",
        nargs="+",
        type=Path,
        metavar="SHARD",
        help="outputs of all shards of a run, in any order, their .job.json beside them",
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="a .csv, .jsonl or .parquet"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace FILE if it exists")
    args = parser.parse_args(argv)
    existing: Existing = "overwrite" if args.overwrite else "refuse"
    return MergeRequest(args.out, tuple(args.shards), existing)


def _check_options(args: argparse.Namespace, out: Path | None) -> None:
    """Refuse options that do not go together, before anything is opened."""
    if args.scene:
        _check_scene(args)
    elif not args.sources and args.list is None:
        raise CannotRun("no chips named; give a folder, an archive or --list")
    elif args.positions or args.land or args.lon_lat or args.pixels:
        raise CannotRun("--positions, --land, --lon-lat and --pixels need --scene")
    if out is None and (args.resume or args.overwrite or args.shard):
        raise CannotRun("--resume, --overwrite and --shard need a file as --out")
    if args.ray_address and args.engine != "ray":
        raise CannotRun("--ray-address needs --engine ray")
    if args.expand_list and args.list is None:
        raise CannotRun("--expand-list needs --list")
    written = args.format or "csv" if out is None else out.suffix.lower()[1:]
    if args.format and args.format != written:
        raise CannotRun(f"--format {args.format} is for --out -; the ending of {out} decides")
    if args.plain_csv and written != "csv":
        raise CannotRun("--plain-csv needs a CSV: --out with the ending .csv, or --out -")
    if args.copy and args.crops_by_label is None:
        raise CannotRun("--copy needs --crops-by-label")


def _check_scene(args: argparse.Namespace) -> None:
    if args.positions is None:
        raise CannotRun("--scene needs --positions: a CSV or GeoJSON with a row per ship")
    if args.sources or args.list is not None or args.glob:
        raise CannotRun("--scene takes its ships from --positions alone; leave out other sources")
    if args.ais:
        raise CannotRun("--ais is for chips of OpenSARShip scenes, not for --scene")
    if args.labelled:
        raise CannotRun("--labelled needs chips in folders named after classes, not --scene")
    if args.lon_lat and args.pixels:
        raise CannotRun("--lon-lat and --pixels exclude each other")


def _settings(args: argparse.Namespace) -> Settings:
    """The environment's settings; options of the command line override them."""
    given = {"model": args.model and args.model.absolute(), "device": args.device}
    given["batch_size"] = args.batch_size
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        raise CannotRun("; ".join(setting_errors(error))) from error


def _existing(args: argparse.Namespace) -> Existing:
    if args.resume:
        return "resume"
    return "overwrite" if args.overwrite else "refuse"


def _make_parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Classify chips, one row a chip, in the order of their paths.",
        epilog="`merge SHARD... --out FILE` joins the outputs of --shard. Exit status: 0 all "
        "classified, 1 some chips failed (their rows say why), 2 could not run.",
    )
    add = parser.add_argument
    add("sources", nargs="*", metavar="SOURCE", help="folders, zip or tar archives, or chips")
    add("--list", metavar="FILE", help="more chips, a path a line (or NUL apart); - reads them")
    add("--expand-list", action="store_true", help="read folders and archives that --list names")
    add("--glob", action="append", default=[], metavar="PATTERN", help="only these: '*.tif'")
    add(
        "--out",
        required=True,
        metavar="FILE",
        help=".csv, .jsonl, .parquet, .geojson or .gpkg; - prints CSV",
    )
    add("--format", choices=("csv", "jsonl"), help="of --out - (default: csv)")
    add("--plain-csv", action="store_true", help="no byte order mark, no apostrophe before = + - @")
    existing = parser.add_mutually_exclusive_group()
    existing.add_argument("--resume", action="store_true", help="continue a run that was killed")
    existing.add_argument("--overwrite", action="store_true", help="replace an output that exists")
    _add_chips(parser)
    _add_scene(parser)
    _add_more(parser)
    _add_machine(parser)
    return parser


def _add_chips(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("what the chips are").add_argument
    add("--pixel-spacing", type=_spacing, metavar="M", help="metres: 10, or 13.93x3.87")
    add("--polarisation", type=str.upper, choices=get_args(Polarisation), help="plane to take")
    quantities = get_args(Quantity)
    what = f"of the samples: {', '.join(quantities)}"
    add("--quantity", choices=quantities, default="auto", metavar="KIND", help=what)
    add("--ais", action="store_true", help="columns from Ship.xml of OpenSARShip scenes")
    add(
        "--labelled",
        action="store_true",
        help="folders are named as classes: print a score table at the end",
    )


def _add_scene(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("ships in whole scenes").add_argument
    add("--scene", action="append", default=[], metavar="FILE", help="a GeoTIFF, SAFE or its zip")
    add("--positions", metavar="FILE", help="CSV or GeoJSON of ships; - reads standard input")
    add("--window", type=_metres, default=WINDOW_M, metavar="M", help="side around each: 512 m")
    add("--land", metavar="FILE", help="GeoTIFF (not 0 on land) or GeoJSON of polygons")
    add("--lon-lat", type=_pair, metavar="A,B", help="columns with degrees, if not lon and lat")
    add("--pixels", type=_pair, metavar="A,B", help="columns with pixels, if not x and y")


def _metres(text: str) -> float:
    try:
        metres = float(text)
    except ValueError:
        metres = math.nan
    if not 100 <= metres <= 100_000:
        raise argparse.ArgumentTypeError(f"{text!r}; expected 100 to 100000 metres")
    return metres


def _pair(text: str) -> tuple[str, str]:
    names = [name.strip() for name in text.split(",")]
    if len(names) != 2 or not all(names):
        raise argparse.ArgumentTypeError(f"{text!r}; expected two names of columns, such as x,y")
    return names[0], names[1]


def _add_more(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("beside the rows").add_argument
    add("--maps", type=Path, metavar="DIR", help="write activation maps there")
    add("--crops-by-label", type=Path, metavar="DIR", help="link the chips there, by label")
    add("--copy", action="store_true", help="copy them instead")


def _add_machine(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("model and machine").add_argument
    add("--model", type=Path, help="the .onnx file (default: SHIPCHIP_MODEL, or the default model)")
    add(
        "--device",
        choices=get_args(Device),
        help="cuda insists on a GPU; openvino needs the extra of that name (default: auto)",
    )
    add("--batch-size", type=int, metavar="N", help="chips in one model run (default: 32)")
    add(
        "--workers", type=_workers, default=usable_cores(), metavar="N", help="default: a core each"
    )
    add("--shard", type=parse_shard, metavar="I/N", help="only part I (from 1) of N")
    add("--engine", choices=("local", "ray"), default="local", help="ray needs shipchip[scale]")
    add("--ray-address", metavar="ADDRESS", help="of a cluster (default: started on this machine)")


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
