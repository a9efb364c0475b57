"""A run's figures for the terminal and as pictures; a matrix's as a report, HTML and Markdown."""

from pathlib import Path

from training.report.answers import Answers
from training.report.calibration import calibration
from training.report.comparison import matrix
from training.report.document import Section
from training.report.effects import fine_tuning, merging
from training.report.figures import draw_answers, draw_curves
from training.report.learning import confusions_and_curves
from training.report.mistakes import mistakes
from training.report.overview import overview
from training.report.published import PublishedScores
from training.report.render import html, markdown, pictures
from training.report.sweeps import sweeps
from training.report.terminal import counts_table, scores_table
from training.results import MatrixResults

__all__ = [
    "counts_table",
    "draw_answers",
    "draw_curves",
    "matrix_sections",
    "scores_table",
    "write_matrix_report",
]

_TITLE = "Base training and fine-tuning on ship chips: the matrix"


def write_matrix_report(
    results: MatrixResults, folder: Path, figures: bool = False, chips: bool = True
) -> None:
    """Write `report.html`, which needs no other file, and `report.md` with the same tables.

    Without `chips` no chip is shown, so that the report may go where the data may not.
    With `figures` the pictures are also written to `folder/figures`, and report.md shows them.
    Raises DataInvalid where no cell is finished or one was tested on other chips.
    """
    sections = matrix_sections(results, chips)
    folder.mkdir(parents=True, exist_ok=True)
    if figures:
        (folder / "figures").mkdir(exist_ok=True)
        for name, png in pictures(sections).items():
            (folder / "figures" / f"{name}.png").write_bytes(png)
    told = markdown(_TITLE, sections, "figures" if figures else None)
    for name, content in (("report.md", told), ("report.html", html(_TITLE, sections))):
        half = folder / f"{name}.half"
        half.write_text(content, encoding="utf-8")
        half.replace(folder / name)


def matrix_sections(results: MatrixResults, chips: bool = True) -> tuple[Section, ...]:
    """The sections of a matrix's report, in their order."""
    answers = Answers.of(results)
    return (
        overview(answers),
        matrix(answers, PublishedScores()),
        confusions_and_curves(answers),
        fine_tuning(answers),
        merging(answers),
        calibration(answers),
        sweeps(answers),
        mistakes(answers, chips),
    )
