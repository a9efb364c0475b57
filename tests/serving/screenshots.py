"""Pictures of the page for the docs: .venv/dev/bin/python -m tests.serving.screenshots

Simulated chips with the default model's answers: `docs/demo-desktop.png`, `docs/demo-phone.png`.
"""

import io
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from tests.serving.browser import Browser, Tab, chromium
from tests.serving.server import ROOT, serving
from training.data.simulated import SimulatedSource


def main() -> int:
    """Write both pictures."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        paths = write_chips(folder)
        model = ROOT / "models" / "ship.onnx"
        with (
            serving(model, folder / "log.txt") as client,
            chromium(folder / "profile") as browser,
        ):
            for name, size, scheme in (
                ("desktop", (1180, 1240), "light"),
                ("phone", (360, 780), "dark"),
            ):
                tab = shown(browser, f"{client.base_url}/demo", size, scheme, paths)
                picture = Image.open(io.BytesIO(tab.picture())).convert("RGB")
                # Of 256 colours, those of the maps, which are few, must not be lost.
                small = picture.quantize(256, method=Image.Quantize.MAXCOVERAGE)
                small.save(ROOT / "docs" / f"demo-{name}.png", optimize=True)
                tab.close()
    return 0


def write_chips(folder: Path) -> list[Path]:
    """Chips of every class as .npy, and a file that is none."""
    source = SimulatedSource({"Cargo": 1, "Fishing": 1, "Tanker": 2}, seed=4, spacing_m=10)
    paths = []
    for number, record in enumerate(source.index()):
        paths.append(folder / f"scene-0412-ship-{number:02}.npy")
        np.save(paths[-1], source.read(record).amplitude[0])
    paths.append(folder / "scene-0412.txt")
    paths[-1].write_text("incidence angle 38.2")
    return paths


def shown(
    browser: Browser, address: str, size: tuple[int, int], scheme: str, paths: list[Path]
) -> Tab:
    """The page with answers, two of the maps held."""
    tab = Tab(browser, *size, paths[0].parent)
    tab.call(
        "Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}]
    )
    tab.call("Emulation.setScrollbarsHidden", hidden=True)
    tab.open(address)
    tab.wait("document.querySelector('#model').textContent !== ''")
    tab.run("document.querySelector('#spacing').value = '10'")
    tab.choose("#files", paths)
    tab.wait(f"document.querySelector('#status').textContent.startsWith('{len(paths)} chip')")
    tab.wait("[...document.images].every((image) => image.complete)")
    if size[0] < 500:
        tab.run("document.querySelector('#results').scrollIntoView()")
    for number in (1, 3):
        tab.run(f"document.querySelectorAll('.chip')[{number}].click()")
    tab.run("new Promise((resolve) => setTimeout(resolve, 400))")
    return tab


if __name__ == "__main__":
    sys.exit(main())
