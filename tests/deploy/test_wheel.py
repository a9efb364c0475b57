"""A wheel holds the packages, the page and the default model, and works from any folder."""

import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import httpx
import pytest
from PIL import Image

from shipchip import __version__
from tests.deploy.manifests import ROOT
from tests.serving.server import free_port, wait_until_ready
from tests.tiny_model import draw_chip

pytestmark = pytest.mark.slow

PACKAGES = ("shipchip", "serving", "training")
NOT_COPIED = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "runs", "build", "dist")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of a copy of the checkout, built as `make wheel` does."""
    place = tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT, place / "checkout", ignore=NOT_COPIED)
    options = ("--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(place))
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", *options, "."]
    subprocess.run(pip, cwd=place / "checkout", check=True)
    (file,) = place.glob("*.whl")
    return file


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment that has the wheel, and this environment's other packages."""
    place = tmp_path_factory.mktemp("environment")
    venv.create(place)
    (site,) = place.glob("lib/python3*/site-packages")
    # Files named *.pth in the folder it names are not read: the checkout is not on the path.
    (site / "others.pth").write_text(sysconfig.get_path("purelib"))
    pip = [sys.executable, "-m", "pip", "--python", str(place / "bin" / "python"), "install"]
    subprocess.run([*pip, "--quiet", "--no-deps", "--no-index", str(wheel)], check=True)
    return place / "bin"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder. It has a chip, and folders of a user that are named as our packages."""
    monkeypatch.chdir(tmp_path)
    for name in (*PACKAGES, "models"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('of the user')\n")
    (tmp_path / "chips").mkdir()
    Image.fromarray(draw_chip("Cargo")).save(tmp_path / "chips" / "ship.png")
    return tmp_path


def files_of(package: str) -> set[str]:
    found = [path for path in (ROOT / package).rglob("*") if path.is_file()]
    return {str(path.relative_to(ROOT)) for path in found if "__pycache__" not in path.parts}


def environment(**variables: str) -> dict[str, str]:
    """Without settings, and without what would lead to the checkout."""
    unwanted = ("SHIPCHIP_", "PYTHONPATH")
    return {k: v for k, v in os.environ.items() if not k.startswith(unwanted)} | variables


def test_its_names_at_top_level_are_the_three_packages_and_a_module(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        top = {name.split("/")[0] for name in archive.namelist()}
    info = f"shipchip-{__version__}.dist-info"
    assert top == {*PACKAGES, "bentoml_shipchip.py", info}


def test_it_holds_every_file_of_the_packages_and_the_model_with_its_sum(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if name.split("/")[0] in PACKAGES}
        model = {name for name in names if name.startswith("shipchip/_model/")}
        for name in model:
            assert archive.read(name) == (ROOT / "models" / Path(name).name).read_bytes()
    assert model == {f"shipchip/_model/ship.onnx{ending}" for ending in ("", ".sha256")}
    assert names - model == set().union(*map(files_of, PACKAGES))


def test_it_classifies_a_folder_with_the_model_it_carries(installed: Path, folder: Path) -> None:
    command = [installed / "shipchip", "classify", "chips", "--out", "answers.jsonl"]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    row = json.loads((folder / "answers.jsonl").read_text())
    assert (row["path"], row["status"]) == ("chips/ship.png", "ok")
    job = json.loads((folder / "answers.jsonl.job.json").read_text())
    assert job["job"]["model_sha256"] in (ROOT / "models" / "ship.onnx.sha256").read_text()


def test_the_classifier_takes_the_model_of_the_wheel(installed: Path, folder: Path) -> None:
    script = "from shipchip import ShipClassifier; print(ShipClassifier(device='cpu').path)"
    done = subprocess.run(
        [installed / "python", "-P", "-c", script],
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(done.stdout.strip()).is_relative_to(installed.parent)
    assert folder == Path.cwd()


def test_it_serves_from_any_folder(installed: Path, folder: Path) -> None:
    """SHIPCHIP_MODEL is not set: the model is that of the wheel."""
    port = free_port()
    command = [installed / "shipchip", "serve", "--host", "127.0.0.1", "--port", str(port)]
    log = folder / "log.txt"
    with (
        log.open("wb") as file,
        subprocess.Popen(
            command, env=environment(HOME=str(folder)), stdout=file, stderr=subprocess.STDOUT
        ) as process,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client,
    ):
        try:
            wait_until_ready(client, process, log)
            content = (folder / "chips" / "ship.png").read_bytes()
            answer = client.post("/v1/classify", files=[("files", ("ship.png", content))]).json()
            assert client.get("/demo").status_code == 200
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=30)
    assert answer["results"][0]["status"] == "ok"
    assert answer["model"]["sha256"] in (ROOT / "models" / "ship.onnx.sha256").read_text()
