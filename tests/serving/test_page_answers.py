"""/demo: doubt before labels, and what an answer rests on, on a desktop and on a phone."""

from pathlib import Path
from typing import get_args

import httpx
import numpy as np
import pytest

from shipchip.answer import SpacingOrigin, Verdict
from tests.serving.browser import Tab
from tests.serving.pages import answering, finished, fits, in_browser
from tests.tiny_model import draw_chip

pytestmark = in_browser
SIZES = {
    "length_m": 182.4, "length_low_m": 159.6, "length_high_m": 204.2,
    "width_m": 28.1, "width_low_m": 21.8, "width_high_m": 36.3,
}  # fmt: skip
SHOWN = ["length 182 m (160-204)", "width 28 m (22-36)"]


@pytest.fixture
def three(tmp_path: Path, png: dict[str, bytes]) -> list[Path]:
    paths = [tmp_path / f"{label}.png" for label in png]
    for path, content in zip(paths, png.values(), strict=True):
        path.write_bytes(content)
    return paths


def verdicts(*names: str) -> list[dict[str, object]]:
    return [{"verdict": name, "in_distribution": name != "unlike"} for name in names]


@pytest.mark.parametrize("width", [360, 1200])
def test_tiles_count_verdicts_before_labels_and_time_last(
    tab: Tab, three: list[Path], width: int
) -> None:
    tab.resize(width)
    answering(tab, verdicts("sure", "undecided", "unlike"))
    tab.choose("#files", [*three])
    finished(tab, 3)
    *tiles, seconds, rate = tab.text("#totals .total")
    assert tiles == [
        "sure\n1", "undecided\n1", "unlike\n1", "Cargo\n1", "Fishing\n1", "Tanker\n1", "failed\n0",
    ]  # fmt: skip
    took, name = float(seconds.split()[1]), seconds.split()[0]
    assert (name, rate.split()[0]) == ("seconds", "chips/s")
    assert float(rate.split()[1]) == pytest.approx(3 / took, rel=0.06 / took) or took < 0.1
    assert fits(tab)


def test_the_time_is_that_of_the_last_run(tab: Tab, three: list[Path]) -> None:
    tab.choose("#files", three)
    finished(tab, 3)
    tab.run("new Promise((resolve) => setTimeout(resolve, 1500))")
    tab.choose("#files", three[:1])
    finished(tab, 4)
    assert float(tab.text("#totals .time dd")[0]) < 1.4, "waiting for a person is no work"


@pytest.mark.parametrize("width", [360, 1200])
def test_the_page_says_what_each_verdict_means_and_what_to_do(
    tab: Tab, three: list[Path], width: int
) -> None:
    tab.resize(width)
    answering(tab, verdicts("sure", "undecided", "unlike"))
    tab.choose("#files", three)
    finished(tab, 3)
    assert tab.text("#meanings dt") == list(get_args(Verdict))
    sure, undecided, unlike = tab.text("#meanings dd")
    assert "Use the label" in sure
    assert "look at the chip" in undecided
    assert "Use neither label nor numbers" in unlike
    assert tab.text("tbody .verdict") == list(get_args(Verdict))
    advice = ["use the label", "look at the chip", "do not use the label"]
    assert tab.text("tbody .advice") == advice


def test_sorting_by_verdict_puts_the_most_doubtful_first(tab: Tab, three: list[Path]) -> None:
    answering(tab, verdicts("sure", "unlike", "undecided"))
    tab.choose("#files", three)
    finished(tab, 3)
    tab.click("th button[data-key=verdict]")
    assert tab.text("tbody .verdict") == ["unlike", "undecided", "sure"]


@pytest.mark.parametrize("width", [360, 1200])
def test_a_row_warns_if_a_rule_of_the_model_gave_the_spacing(
    tab: Tab, three: list[Path], width: int
) -> None:
    tab.resize(width)
    tab.choose("#files", three[:1])
    finished(tab, 1)
    assert tab.text("tbody .verdict") == ["sure"]
    assert tab.text("tbody .assumed") == ["⚠ pixel spacing 10x10 m assumed"]
    assert "give it above if you know it" in tab.text("tbody .c-used")[0]
    assert fits(tab)
    tab.run("document.querySelector('#spacing').value = '7'")
    tab.click("#again")
    finished(tab, 1)
    assert tab.text("tbody .assumed") == []
    assert tab.text("tbody .used") == ["7x7 m given · polarisation unknown · amplitude"]


def test_a_row_says_what_was_assumed_as_the_service_does(
    tab: Tab, tmp_path: Path, client: httpx.Client
) -> None:
    path = tmp_path / "two.npy"
    np.save(path, np.stack([draw_chip("Cargo"), draw_chip("Fishing")]).astype(np.complex64))
    upload = [("files", (path.name, path.read_bytes()))]
    given = {"pixel_spacing_m": "13.93x3.9"}
    used = client.post("/v1/classify", files=upload, data=given).json()["results"][0]["used"]
    tab.run("document.querySelector('#spacing').value = '13.93x3.9'")
    tab.choose("#files", [path])
    finished(tab, 1)
    expected = f"13.93x3.9 m given · {used['polarisation']} · {used['quantity']}"
    assert tab.text("tbody .used") == [expected]


def test_every_origin_of_a_spacing_and_clipped_samples_are_reported(
    tab: Tab, three: list[Path]
) -> None:
    used = {"pixel_spacing_m": [10, 10], "polarisation": "VV", "quantity": "sigma0"}
    origins = get_args(SpacingOrigin)
    changes = [{"used": {**used, "pixel_spacing_from": origin}} for origin in origins]
    changes[1]["used"]["clipped"] = 0.012
    answering(tab, changes)
    tab.choose("#files", three)
    finished(tab, 3)
    given, file, rule = tab.text("tbody .c-used")
    assert given == "10x10 m given · VV · sigma0"
    assert file == "10x10 m from the file · VV · sigma0 · 1.2 % of samples clipped"
    assert "⚠ pixel spacing 10x10 m assumed" in rule


@pytest.mark.parametrize("width", [360, 1200])
def test_a_size_is_reported_with_its_interval_and_marked_where_it_is_not_validated(
    tab: Tab, three: list[Path], width: int
) -> None:
    tab.resize(width)
    unknown = dict.fromkeys([*SIZES, "length_validated"])
    answering(
        tab, [{**SIZES, "length_validated": True}, {**SIZES, "length_validated": False}, unknown]
    )
    tab.choose("#files", three)
    finished(tab, 3)
    rows = [tab.text(f"tbody tr:nth-child({i}) .size") for i in (1, 2, 3)]
    assert rows == [SHOWN, SHOWN, []]
    marks = [tab.text(f"tbody tr:nth-child({i}) .unvalidated") for i in (1, 2, 3)]
    assert marks == [[], ["⚠ size not validated"], []]
    assert fits(tab)


def test_an_answer_without_sizes_shows_nothing_of_them(tab: Tab, three: list[Path]) -> None:
    answering(tab, [dict.fromkeys([*SIZES, "length_validated"])] * 2 + [{}])
    tab.choose("#files", three)
    finished(tab, 3)
    assert tab.text("tbody .c-label") == ["Cargo", "Fishing", "Tanker"]


def test_a_size_without_an_interval_is_reported_alone(tab: Tab, three: list[Path]) -> None:
    answering(tab, [{"length_m": 90.6, "length_validated": True}])
    tab.choose("#files", three[:1])
    finished(tab, 1)
    assert tab.text("tbody .size") == ["length 91 m"]
