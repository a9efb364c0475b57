"""Links and paths in the documents exist; citation, licence and security policy are complete."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.docs.blocks import DOCS, ROOT

PAPERS = [*DOCS, *ROOT.glob("*.md"), ROOT / "models" / "README.md"]
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DATA = {"10.1007/s11432-019-2772-5", "10.1109/JSTARS.2017.2755672"}


def anchors(path: Path) -> set[str]:
    """The anchors of the headings: lower case, no punctuation, hyphens for blanks."""
    heads = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("paper", PAPERS, ids=lambda path: path.name)
def test_every_link_within_the_repository_has_a_target(paper: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", paper.read_text(encoding="utf-8"), flags=re.M | re.S)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (paper.parent / name).resolve() if name else paper
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("paper", PAPERS, ids=lambda path: path.name)
def test_every_source_file_that_is_named_is_there(paper: Path) -> None:
    if paper.name == "CHANGELOG.md":
        return  # it may name what is gone
    named = re.findall(
        r"`((?:shipchip|serving|training|tests|benchmarks|deploy)/[\w./-]+)`",
        paper.read_text(encoding="utf-8"),
    )
    missing = [name for name in named if not (ROOT / name).exists()]
    assert missing == []


def test_every_test_that_the_protocol_names_is_there() -> None:
    rows = re.findall(r"^\| .* \| (.*`test_.*) \|$", paper_text("protocol.md"), re.M)
    named = [
        (file, test)
        for row in rows
        for file, tests in re.findall(r"`([\w/]+\.py)`((?:[:,] `test_\w+`)*)", row)
        for test in re.findall(r"`(test_\w+)`", tests) or [""]
    ]
    assert len(named) > 50
    for file, test in named:
        path = ROOT / (file if "/" in file else f"tests/training/{file}")
        assert f"def {test}" in path.read_text(), (file, test)


def paper_text(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def test_the_readme_fits_on_two_screens() -> None:
    assert len((ROOT / "README.md").read_bytes()) <= 8000


def test_every_document_is_reached_from_the_readme() -> None:
    reached, pending = set(), [ROOT / "README.md"]
    while pending:
        paper = pending.pop()
        if paper in reached:
            continue
        reached.add(paper)
        links = re.findall(r"\]\(([^)#\s:]+\.md)[^)]*\)", paper.read_text(encoding="utf-8"))
        pending += [(paper.parent / link).resolve() for link in links]
    assert set(DOCS) <= reached


def test_the_citation_has_what_its_format_asks_for() -> None:
    assert CITATION["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= set(CITATION)
    assert CITATION["version"] == PROJECT["version"]
    assert CITATION["title"] == PROJECT["name"]
    for reference in CITATION["references"]:
        assert {"type", "title", "authors"} <= set(reference)
        assert all("family-names" in author for author in reference["authors"])


def test_the_citation_names_the_data_by_the_dois_of_the_readme() -> None:
    assert {r["doi"] for r in CITATION["references"] if "doi" in r} == DATA
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert all(doi in readme for doi in DATA)


def test_the_licence_is_the_one_that_is_cited() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert CITATION["license"] == "Apache-2.0"
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text
    assert PROJECT.get("license", "Apache-2.0") == "Apache-2.0"


def test_vulnerabilities_are_reported_in_private() -> None:
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    assert "private vulnerability reporting" in text
    assert "Supported versions" in text
    assert "@" not in text  # no personal address
