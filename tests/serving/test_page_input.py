"""/demo: what goes in. The quantity, simulated samples, and archives, which go elsewhere."""

import json
from pathlib import Path
from typing import get_args

import httpx
import numpy as np
import pytest

from shipchip.chip import Quantity
from shipchip.files import is_sidecar
from shipchip.samples import draw_sample, sample_paths
from tests.serving.browser import Tab
from tests.serving.pages import finished, fits, in_browser, in_node, needs_node
from tests.shipchip.test_sidecars import CHIPS, SIDECARS
from tests.tiny_model import draw_chip


def test_the_sample_chips_are_listed_and_served(client: httpx.Client) -> None:
    answer = client.get("/demo/samples")
    assert answer.json() == [path.as_posix() for path in sample_paths()]
    policy = answer.headers["Content-Security-Policy"]
    small = [path for path in sample_paths() if path.suffix in (".png", ".npy")]
    for path in small:
        chip = client.get(f"/demo/samples/{path.as_posix()}")
        assert chip.content == draw_sample(path).content
        assert chip.headers["Content-Security-Policy"] == policy
        assert chip.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    "path", ["Cargo/cargo-9.png", "", "Cargo", "%2e%2e/page.js", "Cargo//x.png"]
)
def test_no_other_sample_is_there(client: httpx.Client, path: str) -> None:
    assert client.get(f"/demo/samples/{path}").status_code == 404


@needs_node
def test_sidecars_follow_the_rule_of_the_library(tmp_path: Path) -> None:
    paths = [path for path in [*SIDECARS, *CHIPS] if not path.endswith("/")]  # folders are walked
    found = in_node(tmp_path, "files", f"JSON.stringify({json.dumps(paths)}.map(page.isSidecar))")
    assert json.loads(found) == [is_sidecar(path) for path in paths]


class TestInTheBrowser:
    pytestmark = in_browser

    def test_sidecars_in_a_folder_are_not_sent(
        self, tab: Tab, tmp_path: Path, png: dict[str, bytes]
    ) -> None:
        (tmp_path / "scene" / "__MACOSX").mkdir(parents=True)
        for name in ("a.png", "._a.png", "a.png.ovr", ".DS_Store", "__MACOSX/a.png"):
            (tmp_path / "scene" / name).write_bytes(png["Cargo"])
        for send, where in ((tab.drop, "#drop"), (tab.choose, "#folder")):
            send(where, [tmp_path / "scene"])
            finished(tab, 1)
            assert tab.text("tbody .c-file") == ["scene/a.png"]
            tab.open(tab.run("location.href"))

    def test_every_quantity_that_the_service_takes_can_be_chosen(self, tab: Tab) -> None:
        values = tab.run("[...document.querySelectorAll('#quantity option')].map((o) => o.value)")
        assert ["auto", *values[1:]] == list(get_args(Quantity))
        assert values[0] == "", "auto: nothing is sent"
        assert "(auto)" in tab.text("#quantity option")[0]

    @pytest.mark.parametrize("width", [360, 1200])
    def test_the_quantity_reaches_the_service(
        self, tab: Tab, tmp_path: Path, client: httpx.Client, width: int
    ) -> None:
        tab.resize(width)
        path = tmp_path / "power.npy"
        np.save(path, draw_chip("Cargo").astype(np.float32) ** 2 + 0.5)
        upload = [("files", (path.name, path.read_bytes()))]
        expected = [
            client.post("/v1/classify", files=upload, data=given).json()["results"][0]
            for given in ({}, {"quantity": "sigma0"})
        ]
        scores = [f"score {answer['ood_score']:.2f}" for answer in expected]
        assert scores[0] != scores[1], "else this test could not tell"
        tab.choose("#files", [path])
        finished(tab, 1)
        assert tab.text("tbody .c-ood .quiet") == scores[:1]
        tab.run("document.querySelector('#quantity').value = 'sigma0'")
        tab.click("#again")
        finished(tab, 1)
        assert tab.text("tbody .c-ood .quiet") == scores[1:]
        assert tab.text("tbody .used")[0].endswith("sigma0")
        assert fits(tab)

    @pytest.mark.parametrize("width", [360, 1200])
    def test_samples_are_classified_at_a_click_as_they_are(self, tab: Tab, width: int) -> None:
        tab.resize(width)
        tab.run("document.querySelector('#spacing').value = '500'")  # of the user's own chips
        tab.click("#samples")
        finished(tab, 12)
        names = [f"samples/{path.as_posix()}" for path in sample_paths()]
        assert tab.text("tbody .c-file") == names
        assert tab.text("tr.error") == []
        assert not any("500" in line for line in tab.text("tbody .c-used"))
        assert "simulated" in " ".join(tab.text("#drop .quiet"))
        assert not tab.run("document.querySelector('#samples').disabled")
        assert fits(tab)

    @pytest.mark.parametrize("spacing", ["10,5", "13,93x3,87", "13.93,3.87"])
    def test_a_comma_in_the_spacing_is_refused_with_the_way_to_write_it(
        self, tab: Tab, tmp_path: Path, png: dict[str, bytes], spacing: str
    ) -> None:
        (tmp_path / "a.png").write_bytes(png["Cargo"])
        tab.run(f"document.querySelector('#spacing').value = '{spacing}'")
        tab.choose("#files", [tmp_path / "a.png"])
        tab.wait("document.querySelector('#spacing').getAttribute('aria-invalid') === 'true'")
        (shown,) = tab.text("#status")
        assert "expected 10 or 13.93x3.87, with points and not commas" in shown
        assert tab.text("tbody tr") == []

    @pytest.mark.parametrize("width", [360, 1200])
    def test_an_archive_is_not_sent_but_shown_the_way_to_the_command_line(
        self, tab: Tab, tmp_path: Path, png: dict[str, bytes], width: int
    ) -> None:
        tab.resize(width)
        read = ["<b>scene</b>.ZIP", "a.tar", "b.tar.gz", "c.tgz"]
        for name in [*read, "d.rar"]:
            (tmp_path / name.replace("/", "_")).write_bytes(b"PK")
        (tmp_path / "chip.png").write_bytes(png["Cargo"])
        paths = sorted(path for path in tmp_path.iterdir() if path.is_file())
        tab.drop("#drop", paths)
        finished(tab, 1)
        assert tab.text("tbody .c-file") == ["chip.png"]
        reported = tab.text("#notices p")
        assert len(reported) == 5
        assert [line.split(" is an archive")[0] for line in reported] == [
            path.name for path in paths if path.name != "chip.png"
        ]
        by_batch = [line for line in reported if "shipchip classify FILE --out answers.csv" in line]
        assert len(by_batch) == 4
        (rest,) = set(reported) - set(by_batch)
        assert rest.startswith("d.rar")
        assert "Unpack it" in rest
        assert fits(tab)
        tab.click("#clear")
        tab.wait("document.querySelector('#notices').textContent === ''")

    def test_an_archive_alone_is_reported_and_nothing_is_sent(
        self, tab: Tab, tmp_path: Path
    ) -> None:
        (tmp_path / "scenes.zip").write_bytes(b"PK")
        tab.choose("#files", [tmp_path / "scenes.zip"])
        tab.wait("document.querySelector('#notices').textContent.includes('scenes.zip')")
        assert not any(address.endswith("/v1/classify") for address in tab.addresses)
        assert tab.run("document.querySelector('#answers').hidden")
