"""Makes a run's model the default one: an explicit step, with a card for people."""

import shutil
from pathlib import Path
from typing import Any

from shipchip.card import ModelCard
from shipchip.classifier import ShipClassifier
from shipchip.errors import ModelError
from training.errors import DataMissing

MAX_BYTES = 20 * 2**20


def promote(run: Path, models: Path) -> None:
    """Copy `ship.onnx` of a finished run to `models` and write its README.md.

    Raises DataMissing where the run has no model, ModelError where the file is over 20 MB or
    cannot be loaded.
    """
    source = run / "ship.onnx"
    if not source.is_file():
        raise DataMissing(f"{run} holds no ship.onnx; expected a finished run folder")
    size = source.stat().st_size
    if size > MAX_BYTES:
        raise ModelError(f"{source} has {size / 2**20:.1f} MB, at most 20 may be promoted")
    ships = ShipClassifier(source, device="cpu")
    models.mkdir(parents=True, exist_ok=True)
    half = models / "ship.half.onnx"
    shutil.copyfile(source, half)
    (models / "README.md").write_text(card_for_people(ships.card, ships.sha256, size), "utf-8")
    half.replace(models / "ship.onnx")


def card_for_people(card: ModelCard, sha256: str, size: int) -> str:
    """models/README.md, from the card alone."""
    return "\n".join(
        [
            f"# {card.name} {card.version}",
            "",
            f"{card.architecture}; {size / 1e6:.1f} MB; sha256 `{sha256}`. Written by "
            "`python -m training.run promote` from the card inside the file.",
            "",
            "Tells " + ", ".join(card.classes) + " apart on small SAR chips cut out around one "
            "ship. Not for finding ships, for other ship types, or for decisions without a person.",
            "",
            "## Scores on the test side",
            "",
            "No ship, as far as the sources tell ships apart, stands in training and test. 95 % "
            "intervals, resampled by ship. Each source over the classes that it has.",
            "",
            *_scores(card),
            "",
            "## Trained on",
            "",
            *_counts(card.training["sources"]),
            "",
            *_pretraining(card.training["pretraining"]),
            f"Protocol: {card.training['protocol']}. Seed {card.training['seed']}, commit "
            f"`{card.training['git_commit'][:12]}`, manifest `{card.training['manifest_sha256']}`.",
            "",
            "## Limits",
            "",
            "- Few Tanker and Fishing chips: read the intervals, not the figures alone.",
            "- Fishing chips come from one sensor only (Gaofen-3), so on Sentinel-1 chips the "
            "model hardly ever says Fishing, right or wrong.",
            "- Validation is small, so temperature, prediction sets and the out-of-distribution "
            f"threshold are rough. Temperature {card.trust.temperature:.2f}; nominal coverage "
            f"{card.trust.coverage:.0%}.",
            "- A chip that does not tell its pixel spacing gets one by rule: "
            + "; ".join(rule.why for rule in card.input.spacing_rules)
            + ". Send the spacing where you know it: length is the strongest cue.",
            "",
            "## Terms of the training data",
            "",
            card.terms,
            "",
        ]
    )


def _pretraining(record: dict[str, Any] | None) -> list[str]:
    if record is None:
        return []
    if "chips" not in record:
        return [f"Training began with the features of `{record['source']}`.", ""]
    told = f"{record['chips']} chips of `{record['source']}` in {len(record['classes'])} classes"
    return [f"Features were first trained to tell apart {told} (not ships).", ""]


def _scores(card: ModelCard) -> list[str]:
    lines = [
        "| source | chips (ships) | macro-F1 | balanced accuracy | accuracy | ECE | "
        'macro-F1 of "all majority" |',
        "|---|---|---|---|---|---|---|",
    ]
    for source, score in card.metrics.items():
        figures = [
            _interval(score["headline"][name])
            for name in ("macro_f1", "balanced_accuracy", "accuracy", "ece")
        ]
        lines.append(
            f"| {source} | {score['chips']} ({score['ships']}) | {' | '.join(figures)} | "
            f"{score['majority_macro_f1']:.2f} |"
        )
    lines += [
        "",
        "| source | class | precision | recall | F1 | chips |",
        "|---|---|---|---|---|---|",
    ]
    for source, score in card.metrics.items():
        for label, row in score["by_class"].items():
            lines.append(
                f"| {source} | {label} | {row['precision']:.2f} | {row['recall']:.2f} | "
                f"{row['f1']:.2f} | {row['chips']} |"
            )
    return lines


def _interval(figure: dict[str, float]) -> str:
    return f"{figure['value']:.2f} ({figure['low']:.2f} to {figure['high']:.2f})"


def _counts(sources: dict[str, Any]) -> list[str]:
    lines = ["| source | class | train | validation | test |", "|---|---|---|---|---|"]
    for source, classes in sources.items():
        for label, sides in classes.items():
            lines.append(
                f"| {source} | {label} | {sides['train']} | {sides['validation']} | "
                f"{sides['test']} |"
            )
    return lines
