"""A model file must be the one that the sum beside it tells of; without one it is served as is."""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from serving.preflight import main
from shipchip import ModelError, ShipClassifier
from tests.serving.server import ROOT, environment

OTHER = "0" * 64


@pytest.fixture
def ship(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model that can be used, set as the one to serve."""
    path = tmp_path / "ship.onnx"
    shutil.copyfile(model, path)
    monkeypatch.setenv("SHIPCHIP_MODEL", str(path))
    return path


def sum_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def tell(path: Path, line: str) -> None:
    path.with_name(f"{path.name}.sha256").write_text(line)


def test_the_default_model_has_its_committed_sum() -> None:
    default = ROOT / "models" / "ship.onnx"
    reported = (ROOT / "models" / "ship.onnx.sha256").read_text()
    assert reported == f"{sum_of(default)}  ship.onnx\n"
    ShipClassifier(default, device="cpu")


@pytest.mark.parametrize("between", ["  ", " *"], ids=["text", "binary"])
def test_a_model_with_its_own_sum_is_served(ship: Path, between: str) -> None:
    tell(ship, f"{sum_of(ship).upper()}{between}ship.onnx\n")
    assert main() == 0


def test_a_model_with_the_sum_of_another_is_refused_in_one_line(
    ship: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    tell(ship, f"{OTHER}  ship.onnx\n")
    assert main() == 1
    said = capfd.readouterr().err
    start = f"shipchip: cannot serve: SHIPCHIP_MODEL {ship}: model_corrupt: "
    assert said.startswith(
        f"{start}the sha256 of {ship} is {sum_of(ship)}, but ship.onnx.sha256 says {OTHER}; "
    )
    assert said.count("\n") == 1


def test_one_bit_is_enough(ship: Path) -> None:
    tell(ship, f"{sum_of(ship)}  ship.onnx\n")
    ShipClassifier(ship, device="cpu")
    content = bytearray(ship.read_bytes())
    content[-1] ^= 1
    ship.write_bytes(content)
    with pytest.raises(ModelError, match=r"the sha256 of .*ship\.onnx is "):
        ShipClassifier(ship, device="cpu")


def test_the_sum_is_looked_at_before_the_file_is_loaded(
    ship: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    tell(ship, f"{sum_of(ship)}  ship.onnx\n")
    ship.write_bytes(b"no model at all")
    assert main() == 1
    assert "the sha256 of" in capfd.readouterr().err


@pytest.mark.parametrize(
    "line",
    ["", "{sum}", "{sum}  other.onnx\n", "{sum}  ship.onnx\n{sum}  ship.onnx\n", "md5  ship.onnx"],
)
def test_what_is_no_line_of_sha256sum_is_refused_and_not_passed_over(ship: Path, line: str) -> None:
    tell(ship, line.format(sum=sum_of(ship)))
    with pytest.raises(ModelError, match=r"expected a line of `sha256sum ship\.onnx`"):
        ShipClassifier(ship, device="cpu")


def test_a_sum_that_cannot_be_read_is_refused(ship: Path) -> None:
    ship.with_name("ship.onnx.sha256").symlink_to("gone")
    with pytest.raises(ModelError, match="cannot be checked"):
        ShipClassifier(ship, device="cpu")


@pytest.mark.parametrize("hops", [1, 2])
def test_a_link_is_held_to_the_sum_beside_the_file_that_it_points_to(
    ship: Path, tmp_path: Path, hops: int
) -> None:
    tell(ship, f"{OTHER}  ship.onnx\n")
    link = ship
    for number in range(hops):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "current.onnx").symlink_to(link)
        link = folder / "current.onnx"
    with pytest.raises(ModelError, match=rf"but ship\.onnx\.sha256 says {OTHER}"):
        ShipClassifier(link, device="cpu")
    tell(ship, f"{sum_of(ship)}  ship.onnx\n")
    assert ShipClassifier(link, device="cpu").sha256 == sum_of(ship)
    tell(link, f"{OTHER}  current.onnx\n")
    with pytest.raises(ModelError, match=r"but current\.onnx\.sha256 says"):
        ShipClassifier(link, device="cpu")


def test_a_model_that_must_be_another_is_refused(ship: Path) -> None:
    assert ShipClassifier(ship, device="cpu", sha256=sum_of(ship)).sha256 == sum_of(ship)
    with pytest.raises(ModelError, match=f"expected {OTHER}; start again"):
        ShipClassifier(ship, device="cpu", sha256=OTHER)


def test_a_sum_without_a_model_does_not_hide_that_there_is_none(
    ship: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    tell(ship, f"{OTHER}  ship.onnx\n")
    ship.unlink()
    assert main() == 1
    assert "model_not_found" in capfd.readouterr().err


@pytest.mark.slow
def test_bentoml_serve_starts_no_worker_on_a_model_with_another_sum(ship: Path) -> None:
    tell(ship, f"{OTHER}  ship.onnx\n")
    ended = subprocess.run(
        [sys.executable, "-m", "bentoml", "serve", "--host", "127.0.0.1", "--port", "0"],
        cwd=ROOT,
        env=environment(ship),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 1
    assert f"cannot serve: SHIPCHIP_MODEL {ship}: model_corrupt: " in ended.stderr
    assert "Traceback" not in ended.stderr + ended.stdout
