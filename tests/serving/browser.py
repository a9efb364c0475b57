"""Headless Chromium, driven by its DevTools protocol over a pipe: no port, no package.

What a test does with the keyboard, the mouse and files is done by the browser itself, as trusted
events. Everything that could be wrong beside it is kept: `Tab.complaints` are console errors,
exceptions and violations of the page's Content-Security-Policy, `Tab.addresses` what was asked for.
"""

import base64
import json
import os
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser")
_SECONDS = 30
# "\r" makes Enter and " " makes Space press the button that has the focus.
_KEYS = {"Tab": (9, ""), "Enter": (13, "\r"), "Space": (32, " ")}


class Browser:
    """A running Chromium; messages are JSON with a zero byte after each."""

    def __init__(self, write: int, read: int) -> None:
        self._write, self._read = write, read
        self._number = 0
        self._rest = b""
        self.tabs: dict[str, Tab] = {}

    def call(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        """What a method of the protocol gives; RuntimeError where it fails."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        message |= {"sessionId": session} if session else {}
        os.write(self._write, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + _SECONDS
        while True:
            answer = self._next(deadline)
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                result: dict[str, Any] = answer["result"]
                return result
            self._tell(answer)

    def listen(self, seconds: float = 0.02) -> None:
        """Take in what has happened, for at most so long."""
        deadline = time.monotonic() + seconds
        while select.select([self._read], [], [], max(0, deadline - time.monotonic()))[0]:
            self._tell(self._next(deadline + _SECONDS))

    def _next(self, deadline: float) -> dict[str, Any]:
        while b"\0" not in self._rest:
            if not select.select([self._read], [], [], max(0, deadline - time.monotonic()))[0]:
                raise TimeoutError("the browser does not answer")
            piece = os.read(self._read, 2**20)
            if not piece:
                raise RuntimeError("the browser has ended")
            self._rest += piece
        line, self._rest = self._rest.split(b"\0", 1)
        message: dict[str, Any] = json.loads(line)
        return message

    def _tell(self, event: dict[str, Any]) -> None:
        tab = self.tabs.get(event.get("sessionId", ""))
        if tab is not None:
            tab.happened(event["method"], event["params"])


class Tab:
    """One page in a profile of its own, `width` x `height` CSS pixels."""

    def __init__(self, browser: Browser, width: int, height: int, downloads: Path) -> None:
        self.browser = browser
        self.complaints: list[str] = []
        self.addresses: list[str] = []
        self.chooser: dict[str, Any] | None = None
        self.downloads = downloads
        self._profile = browser.call("Target.createBrowserContext")["browserContextId"]
        target = browser.call(
            "Target.createTarget", url="about:blank", browserContextId=self._profile
        )
        attached = browser.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = attached["sessionId"]
        browser.tabs[self._session] = self
        for domain in ("Page", "Runtime", "Log", "Network", "DOM", "Audits"):
            self.call(f"{domain}.enable")
        self.resize(width, height)
        browser.call(
            "Browser.setDownloadBehavior",
            behavior="allow",
            browserContextId=self._profile,
            downloadPath=os.fspath(downloads),
        )

    def resize(self, width: int, height: int = 780) -> None:
        """Another size of the window, CSS pixels: below 500 it is a phone."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 500,
        )

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        return self.browser.call(method, self._session, **params)

    def happened(self, event: str, params: dict[str, Any]) -> None:
        """Keep what a test asks for."""
        if event == "Network.requestWillBeSent":
            self.addresses.append(params["request"]["url"])
        elif event == "Page.fileChooserOpened":
            self.chooser = params
        elif event == "Runtime.exceptionThrown":
            self.complaints.append(str(params["exceptionDetails"]))
        elif event == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning"):
            self.complaints.append(str(params["args"]))
        elif event == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.complaints.append(str(params["entry"]))
        elif event == "Audits.issueAdded" and "contentSecurityPolicy" in str(params):
            self.complaints.append(str(params["issue"]))

    def open(self, address: str) -> None:
        self.call("Page.navigate", url=address)
        self.wait("document.readyState === 'complete'")

    def run(self, script: str) -> Any:
        """The JSON value of an expression in the page."""
        answer = self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{script}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def wait(self, script: str, seconds: float = _SECONDS) -> None:
        """Until the expression is true."""
        deadline = time.monotonic() + seconds
        while not self.run(script):
            if time.monotonic() > deadline:
                text = self.run("document.body.innerText")
                raise TimeoutError(f"never true: {script}; {self.complaints}; the page:\n{text}")
            self.browser.listen()

    def text(self, selector: str) -> list[str]:
        """The visible text of every element that a CSS selector finds."""
        found: list[str] = self.run(
            f"[...document.querySelectorAll({selector!r})].map((e) => e.innerText.trim())"
        )
        return found

    def press(self, key: str) -> None:
        code, text = _KEYS[key]
        name = " " if key == "Space" else key
        event = {"key": name, "code": key, "windowsVirtualKeyCode": code}
        kind = "keyDown" if text else "rawKeyDown"
        self.call("Input.dispatchKeyEvent", type=kind, text=text, **event)
        self.call("Input.dispatchKeyEvent", type="keyUp", **event)

    def tab_to(self, selector: str, most: int = 60) -> None:
        """Press Tab until an element has the focus, as who has no mouse does."""
        for _ in range(most):
            self.press("Tab")
            if self.run(f"document.activeElement.matches({selector!r})"):
                return
        raise AssertionError(f"the Tab key never reaches {selector}")

    def click(self, selector: str) -> None:
        x, y = self.run(
            f"(() => {{ const e = document.querySelector({selector!r});"
            "e.scrollIntoView({block: 'center'}); const r = e.getBoundingClientRect();"
            "return [r.x + r.width / 2, r.y + r.height / 2]; })()"
        )
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            button = {} if kind == "mouseMoved" else {"button": "left", "clickCount": 1}
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **button)

    def choose(self, selector: str, paths: Sequence[Path]) -> None:
        """Give files to an input, as the browser's dialog does."""
        node = self.call("Runtime.evaluate", expression=f"document.querySelector({selector!r})")
        self.call(
            "DOM.setFileInputFiles",
            objectId=node["result"]["objectId"],
            files=[os.fspath(path) for path in paths],
        )

    def drop(self, selector: str, paths: Sequence[Path]) -> None:
        """Drag files or folders over an element and let go."""
        x, y = self.run(
            f"(() => {{ const r = document.querySelector({selector!r}).getBoundingClientRect();"
            "return [r.x + r.width / 2, r.y + 10]; })()"
        )
        data = {"items": [], "files": [os.fspath(p) for p in paths], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self.call("Input.dispatchDragEvent", type=kind, x=x, y=y, data=data)

    def downloaded(self, name: str) -> bytes:
        """The content of a finished download."""
        deadline = time.monotonic() + _SECONDS
        while not (self.downloads / name).is_file():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{name} never came; {list(self.downloads.iterdir())} did")
            self.browser.listen()
        return (self.downloads / name).read_bytes()

    def picture(self) -> bytes:
        """PNG of what the window shows."""
        return base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])

    def close(self) -> None:
        self.browser.call("Target.disposeBrowserContext", browserContextId=self._profile)
        del self.browser.tabs[self._session]


@contextmanager
def chromium(profile: Path) -> Iterator[Browser]:
    """A browser of its own, that resolves no name but localhost, and is always ended."""
    assert PROGRAM is not None
    to_read, to_write = os.pipe()
    from_read, from_write = os.pipe()
    options = [
        "--headless=new",
        "--no-sandbox",  # tests run as root in containers
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--disable-component-update",
        "--disable-background-networking",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        f"--user-data-dir={profile}",
        "--remote-debugging-pipe",
        "about:blank",
    ]
    # The browser reads its commands from descriptor 3 and writes to 4.
    shell = f'exec "$0" "$@" 3<&{to_read} 4>&{from_write}'
    with (
        (profile.parent / "chromium.txt").open("wb") as log,
        subprocess.Popen(
            ["/bin/bash", "-c", shell, PROGRAM, *options],
            pass_fds=(to_read, from_write),
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process,
    ):
        os.close(to_read)
        os.close(from_write)
        browser = Browser(to_write, from_read)
        try:
            yield browser
            browser.call("Browser.close")
            process.wait(timeout=10)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # its own session: nothing else is in it
            os.close(to_write)
            os.close(from_read)
