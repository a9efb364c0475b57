"""What other programs leave beside chips is no chip, and what only looks like it is one."""

import pytest

from shipchip.files import is_sidecar

SIDECARS = [
    *("._chip.tif", "Cargo/._a.png", "._new\nline.tif", ".DS_Store", "a/b/.DS_Store"),
    *("__MACOSX/a.png", "x/__MACOSX/y/a.png", "__MACOSX/"),
    *("Thumbs.db", "THUMBS.DB", "desktop.ini", "Desktop.ini"),
    *("chip.tif.aux.xml", "chip.aux.xml", "chip.tif.ovr", "chip.TIF.OVR", "chip.tif.msk"),
    *("chip.tfw", "chip.tfwx", "chip.tifw", "chip.jgw", "chip.jpgw", "chip.jpegw"),
    *("chip.pgw", "chip.pngw", "chip.pgwx", "chip.wld", "chip.prj"),
    *("chip.tif.sha256", "chip.tif.md5"),
]
CHIPS = [
    *("chip.tif", "chip.png", "Cargo/a.npy", ".hidden.png", "_a.png", "a._b.png"),
    *("ovr", ".ovr", "a.ovr.tif", "a.aux.xml.png", "chip.xml", "meta.csv", "prj", ".sha256"),
    *("DS_Store", "thumbs.db.png", "MACOSX/a.png", "__MACOSX.png", "__MACOSX"),
    *("chip.tif/", "a.ovr/"),
]


@pytest.mark.parametrize("path", SIDECARS)
def test_a_sidecar_is_known_by_its_name_or_its_folder(path: str) -> None:
    assert is_sidecar(path)


@pytest.mark.parametrize("path", CHIPS)
def test_no_other_name_is_taken_for_one(path: str) -> None:
    assert not is_sidecar(path)
