"""The container image: built, looked through, started, asked, and ended.

Minutes: it is built only where SHIPCHIP_BUILD_IMAGE says by whom (tests.image.containers).
"""

import hashlib
import io
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest
import tifffile

from tests.image.containers import CHROOT, Container, Done, container_of
from tests.serving import server
from tests.tiny_model import draw_chip

IMAGE = "shipchip:test"
MOST_BYTES = 900_000_000
UID = 10001
START_SECONDS = 60
END_SECONDS = 20

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

SIZE = """
import os
seen, total, device = set(), 0, os.lstat("/").st_dev
for folder, folders, files in os.walk("/"):
    folders[:] = [name for name in folders if os.lstat(f"{folder}/{name}").st_dev == device]
    for name in files:
        status = os.lstat(f"{folder}/{name}")
        if status.st_dev == device and status.st_ino not in seen:
            seen.add(status.st_ino)
            total += status.st_size
print(total)
"""

LOOK = """
import importlib.util, json, os, shutil
from pathlib import Path
foreign = "torch torchvision training tests pip setuptools ensurepip pytest ruff mypy onnx".split()
tools = "pip pip3 gcc cc g++ c++ clang ld make git curl wget".split()
print(json.dumps({
    "uid": [os.getuid(), os.geteuid(), os.getgid(), os.getegid()],
    "folder": os.getcwd(),
    "modules": [name for name in foreign if importlib.util.find_spec(name)],
    "tools": [name for name in tools if shutil.which(name)],
    "files": sorted(str(p.relative_to("/app")) for p in Path("/app").rglob("*") if p.is_file()),
    "writable": [str(p) for top in ("/app", "/opt") for p in Path(top).rglob("*")
                 if os.access(p, os.W_OK) and not p.is_symlink()],
}))
"""


@pytest.fixture(scope="module")
def image() -> Iterator[Container]:
    builder = os.environ.get("SHIPCHIP_BUILD_IMAGE")
    if not builder:
        pytest.skip("SHIPCHIP_BUILD_IMAGE does not say what builds an image (docker, buildah, ...)")
    built = subprocess.run(
        ["make", "image", f"IMAGE={IMAGE}"],
        cwd=server.ROOT,
        env={**os.environ, **CHROOT},
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stdout[-3000:] + built.stderr[-3000:]
    container = container_of(builder, IMAGE)
    try:
        yield container
    finally:
        container.remove()


@pytest.fixture(scope="module")
def inside(image: Container) -> dict[str, list[object]]:
    """What a process in the container finds."""
    found: dict[str, list[object]] = json.loads(said(image.run(["python", "-c", LOOK])))
    return found


def said(done: Done) -> str:
    assert done.returncode == 0, done.stderr
    return done.stdout


class Service:
    """The image as it is started by default, but for the port."""

    def __init__(self, image: Container, log: Path, port: int) -> None:
        self.image, self.log, self.port = image, log, port
        self.began = time.time()
        self.process = image.start(log, BENTOML_PORT=port)
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30)

    def health(self) -> Done:
        """The image's own health command."""
        (kind, *command) = self.image.config()["Healthcheck"]["Test"]
        assert kind == "CMD", "a shell is not needed for it"
        return self.image.run(command, BENTOML_PORT=self.port)

    def await_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                if self.client.get("/readyz").status_code == 200:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.1)
        raise AssertionError(f"not ready; its log:\n{self.log.read_text()[-3000:]}")

    def end(self) -> int:
        """The exit status after SIGTERM to the first process of the container."""
        self.client.close()
        with self.process:
            try:
                if self.process.poll() is None:
                    self.image.kill(self.process, "tini", signal.SIGTERM)
                return self.process.wait(END_SECONDS)
            finally:
                self.image.stop(self.process)


@contextmanager
def serving(image: Container, log: Path) -> Iterator[Service]:
    service = Service(image, log, server.free_port())
    try:
        service.await_ready()
        yield service
    finally:
        service.end()


@pytest.fixture(scope="module")
def service(image: Container, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serving(image, tmp_path_factory.mktemp("image") / "log.txt") as started:
        yield started


def test_it_is_not_large(image: Container) -> None:
    assert int(said(image.run(["python", "-c", SIZE]))) <= MOST_BYTES


def test_it_runs_as_nobody_in_particular_and_may_change_nothing(
    inside: dict[str, list[object]],
) -> None:
    assert inside["uid"] == [UID] * 4
    assert inside["writable"] == []


def test_nothing_is_inside_that_builds_tests_or_trains(inside: dict[str, list[object]]) -> None:
    assert inside["modules"] == []
    assert inside["tools"] == []


def test_of_this_project_there_is_what_serves_and_its_byte_code(
    inside: dict[str, list[object]],
) -> None:
    files = {name for name in map(str, inside["files"]) if "__pycache__" not in name}
    expected = {"LICENSE", "bentofile.yaml", "models/ship.onnx", "models/ship.onnx.sha256"}
    for package in ("shipchip", "serving"):
        paths = (server.ROOT / package).rglob("*")
        expected |= {str(p.relative_to(server.ROOT)) for p in paths if p.is_file()}
    assert files == {name for name in expected if "__pycache__" not in name}
    compiled = [name for name in map(str, inside["files"]) if name.endswith(".pyc")]
    assert len(compiled) == sum(name.endswith(".py") for name in files)


def test_it_says_what_it_is_and_how_it_wants_to_be_run(image: Container) -> None:
    config = image.config()
    labels = {
        name.removeprefix("org.opencontainers.image."): value
        for name, value in config["Labels"].items()
        if name.startswith("org.opencontainers.image.")
    }
    version = re.search(r'^version = "(.+)"', (server.ROOT / "pyproject.toml").read_text(), re.M)
    assert version
    assert labels["title"] == "shipchip"
    assert labels["version"] == version[1]
    assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?|unknown", labels["revision"])
    assert labels["licenses"] == "Apache-2.0"
    assert labels["source"]
    assert labels["description"]
    assert list(config["ExposedPorts"]) == ["3000/tcp"]
    assert config["StopSignal"] == "SIGTERM"
    assert config["User"] == f"{UID}:{UID}", "by number: Kubernetes checks no names"
    assert config["WorkingDir"] == "/app"


def test_a_model_that_cannot_be_used_ends_it(image: Container) -> None:
    config = image.config()
    done = image.run([*config["Entrypoint"], *config["Cmd"]], SHIPCHIP_MODEL="/nowhere.onnx")
    assert done.returncode == 1
    assert "shipchip: cannot serve: SHIPCHIP_MODEL /nowhere.onnx: model_not_found" in done.stderr


def test_the_health_command_says_no_until_the_service_is_ready(
    image: Container, tmp_path: Path
) -> None:
    service = Service(image, tmp_path / "log.txt", server.free_port())
    try:
        assert service.health().returncode == 1, "nobody listens yet"
        service.await_ready()
        assert service.health().returncode == 0
    finally:
        service.end()
    assert service.health().returncode == 1


def test_it_classifies_a_tiff_over_http(service: Service) -> None:
    file = io.BytesIO()
    tifffile.imwrite(file, draw_chip("Cargo").astype(np.uint16) * 50)
    answer = service.client.post("/v1/classify", files=[("files", ("ship.tif", file.getvalue()))])
    assert answer.status_code == 200
    (result,) = answer.json()["results"]
    assert result["status"] == "ok"
    assert result["label"] in {"Cargo", "Fishing", "Tanker"}
    assert sum(result["probabilities"].values()) == pytest.approx(1, abs=1e-3)


def test_the_default_model_is_inside_and_the_page_too(service: Service) -> None:
    reported = service.client.get("/v1/model").json()
    model = (server.ROOT / "models" / "ship.onnx").read_bytes()
    assert hashlib.sha256(model).hexdigest() in json.dumps(reported)
    assert service.client.get("/demo").status_code == 200


def test_a_dead_worker_is_started_again(service: Service) -> None:
    service.image.kill(service.process, "_bentoml_impl.worker.service", signal.SIGKILL)
    time.sleep(0.5)
    service.await_ready()


def test_it_writes_below_tmp_only_and_there_only_what_bentoml_needs(service: Service) -> None:
    assert service.image.written(since=service.began) in (None, [])
    names = service.image.tmp(service.process)
    assert "bentoml" in names
    strange = [name for name in names if not name.startswith("bentoml")]
    assert strange == [], "ONNX Runtime's telemetry leaves its files there, too"


def test_sigterm_ends_it_soon(image: Container, tmp_path: Path) -> None:
    with serving(image, tmp_path / "log.txt") as service:
        start = time.monotonic()
        assert service.end() in {0, 128 + signal.SIGTERM}
        assert time.monotonic() - start < 10
        with pytest.raises(httpx.TransportError):
            httpx.get(f"http://127.0.0.1:{service.port}/livez")


BATCH = """
import sys
import numpy as np
from serving.batch.command import main
chip = np.random.default_rng(0).rayleigh(10, (64, 64))
chip[30:34, 20:44] = 200
np.save("/tmp/chip.npy", chip.astype(np.uint8))
sys.exit(main(["/tmp/chip.npy", "--out", "-", "--format", "jsonl"]))
"""


def test_it_classifies_folders_too(image: Container) -> None:
    row = json.loads(said(image.run(["python", "-c", BATCH])).splitlines()[0])
    assert (row["path"], row["status"]) == ("/tmp/chip.npy", "ok")
