"""The report of a matrix, as HTML and as Markdown."""

from pathlib import Path

from shipchip.atomic import write_text
from training.matrix.folder import MatrixResults
from training.matrix.report.comparison import PublishedScores, comparison_section
from training.matrix.report.confidence import calibration, mistakes
from training.matrix.report.document import Section, html, markdown, report_pictures
from training.matrix.report.effects import fine_tuning, merging, sweeps
from training.matrix.report.overview import confusions_and_curves, overview
from training.matrix.report.scores import MatrixScores

__all__ = ["matrix_sections", "write_matrix_report"]

_TITLE = "Base training and fine-tuning on ship chips: the matrix"


def write_matrix_report(
    results: MatrixResults, folder: Path, figures: bool = False, chips: bool = True
) -> None:
    """Write `report.html`, which needs no other file, and `report.md` with the same tables.

    Without `chips` no chip is shown, so that the report may go where the data may not.
    With `figures` the pictures are also written to `folder/figures`, and report.md shows them.
    Raises DataInvalid if no cell is finished or one was tested on other chips.
    """
    sections = matrix_sections(results, chips)
    folder.mkdir(parents=True, exist_ok=True)
    if figures:
        (folder / "figures").mkdir(exist_ok=True)
        for name, png in report_pictures(sections).items():
            (folder / "figures" / f"{name}.png").write_bytes(png)
    page = markdown(_TITLE, sections, "figures" if figures else None)
    for name, content in (("report.md", page), ("report.html", html(_TITLE, sections))):
        write_text(folder / name, content)


def matrix_sections(results: MatrixResults, chips: bool = True) -> tuple[Section, ...]:
    """The sections of a matrix's report, in their order."""
    answers = MatrixScores.of(results)
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
