"""The report of a matrix, as HTML and as Markdown."""

from pathlib import Path

from shipchip.atomic import write_text
from training.matrix.folder import MatrixResults
from training.matrix.report.comparison import PublishedScores, comparison_section
from training.matrix.report.confidence import calibration, mistakes
from training.matrix.report.document import (
    Head,
    Section,
    entries,
    html,
    markdown,
    report_pictures,
)
from training.matrix.report.effects import fine_tuning, merging, sweeps
from training.matrix.report.overview import confusions_and_curves, overview
from training.matrix.report.scores import MatrixScores
from training.matrix.report.summary import summary

__all__ = ["SMOKE", "matrix_sections", "write_matrix_report"]

SMOKE = "smoke: these figures mean nothing"

_TITLE = "Base training and fine-tuning on ship chips: the matrix"


def write_matrix_report(
    results: MatrixResults, folder: Path, figures: bool = False, chips: bool = True
) -> tuple[tuple[str, str], ...]:
    """Write `report.html`, which needs no other file, and `report.md` with the same tables.

    Returns the summary at their top, line by line: what, and what was found.
    Without `chips` no chip is shown, so that the report may go where the data may not.
    With `figures` the pictures are also written to `folder/figures`, and report.md shows them.
    Raises DataInvalid if no cell is finished or one was tested on other chips.
    """
    answers = MatrixScores.of(results)
    sections = matrix_sections(answers, chips)
    lines = summary(answers)
    warning = SMOKE if results.record.matrix.smoke else ""
    head = Head(_TITLE, warning, tuple(entries(*line) for line in lines))
    folder.mkdir(parents=True, exist_ok=True)
    if figures:
        (folder / "figures").mkdir(exist_ok=True)
        for name, png in report_pictures(sections).items():
            (folder / "figures" / f"{name}.png").write_bytes(png)
    page = markdown(head, sections, "figures" if figures else None)
    for name, content in (("report.md", page), ("report.html", html(head, sections))):
        write_text(folder / name, content)
    return lines


def matrix_sections(answers: MatrixScores, chips: bool = True) -> tuple[Section, ...]:
    """The sections of a matrix's report, in their order."""
    return (
        overview(answers),
        comparison_section(answers, PublishedScores()),
        confusions_and_curves(answers),
        fine_tuning(answers),
        merging(answers),
        calibration(answers),
        sweeps(answers),
        mistakes(answers, chips),
    )
