"""Pictures of the page for the docs: .venv/dev/bin/python -m tests.serving.screenshots

The samples with the default model's answers, after a file that is no chip:
`docs/images/page-desktop.png` and `page-phone.png`.
"""

import argparse
import io
import sys
import tempfile
from pathlib import Path

from PIL import Image

from tests.serving.browser import Browser, Tab, chromium
from tests.serving.server import ROOT, serving


def main() -> int:
    """Write both pictures."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        note = folder / "scene-0412.txt"
        note.write_text("incidence angle 38.2")
        model = ROOT / "models" / "ship.onnx"
        with (
            serving(model, folder / "log.txt") as client,
            chromium(folder / "profile") as browser,
        ):
            for name, size, scheme in (
                ("desktop", (1180, 1240), "light"),
                ("phone", (360, 780), "dark"),
            ):
                tab = shown(browser, f"{client.base_url}/demo", size, scheme, note)
                picture = Image.open(io.BytesIO(tab.picture())).convert("RGB")
                # Of 256 colours, those of the maps, which are few, must not be lost.
                small = picture.quantize(256, method=Image.Quantize.MAXCOVERAGE)
                small.save(ROOT / "docs" / "images" / f"page-{name}.png", optimize=True)
                tab.close()
    return 0


def shown(browser: Browser, address: str, size: tuple[int, int], scheme: str, note: Path) -> Tab:
    """The page with answers, two of the maps shown."""
    tab = Tab(browser, *size, note.parent)
    tab.call(
        "Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}]
    )
    tab.call("Emulation.setScrollbarsHidden", hidden=True)
    tab.open(address)
    tab.wait("document.querySelector('#model').textContent !== ''")
    tab.choose("#files", [note])
    tab.wait("document.querySelector('#status').textContent.startsWith('1 chip')")
    tab.run("document.querySelector('#samples').click()")
    tab.wait("document.querySelector('#status').textContent.startsWith('13 chips')")
    tab.wait("[...document.images].every((image) => image.complete)")
    if size[0] < 500:
        tab.run("document.querySelector('#results').scrollIntoView()")
    for number in (1, 3):
        tab.run(f"document.querySelectorAll('.chip')[{number}].click()")
    tab.run("new Promise((resolve) => setTimeout(resolve, 400))")
    return tab


if __name__ == "__main__":
    sys.exit(main())
