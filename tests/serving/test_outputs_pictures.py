"""Maps and sorted chips: harmless names, nothing outside the folder, the same again."""

import io
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from serving.batch.outputs.pictures import LONGEST_NAME, draw_map, file_name, sort_crop, write_map
from serving.batch.rows import OutputError
from shipchip import ShipClassifier
from tests.tiny_model import SIZE, prepared_of

NAMES = [
    "../../etc/passwd.png",
    "/etc/passwd",
    "..",
    ".",
    "",
    "a/b/",
    "..\\..\\windows.png",
    "a\nb.png",
    "\x1b[31mred.png",
    "\0nul.png",
    "n\udcffo.png",
    "x" * 255,
    "x" * 255 + ".tif",
    "船" * 85,
    "y." + "z" * 250,
    "-rf",
    "a;rm -rf $HOME`ls`|cat.png",
    ".hidden",
]


def everything(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if not path.is_dir() or path.is_symlink())


@pytest.mark.parametrize("name", NAMES)
def test_whatever_the_name_the_file_s_is_harmless(tmp_path: Path, name: str) -> None:
    reported = file_name(7, name)
    assert reported.startswith("00000007-")
    assert len(os.fsencode(reported)) <= 125
    assert all(c.isalnum() or c in "-_." for c in reported)
    crops, maps = tmp_path / "in" / "crops", tmp_path / "in" / "maps"
    path = sort_crop(crops, "Cargo", 7, name, b"chip")
    assert path == crops / "Cargo" / reported
    assert write_map(maps, 7, name, b"png") == maps / f"{reported}.png"
    assert everything(tmp_path) == [path, maps / f"{reported}.png"]


def test_no_picture_has_a_longer_name_than_is_tried_before_work_begins() -> None:
    long_ending = "x" * 200 + "." + "y" * 15
    longest = max(len(file_name(10**8 - 1, name)) for name in ("x" * 255, long_ending))
    assert longest + len("..png.new") == LONGEST_NAME


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("FUSAR/Cargo/ship 1.tiff", "00000012-ship_1.tiff"),
        ("x" * 255 + ".tif", f"00000012-{'x' * 100}.tif"),
        ("k船.png", "00000012-k船.png"),
        ("船" * 85 + ".png", f"00000012-{'船' * 33}.png"),
        ("../..", "00000012-_"),
    ],
)
def test_names_stay_readable_and_keep_their_ending(name: str, message: str) -> None:
    assert file_name(12, name) == message


def test_the_same_base_name_twice_is_two_files() -> None:
    assert len({file_name(i, name) for i, name in enumerate(["a/x.png", "b/x.png", "x.png"])}) == 3
    assert file_name(123456789, "x.png") == "123456789-x.png"


def test_a_file_is_linked_by_its_absolute_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("chip.png").write_bytes(b"chip")
    link = sort_crop(Path("out"), "Tanker", 3, "chip.png", Path("chip.png"))
    assert link == Path("out/Tanker/00000003-chip.png")
    assert link.is_symlink()
    assert link.readlink() == tmp_path / "chip.png"
    assert link.read_bytes() == b"chip"


def test_with_copy_it_is_a_file_of_its_own(tmp_path: Path) -> None:
    chip = tmp_path / "chip.png"
    chip.write_bytes(b"chip")
    copied = sort_crop(tmp_path / "out", "Tanker", 3, "chip.png", chip, copy=True)
    assert copied is not None
    assert not copied.is_symlink()
    chip.unlink()
    assert copied.read_bytes() == b"chip"


def test_failed_chips_are_under_failed(tmp_path: Path) -> None:
    gone = sort_crop(tmp_path, None, 0, "gone.png", Path("/nowhere/gone.png"))
    assert gone == tmp_path / "failed" / "00000000-gone.png"
    assert gone.is_symlink()
    assert sort_crop(tmp_path, None, 1, "z.png", b"no chip") == tmp_path / "failed/00000001-z.png"


@pytest.mark.parametrize("kind", ["missing", "folder", "pipe", "device"])
def test_what_cannot_be_copied_is_left_out_and_holds_nothing_up(tmp_path: Path, kind: str) -> None:
    source = Path("/dev/zero") if kind == "device" else tmp_path / "source"
    if kind == "folder":
        source.mkdir()
    if kind == "pipe":
        os.mkfifo(source)
    assert sort_crop(tmp_path / "out", None, 1, "a", source, copy=True) is None
    assert everything(tmp_path / "out") == []


def test_again_gives_the_same_files_whatever_was_left(tmp_path: Path) -> None:
    chip = tmp_path / "chip.png"
    chip.write_bytes(b"chip")
    out = tmp_path / "out"
    for content in (b"killed", b"second"):
        for path in (sort_crop(out, "Cargo", 1, "a.png", chip), write_map(out, 2, "b", content)):
            assert path is not None
            path.with_name(f".{path.name}.new").write_bytes(b"left by a run that was killed")
    for _ in range(2):
        sort_crop(out, "Cargo", 1, "a.png", chip)
        write_map(out, 2, "b", b"second")
    assert everything(out) == [out / "00000002-b.png", out / "Cargo" / "00000001-a.png"]
    assert (out / "00000002-b.png").read_bytes() == b"second"
    assert sort_crop(out, "Cargo", 1, "a.png", chip, copy=True) is not None
    assert not (out / "Cargo" / "00000001-a.png").is_symlink(), "a copy takes a link's place"
    assert chip.read_bytes() == b"chip"


@pytest.mark.parametrize("label", ["..", "../..", "/tmp", ".", "a/b"])
def test_a_label_cannot_lead_out_of_the_folder(tmp_path: Path, label: str) -> None:
    out = tmp_path / "a" / "b" / "out"
    path = sort_crop(out, label, 1, "x", b"chip")
    assert everything(tmp_path) == [path]
    assert path is not None
    assert path.parent.parent == out


def test_nothing_is_written_through_links_that_stand_in_the_folder(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("kept")
    out = tmp_path / "out"
    (out / "Fishing").mkdir(parents=True)
    (out / "Cargo").symlink_to(outside)
    with pytest.raises(OutputError, match="Cargo is a link"):
        sort_crop(out, "Cargo", 1, "x", b"chip")
    for name in ("00000001-x", ".00000001-x.new"):
        (out / "Fishing" / name).symlink_to(outside / "file")
    sort_crop(out, "Fishing", 1, "x", b"chip")
    assert (out / "Fishing" / "00000001-x").read_bytes() == b"chip"
    assert [path.read_text() for path in outside.iterdir()] == ["kept"]


def test_a_folder_that_cannot_be_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(OutputError, match="cannot write"):
        write_map(tmp_path / "file", 1, "a", b"png")
    with pytest.raises(OutputError, match="cannot write"):
        sort_crop(tmp_path / "file", "Cargo", 1, "a", b"chip")


def test_the_map_lies_over_what_the_model_saw(ships: ShipClassifier) -> None:
    chip = np.zeros((1, SIZE, SIZE), np.float32)
    chip[0, 24:, 24:] = 1
    heat = np.zeros((4, 4), np.float32)
    heat[0, 0] = 1
    (prediction,) = ships.predict([prepared_of(chip)])
    mapped, spec = replace(prediction, activation_map=heat), ships.card.input
    png = draw_map(chip, mapped, spec)
    assert png is not None
    with Image.open(io.BytesIO(png)) as image:
        assert image.format == "PNG"
        pixels = np.asarray(image).astype(int)
    assert pixels.shape == (192 + 61, 192, 3)
    assert pixels[10, 10, 0] - pixels[10, 10, 2] > 80, "warm where the map is"
    assert list(pixels[180, 180]) == [158] * 3, "20 dB, grey, where it is not"
    assert list(pixels[100, 180]) == [36] * 3
    assert draw_map(chip, mapped, spec) == png
    other = draw_map(chip, replace(mapped, label="Other"), spec)
    assert other is not None
    with Image.open(io.BytesIO(other)) as image:
        differ = (np.asarray(image) != pixels).any(axis=(1, 2))
    assert differ[192:210].any(), "the label is in the first line below"
    assert not differ[:192].any()
    assert draw_map(chip, prediction, spec) is None
