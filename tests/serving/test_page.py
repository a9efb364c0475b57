"""/demo: its headers over HTTP, and in a real browser what a person sees and does.

Headers and files of /docs, too; what it does in a browser is in test_docs_page.py.
"""

import codecs
import csv
import io
import json
import re
import shutil
import subprocess
from pathlib import Path

import httpx
import numpy as np
import pytest

from tests.serving.browser import Browser, Tab
from tests.serving.front import Reply, in_front_of
from tests.serving.pages import HOSTILE, finished, in_browser, opened, unlock
from tests.serving.server import ROOT, serving
from tests.serving.test_batch import COLUMNS
from tests.tiny_model import draw_chip

DOCS = ("/docs", "/docs/docs.js", "/docs/swagger-ui-bundle.js", "/docs/swagger-ui.css")
SCRIPTS = ("corrections", "files", "model", "pace", "page", "queue", "row", "table", "zip")
NAMES = (*(f"{name}.js" for name in SCRIPTS), "page.css")
FILES = ("/demo", *(f"/demo/{name}" for name in NAMES))
POLICY = {
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' data: blob:",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
}


def test_the_front_door_leads_to_the_page(client: httpx.Client) -> None:
    for method in ("GET", "HEAD"):
        answer = client.request(method, "/")
        assert answer.status_code == 307
    for path in ("/", "/demo/"):
        page = client.get(path, follow_redirects=True)
        assert page.url.path == "/demo"
        assert "<title>shipchip</title>" in page.text
    assert client.get("/docs/", follow_redirects=True).url.path == "/docs"


def test_the_way_to_the_page_stays_below_the_prefix_of_a_proxy(client: httpx.Client) -> None:
    with in_front_of(client, prefix="/ships") as proxy:
        for path, end in (
            ("/ships/", "/ships/demo"),
            ("/ships/demo/", "/ships/demo"),
            ("/ships/docs/", "/ships/docs"),
        ):
            page = httpx.get(f"{proxy.url}{path}", follow_redirects=True)
            assert (page.status_code, page.url.path) == (200, end)


@pytest.mark.parametrize("path", ["/v1/classify/", "/v1/model/", "/readyz/", "/docs.json/"])
def test_a_slash_too_many_is_not_found_rather_than_sent_to_an_absolute_address(
    client: httpx.Client, path: str
) -> None:
    answer = client.request("POST" if "classify" in path else "GET", path)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


@pytest.mark.parametrize("path", [*FILES, *DOCS])
def test_every_file_of_the_page_carries_the_strict_policy(client: httpx.Client, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 200
    assert set(answer.headers["Content-Security-Policy"].split("; ")) == POLICY
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    kinds = {"js": "text/javascript", "css": "text/css"}
    kind = kinds.get(path.rpartition(".")[2], "text/html")
    assert answer.headers["Content-Type"] == f"{kind}; charset=utf-8"


@pytest.mark.parametrize(
    "path", ["/demo/index.html", "/demo/../service.py", "/demo/%2e%2e/page.py", "/docs/docs.html"]
)
def test_nothing_else_is_served_from_there(client: httpx.Client, path: str) -> None:
    assert client.get(path).status_code == 404


def test_no_file_of_the_page_names_another_server() -> None:
    folder = ROOT / "serving" / "page"
    files = sorted(file for file in folder.iterdir() if file.suffix in (".html", ".css", ".js"))
    names = [address.rpartition("/")[2] for address in (*FILES[1:], DOCS[1])]
    assert {file.name for file in files} == {*names, "index.html", "docs.html"}
    for file in files:
        reported = set(re.findall(r"""(?:https?:)?//[\w.-]+\.\w+[^\s"')]*""", file.read_text()))
        assert reported <= {"http://www.w3.org/2000/svg"}, (
            f"{file.name}: {reported}"
        )  # a name, no address


def test_the_page_s_form_takes_what_the_service_takes(client: httpx.Client) -> None:
    limits = client.get("/v1/model").json()["limits"]
    assert limits == {"max_files": 16, "max_request_bytes": 2**20, "max_bytes": 2**19}


@pytest.mark.skipif(shutil.which("node") is None, reason="no node here")
def test_the_csv_is_safe_to_open_in_a_spreadsheet(tmp_path: Path) -> None:
    """The page's own function, without a browser."""
    names = ["=1+1.png", "+a.png", "-a.png", "@a.png", "\ta.png", "\ra.png", "a=b.png", "船.png"]
    module = tmp_path / "table.mjs"
    module.write_bytes((ROOT / "serving" / "page" / "table.js").read_bytes())
    error = {"code": "corrupt", "message": '-1, "quoted"'}
    items = [{"path": name, "result": {"status": "error", "error": error}} for name in names]
    script = f"import {{ csv }} from {json.dumps(str(module))};" + (
        f"process.stdout.write(csv({json.dumps(items)}, ['Cargo']))"
    )
    ran = subprocess.run(
        ["node", "--input-type=module", "--eval", script], capture_output=True, check=True
    )
    assert ran.stdout.startswith(codecs.BOM_UTF8)
    rows = list(csv.DictReader(io.StringIO(ran.stdout.decode("utf-8-sig"), newline="")))
    assert [row["path"] for row in rows] == [f"'{name}" for name in names[:6]] + names[6:]
    assert {row["error_message"] for row in rows} == {'\'-1, "quoted"'}


class TestInTheBrowser:
    pytestmark = in_browser

    def test_dropped_chips_get_labels_and_what_is_none_a_row_with_its_code(
        self, tab: Tab, chips: list[Path]
    ) -> None:
        tab.drop("#drop", chips)
        finished(tab, 3)
        assert tab.text("tbody .c-file") == [HOSTILE, "boat.npy", "notes, old.txt"]
        assert tab.text("tbody .c-label strong") == ["Cargo", "Fishing"]
        assert tab.text("tr.error code") == ["unsupported_format"]
        given = tab.text("tbody .verdict")
        names = ("sure", "undecided", "unlike", "Cargo", "Fishing", "Tanker", "failed")
        counts = zip(names, (*map(given.count, names[:3]), 1, 1, 0, 1), strict=True)
        assert tab.text("#totals .total")[:7] == [f"{name}\n{count}" for name, count in counts]
        bars = tab.text("tbody tr:first-child .bars li")
        assert [bar.split()[0] for bar in bars] == ["Cargo", "Fishing", "Tanker"]
        widths = tab.run(
            "[...document.querySelectorAll('tbody tr:first-child .track')].map((t) =>"
            "100 * t.firstChild.getBoundingClientRect().width / t.getBoundingClientRect().width)"
        )
        shares = [float(bar.split()[1]) for bar in bars]
        assert widths == pytest.approx(shares, abs=0.6)
        assert tab.run("document.querySelectorAll('tbody img[src=\"x\"]').length") == 0

    def test_a_dropped_folder_is_read_with_all_below_it(
        self, tab: Tab, tmp_path: Path, png: dict[str, bytes]
    ) -> None:
        (tmp_path / "scene" / "deep").mkdir(parents=True)
        (tmp_path / "scene" / "deep" / "b.png").write_bytes(png["Tanker"])
        (tmp_path / "scene" / "a.png").write_bytes(png["Cargo"])
        tab.drop("#drop", [tmp_path / "scene"])
        finished(tab, 2)
        assert tab.text("tbody .c-file") == ["scene/a.png", "scene/deep/b.png"]
        assert tab.text("tbody .c-label strong") == ["Cargo", "Tanker"]

    def test_a_chosen_folder_over_the_limit_of_files_goes_in_several_requests(
        self, tab: Tab, tmp_path: Path, png: dict[str, bytes]
    ) -> None:
        (tmp_path / "scene").mkdir()
        for i in range(40):
            (tmp_path / "scene" / f"{i:02}.png").write_bytes(png["Cargo"])
        tab.choose("#folder", [tmp_path / "scene"])
        finished(tab, 40)
        assert tab.text("tbody .c-file") == [f"scene/{i:02}.png" for i in range(40)]
        assert sum(address.endswith("/v1/classify") for address in tab.addresses) == 3  # 16 a time
        assert tab.text("tr.error") == []

    def test_files_too_large_for_one_request_go_apart_and_one_over_its_limit_not_at_all(
        self, tab: Tab, tmp_path: Path
    ) -> None:
        paths = [tmp_path / name for name in ("a.npy", "b.npy", "c.npy", "d.npy")]
        noise = np.random.default_rng(0).integers(1, 255, (600, 700), np.uint8)
        for path in paths[:3]:
            np.save(path, noise)
        np.save(paths[3], np.stack([noise, noise]))
        tab.choose("#files", paths)
        finished(tab, 4)
        assert sum(address.endswith("/v1/classify") for address in tab.addresses) == 2
        assert tab.text("tr.ok .c-file") == ["a.npy", "b.npy", "c.npy"]
        assert tab.text("tr.error code") == ["too_large"]

    def test_the_map_shows_on_hover_on_focus_and_when_held(
        self, tab: Tab, chips: list[Path]
    ) -> None:
        tab.call(
            "Emulation.setEmulatedMedia",
            features=[{"name": "prefers-reduced-motion", "value": "reduce"}],
        )
        tab.choose("#files", chips[:2])
        finished(tab, 2)
        shown = "getComputedStyle(document.querySelector('.chip .map')).opacity === '1'"
        tab.wait("[...document.images].every((i) => i.complete && i.naturalWidth === 192)")
        assert not tab.run(shown)
        tab.tab_to(".chip")
        assert tab.run(shown)
        tab.press("Tab")
        assert not tab.run(shown)
        tab.click(".chip")  # a mouse that stays there, and a click that holds
        assert tab.run(shown)
        tab.call("Input.dispatchMouseEvent", type="mouseMoved", x=1, y=1)
        assert tab.run(shown)

    def test_columns_sort_both_ways_and_what_failed_stands_last(
        self, tab: Tab, chips: list[Path]
    ) -> None:
        tab.choose("#files", chips)
        finished(tab, 3)
        head = "th button[data-key=label]"
        orders = []
        for _ in range(2):
            tab.click(head)
            orders.append(tab.text("tbody .c-file"))
        names = [HOSTILE, "boat.npy", "notes, old.txt"]
        assert orders == [names, [names[1], names[0], names[2]]]
        assert tab.run(f"document.querySelector('{head}').parentElement.ariaSort") == "descending"

    def test_the_csv_has_the_columns_of_a_batch_and_the_answers_of_the_service(
        self, tab: Tab, chips: list[Path], client: httpx.Client
    ) -> None:
        tab.run("document.querySelector('#spacing').value = '13.93x3.87'")
        tab.choose("#files", chips)
        finished(tab, 3)
        tab.click("#csv")
        text = tab.downloaded("shipchip.csv").decode("utf-8-sig")
        assert text.count("\r\n") == text.count("\n") == 4
        rows = list(csv.DictReader(io.StringIO(text, newline="")))
        assert list(rows[0]) == COLUMNS
        assert [row["path"] for row in rows] == [path.name for path in chips]
        upload = [("files", (path.name, path.read_bytes())) for path in chips]
        given = {"pixel_spacing_m": "13.93x3.87"}
        answers = client.post("/v1/classify", files=upload, data=given).json()["results"]
        for row, answer in zip(rows, answers, strict=True):
            assert row["status"] == answer["status"]
            assert row["label"] == answer.get("label", "")
            assert row["error_code"] == answer.get("error", {}).get("code", "")
            assert row["prediction_set"] == "|".join(answer.get("prediction_set", []))
            if answer["status"] == "ok":
                assert float(row["ood_score"]) == pytest.approx(answer["ood_score"], abs=1e-6)
                assert row["in_distribution"] == str(answer["in_distribution"]).lower()
                used = answer["used"]
                spacing = [float(row[f"pixel_spacing_{axis}_m"]) for axis in ("row", "column")]
                assert spacing == used["pixel_spacing_m"]
                for name in ("pixel_spacing_from", "polarisation", "quantity"):
                    assert row[name] == used[name]
                assert (row["verdict"], row["lon"], row["lat"]) == (answer["verdict"], "", "")
                for name, p in answer["probabilities"].items():
                    assert float(row[f"p_{name.lower()}"]) == pytest.approx(p, abs=1e-6)
            assert row["model_version"] == "0.0.1-test"

    def test_the_keyboard_alone_is_enough(self, tab: Tab, chips: list[Path]) -> None:
        tab.call("Page.setInterceptFileChooserDialog", enabled=True)
        tab.tab_to("#pick-files")
        outline = "getComputedStyle(document.activeElement).outlineStyle"
        assert tab.run(outline) == "solid"
        tab.press("Enter")
        tab.wait("true")
        while tab.chooser is None:
            tab.browser.listen()
        tab.choose("#files", chips)
        finished(tab, 3)
        tab.tab_to("#csv")
        tab.press("Space")
        assert tab.downloaded("shipchip.csv")
        tab.tab_to("th button[data-key=label]")
        tab.press("Enter")
        tab.press("Enter")
        assert tab.text("tbody .c-label strong") == ["Fishing", "Cargo"]
        assert tab.run("document.activeElement.dataset.key") == "label", "the focus stays"

    def test_progress_and_names_are_reported_to_who_cannot_see(
        self, tab: Tab, chips: list[Path]
    ) -> None:
        tab.choose("#files", chips[:2])
        finished(tab, 2)
        assert tab.run("document.querySelector('#status').getAttribute('aria-live')") == "polite"
        tree = tab.call("Accessibility.getFullAXTree")["nodes"]
        named = {(n["role"]["value"], n["name"]["value"]) for n in tree if n.get("name")}
        assert ("textbox", "Pixel spacing in metres") in named
        assert ("combobox", "Polarisation") in named
        assert ("button", f"Activation map of {HOSTILE}, Cargo") in named
        bare = {n["role"]["value"] for n in tree if n.get("name", {}).get("value") == ""}
        assert not bare & {"button", "textbox", "combobox", "link"}

    @pytest.mark.parametrize("width", [360, 760, 1200])
    def test_no_width_scrolls_sideways(
        self, tab: Tab, chips: list[Path], tmp_path: Path, png: dict[str, bytes], width: int
    ) -> None:
        long = tmp_path / f"{'long' * 40}.png"
        long.write_bytes(png["Tanker"])
        tab.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=740, deviceScaleFactor=1, mobile=width < 500,
        )  # fmt: skip
        tab.choose("#files", [*chips, long])
        finished(tab, 4)
        assert tab.run("innerWidth") == width
        root = "document.documentElement"
        assert tab.run(f"{root}.scrollWidth === {root}.clientWidth")
        outside = tab.run(
            "[...document.querySelectorAll('main *')].filter((e) => !e.closest('.hidden')"
            "&& e.getBoundingClientRect().right > innerWidth + 1).map((e) => e.outerHTML)"
        )
        assert outside == []

    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_text_stands_out_from_its_ground_in_both_schemes(
        self, tab: Tab, chips: list[Path], scheme: str
    ) -> None:
        tab.call(
            "Emulation.setEmulatedMedia",
            features=[{"name": "prefers-color-scheme", "value": scheme}],
        )
        tab.choose("#files", chips)
        finished(tab, 3)
        pick = ("h1", ".quiet", "#pick-files", "tbody .c-file", "tr.error code", "#csv")
        doubt = (".verdict.sure", ".assumed", ".advice", "#meanings dt", "#about a", ".right")
        for selector in (*pick, *doubt):
            assert contrast(tab, selector) >= 4.5, selector

    def test_spacing_and_polarisation_reach_the_service(
        self, tab: Tab, tmp_path: Path, client: httpx.Client
    ) -> None:
        path = tmp_path / "two.npy"
        np.save(path, np.stack([draw_chip("Cargo"), draw_chip("Fishing")]))  # (VH, VV)
        tab.run("document.querySelector('#spacing').value = '13.93 x 3.9'")
        tab.run("document.querySelector('#polarisation').value = 'VH'")
        tab.choose("#files", [path])
        finished(tab, 1)
        given = {"pixel_spacing_m": "13.93x3.9", "polarisation": "VH"}
        upload = [("files", (path.name, path.read_bytes()))]
        expected = client.post("/v1/classify", files=upload, data=given).json()["results"][0]
        assert tab.text("tbody .c-label strong") == [expected["label"]]
        assert tab.text("tbody .c-ood .quiet") == [f"score {expected['ood_score']:.2f}"]

    def test_a_spacing_that_cannot_be_is_reported_before_anything_is_sent(
        self, tab: Tab, chips: list[Path]
    ) -> None:
        tab.run("document.querySelector('#spacing').value = 'ten'")
        tab.choose("#files", chips)
        tab.wait("document.activeElement.id === 'spacing'")
        assert "“ten”" in tab.text("#status")[0]
        assert not any(address.endswith("/v1/classify") for address in tab.addresses)

    def test_clear_and_run_again(self, tab: Tab, chips: list[Path]) -> None:
        tab.choose("#files", chips)
        finished(tab, 3)
        tab.click("#again")
        finished(tab, 3)
        assert sum(address.endswith("/v1/classify") for address in tab.addresses) == 2
        assert tab.text("tbody .c-label strong") == ["Cargo", "Fishing"]
        tab.click("#clear")
        tab.wait("document.querySelector('#answers').hidden")
        assert tab.text("tbody tr") == []
        tab.choose("#files", chips[:1])
        finished(tab, 1)
        assert tab.text("tbody .c-label strong") == ["Cargo"]

    def test_a_busy_server_is_asked_again_after_the_time_that_it_tells(
        self, browser: Browser, client: httpx.Client, chips: list[Path], tmp_path: Path
    ) -> None:
        busy = [Reply(429, {"Retry-After": "1"}), Reply(503, {"Retry-After": "0"}), Reply(0)]
        with (
            in_front_of(client, *busy) as front,
            opened(browser, front.url, tmp_path / "downloads", failing=True) as tab,
        ):
            tab.choose("#files", chips)
            tab.wait("document.querySelector('#status').textContent.includes('asking again')")
            finished(tab, 3)
            assert tab.text("tbody .c-label strong") == ["Cargo", "Fishing"]
            assert len(front.asked) == 4
            assert front.times[1] - front.times[0] > 1

    def test_at_most_two_requests_are_under_way(
        self, browser: Browser, client: httpx.Client, png: dict[str, bytes], tmp_path: Path
    ) -> None:
        paths = [tmp_path / f"{i:02}.png" for i in range(60)]
        for path in paths:
            path.write_bytes(png["Cargo"])
        with (
            in_front_of(client, delay_s=0.2) as front,
            opened(browser, front.url, tmp_path / "downloads") as tab,
        ):
            tab.choose("#files", paths)
            finished(tab, 60)
            assert tab.text("tr.error") == []
            assert (len(front.asked), front.most_at_once) == (4, 2)

    def test_a_refused_request_is_the_error_of_each_of_its_chips(
        self, browser: Browser, client: httpx.Client, chips: list[Path], tmp_path: Path
    ) -> None:
        reported = b'{"error": {"code": "timeout", "message": "not done <b>in time</b>"}}'
        with (
            in_front_of(client, Reply(504, {}, reported)) as front,
            opened(browser, front.url, tmp_path / "downloads", failing=True) as tab,
        ):
            tab.choose("#files", chips)
            finished(tab, 3)
            assert tab.text("tr.error .c-wide") == ["timeout not done <b>in time</b>"] * 3
            tab.click("#again")
            finished(tab, 3)
            assert tab.text("tbody .c-label strong") == ["Cargo", "Fishing"]

    def test_where_the_service_wants_a_key_the_page_asks_for_it(
        self, browser: Browser, model: Path, chips: list[Path], tmp_path: Path
    ) -> None:
        with (
            serving(model, tmp_path / "log.txt", api_key="sixteen-letters-or-more") as locked,
            opened(browser, str(locked.base_url), tmp_path / "downloads", failing=True) as tab,
        ):
            unlock(tab, "sixteen-letters-or-more")
            tab.choose("#files", chips)
            finished(tab, 3)
            assert tab.text("tbody .c-label strong") == ["Cargo", "Fishing"]
            stored = tab.run("localStorage.length + sessionStorage.length + document.cookie.length")
            assert stored == 0


def contrast(tab: Tab, selector: str) -> float:
    """WCAG 2 contrast of an element's text with what is painted behind it."""
    ink, *grounds = tab.run(
        f"(() => {{ const e = document.querySelector({selector!r}); const all = [e];"
        "while (all.at(-1).parentElement) all.push(all.at(-1).parentElement);"
        "return [getComputedStyle(e).color, ...all.map((n) =>"
        "getComputedStyle(n).backgroundColor)]; })()"
    )
    ground = next(g for g in grounds if g != "rgba(0, 0, 0, 0)")
    one, other = sorted((luminance(ink), luminance(ground)))
    return (other + 0.05) / (one + 0.05)


def luminance(colour: str) -> float:
    channels = np.array([int(n) for n in re.findall(r"\d+", colour)[:3]]) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))
