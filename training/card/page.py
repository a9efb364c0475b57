"""The card for people, models/README.md with its pictures, from the card inside a model file."""

from collections.abc import Iterator

import numpy as np

from shipchip.card import ModelCard
from training.card.record import (
    config_of_card,
    figures_of_card,
    seen_in_pretraining,
    training_of_card,
)
from training.card.schema import ModelFigures, SourceScore, TrainingRecord
from training.card.sections import (
    prediction_sets_section,
    retraining_section,
    sizes_section,
)
from training.data.presentation import NONE
from training.evaluation.figures import reliability_of
from training.evaluation.presentations import CHANGE_HEADS, change_cells, worst_change
from training.evaluation.tables import interval_text, listed, share, table_head, table_row
from training.evaluation.targets import MEGABYTE, rows
from training.identity import short
from training.plots import Confusion, confusion_grid, reliability_grid

CONFUSION, RELIABILITY = "confusion.png", "calibration.png"


def model_card(card: ModelCard, sha256: str, size: int) -> str:
    """Markdown, from the card, the file's sha256 and its size in bytes alone."""
    figures, training = figures_of_card(card), training_of_card(card)
    sections = {
        "What it is for": _purpose(card),
        "The worst presentation": _presentations(figures),
        "Against its targets": _targets(figures, size),
        "Scores on the test side": _scores(figures),
        "Length and width": sizes_section(card, figures),
        "Prediction sets": prediction_sets_section(card, _scored(figures)),
        "Calibration": _calibration(figures),
        "Chips that show no ship": _out_of_distribution(figures, training),
        "Trained on": _trained(training),
        "The paper": _paper(card),
        "Limits": _limits(card, training),
        "Retrain": retraining_section(card),
        "Terms of the training data": [card.terms],
    }
    lines = [
        f"# {card.name} {card.version}",
        "",
        f"{card.architecture}; {size / MEGABYTE:.1f} MB; sha256 `{sha256}`. Written by "
        "`python -m training.run promote` from the card inside the file.",
        "",
    ]
    for title, content in sections.items():
        lines += [f"## {title}", "", *content, ""]
    return "\n".join(lines)


def card_pictures(card: ModelCard) -> dict[str, bytes]:
    """File name -> PNG of the pictures that `model_card` shows."""
    sources = figures_of_card(card).sources
    confusions = [
        Confusion(f"{name}, {score.chips} chips", np.array(score.confusion), card.classes)
        for name, score in sources.items()
    ]
    reliabilities = [
        (f"{name}, {score.chips} chips", {"test side": reliability_of(score.reliability)})
        for name, score in sources.items()
    ]
    return {
        CONFUSION: confusion_grid(confusions, 3),
        RELIABILITY: reliability_grid(reliabilities, 3),
    }


def _purpose(card: ModelCard) -> Iterator[str]:
    yield (
        f"Classifies small SAR chips of Gaofen-3, Sentinel-1 or similar, each cut out around one "
        f"ship at sea, as {', '.join(card.classes)}. Use it to sort chips for a person, or to "
        "start training on your own chips."
    )
    yield ""
    yield (
        "Not for finding ships, for other ship types (a tug still gets one of these names), for "
        "optical images, or for decisions without a person."
    )


def _presentations(metrics: ModelFigures) -> Iterator[str]:
    if metrics.presentations is None:
        yield "Not measured on this file."
        return
    yield (
        "Before it was prepared, each test chip was also changed in ways that leave its ship the "
        "same: grey values halved or doubled (rounded, saturated), cropped, averaged to 2 x 2 "
        "looks, saved as JPEG, turned, mirrored, moved, stored in 16 bits. The table has the worst "
        "change of each source, by macro-F1, and the unchanged chips; `evaluate` prints all."
    )
    yield ""
    yield from table_head("source", "change", *CHANGE_HEADS)
    for source, lines in metrics.presentations.items():
        worst = worst_change(lines)
        yield table_row(source, f"worst: {worst}", *change_cells(lines[worst]))
        yield table_row(source, "unchanged", *change_cells(lines[NONE]))
        least = min(lines.values(), key=lambda figures: figures.same_label).same_label
        most = max(lines.values(), key=lambda f: f.sure_changed / max(1, f.sure))
        changed = f"{most.sure_changed} of {most.sure}"
        lengths = [f.length_kept for f in lines.values() if f.length_kept is not None]
        kept = f"{min(lengths):.0%}" if lengths else "-"
        yield table_row(
            source, "worst over all changes", "", "", f"{least:.3f}", changed, "", "", kept
        )


def _targets(metrics: ModelFigures, size: int) -> Iterator[str]:
    yield (
        "95 % intervals, resampled by ship. OOD chips show no ship; “at 90 %” is the threshold "
        "that refuses 90 % of them; `opensarship*` pools all OpenSARShip sources. Speed "
        "and the int8 file depend on the machine: `python -m training.run evaluate`."
    )
    yield ""
    yield from table_head("test side", "value", "95 %", "target", "", "")
    for row in rows(metrics, size, absent="run `evaluate`"):
        target = row.target.text() if row.target else ""
        what = row.what.replace("*", "\\*")
        yield table_row(what, row.value(), row.interval(), target, row.verdict, row.note)


def _scores(metrics: ModelFigures) -> Iterator[str]:
    yield (
        "Splits are by ship: MMSI where available, otherwise a proxy group. Each source is scored "
        "over the classes that it has. “Pooled” are the Cargo and Tanker chips of all OpenSARShip "
        "sources together."
    )
    yield ""
    names = ("macro_f1", "balanced_accuracy", "accuracy")
    head = (name.replace("_", " ").replace("f1", "F1") for name in names)
    yield from table_head("source", "chips (ships)", *head, 'macro F1 of "all majority"')
    for source, score in _scored(metrics).items():
        figures = (interval_text(getattr(score.headline, name)) for name in names)
        chips = f"{score.chips} ({score.ships})"
        yield table_row(source, chips, *figures, f"{score.majority_macro_f1:.2f}")
    yield ""
    yield from table_head("source", "class", "precision", "recall", "F1", "chips")
    for source, score in _scored(metrics).items():
        for label, one in score.by_class_intervals.items():
            given = (interval_text(figure) for figure in (one.precision, one.recall, one.f1))
            yield table_row(source, label, *given, str(score.by_class[label].chips))
    yield ""
    yield f"![Confusion matrices: counts and shares of each true class]({CONFUSION})"


def _scored(metrics: ModelFigures) -> dict[str, SourceScore]:
    pooled = {"OpenSARShip pooled": metrics.pooled} if metrics.pooled else {}
    return metrics.sources | pooled


def _calibration(metrics: ModelFigures) -> Iterator[str]:
    yield (
        "ECE is the expected calibration error over 10 bins of confidence. Its floor is the mean "
        "ECE of a perfectly calibrated model with the same confidences on as many chips."
    )
    yield ""
    yield from table_head("source", "ECE", "floor")
    for source, score in _scored(metrics).items():
        yield table_row(source, interval_text(score.headline.ece), f"{score.ece_floor:.2f}")
    yield ""
    yield f"![Accuracy against confidence; dots grow with the answers in a bin]({RELIABILITY})"


def _out_of_distribution(metrics: ModelFigures, training: TrainingRecord) -> Iterator[str]:
    given = metrics.out_of_distribution
    if given is None:
        yield "No such chips were given in training, so how many the file refuses is unknown."
        return
    note = seen_in_pretraining(training, given.kinds, training.ood_sha256)
    yield (
        "AUROC: the chance that such a chip gets a higher `ood_score` than a ship. Refused: "
        "`in_distribution` is false. They are prepared like an upload without a pixel spacing"
        + (f"; {note}." if note else ".")
    )
    yield ""
    yield from table_head("chips of", "chips", "AUROC", "refused")
    for kind, one in {**given.kinds, "all of these": given.all}.items():
        yield table_row(kind, str(one.chips), interval_text(one.auroc), share(one.refused))
    yield ""
    ships, at_90 = share(given.all.ships_refused), share(given.all.ships_refused_at_90)
    yield f"Of the test ships {ships} are refused; {at_90} where 90 % of these chips would be."


def _trained(training: TrainingRecord) -> Iterator[str]:
    yield from table_head("source", "class", "train", "validation", "test")
    for source, classes in (training.sources or {}).items():
        for label, sides in classes.items():
            chips = (str(sides[side]) for side in ("train", "validation", "test"))
            yield table_row(source, label, *chips)
    yield ""
    record = training.pretraining
    if record and record.chips is not None:
        yield (
            f"The features were first trained on {record.chips} chips of "
            f"`{record.source}`, in {len(record.classes)} classes that are not ships."
        )
        yield ""
    elif record and record.weights:
        yield from (f"Training began with `{record.weights}`, by {record.origin}.", "")
    elif record:
        yield from (f"Training began with the features of `{record.source}`.", "")
    yield (
        f"Protocol: {training.protocol}. Seed {training.seed}, commit "
        f"{_code(training)}, manifest `{training.manifest_sha256}`."
    )


def _code(training: TrainingRecord) -> str:
    """The code that trained, or each that did, in order; older files name the last alone."""
    codes = [maker["code"] for maker in training.made_by] or [training.git_commit]
    return ", then ".join(f"`{code}`" for code in dict.fromkeys(map(short, codes)))


def _paper(card: ModelCard) -> Iterator[str]:
    yield (
        "Awais & Reggiannini, *Imbalanced Datasets through the Lens of Transfer-Learning*, found a "
        "VGG16 best that was pre-trained on ImageNet, frozen except for its final layers, and "
        "fine-tuned twice."
    )
    if not config_of_card(card).takes_features:
        return
    yield ""
    yield (
        "On this project's chips, macro-F1 over both data sets was 0.51 with the paper's recipe, "
        "0.42 with the same network from random weights in the same stages, 0.56 from random "
        "weights on both data sets at once, and 0.59 with ImageNet's weights and all layers "
        "fine-tuned (GPU, two seeds, intervals overlap; docs/experiments/2026-11-26-gpu). This "
        "confirms that ImageNet's weights help in the paper's stages, but not that freezing is "
        "best. With a frozen network, three stages and one are equal within 0.02. In this file "
        f"linear experts on measurements have {config_of_card(card).experts.share:.0%} of the "
        "weight."
    )


def _limits(card: ModelCard, training: TrainingRecord) -> Iterator[str]:
    sources = training.sources or {}
    for label in card.classes:
        counts = {
            source: classes[label]["train"] + classes[label]["validation"]
            for source, classes in sources.items()
            if classes[label]["train"]
        }
        given = listed([f"{chips} chips of {source}" for source, chips in counts.items()])
        alone = len(counts) == 1 and len(sources) > 1
        yield f"- {label} was learnt from {given or 'no chip'}" + (
            f" only. On other sources it will rarely answer {label}." if alone else "."
        )
    if config_of_card(card).experts.share:
        yield (
            "- One of its measurements is how far the brightest samples are above the sea. 8-bit "
            "chips saturate, so this also depends on how the scene was scaled. It recognised "
            "Tankers of FUSAR-Ship in blocks that it was not trained on, but may fail on chips "
            "with another scaling (docs/experiments/log.md)."
        )
    if training.quantisation:
        yield (
            "- This is an int8 file, made from the fp32 file of sha256 "
            f"`{training.quantisation.of}`. Its "
            "figures are its own, but temperature, prediction sets and out-of-distribution "
            "threshold were fitted on the answers of the fp32 file."
        )
    yield "- There are few test chips: read the intervals, not only the figures."
    yield (
        "- Temperature, prediction sets and the out-of-distribution threshold were fitted on few "
        "chips, too. Nothing is known of them on another sensor."
    )
    yield (
        "- If a chip has no pixel spacing, a default applies: "
        + "; ".join(rule.why for rule in card.input.spacing_rules)
        + ". Send the spacing if you know it: length is the strongest cue."
    )
