"""/demo: headings that stay, names that keep their ending whole, and what the model is for."""

import json
from pathlib import Path

import httpx
import pytest

from tests.serving.browser import Browser, Tab
from tests.serving.pages import finished, fits, in_browser, opened, unlock
from tests.serving.server import serving
from tests.tiny_model import tiny_card, write_tiny_model

pytestmark = in_browser
HEADINGS = ["Read as", "Verdict", "Label", "Probability", "Prediction set", "Right class"]


@pytest.fixture
def many(tmp_path: Path, png: dict[str, bytes]) -> list[Path]:
    """Chips for more than a window, with names that wrap, each a letter further on than the last.

    A browser may break a line after a hyphen, so some would break between "-1" and its ".tiff".
    """
    names = [f"{'0123456789' * 4}{'a' * n}-1.tiff" for n in range(12)]
    for name in names:
        (tmp_path / name).write_bytes(png["Cargo"])
    return [tmp_path / name for name in names]


@pytest.mark.parametrize("width", [360, 1200])
def test_the_head_stays_in_sight_while_rows_pass(tab: Tab, many: list[Path], width: int) -> None:
    tab.resize(width)
    tab.choose("#files", many)
    finished(tab, 12)
    tab.run("document.querySelector('tbody tr:nth-child(9)').scrollIntoView({block: 'start'})")
    assert tab.run("scrollY > 600"), "else nothing was scrolled"
    for key in ("order", "set"):
        top, bottom = tab.run(
            f"(() => {{ const r = document.querySelector('th button[data-key={key}]')"
            ".getBoundingClientRect(); return [r.top, r.bottom]; })()"
        )
        assert top >= 0
        assert bottom < 130
    tab.click("th button[data-key=path]")
    assert tab.run("document.querySelector('[aria-sort] button').dataset.key") == "path"


def test_on_a_phone_each_figure_has_its_heading_and_the_table_is_still_one(
    tab: Tab, many: list[Path]
) -> None:
    script = (
        "[...document.querySelector('tbody tr').children].map((cell) =>"
        "getComputedStyle(cell, '::before').content).filter((c) => c !== 'none')"
    )
    tab.choose("#files", many[:1])
    finished(tab, 1)
    assert tab.run(script) == [], "a desktop has them in the head"
    assert [name.split(" ↕")[0] for name in tab.text("thead th")][2:] == HEADINGS
    tab.resize(360)
    assert tab.run(script) == [f'"{heading}"' for heading in HEADINGS]
    nodes = tab.call("Accessibility.getFullAXTree")["nodes"]
    roles = [node["role"]["value"] for node in nodes]
    assert roles.count("table") == 1
    assert roles.count("rowheader") == 1
    assert roles.count("columnheader") >= 6
    assert roles.count("cell") >= 7


@pytest.mark.parametrize("width", [360, 1200])
def test_a_name_does_not_break_inside_its_ending(tab: Tab, many: list[Path], width: int) -> None:
    tab.resize(width)
    tab.choose("#files", many)
    finished(tab, 12)
    assert tab.text("tbody .c-file") == [path.name for path in many]
    lines = "document.querySelector('tbody .c-file').getBoundingClientRect().height"
    assert tab.run(lines) > 40, "else no name breaks"
    pieces = tab.run(
        "[...document.querySelectorAll('.ending')].map((e) => [e.textContent,"
        "e.getClientRects().length])"
    )
    assert pieces == [[path.name[-8:], 1] for path in many]
    assert fits(tab)


@pytest.mark.parametrize("width", [360, 1200])
def test_the_page_links_to_the_model_card_and_states_its_limits(
    tab: Tab, client: httpx.Client, width: int
) -> None:
    tab.resize(width)
    card = client.get("/v1/model").json()["card"]
    tab.click("a[href='#about']")
    tab.wait("document.querySelector('#about').getBoundingClientRect().top < innerHeight")
    (text,) = tab.text("#about")
    for reported in ("not for finding ships", "decisions without a person", card["terms"]):
        assert reported in text
    assert f"{card['input']['spacing_rules'][0]['why']} (10x10 m)" in text
    link = "document.querySelector('#card')"
    assert tab.run(f"{link}.target") == "_blank", "else the answers would be lost"
    linked = tab.run(f"fetch({link}.href).then((answer) => answer.json())")
    assert linked == client.get("/v1/model").json()


def test_figures_and_limits_are_those_of_the_card(browser: Browser, tmp_path: Path) -> None:
    headline = {"macro_f1": {"value": 0.759, "low": 0.658, "high": 0.826}}
    learnt = {"train": 3, "validation": 1, "test": 1}
    card = tiny_card(
        metrics={"sources": {"fusar": {"chips": 182, "headline": headline}}},
        training={
            "sources": {
                "fusar": {"Cargo": learnt, "Fishing": learnt},
                "other": {"Cargo": learnt, "Fishing": {"train": 0}},
            }
        },
    )
    model = write_tiny_model(tmp_path / "model.onnx", card)
    with (
        serving(model, tmp_path / "log.txt", api_key="sixteen-letters-or-more") as locked,
        opened(browser, str(locked.base_url), tmp_path / "downloads", failing=True) as tab,
    ):
        unlock(tab, "sixteen-letters-or-more")
        lines = tab.text("#about-model li")
        assert lines[:2] == [
            "On 182 test chips of fusar: macro-F1 0.76 (95 % interval 0.66 to 0.83).",
            "Fishing was learnt from fusar alone, so elsewhere hardly any answer is Fishing, "
            "right or wrong.",
        ]
        assert len(lines) == 3
        # A link sends no key, so the page gives what came with one.
        tab.open(tab.run("document.querySelector('#card').href"))
        assert json.loads(tab.text("body")[0])["card"]["metrics"] == card.metrics
