"""Classify a folder of chips: python -m serving.batch DIR --out FILE.csv

Every file below DIR gives one row, in the order of its path, whatever it is: hidden files, links
and pipes too (a link to a folder is not followed, and gives an error row). Exit status: 0 every
chip was classified, 1 some were not (their rows say why), 2 could not run (one line says why).
"""

import argparse
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import get_args

import numpy as np
from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from serving.intake import ChipOptions, Failure, Polarisation, parse_spacing, prepare_chip
from serving.rows import OutputError, Row, columns, partial_of, to_row, writing
from serving.settings import Settings
from shipchip import ModelError, Prediction, ShipClassifier
from shipchip.classifier import Device
from shipchip.decode import Quantity
from shipchip.errors import BadPixelSpacing

Result = Prediction | Failure


class CannotRun(Exception):
    """Nothing was classified; the message is the one line that says why."""


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    args = _parser().parse_args(argv)
    console = Console(stderr=True, soft_wrap=True, markup=False, highlight=False)
    try:
        counts = run(args, console)
    except (CannotRun, ModelError, OutputError) as error:
        console.print(f"serving.batch: {' '.join(str(error).split())}")  # one line, always
        return 2
    except KeyboardInterrupt:
        console.print(f"serving.batch: interrupted; {args.out} was not written")
        return 130
    console.print(f"{_summary(counts)} -> {args.out}")
    return 1 if any(status == "error" for status, _ in counts) else 0


def run(args: argparse.Namespace, console: Console) -> Counter[tuple[str, str]]:
    """Classify args.folder into args.out; how many chips had each (status, label or code)."""
    settings = _settings(args)
    if not args.folder.is_dir():
        raise CannotRun(f"no folder at {args.folder}; expected a folder of chips")
    ships = ShipClassifier(settings.model, device=settings.device, threads=settings.threads)
    paths = list_files(args.folder, without=args.out)
    if not paths:
        raise CannotRun(f"no files in {args.folder}; expected chips (PNG, JPEG, TIFF or .npy)")
    options = ChipOptions(args.polarisation, args.pixel_spacing, args.quantity)
    counts: Counter[tuple[str, str]] = Counter()
    with (
        writing(args.out, columns(ships.classes)) as write,
        _progress(console, len(paths)) as advance,
    ):
        for path, result in classify_files(paths, ships, options, settings):
            row = to_row(path, result, ships.card)
            write(row)
            counts[row["status"], row["label"] or row["error_code"]] += 1
            advance(row)
    return counts


def classify_files(
    paths: Sequence[str], ships: ShipClassifier, options: ChipOptions, settings: Settings
) -> Iterator[tuple[str, Result]]:
    """(path, result) of every file, in order, `batch_size` files at a time."""
    limits = settings.decode_limits()
    remaining = iter(paths)
    while batch := list(islice(remaining, settings.batch_size)):
        prepared = [prepare_chip(Path(path), options, ships, limits) for path in batch]
        inputs = [item for item in prepared if not isinstance(item, Failure)]
        predictions = iter(ships.predict(np.stack(inputs)) if inputs else ())
        for path, item in zip(batch, prepared, strict=True):
            yield path, item if isinstance(item, Failure) else next(predictions)


def list_files(folder: Path, without: Path) -> list[str]:
    """Sorted paths of everything below `folder` that is no folder, and of folders not entered.

    `without` is an output that may lie in the folder: neither it nor its unfinished form counts.
    """
    found: list[str] = []
    pending = [os.fspath(folder)]
    while pending:
        place = pending.pop()
        same = Path(place).resolve() == without.parent.resolve()
        outputs = (without.name, partial_of(without).name) if same else ()
        try:
            entries = list(os.scandir(place))
        except OSError as error:
            if place == os.fspath(folder):
                raise CannotRun(f"cannot list {folder}: {error.strerror}") from error
            found.append(place)  # it becomes an error row, like any path that is no chip
            continue
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                pending.append(entry.path)
            elif entry.name not in outputs:
                found.append(entry.path)
    return sorted(found)


def _settings(args: argparse.Namespace) -> Settings:
    """The environment's settings, with what the command line gives in their place."""
    given = {"model": args.model and args.model.absolute(), "device": args.device}
    given["batch_size"] = args.batch_size
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise CannotRun(f"setting {where} is {first['input']!r}: {first['msg']}") from error


@contextmanager
def _progress(console: Console, total: int) -> Iterator[Callable[[Row], None]]:
    """A function that counts one row; a bar on a terminal, quiet elsewhere."""
    failed = 0
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    ) as bar:
        task = bar.add_task("classifying", total=total)

        def advance(row: Row) -> None:
            nonlocal failed
            failed += row["status"] == "error"
            bar.update(task, advance=1, description=f"classifying, {failed} failed")

        yield advance


def _summary(counts: Counter[tuple[str, str]]) -> str:
    """12 chips: 7 Cargo, 3 Tanker, 2 failed (1 empty, 1 corrupt)"""
    labels = [f"{n} {label}" for (status, label), n in sorted(counts.items()) if status == "ok"]
    codes = [f"{n} {code}" for (status, code), n in sorted(counts.items()) if status == "error"]
    failed = sum(n for (status, _), n in counts.items() if status == "error")
    parts = [*labels, *([f"{failed} failed ({', '.join(codes)})"] if failed else [])]
    return f"{counts.total()} chips: {', '.join(parts)}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m serving.batch",
        description="Classify every chip in a folder, one row a chip.",
        epilog="Exit status: 0 all classified, 1 some chips failed, 2 could not run.",
    )
    add = parser.add_argument
    add("folder", type=Path, metavar="DIR", help="read with all folders below it")
    add("--out", type=Path, required=True, metavar="FILE", help="written as .csv or .jsonl")
    add("--model", type=Path, help="the .onnx file (default: SHIPCHIP_MODEL, models/ship.onnx)")
    add("--pixel-spacing", type=_spacing, metavar="M", help="metres: 10, or row,column: 13.93,3.9")
    add("--polarisation", type=str.upper, choices=get_args(Polarisation), help="plane to take")
    add("--quantity", choices=get_args(Quantity), default="auto", help="what the samples are")
    add("--batch-size", type=int, metavar="N", help="most chips in one model run (default: 32)")
    add("--device", choices=get_args(Device), help="cuda insists on a GPU (default: auto)")
    return parser


def _spacing(text: str) -> tuple[float, float]:
    try:
        return parse_spacing(text)
    except BadPixelSpacing as error:
        raise argparse.ArgumentTypeError(str(error)) from error


if __name__ == "__main__":
    sys.exit(main())
