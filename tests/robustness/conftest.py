"""A running service for attacks, with the answer that good chips must always get."""

import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from tests.serving.server import serving
from tests.tiny_model import draw_chip

Files = list[tuple[str, tuple[str, bytes]]]


@pytest.fixture(scope="session")
def draws() -> int:
    """Requests of the long draw: SHIPCHIP_TEST_DRAWS, 1000 unless set."""
    return int(os.environ.get("SHIPCHIP_TEST_DRAWS", "1000"))


@pytest.fixture(scope="session")
def good() -> Files:
    """One good chip a label of the tiny model."""
    files = []
    for label in ("Cargo", "Fishing", "Tanker"):
        file = io.BytesIO()
        Image.fromarray(draw_chip(label)).save(file, "png")
        files.append(("files", (f"{label}.png", file.getvalue())))
    return files


@pytest.fixture(scope="session")
def heavy() -> bytes:
    """A chip that takes long to decode: as many pixels as one may have."""
    file = io.BytesIO()
    Image.fromarray(draw_chip("Cargo", height=2048, width=2048)).save(file, "png", compress_level=1)
    return file.getvalue()


@pytest.fixture(scope="module")
def attacked(
    tiny_model_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[httpx.Client]:
    """A service of its own for each module, with limits that an attack can reach."""
    log = tmp_path_factory.mktemp("attacked") / "log.txt"
    limits = {"max_request_bytes": 2**21, "max_bytes": 2**20, "max_files": 64, "timeout_s": 5}
    with serving(tiny_model_file, log, **limits) as client:
        yield client


def ask(client: httpx.Client, files: Files) -> list[dict[str, Any]]:
    """The results of chips that are good."""
    response = client.post("/v1/classify", files=files)
    assert response.status_code == 200, response.text
    results: list[dict[str, Any]] = response.json()["results"]
    return results
