"""What tests of the page /demo share: the page, open in a browser, and when it has its answers."""

import json
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.serving.browser import PROGRAM, Browser, Tab
from tests.serving.server import ROOT

HOSTILE = "<img src=x onerror=alert(1)>.png"

in_browser = [
    pytest.mark.browser,
    pytest.mark.skipif(PROGRAM is None, reason="no chromium here; apt install chromium"),
]


@contextmanager
def opened(
    browser: Browser, address: str, downloads: Path, *, failing: bool = False
) -> Iterator[Tab]:
    """The page, open on a desktop. Whatever a test does: nothing foreign may be asked for, nothing
    may fail in the console, and the policy is kept.

    failing  the service refuses something: Chromium logs that, although the page deals with it
    """
    tab = Tab(browser, 1200, 900, downloads)
    tab.open(f"{address}/demo")
    yield tab
    browser.listen(0.1)
    here = (f"{address}/", "data:", "blob:")
    assert [asked for asked in tab.addresses if not asked.startswith(here)] == []
    complaints = [c for c in tab.complaints if not failing or "Failed to load resource" not in c]
    assert complaints == []
    tab.close()


def unlock(tab: Tab, key: str) -> None:
    """Give the API key that the page asks for."""
    tab.wait("document.activeElement.id === 'key'")
    tab.call("Input.insertText", text=key)
    tab.press("Tab")
    tab.wait("document.querySelector('#model').textContent !== ''")


def fits(tab: Tab) -> bool:
    """Whether nothing is cut off or beyond the right edge of the window."""
    beyond: bool = tab.run(
        "[...document.querySelectorAll('main *')].some((e) => !e.closest('.hidden')"
        "&& e.getBoundingClientRect().right > innerWidth + 1)"
    )
    return not beyond


def finished(tab: Tab, count: int) -> None:
    reported = f"document.querySelector('#status').textContent.startsWith('{count} chip')"
    tab.wait(f"{reported} && !document.querySelector('tr.waiting')")


def answering(tab: Tab, changes: Sequence[dict[str, Any]]) -> None:
    """The service's next answers as the page gets them, each chip's with some fields changed.

    For fields that the model of the tests does not give: the page sees real answers otherwise.
    """
    tab.run(
        f"(() => {{ const changes = {json.dumps(list(changes))}; const real = window.fetch;"
        "window.fetch = async (...asked) => { const answer = await real(...asked);"
        "if (!String(asked[0]).includes('classify')) return answer;"
        "const body = await answer.json();"
        "body.results = body.results.map((result, i) => ({...result, ...changes[i]}));"
        "return new Response(JSON.stringify(body), {status: answer.status}); }; })()"
    )


needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="no node here")


def in_node(folder: Path, module: str, expression: str) -> bytes:
    """What an expression of a module of the page writes, without a browser."""
    copy = folder / f"{module}.mjs"
    copy.write_bytes((ROOT / "serving" / "page" / f"{module}.js").read_bytes())
    script = f"import * as page from {json.dumps(str(copy))}; process.stdout.write({expression})"
    command = ["node", "--input-type=module", "--eval", script]
    return subprocess.run(command, capture_output=True, check=True).stdout
