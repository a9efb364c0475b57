"""One picture in two files is one chip; nearly equal pictures are reported."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console

from tests.training.archives import write_folder
from tests.training.test_figures import npy
from training import run

Pixels = NDArray[np.uint8]


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "console", Console(stderr=True, width=200))
    monkeypatch.setenv("COLUMNS", "200")


def pixels(seed: int) -> Pixels:
    """Noise with a bright ship, 32 x 32, 8-bit."""
    rng = np.random.default_rng(seed)
    image = rng.rayleigh(20, (32, 32))
    image[12:20, rng.integers(4, 12) : rng.integers(20, 28)] += 120
    return image.clip(1, 255).astype(np.uint8)


def tiff(image: Pixels) -> bytes:
    stream = io.BytesIO()
    tifffile.imwrite(stream, image, photometric="minisblack")
    return stream.getvalue()


def picture(image: Pixels, kind: str) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, kind)
    return stream.getvalue()


def own_chips(folder: Path, extra: dict[str, bytes]) -> Path:
    chips = {
        f"{label}/{n}.tif": tiff(pixels(100 * k + n))
        for k, label in enumerate(("Cargo", "Tanker"))
        for n in range(10)
    }
    return write_folder(folder / "own", chips | extra)


def data(folder: Path, chips: Path) -> list[dict[str, str]]:
    """The manifest that the command writes."""
    manifest = folder / "manifest.jsonl"
    words = ["data", str(chips), "--manifest", str(manifest), "--runs", str(folder / "runs")]
    assert run.main(words) == 0
    return [json.loads(line) for line in manifest.read_text().splitlines()]


def test_the_same_pixels_in_another_container_are_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = pixels(3)
    twins = {
        "Cargo/copy.png": picture(image, "PNG"),
        "Tanker/copy.tif": tiff(np.ascontiguousarray(image)),
        "Cargo/copy.npy": npy(image),
    }
    used = data(tmp_path, own_chips(tmp_path, twins))
    assert len(used) == 20
    assert "own: 2 chips of the same pixels are left out" in capsys.readouterr().err


def test_the_ships_of_equal_chips_are_one(tmp_path: Path) -> None:
    # The PNG shows the ship of Cargo/3.tif, so what is said to be of its ship is of that ship too.
    twins = {"Cargo/copy.png": picture(pixels(3), "PNG"), "Cargo/other.tif": tiff(pixels(777))}
    chips = own_chips(tmp_path, twins)
    names = [path.relative_to(chips).as_posix() for path in sorted(chips.rglob("*.*"))]
    ships = {name: "x" if name in twins else name for name in names}
    table = "".join(f"{name},{ship}\n" for name, ship in ships.items())
    (chips / "groups.csv").write_text(f"path,group\n{table}")
    group = {item["key"]: item["group"] for item in data(tmp_path, chips)}
    same, other = group.get("Cargo/3.tif"), group["Cargo/other.tif"]
    assert (same or group["Cargo/copy.png"]) == other


def test_chips_that_nearly_look_alike_are_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chips = own_chips(tmp_path, {"Cargo/near.jpg": picture(pixels(3), "JPEG")})
    assert len(data(tmp_path, chips)) == 21
    reported = " ".join(capsys.readouterr().err.split())
    assert "1 pairs of chips look almost the same but count as different ships" in reported
    assert "own Cargo/3.tif and own Cargo/near.jpg" in reported


def test_chips_of_one_ship_may_look_alike(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data(tmp_path, own_chips(tmp_path, {"Cargo/3.jpg": picture(pixels(3), "JPEG")}))
    assert "look almost the same" not in capsys.readouterr().err
