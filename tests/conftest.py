"""Options and fixtures of all tests."""

import os
from pathlib import Path

import pytest

from tests.tiny_model import write_tiny_model

ROOT = Path(__file__).parent.parent


def pytest_configure() -> None:
    """The processes of a test run share the cores. With a thread per core in each of them, and in
    all that they start, they would mostly wait for each other."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--accept-golden",
        action="store_true",
        help="write the golden arrays of tests/golden instead of comparing with them",
    )


# Besides tests marked `slow`, those that need one of these are slow.
SLOW_FIXTURES = {"smoke_run", "bento", "attacked", "browser"}
SLOW_MARKERS = {"data", "browser"}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first: with two processes (`make test`), neither waits at the end."""
    for item in items:
        marks = {mark.name for mark in item.iter_markers()}
        if SLOW_FIXTURES.intersection(getattr(item, "fixturenames", ())) or SLOW_MARKERS & marks:
            item.add_marker("slow")
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session")
def accept_golden(request: pytest.FixtureRequest) -> bool:
    """Whether golden arrays are to be written, not compared."""
    return bool(request.config.getoption("--accept-golden"))


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real chips (SHIPCHIP_DATA, default ../shared/data); for tests marked `data`."""
    folder = Path(os.environ.get("SHIPCHIP_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real chips at {folder}; set SHIPCHIP_DATA to their folder")
    return folder


@pytest.fixture(scope="session")
def tiny_model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model file with a card: see tests/tiny_model.py for what it answers."""
    return write_tiny_model(tmp_path_factory.mktemp("model") / "tiny.onnx")
