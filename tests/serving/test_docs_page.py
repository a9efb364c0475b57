"""/docs in a real browser: it lists every route, sends requests, loads nothing foreign."""

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.serving.browser import PROGRAM, Browser, Tab
from tests.serving.front import in_front_of

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(PROGRAM is None, reason="no chromium here; apt install chromium"),
]
CLASSIFY = "[id$=-classify]"  # the block of POST /v1/classify
# Swagger UI says so before it takes its own widget for files.
HARMLESS = "JsonSchema_string_binary"


@pytest.fixture
def tab(browser: Browser, client: httpx.Client, tmp_path: Path) -> Iterator[Tab]:
    """/docs, reached by the link on /demo. Nothing foreign may be asked for, nothing may fail in
    the console, and the policy is kept, whatever a test does."""
    tab = Tab(browser, 1200, 900, tmp_path)
    tab.open(f"{client.base_url}/demo")
    tab.wait("document.querySelector('#model').textContent !== ''")  # it moves the link
    tab.click("a[href=docs]")
    loaded(tab)
    yield tab
    browser.listen(0.1)
    here = (f"{client.base_url}/", "data:", "blob:")
    assert [asked for asked in tab.addresses if not asked.startswith(here)] == []
    assert [complaint for complaint in tab.complaints if HARMLESS not in complaint] == []
    tab.close()


def loaded(tab: Tab) -> None:
    tab.wait("document.querySelector('.opblock') !== null")


def form_of_classify(tab: Tab) -> None:
    """Open the form that sends POST /v1/classify."""
    for selector in (".opblock-summary-control", ".try-out__btn"):
        tab.wait(f"document.querySelector('{CLASSIFY} {selector}') !== null")
        tab.click(f"{CLASSIFY} {selector}")
    tab.wait(f"document.querySelector('{CLASSIFY} .execute') !== null")


def test_every_route_of_the_document_is_listed(tab: Tab, client: httpx.Client) -> None:
    assert tab.run("location.pathname") == "/docs"
    listed = tab.run(
        "[...document.querySelectorAll('.opblock-summary-path')].map((e) => e.dataset.path)"
    )
    assert listed == list(client.get("/docs.json").json()["paths"])
    assert "/v1/classify" in listed


def test_a_chip_sent_from_the_page_is_classified(
    tab: Tab, client: httpx.Client, png: dict[str, bytes], tmp_path: Path
) -> None:
    (tmp_path / "ship.png").write_bytes(png["Tanker"])
    form_of_classify(tab)
    row = f"{CLASSIFY} [data-property-name=files]"
    tab.click(f"{row} .json-schema-form-item-add")
    tab.wait(f"document.querySelector('{row} input[type=file]') !== null")
    tab.choose(f"{row} input[type=file]", [tmp_path / "ship.png"])
    choices = f"{CLASSIFY} [data-property-name=polarisation] option"
    assert tab.text(choices) == ["--", "VV", "VH", "HH", "HV"]
    tab.click(f"{CLASSIFY} .execute")
    answer = f"{CLASSIFY} .live-responses-table .highlight-code code"
    tab.wait(f"document.querySelector('{answer}') !== null")
    (result,) = json.loads(tab.text(answer)[0])["results"]
    assert (result["filename"], result["label"]) == ("ship.png", "Tanker")
    assert f"{client.base_url}/v1/classify" in tab.addresses


def test_below_the_prefix_of_a_proxy_requests_stay_below_it(
    browser: Browser, client: httpx.Client, tmp_path: Path
) -> None:
    with in_front_of(client, prefix="/ships") as proxy:
        tab = Tab(browser, 1200, 900, tmp_path)
        tab.open(f"{proxy.url}/ships/docs")
        loaded(tab)
        model = "[id$=-model]"
        for selector in (".opblock-summary-control", ".try-out__btn", ".execute"):
            tab.wait(f"document.querySelector('{model} {selector}') !== null")
            tab.click(f"{model} {selector}")
        status = f"{model} .live-responses-table .response-col_status"
        tab.wait(f"document.querySelectorAll('{status}').length > 1")
        assert "200" in tab.text(status)
        assert f"{proxy.url}/ships/v1/model" in tab.addresses
        tab.close()
