"""Simulated samples: files of every kind, the same for a seed, and ships of their true length."""

import dataclasses
import io
from pathlib import Path

import numpy as np
import pytest
import tifffile

from shipchip import Chip, ShipClassifier, decode
from shipchip.errors import FolderNotEmpty
from shipchip.prepare import spacing_of
from shipchip.samples import Sample, draw_samples, main, write_samples
from shipchip.samples.kinds import GAOFEN3, GRD, SLC
from shipchip.samples.scene import Pose, Sensor, observe
from shipchip.samples.ship import draw_ship

MODEL = Path(__file__).parents[2] / "models" / "ship.onnx"
SENSOR = Sensor(
    pixel_m=(2.0, 2.5),
    resolution_m=(4.0, 4.0),
    hamming=0.54,  # sidelobes under a ten-thousandth
    looks=1,
    sea_db=-20.0,
    noise_db=-40.0,
    smear_m=20.0,
    smear_share=0.0,
)


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    return draw_samples()


def chips(samples: list[Sample], ending: str) -> list[Chip]:
    return [decode(s.content) for s in samples if s.path.name.endswith(ending)]


def test_a_dozen_lies_in_class_folders(tmp_path: Path) -> None:
    paths = write_samples(tmp_path / "demo")
    assert len(paths) == 12
    assert all(path.is_file() for path in paths)
    assert {path.parent.name for path in paths} == {"Cargo", "Fishing", "Tanker"}
    assert {path.suffix for path in paths} == {".tiff", ".tif", ".npy", ".png"}


def test_gaofen_3_chips_are_8_bits_and_partly_clipped(samples: list[Sample]) -> None:
    for chip in chips(samples, "gaofen3.tiff"):
        assert chip.amplitude.shape == (1, 512, 512)
        assert (chip.encoding, chip.polarisations) == ("integer", ("unknown",))
        assert chip.amplitude.max() == 255
        assert 3 < np.median(chip.amplitude) < 30


def test_sigma0_geotiffs_hold_two_polarisations_and_their_pixel_spacing(
    samples: list[Sample],
) -> None:
    for chip in chips(samples, "sigma0.tif"):
        assert (chip.encoding, chip.polarisations) == ("float", ("VH", "VV"))
        assert chip.pixel_spacing_m == (10.0, 10.0)
        cross, like = 10 * np.log10(np.median(chip.amplitude**2, axis=(1, 2)))
        assert -30 < cross < like < -10  # decibels: it was read as sigma0


def test_geotiffs_name_their_coordinate_system(samples: list[Sample]) -> None:
    content = next(s.content for s in samples if s.path.suffix == ".tif")
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        keys = file.geotiff_metadata
    assert keys is not None
    assert int(keys["ProjectedCSTypeGeoKey"]) == 32650


def test_slc_chips_are_complex_and_16_bit_pngs_are_amplitude(samples: list[Sample]) -> None:
    for chip in chips(samples, "slc.npy"):
        assert (chip.encoding, chip.amplitude.shape) == ("complex", (1, 64, 64))
    for chip in chips(samples, "grd.png"):
        assert (chip.encoding, chip.amplitude.shape[0]) == ("integer", 1)
        assert chip.amplitude.max() > 255


def test_what_names_no_spacing_gets_the_right_one_by_the_models_rules(
    samples: list[Sample],
) -> None:
    spec = ShipClassifier(MODEL, device="cpu").card.input
    for kind in (GAOFEN3, SLC, GRD):
        for chip in chips(samples, f"{kind.name}{kind.suffix}"):
            assert chip.pixel_spacing_m is None
            spacing, origin = spacing_of(chip, spec)
            assert spacing == pytest.approx(kind.sensor.pixel_m)
            assert origin == "rule"


def test_a_seed_gives_the_same_bytes(samples: list[Sample]) -> None:
    assert draw_samples() == samples
    assert {s.content for s in samples}.isdisjoint(s.content for s in draw_samples(1))


def test_a_folder_that_is_not_empty_is_refused_untouched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(FolderNotEmpty):
        write_samples(tmp_path)
    assert main([str(tmp_path)]) == 1
    assert capsys.readouterr().err.splitlines() == [
        f"shipchip samples: {tmp_path} is not empty; give a new folder or an empty one"
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    with pytest.raises(FolderNotEmpty, match="is a file"):
        write_samples(tmp_path / "mine.txt")


def test_the_command_writes_into_a_new_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path / "a" / "demo"), "--seed", "3"]) == 0
    assert "12 simulated chips" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main([str(tmp_path / "b"), "--seed", "x1"])
    assert "expected a whole number" in capsys.readouterr().err


@pytest.mark.parametrize("label", ["Cargo", "Fishing", "Tanker"])
@pytest.mark.parametrize("turn", [0.0, 30.0])
def test_a_ship_is_as_long_in_the_picture_as_it_was_drawn(label: str, turn: float) -> None:
    """Along azimuth, where layover does not change it; to within two resolution cells."""
    rng = np.random.default_rng(3)
    ship, size = draw_ship(label, rng), 256
    sensor = dataclasses.replace(SENSOR, turn_degrees=turn)
    pose = Pose(0.0, 37.0, 1, 0.0, 1, 0.0)
    power = np.abs(observe(ship, pose, sensor, size, rng)[0]) ** 2
    ahead = np.array([-np.cos(np.radians(turn)), np.sin(np.radians(turn))])
    found = (np.argwhere(power > 1e-3 * power.max()) - (size - 1) / 2) * sensor.pixel_m @ ahead
    # Sidelobes beyond the ends are few: 1 % is left out at either end.
    low, high = np.quantile(found, [0.01, 0.99])
    assert high - low == pytest.approx(ship.length_m, abs=2 * sensor.resolution_m[0])
    assert (low + high) / 2 == pytest.approx(0, abs=sensor.resolution_m[0])


@pytest.mark.slow
def test_the_default_model_answers_most_fresh_chips_and_knows_nearly_all() -> None:
    """Loose bounds: `python -m benchmarks.samples` measures on more."""
    fresh = [sample for seed in (11, 12, 13) for sample in draw_samples(seed)]
    ships = ShipClassifier(MODEL, device="cpu")
    answers = ships.classify([decode(sample.content) for sample in fresh])
    right = [a.label == s.label for a, s in zip(answers, fresh, strict=True)]
    assert np.mean(right) >= 0.5
    assert np.mean([answer.in_distribution for answer in answers]) >= 0.85
