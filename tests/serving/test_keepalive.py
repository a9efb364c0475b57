"""An idle connection stays open longer than a proxy keeps it, or for as long as it is set to."""

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from serving.settings import Settings
from shipchip.client import Client
from tests.serving.server import serving

pytestmark = pytest.mark.slow

LIVEZ = b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.fixture(scope="module")
def brief(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A service that closes idle connections after a second; uvicorn alone does after five."""
    with serving(model, tmp_path_factory.mktemp("brief") / "log.txt", keep_alive_s=1) as client:
        yield client


def idle_seconds(service: httpx.Client, most: float) -> float:
    """How long a connection stays open after its answer; `most` where it is then still open."""
    address = (service.base_url.host, service.base_url.port)
    with socket.create_connection(address, 20) as connection:
        connection.sendall(LIVEZ)
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
        start = time.monotonic()
        connection.settimeout(most)
        try:
            while connection.recv(65536):
                pass
        except TimeoutError:
            return most
        return time.monotonic() - start


def test_an_idle_connection_is_closed_after_the_time_that_is_set(brief: httpx.Client) -> None:
    assert 0.5 < idle_seconds(brief, most=4.5) < 4.5


def test_an_idle_connection_outlives_uvicorn_s_own_time_by_default(client: httpx.Client) -> None:
    assert Settings().keep_alive_s > 60  # what proxies keep
    assert idle_seconds(client, most=6) == 6


def test_the_client_goes_on_where_the_service_has_closed_its_idle_connection(
    brief: httpx.Client,
) -> None:
    with Client(str(brief.base_url), tries=1) as client:
        first = client.model()
        time.sleep(2)
        assert client.model() == first
