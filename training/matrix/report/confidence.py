"""How well the models are calibrated, and the mistakes one makes with most confidence."""

import numpy as np

from training.evaluation.metrics import expected_calibration_error, reliability, scores
from training.evaluation.tables import interval_text
from training.matrix.report.overview import chosen_lines
from training.matrix.report.page import Markdown, Page, cell, path_name
from training.matrix.report.scores import UNION, Line, MatrixScores
from training.plots import reliability_grid, thumbnail

_HOW = (
    "Each training's temperature was fitted on the validation side of its last set (Guo et al. "
    "2017); it changes the confidence of an answer, not the answer. Larger dots are more answers; "
    "below the diagonal a model is overconfident. The lines shown are those of the "
    "confusion matrices."
)


def calibration(page: Page, answers: MatrixScores) -> None:
    """Reliability diagrams and ECE of the lines that validated best, and a count over all."""
    lines = chosen_lines(answers)
    page.section("calibration", "Calibration")
    page.text(_HOW, _over_all(answers))
    if lines:
        panels = [
            (
                f"{line.model} on {line.path[-1]}\n{path_name(line.path)}",
                {
                    "before": reliability(*_probs_and_labels(answers, line, calibrated=False)),
                    "after temperature": reliability(*_probs_and_labels(answers, line)),
                },
            )
            for line in lines
        ]
        caption = "Reliability, 10 bins of confidence, answers of all seeds pooled."
        png = reliability_grid(panels, len(answers.sets))
        page.picture("reliability", png, caption)
        _ece_table(page, answers, lines)


def _probs_and_labels(
    answers: MatrixScores, line: Line, calibrated: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    last = line.path[-1]
    return answers.probs(line, last, calibrated), answers.labels(last)


def _ece_table(page: Page, answers: MatrixScores, lines: list[Line]) -> None:
    rows = []
    for line in lines:
        last = line.path[-1]
        before = scores(
            *_probs_and_labels(answers, line, calibrated=False),
            answers.groups(last),
            answers.results.test.classes,
        )
        temperatures = [cell.temperature for cell in answers.lines[line].values()]
        row = (
            line.model,
            path_name(line.path),
            last,
            ", ".join(f"{value:.2f}" for value in temperatures),
            interval_text(before.headline.ece),
            interval_text(answers.score(line, last).headline.ece),
        )
        rows.append(row)
    head = ("model", "path", "tested on", "temperatures", "ECE before", "ECE after")
    page.table("Expected calibration error, 95 %", head, rows)


def _over_all(answers: MatrixScores) -> str:
    """In how many lines and test sets the temperature helped, by the mean ECE over seeds."""
    before, after = [], []
    for line in (line for line in answers.lines if line.variant == answers.main):
        for name in answers.sets:
            labels = answers.labels(name)
            raw = answers.probs(line, name, calibrated=False)
            before.append(np.mean([expected_calibration_error(run, labels) for run in raw]))
            after.append(answers.score(line, name).headline.ece.value)
    fell = int(np.sum(np.array(after) < np.array(before)))
    return (
        f"Over all {len(after)} cells of the matrix the median ECE is {np.median(before):.2f} "
        f"before and {np.median(after):.2f} after; it fell in {fell}."
    )


_MOST = 24


def mistakes(page: Page, answers: MatrixScores, chips: bool = True) -> None:
    """Up to 24 wrong chips of the model whose base training on the union validated best.

    Without `chips` they are named and not shown: data sets may not be passed on.
    """
    page.section("mistakes", "Mistakes made with most confidence")
    bases = [Line(answers.main, model, (UNION,)) for model in answers.models]
    bases = [line for line in bases if line in answers.lines]
    if not bases or UNION not in answers.sets:
        page.text(f"No base training on “{UNION}” was run, from which this page takes its model.")
        return
    line = min(bases, key=answers.nll)
    probs = answers.probs(line, UNION).mean(axis=0)
    said, labels = probs.argmax(axis=1), answers.labels(UNION)
    wrong = np.flatnonzero(said != labels)
    # Stable: of chips that are equally sure the first of the test side comes first.
    worst = wrong[np.argsort(-probs[wrong, said[wrong]], kind="stable")][:_MOST]
    page.text(
        f"{line.model}, {path_name(line.path)}, whose validation loss on {UNION} is least of all "
        f"base trainings there. Answers and confidences are of the mean calibrated probability "
        f"over the seeds {', '.join(map(str, answers.lines[line]))}: {len(wrong)} of {len(labels)} "
        "chips are wrong."
    )
    if len(worst):
        _wrong_chips(page, answers, worst, probs, chips)


def _wrong_chips(
    page: Page, answers: MatrixScores, worst: np.ndarray, probs: np.ndarray, chips: bool
) -> None:
    """`worst` and `probs` count the chips of the union's test set."""
    test = answers.results.test
    rows = []
    for number, i in enumerate(worst, start=1):
        place = np.flatnonzero(test.sets[UNION])[i]
        shown = cell(str(number))
        if chips:
            image = page.image(
                f"mistake-{number}", thumbnail(test.inputs[place, 0]), f"chip {number}"
            )
            shown = Markdown(f"{number} {image}")
        rows.append(
            (
                shown,
                test.classes[test.labels[place]],
                test.classes[int(probs[i].argmax())],
                f"{probs[i].max():.0%}",
                test.sources[place],
                test.keys[place],
            )
        )
    page.table("Chip by chip", ("chip", "truth", "answer", "confidence", "source", "key"), rows)
