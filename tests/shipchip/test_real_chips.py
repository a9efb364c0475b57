"""Chips as the releases hold them. Needs SHIPCHIP_DATA; see tests/conftest.py."""

import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from shipchip import ChipError, decode, prepare
from shipchip.card import SpacingRule
from tests.shipchip.inputs import spec

pytestmark = pytest.mark.data

EVERY = 7  # of the FUSAR chips; the other archives are small
GRD = (SpacingRule(encoding="any", spacing_m=(10.0, 10.0), why="ground range detected"),)


def members(archive: Path, folder: str = "") -> Iterator[tuple[str, bytes]]:
    """(name, content) of the picture files of a zip that lie in a folder of this name."""
    with zipfile.ZipFile(archive) as content:
        for name in sorted(content.namelist()):
            path = Path(name)
            inside = not folder or path.parent.name == folder
            if inside and path.suffix.lower() in (".tif", ".tiff", ".npy"):
                yield name, content.read(name)


@pytest.fixture(scope="module")
def scenes(data: Path) -> dict[str, list[Path]]:
    """OpenSARShip archives by product: "GRD" and "SLC"."""
    archives = sorted((data / "opensarship").glob("*/*.zip"))
    if not archives:
        pytest.skip(f"no OpenSARShip archives in {data}")
    return {
        "GRD": [a for a in archives if "_GRD" in a.name],
        "SLC": [a for a in archives if "_SLC" in a.name],
    }


def polarisations(archive: Path) -> tuple[str, ...]:
    """DV and SV are named in the scene: two planes or one."""
    return ("VH", "VV") if "1SDV" in archive.name else ("unknown",)


def test_fusar_chips_are_8bit_grey(data: Path) -> None:
    archive = data / "fusar" / "FUSAR_Ship1.0.zip"
    if not archive.is_file():
        pytest.skip(f"no {archive}")
    sides = set()
    for _, content in list(members(archive))[::EVERY]:
        chip = decode(content)
        assert (chip.polarisations, chip.encoding) == (("unknown",), "integer")
        sides.add(chip.amplitude.shape)
        assert np.isfinite(prepare(chip, spec()).input).all()
    assert (1, 512, 512) in sides


@pytest.mark.parametrize("product", ["GRD", "SLC"])
def test_patches_have_the_scenes_polarisations(scenes: dict[str, list[Path]], product: str) -> None:
    for archive in scenes[product]:
        for _, content in members(archive, "Patch"):
            chip = decode(content)
            assert chip.polarisations == polarisations(archive)
            assert chip.encoding == ("complex" if product == "SLC" else "float")


def test_8bit_patches_are_one_plane_each(scenes: dict[str, list[Path]]) -> None:
    for archive in scenes["GRD"] + scenes["SLC"]:
        for _, content in members(archive, "Patch_Uint8"):
            chip = decode(content)
            assert (chip.polarisations, chip.encoding) == (("unknown",), "integer")


def test_amplitude_and_calibrated_patch_of_a_ship_are_nearly_one_input(
    scenes: dict[str, list[Path]],
) -> None:
    compared = 0
    for archive in scenes["GRD"]:
        calibrated = {Path(name).name: content for name, content in members(archive, "Patch_Cal")}
        for name, content in members(archive, "Patch"):
            if Path(name).name not in calibrated:
                continue  # the releases have gaps
            one, other = decode(content), decode(calibrated[Path(name).name])
            assert one.polarisations == other.polarisations
            plain = spec(spacing_m=10.0, spacing_rules=GRD)
            apart = np.abs(prepare(one, plain).input - prepare(other, plain).input)
            assert np.median(apart) < 0.05, f"{name}: 1 dB of 20"
            compared += 1
    assert compared > 100


def test_screenshots_are_refused(scenes: dict[str, list[Path]]) -> None:
    refused = 0
    for archive in scenes["GRD"] + scenes["SLC"]:
        for _, content in members(archive, "Patch_RGB"):
            with pytest.raises(ChipError) as caught:
                decode(content)
            assert caught.value.code == "not_grey"
            refused += 1
    assert refused > 0


def test_every_single_look_complex_array_decodes(data: Path) -> None:
    archive = data / "opensarship_slc" / "opensarship_slc.zip"
    if not archive.is_file():
        pytest.skip(f"no {archive}")
    count = 0
    for _, content in members(archive):
        chip = decode(content)
        assert chip.amplitude.shape == (1, 64, 64)
        assert chip.encoding == "complex"
        count += 1
    assert count > 600
