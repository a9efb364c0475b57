"""One tiny model, one running service and one browser for all tests of the serving package."""

import io
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from shipchip import ShipClassifier
from tests.serving.browser import Browser, Tab, chromium
from tests.serving.pages import HOSTILE, opened
from tests.serving.server import serving
from tests.tiny_model import draw_chip, write_tiny_model


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("model") / "tiny.onnx")


@pytest.fixture
def batch_model(monkeypatch: pytest.MonkeyPatch, model: Path) -> None:
    """Batches in this process run the tiny model on the CPU."""
    monkeypatch.setenv("SHIPCHIP_MODEL", str(model))
    monkeypatch.setenv("SHIPCHIP_DEVICE", "cpu")


@pytest.fixture(scope="session")
def ships(model: Path) -> ShipClassifier:
    return ShipClassifier(model, device="cpu")


@pytest.fixture(scope="session")
def png() -> dict[str, bytes]:
    """A PNG chip a label of the tiny model."""
    chips = {}
    for label in ("Cargo", "Fishing", "Tanker"):
        file = io.BytesIO()
        Image.fromarray(draw_chip(label)).save(file, "png")
        chips[label] = file.getvalue()
    return chips


@pytest.fixture(scope="session")
def client(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """The service over HTTP, with limits that a test can reach."""
    log = tmp_path_factory.mktemp("service") / "log.txt"
    limits = {
        "max_request_bytes": 2**20,
        "max_bytes": 2**19,
        "max_files": 16,
        "batch_size": 4,
        "timeout_s": 5,
    }
    with serving(model, log, **limits) as client:
        yield client


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium(tmp_path_factory.mktemp("browser") / "profile") as browser:
        yield browser


@pytest.fixture
def tab(browser: Browser, client: httpx.Client, tmp_path: Path) -> Iterator[Tab]:
    with opened(browser, str(client.base_url), tmp_path / "downloads") as tab:
        tab.wait("document.querySelector('#model').textContent !== ''")
        yield tab


@pytest.fixture
def chips(tmp_path: Path, png: dict[str, bytes]) -> list[Path]:
    """A PNG with a name that is markup, an .npy, and a text that is no chip."""
    folder = tmp_path / "chips"
    folder.mkdir()
    (folder / HOSTILE).write_bytes(png["Cargo"])
    np.save(folder / "boat.npy", draw_chip("Fishing").astype(np.complex64))
    (folder / "notes, old.txt").write_text("no picture")
    return sorted(folder.iterdir())
