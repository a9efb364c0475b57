"""`bentoml build` packs what serves and nothing else, and the Bento needs no checkout to serve."""

import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import tifffile
import yaml

from serving.settings import Settings
from tests.serving import server
from tests.tiny_model import draw_chip

# Not one of the machine: no model, no key, and no store but the one in the temporary folder.
OURS = tuple(f"SHIPCHIP_{name.upper()}" for name in Settings.model_fields)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a machine with a Bento store of its own."""
    kept = {name: value for name, value in os.environ.items() if name not in OURS}
    store = tmp_path_factory.mktemp("home") / "bentoml"
    return {**kept, "BENTOML_HOME": str(store), "BENTOML_DO_NOT_TRACK": "True"}


@pytest.fixture(scope="module")
def bento(home: dict[str, str]) -> Path:
    """The folder of the built Bento; its name is its version."""
    done = subprocess.run(
        [sys.executable, "-m", "bentoml", "build", "--output", "tag", "."],
        cwd=server.ROOT,
        env=home,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (tag,) = [line for line in done.stdout.splitlines() if line.startswith("__tag__:")]
    version = tag.rpartition(":")[2]
    return Path(home["BENTOML_HOME"]) / "bentos" / "shipchip" / version


@pytest.fixture(scope="module")
def message(bento: Path) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((bento / "bento.yaml").read_text())
    return content


@contextmanager
def serving(bento: Path, home: dict[str, str], folder: Path) -> Iterator[httpx.Client]:
    """`bentoml serve shipchip:VERSION` in a folder that has nothing to do with it."""
    serve = [sys.executable, "-m", "bentoml", "serve", f"shipchip:{bento.name}"]
    with running(serve, home, folder, folder / "log.txt") as client:
        yield client


@contextmanager
def running(
    serve: list[str], env: dict[str, str], folder: Path, log: Path
) -> Iterator[httpx.Client]:
    """A command in a folder, with the options of host and port behind it."""
    port = server.free_port()
    with (
        log.open("wb") as file,
        subprocess.Popen(
            [*serve, "--host", "127.0.0.1", "--port", str(port)],
            cwd=folder,
            env=env,
            stdout=file,
            stderr=subprocess.STDOUT,
        ) as process,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client,
    ):
        try:
            server.wait_until_ready(client, process, log)
            yield client
        finally:
            process.terminate()
            process.wait(timeout=20)


def files_below(folder: Path, *patterns: str) -> set[str]:
    found = (path for pattern in patterns for path in folder.glob(pattern))
    names = {str(path.relative_to(folder)) for path in found if path.is_file()}
    return {name for name in names if "__pycache__" not in name}


def test_the_bento_holds_the_packages_the_page_and_the_model_and_nothing_else(bento: Path) -> None:
    expected = files_below(
        server.ROOT,
        "shipchip/**/*.py",
        "serving/**/*.py",
        "serving/page/*",
        "models/ship.onnx",
        "models/ship.onnx.sha256",
    )
    assert {"serving/page/index.html", "models/ship.onnx.sha256"} <= expected
    assert files_below(bento / "src", "**/*") == expected | {"bentofile.yaml"}


def test_its_requirements_are_the_lock_of_serving_hashes_included(bento: Path) -> None:
    pinned = [
        set(re.findall(r"(?m)^[\w.-]+==[^\s;]+|sha256:[0-9a-f]{64}", path.read_text()))
        for path in (
            server.ROOT / "locks" / "serve-cpu.txt",
            bento / "env" / "python" / "requirements.txt",
        )
    ]
    assert pinned[0] == pinned[1]
    assert any(word.startswith("sha256:") for word in pinned[0])


def test_it_says_what_it_is(bento: Path, message: dict[str, Any]) -> None:
    assert message["labels"] == {"project": "shipchip"}
    assert message["entry_service"] == "shipchip"
    assert message["image"]["python_version"] == "3.11"
    assert (bento / "README.md").read_text().startswith("Tells Cargo, Fishing and Tanker apart")
    envs = {env["name"]: env["value"] for env in message["envs"]}
    assert envs == {"BENTOML_DO_NOT_TRACK": "True", "ORT_DISABLE_TELEMETRY": "1"}


@pytest.mark.slow
def test_it_serves_from_another_folder_with_the_model_inside(
    bento: Path, home: dict[str, str], tmp_path: Path
) -> None:
    # The tests' environment knows the checkout, too: what is served must come from the Bento.
    with (bento / "src" / "serving" / "page" / "index.html").open("a") as page:
        page.write("<!-- of the Bento -->\n")
    chip = io.BytesIO()
    tifffile.imwrite(chip, draw_chip("Cargo"))
    with serving(bento, home, tmp_path) as client:
        assert client.get("/demo").text.endswith("<!-- of the Bento -->\n")
        answer = client.post("/v1/classify", files=[("files", ("ship.tif", chip.getvalue()))])
        assert answer.status_code == 200
        model = hashlib.sha256((server.ROOT / "models" / "ship.onnx").read_bytes()).hexdigest()
        assert answer.json()["model"]["sha256"] == model
        assert answer.json()["results"][0]["status"] == "ok"
    assert {path.name for path in tmp_path.iterdir()} == {"log.txt"}


def test_its_dockerfile_installs_the_lock_and_starts_its_entrypoint(bento: Path) -> None:
    """`bentoml containerize` hands it to a container engine, which tests do not have."""
    lines = (bento / "env" / "docker" / "Dockerfile").read_text().splitlines()
    assert next(line for line in lines if line.startswith("FROM")).startswith("FROM python:3.11")
    (install,) = [line for line in lines if "pip install -r" in line]
    assert install.endswith("$BENTO_PATH/env/python/requirements.txt")
    assert "ARG ORT_DISABLE_TELEMETRY=1" in lines
    assert 'ENTRYPOINT [ "/home/bentoml/bento/env/docker/entrypoint.sh" ]' in lines


@pytest.mark.slow
def test_the_entrypoint_of_its_image_serves(
    bento: Path, home: dict[str, str], tmp_path: Path
) -> None:
    """As the Dockerfile starts it, without the container around it."""
    image = tmp_path / "bento"
    shutil.copytree(bento, image)
    env = {
        **home,
        "PATH": f"{Path(sys.executable).parent}:{home['PATH']}",
        "BENTOML_HOME": str(tmp_path / "home"),  # no Bento in it: only the image's folder is served
        "BENTO_PATH": str(image),
        "BENTOML_CONTAINERIZED": "true",
    }
    entrypoint = ["/bin/bash", str(image / "env" / "docker" / "entrypoint.sh")]
    with running(entrypoint, env, image, tmp_path / "log.txt") as client:
        model = client.get("/v1/model").json()
        packed = (image / "src" / "models" / "ship.onnx").read_bytes()
        assert model["sha256"] == hashlib.sha256(packed).hexdigest()
        assert client.get("/demo").status_code == 200
        assert client.get("/docs/swagger-ui-bundle.js").status_code == 200


@pytest.mark.slow
def test_a_bento_whose_model_was_swapped_does_not_start(
    bento: Path, home: dict[str, str], model: Path, tmp_path: Path
) -> None:
    packed = bento / "src" / "models" / "ship.onnx"
    own = packed.read_bytes()
    packed.write_bytes(model.read_bytes())
    try:
        with (
            pytest.raises(RuntimeError, match=r"but ship\.onnx\.sha256 says"),
            serving(bento, home, tmp_path),
        ):
            pass
    finally:
        packed.write_bytes(own)
