"""The report of a matrix, as HTML and as Markdown."""

from pathlib import Path

from shipchip.atomic import write_text
from training.matrix.folder import MatrixResults
from training.matrix.report.comparison import PublishedScores, comparison
from training.matrix.report.confidence import calibration, mistakes
from training.matrix.report.effects import fine_tuning, merging, sweeps
from training.matrix.report.overview import confusions_and_curves, overview
from training.matrix.report.page import Page
from training.matrix.report.scores import MatrixScores
from training.matrix.report.summary import summary

__all__ = ["SMOKE", "write_matrix_report"]

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
    lines = summary(answers)
    page = Page(_TITLE, SMOKE if results.record.matrix.smoke else "")
    page.table("Summary", ("", ""), lines)
    write_sections(page, answers, chips)
    folder.mkdir(parents=True, exist_ok=True)
    if figures:
        (folder / "figures").mkdir(exist_ok=True)
        for name, png in page.pictures.items():
            (folder / "figures" / f"{name}.png").write_bytes(png)
    write_text(folder / "report.md", page.markdown(figures))
    write_text(folder / "report.html", page.html())
    return lines


def write_sections(page: Page, answers: MatrixScores, chips: bool = True) -> None:
    """The sections of a matrix's report, in their order."""
    overview(page, answers)
    comparison(page, answers, PublishedScores())
    confusions_and_curves(page, answers)
    fine_tuning(page, answers)
    merging(page, answers)
    calibration(page, answers)
    sweeps(page, answers)
    mistakes(page, answers, chips)
