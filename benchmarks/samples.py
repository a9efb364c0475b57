"""What the default model makes of simulated chips: `python -m benchmarks.samples --help`.

Two hundred fresh chips, of other seeds than `shipchip samples` writes by default: the share that
gets the right label, and the share that is in distribution. `--picture` draws the dozen that it
does write, for README: right answers first, wrong ones below.
"""

import argparse
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from rich.console import Console
from rich.table import Table

from serving.pictures import caption, chip_grey, draw_outline
from shipchip import Prediction, ShipClassifier, decode
from shipchip.samples import Sample, draw_samples

FRESH_SEEDS = range(1000, 1017)  # a dozen chips each
_COLUMNS, _TILE, _TEXT = 5, 192, 75
_VERDICTS = ("sure", "undecided", "unlike")
_FONT = ImageFont.load_default(15)
_BLACK, _GREY, _GREEN, _RED = "#1a1a1a", "#595959", "#1a6b37", "#a5281b"


@dataclass(frozen=True)
class Answered:
    """A sample and its answer."""

    sample: Sample
    answer: Prediction

    @property
    def right(self) -> bool:
        """Whether the label is the ship's class."""
        return self.sample.label == self.answer.label


def main(arguments: list[str] | None = None) -> int:
    """Print the table, or write the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", type=Path, default=Path("models/ship.onnx"))
    parser.add_argument("--picture", type=Path, metavar="PNG", help="draw the dozen into this file")
    options = parser.parse_args(arguments)
    ships = ShipClassifier(options.model, device="cpu")
    if options.picture:
        options.picture.parent.mkdir(parents=True, exist_ok=True)
        picture = draw(answers(ships, 0), ships)
        picture.quantize(128).save(options.picture, optimize=True)
    else:
        fresh = [answered for seed in FRESH_SEEDS for answered in answers(ships, seed)]
        Console().print(table(fresh, f"{ships.card.name} {ships.card.version}"))
    return 0


def answers(ships: ShipClassifier, seed: int) -> list[Answered]:
    """The samples of a seed, as a model answers them."""
    samples = draw_samples(seed)
    predictions = ships.classify([decode(sample.content) for sample in samples])
    return [Answered(*pair) for pair in zip(samples, predictions, strict=True)]


def table(fresh: list[Answered], title: str) -> Table:
    """Shares of right labels, of in_distribution and of sure answers, by class and file ending."""
    groups = defaultdict(list)
    for answered in fresh:
        groups[answered.sample.label, answered.sample.path.suffix].append(answered)
    groups["all", ""] = fresh
    rows = Table("class", "file", "chips", "right", "in distribution", "sure", title=title)
    for (label, suffix), group in groups.items():
        shares = (
            np.mean([answered.right for answered in group]),
            np.mean([answered.answer.in_distribution for answered in group]),
            np.mean([answered.answer.verdict == "sure" for answered in group]),
        )
        rows.add_row(label, suffix, str(len(group)), *(f"{share:.0%}" for share in shares))
    return rows


def draw(dozen: list[Answered], ships: ShipClassifier) -> Image.Image:
    """Right answers in the rows above, wrong ones below; sure ones first, then by confidence."""
    dozen = sorted(dozen, key=lambda a: (_VERDICTS.index(a.answer.verdict), -a.answer.confidence))
    groups = [[a for a in dozen if a.right == right] for right in (True, False)]
    rows = [
        group[start : start + _COLUMNS]
        for group in groups
        for start in range(0, len(group), _COLUMNS)
    ]
    picture = Image.new("RGB", (_COLUMNS * (_TILE + 8) - 8, len(rows) * (_TILE + _TEXT)), "white")
    pen = ImageDraw.Draw(picture)
    for row, group in enumerate(rows):
        for column, answered in enumerate(group):
            left, top = column * (_TILE + 8), row * (_TILE + _TEXT)
            chip = (
                ships.prepare(decode(answered.sample.content)).input[0] * ships.card.input.db_scale
            )
            tile, answer = Image.fromarray(chip_grey(chip)).convert("RGB"), answered.answer
            draw_outline(tile, chip, answer, ships.card.input)
            picture.paste(tile, (left, top))
            label, verdict, length = caption(answer)
            second = "right" if answered.right else f"wrong: it is {answered.sample.label}"
            kind = answered.sample.path.stem.split("-", 2)[2] + answered.sample.path.suffix
            for line, (text, colour) in enumerate(
                (
                    (f"{label}, {verdict}", _BLACK),
                    (second, _GREEN if answered.right else _RED),
                    (length, _BLACK),
                    (kind, _GREY),
                )
            ):
                pen.text((left + 2, top + _TILE + 1 + 17 * line), text, colour, _FONT)
    return picture


if __name__ == "__main__":
    sys.exit(main())
