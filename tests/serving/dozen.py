"""A folder of a dozen good chips, and the paths in a CSV of answers."""

import csv
from pathlib import Path

CHIPS = 12


def write_dozen(folder: Path, png: dict[str, bytes]) -> Path:
    folder.mkdir()
    contents = list(png.values())
    for number in range(CHIPS):
        (folder / f"{number:02d}.png").write_bytes(contents[number % len(contents)])
    return folder


def paths(out: Path) -> list[str]:
    with out.open(newline="", encoding="utf-8-sig") as file:
        return [row["path"] for row in csv.DictReader(file)]
