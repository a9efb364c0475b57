"""Confidence against accuracy, before and after temperature scaling."""

import numpy as np

from training.metrics import expected_calibration_error, reliability, scores
from training.report.answers import Answers, Line
from training.report.document import Block, Entry, Paragraph, Picture, Section, Table
from training.report.learning import chosen_lines
from training.report.plots import reliability_grid
from training.report.wording import interval, path_name

_HOW = (
    "Each training's temperature was fitted on the validation side of its last set (Guo et al. "
    "2017); it changes no answer, only how sure it is. Dots grow with the answers they stand for; "
    "below the diagonal a model is surer than it is right. The lines shown are those of the "
    "confusion matrices."
)


def calibration(answers: Answers) -> Section:
    """Reliability diagrams and ECE of the lines that validated best, and a count over all."""
    lines = chosen_lines(answers)
    blocks: list[Block] = [Paragraph(_HOW), Paragraph(_over_all(answers))]
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
        blocks += [Picture("reliability", png, caption), _ece_table(answers, lines)]
    return Section("calibration", "Calibration", tuple(blocks))


def _probs_and_labels(
    answers: Answers, line: Line, calibrated: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    last = line.path[-1]
    return answers.probs(line, last, calibrated), answers.labels(last)


def _ece_table(answers: Answers, lines: list[Line]) -> Table:
    rows = []
    for line in lines:
        last = line.path[-1]
        before = scores(
            *_probs_and_labels(answers, line, calibrated=False),
            answers.groups(last),
            answers.results.test.classes,
        )
        temperatures = [cell.temperature for cell in answers.lines[line].values()]
        texts = (
            line.model,
            path_name(line.path),
            last,
            ", ".join(f"{value:.2f}" for value in temperatures),
            interval(before["headline"]["ece"]),
            interval(answers.score(line, last)["headline"]["ece"]),
        )
        rows.append(tuple(Entry(text) for text in texts))
    head = ("model", "path", "tested on", "temperatures", "ECE before", "ECE after")
    return Table("Expected calibration error, 95 %", head, tuple(rows))


def _over_all(answers: Answers) -> str:
    """In how many lines and test sets the temperature helped, by the mean ECE over seeds."""
    before, after = [], []
    for line in (line for line in answers.lines if line.variant == answers.main):
        for name in answers.sets:
            labels = answers.labels(name)
            raw = answers.probs(line, name, calibrated=False)
            before.append(np.mean([expected_calibration_error(run, labels) for run in raw]))
            after.append(answers.score(line, name)["headline"]["ece"]["value"])
    fell = int(np.sum(np.array(after) < np.array(before)))
    return (
        f"Over all {len(after)} cells of the matrix the median ECE is {np.median(before):.2f} "
        f"before and {np.median(after):.2f} after; it fell in {fell}."
    )
