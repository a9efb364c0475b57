"""One tiny model and one running service for all tests of the serving package."""

import io
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from PIL import Image

from shipchip import ShipClassifier
from tests.serving.server import serving
from tests.tiny_model import draw_chip, write_tiny_model


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("model") / "tiny.onnx")


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
