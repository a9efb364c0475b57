"""Folders for pictures: whose pictures they hold, and that pictures are never chips."""

from pathlib import Path

import pytest

from serving.batch.command import main
from tests.serving.archives import write_zip
from tests.serving.dozen import CHIPS, paths, write_dozen
from tests.tiny_model import tiny_card, write_tiny_model


@pytest.fixture(autouse=True)
def _model(batch_model: None) -> None:
    """Batches of this module run the tiny model."""


@pytest.fixture
def chips(tmp_path: Path, png: dict[str, bytes]) -> Path:
    return write_dozen(tmp_path / "chips", png)


def refusal(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The last line of a batch that refuses."""
    capsys.readouterr()
    assert main([str(argument) for argument in arguments]) == 2
    return capsys.readouterr().err.splitlines()[-1]


@pytest.fixture
def with_pictures(chips: Path, tmp_path: Path) -> Path:
    """The folder of chips after a run that has written its pictures into it."""
    more = ["--maps", str(chips / "maps"), "--crops-by-label", str(chips / "sorted"), "--copy"]
    assert main([str(chips), "--out", str(tmp_path / "first.csv"), *more]) == 0
    assert len(list(chips.rglob("*.png"))) == 3 * CHIPS
    return chips


def test_pictures_that_a_run_wrote_among_the_chips_are_no_chips_of_the_next(
    with_pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.csv"
    capsys.readouterr()
    assert main([str(with_pictures), "--out", str(out), "--labelled"]) == 0
    said = capsys.readouterr().err.splitlines()
    left_out = said[0].removeprefix("left out, because earlier runs wrote it: ").split(", ")
    assert sorted(left_out) == [f"{with_pictures}/maps", f"{with_pictures}/sorted"]
    assert len(paths(out)) == CHIPS
    assert "no labelled chip was classified" in said[-1], "sorted/Cargo is no truth"


def test_nor_where_a_list_or_an_archive_holds_them(
    with_pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = sorted(path for path in with_pictures.rglob("*") if path.is_file())
    names = tmp_path / "names"
    names.write_text("".join(f"{path}\n" for path in files))
    archive = write_zip(
        tmp_path / "chips.zip",
        {str(path.relative_to(with_pictures)): path.read_bytes() for path in files},
    )
    for number, source in enumerate((["--list", str(names)], [str(archive), "--glob", "*.png"])):
        capsys.readouterr()
        assert main([*source, "--out", str(tmp_path / f"{number}.csv")]) == 0
        assert "left out, because earlier runs wrote it: " in capsys.readouterr().err
        assert len(paths(tmp_path / f"{number}.csv")) == CHIPS


@pytest.mark.parametrize("named", ["maps", "sorted", "sorted/Cargo"])
def test_pictures_alone_are_nothing_to_classify(
    with_pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], named: str
) -> None:
    folder = with_pictures / named
    said = refusal(capsys, folder, "--out", tmp_path / "out.csv")
    assert f"no files in {folder} but what earlier runs wrote ({folder})" in said


@pytest.mark.parametrize("option", ["--maps", "--crops-by-label"])
def test_a_folder_of_pictures_is_used_again_and_one_of_chips_never(
    with_pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    out = tmp_path / "out.csv"
    (tmp_path / "empty").mkdir()
    own = with_pictures / {"--maps": "maps", "--crops-by-label": "sorted"}[option]
    for folder in (own, tmp_path / "empty"):
        options = [option, str(folder), "--overwrite"]
        assert main([str(with_pictures), "--out", str(out), *options]) == 0
        assert len(list(folder.rglob("*.png"))) == CHIPS
    kept = with_pictures / "Cargo"
    kept.mkdir()
    (kept / "a.png").write_bytes((with_pictures / "00.png").read_bytes())
    said = refusal(capsys, with_pictures, "--out", out, "--overwrite", option, kept)
    assert f"{kept} holds files that no batch wrote, such as a.png" in said
    assert [path.name for path in kept.iterdir()] == ["a.png"]


@pytest.mark.parametrize("option", ["--maps", "--crops-by-label"])
@pytest.mark.parametrize(
    "change", [["--pixel-spacing", "7"], ["--glob", "0[0-5].png"], ["--model", "{other}"]]
)
def test_a_folder_with_the_pictures_of_another_run_is_refused_before_anything_is_written(
    with_pictures: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    option: str,
    change: list[str],
) -> None:
    card = tiny_card().model_copy(update={"version": "9.0.0"})
    other = write_tiny_model(tmp_path / "other.onnx", card)
    own = with_pictures / {"--maps": "maps", "--crops-by-label": "sorted"}[option]
    before = {path: path.stat().st_mtime_ns for path in own.rglob("*")}
    more = [part.format(other=other) for part in change]
    said = refusal(capsys, with_pictures, "--out", tmp_path / "out.csv", option, own, *more)
    assert f"{own} has the pictures of another run" in said
    assert {path: path.stat().st_mtime_ns for path in own.rglob("*")} == before
    assert not (tmp_path / "out.csv").exists()


def test_the_shards_of_a_run_share_a_folder_of_pictures(chips: Path, tmp_path: Path) -> None:
    maps = tmp_path / "maps"
    for shard in ("1/2", "2/2"):
        out = tmp_path / f"out-{shard[0]}.csv"
        options = ["--shard", shard, "--batch-size", "4", "--maps", str(maps)]
        assert main([str(chips), "--out", str(out), *options]) == 0
    assert len(list(maps.glob("*.png"))) == CHIPS
