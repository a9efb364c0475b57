"""The report of a matrix as files: HTML that needs nothing else, and Markdown with the same tables.

The matrix is made up: 28 chips, two models, two seeds, every path up to the sequential protocol.
"""

import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest

from training.errors import DataInvalid
from training.evaluation.metrics import scores
from training.evaluation.tables import interval_text
from training.fit.progress import Epoch
from training.matrix.config import Cell, MatrixConfig, PaperModel, Variant
from training.matrix.folder import CellResult, MatrixRecord, MatrixResults, TestChips
from training.matrix.report import SMOKE, write_matrix_report
from training.matrix.report.comparison import PublishedScores, comparison
from training.matrix.report.page import RISES, Markdown, Page, cell
from training.matrix.report.scores import MatrixScores

CLASSES = ("Cargo", "Fishing", "Tanker")
MODELS = ("cnn", "vgg16")
SEEDS = (0, 1)
SETS = ("fusar", "opensarship", "mix")
PATHS = tuple(path for n in (1, 2, 3) for path in permutations(SETS, n))
HOSTILE = '<script>alert("1")</script>|x'


def made_up_side() -> TestChips:
    """Three classes in fusar, two in opensarship; two chips a ship."""
    labels = np.array([0] * 8 + [1] * 4 + [2] * 4 + [0] * 8 + [2] * 4)
    fusar = np.arange(len(labels)) < 16
    return TestChips(
        inputs=np.random.default_rng(0).normal(0, 1, (28, 1, 8, 8)).astype(np.float32),
        labels=labels,
        groups=tuple(f"ship {i // 2}" for i in range(28)),
        sources=tuple("fusar" if here else "opensarship" for here in fusar),
        keys=tuple(f"chip {i}" for i in range(28)),
        classes=CLASSES,
        sets={"fusar": fusar, "opensarship": ~fusar, "mix": np.ones(28, bool)},
    )


SIDE = made_up_side()


def made_up_cell(
    cell: Cell, said: np.ndarray | None = None, nll: float = 0.5, sure: float = 3.0
) -> CellResult:
    """A finished cell that answers `said`, or at random but better than chance."""
    rng = np.random.default_rng([cell.seed, *cell.place.encode()])
    logits = rng.normal(0, 1, (28, 3))
    logits[np.arange(28), SIDE.labels if said is None else said] += 1.0 if said is None else sure
    history = tuple(Epoch(".".join(cell.path), i, 1.0 - i / 9, nll + 0.1 * i, 0.4) for i in (0, 1))
    return CellResult(cell, logits.astype(np.float32), 1.5, history, 0, 60.0, "ab" * 32, "c0ffee")


def made_up_matrix(
    *changed: CellResult,
    variants: tuple[str, ...] = ("default",),
    paths: tuple[tuple[str, ...], ...] = PATHS,
) -> MatrixResults:
    """The matrix, with some cells as given."""
    cells = {
        cell: made_up_cell(cell)
        for cell in (
            Cell(variant, model, seed, path)
            for variant in variants
            for model in MODELS
            for seed in SEEDS
            for path in paths
        )
    }
    cells |= {result.cell: result for result in changed}
    return MatrixResults(record(MODELS, SEEDS, variants), SIDE, tuple(cells.values()))


def record(
    models: tuple[PaperModel, ...], seeds: tuple[int, ...], variants: tuple[str, ...] = ("default",)
) -> MatrixRecord:
    return MatrixRecord(
        matrix=MatrixConfig(
            models=models, seeds=seeds, variants=dict.fromkeys(variants, Variant())
        ),
        split={"fusar": {"Cargo": {"train": 7, "validation": 2, "test": 4}}},
        manifest_sha256="ab" * 32,
        pretrained="sar",
        git_commit="c0ffee",
        machine=HOSTILE,
    )


def tables(write: Callable[[Page], None]) -> dict[str, list[list[str]]]:
    """Title -> rows of each table that a section writes, the head first; cells are Markdown."""
    page = Page("a report")
    write(page)
    found: dict[str, list[list[str]]] = {}
    title = ""
    for line in page.markdown().splitlines():
        titled = re.fullmatch(r"\*\*(.*)\*\*|<details><summary>(.*)</summary>", line)
        title = (titled[1] or titled[2]) if titled else title
        cells = [part.strip() for part in re.split(r"(?<!\\)\|", line)[1:-1]]
        if cells and set(cells) != {"---"}:
            found.setdefault(title, []).append(cells)
    return found


def figure(entry: str) -> str:
    """What stands first in a cell, without its marks and the lines below."""
    return re.split("<br>| `", entry, maxsplit=1)[0]


def signs(entry: str) -> list[str]:
    """The marks of a cell."""
    return re.findall("`(.*?)`", entry)


ONE_CELL = (made_up_cell(Cell("default", "cnn", 0, ("fusar",))),)


class Html(HTMLParser):
    """Reads a page; fails on a tag that is closed out of turn."""

    VOID = frozenset({"meta", "img", "br"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.cells: list[str] = []
        self.heads: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "td":
            self.cells.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "td" in self.open:
            self.cells[-1] += data
        if "th" in self.open:
            self.heads.append(data)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("matrix")
    write_matrix_report(made_up_matrix(), folder, figures=True)
    return folder


@pytest.fixture(scope="module")
def page(folder: Path) -> Html:
    return Html((folder / "report.html").read_text(encoding="utf-8"))


def test_every_tag_of_the_page_is_closed_in_turn(page: Html) -> None:
    assert page.open == []
    assert len(page.cells) > 200


def test_the_sections_stand_in_their_order(page: Html) -> None:
    found = [reported["id"] for tag, reported in page.tags if tag == "h2"]
    assert found == [
        "run", "matrix", "learning", "fine-tuning", "merging", "calibration", "sweeps", "mistakes",
    ]  # fmt: skip
    links = [reported["href"] for tag, reported in page.tags if tag == "a"]
    assert links == [f"#{anchor}" for anchor in found]


def test_the_page_loads_nothing_from_anywhere(folder: Path, page: Html) -> None:
    text = (folder / "report.html").read_text(encoding="utf-8")
    assert "http:" not in text
    assert "https:" not in text
    for tag, reported in page.tags:
        assert tag not in {"script", "link", "iframe", "object"}
        for name in ("src", "href"):
            value = reported.get(name) or "#"
            assert value.startswith(("#", "data:image/png;base64,"))
    assert "url(" not in text
    assert sum(tag == "img" for tag, _ in page.tags) > 5


def test_the_report_of_a_smoke_run_says_so_and_no_other_does(folder: Path, tmp_path: Path) -> None:
    results = MatrixResults(record(("cnn",), (0,)), SIDE, ONE_CELL)
    matrix = results.record.matrix.model_copy(update={"smoke": True})
    smoke = replace(results, record=results.record.model_copy(update={"matrix": matrix}))
    write_matrix_report(smoke, tmp_path)
    for name in ("report.html", "report.md"):
        assert SMOKE in (tmp_path / name).read_text(encoding="utf-8")
        assert SMOKE not in (folder / name).read_text(encoding="utf-8")


def test_the_summary_stands_above_the_sections_of_both_files(tmp_path: Path) -> None:
    found = write_matrix_report(MatrixResults(record(("cnn",), (0,)), SIDE, ONE_CELL), tmp_path)
    page = Html((tmp_path / "report.html").read_text(encoding="utf-8"))
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    for n, (what, reported) in enumerate(found):
        assert [cell.strip() for cell in page.cells[2 * n : 2 * n + 2]] == [what, reported]
        assert f"| {what} | {reported} |" in text.split("## 1.")[0]


def test_what_comes_from_data_is_text_and_never_markup(folder: Path, page: Html) -> None:
    assert HOSTILE in [cell.strip() for cell in page.cells]
    assert not [tag for tag, _ in page.tags if tag == "script"]
    reported = (folder / "report.md").read_text(encoding="utf-8").split("The complete config")[0]
    assert "<script" not in reported
    assert '&lt;script&gt;alert("1")&lt;/script&gt;\\|x' in reported


def test_a_tag_that_no_report_writes_is_text_even_where_it_was_not_escaped() -> None:
    page = Page("a <b> & c", warning="<i>")
    page.section("x", "<u>")
    page.table("t", ("<s>",), [(Markdown("x <img src=y onerror=z> <br> <details open>"),)])
    page.text(Markdown("<script>alert(1)</script>"))
    page.verbatim("</summary>", "```\n<script>\n````")
    read = Html(page.html())
    assert read.open == []
    tags = {tag for tag, _ in read.tags}
    assert not tags & {"b", "i", "u", "s", "script", "img"}
    assert ("details", {"open": None}) not in read.tags
    assert read.cells == ["x <img src=y onerror=z>  <details open>"]


def test_a_mark_is_coloured_and_has_its_meaning() -> None:
    page = Page("a report")
    page.table("t", ("a",), [(cell("0.5", marks=[RISES]),), ("`+`",)])
    page.legend(RISES)
    shown = [reported for tag, reported in Html(page.html()).tags if tag == "code"]
    assert shown == 2 * [{"class": "mark good", "title": RISES.meaning}]  # the cell, the legend


def test_figures_in_both_files_are_those_of_the_metrics(folder: Path, page: Html) -> None:
    results = made_up_matrix(paths=(("fusar",), ("fusar", "mix")))
    held = {result.cell: result.logits for result in results.cells}
    logits = np.stack([held[Cell("default", "vgg16", s, ("fusar", "mix"))] for s in SEEDS])
    odds = np.exp(logits[:, :16].astype(float) / 1.5)
    probs = odds / odds.sum(axis=2, keepdims=True)
    score = scores(probs, SIDE.labels[:16], list(SIDE.groups[:16]), CLASSES)
    expected = interval_text(score.headline.macro_f1)

    found = tables(lambda page: comparison(page, MatrixScores.of(results), PublishedScores()))
    rows = {row[0]: row for row in found["vgg16: macro-F1 (95 %), weighted F1"]}
    assert figure(rows["fusar → mix"][1]) == expected
    weighted = f"weighted F1 {score.headline.weighted_f1.value:.2f}"
    assert weighted in rows["fusar → mix"][1].split("<br>")
    assert any(cell.startswith(expected) and weighted in cell for cell in page.cells)
    assert f"| {expected}" in (folder / "report.md").read_text(encoding="utf-8")


def test_markdown_rows_are_as_wide_as_their_heads(folder: Path) -> None:
    width = 0
    for line in (folder / "report.md").read_text(encoding="utf-8").splitlines():
        bars = len(re.findall(r"(?<!\\)\|", line)) if line.startswith("|") else 0
        assert bars == width or not (bars and width), line
        width = bars


def test_markdown_shows_only_figures_that_were_written(folder: Path) -> None:
    links = re.findall(r"!\[.*?\]\((.*?)\)", (folder / "report.md").read_text(encoding="utf-8"))
    assert len(set(links)) == len(links) > 6
    assert all((folder / link).read_bytes().startswith(b"\x89PNG") for link in links)


def test_without_figures_two_files_are_written(tmp_path: Path) -> None:
    write_matrix_report(MatrixResults(record(("cnn",), (0,)), SIDE, ONE_CELL), tmp_path / "new")
    written = sorted(path.name for path in (tmp_path / "new").iterdir())
    assert written == ["report.html", "report.md"]
    assert "![" not in (tmp_path / "new" / "report.md").read_text(encoding="utf-8")


def test_a_smoke_run_has_no_published_partner_though_it_has_a_mix(tmp_path: Path) -> None:
    names = {"fusar": "simulated-fine", "opensarship": "simulated-coarse", "mix": "mix"}
    side = replace(SIDE, sets={names[name]: chips for name, chips in SIDE.sets.items()})
    paths = (("simulated-fine",), ("mix",), ("simulated-fine", "mix"))
    cells = tuple(made_up_cell(Cell("default", "cnn", 0, path)) for path in paths)
    write_matrix_report(MatrixResults(record(("cnn",), (0,)), side, cells), tmp_path)
    page = Html((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert page.open == []
    assert "path simulated-fine simulated-coarse mix" in " ".join(page.heads)
    assert "published" not in page.heads


def test_one_base_training_alone_is_reported(tmp_path: Path) -> None:
    write_matrix_report(MatrixResults(record(("cnn",), (0,)), SIDE, ONE_CELL), tmp_path)
    assert "No fine-tuning was run" in (tmp_path / "report.md").read_text(encoding="utf-8")


def test_cells_tested_on_other_chips_are_refused() -> None:
    stray = replace(
        made_up_cell(Cell("default", "cnn", 0, ("mix",))), logits=np.zeros((5, 3), np.float32)
    )
    with pytest.raises(
        DataInvalid, match=r"cnn/seed-0/mix has logits \(5, 3\), expected \(28, 3\)"
    ):
        MatrixScores.of(made_up_matrix(stray))
