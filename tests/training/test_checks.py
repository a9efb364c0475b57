"""What the checks of the data report: chips that cannot be read, repeats, missing classes."""

from pathlib import Path

import pytest

from tests.training.archives import GRD, amplitude, ship_xml, tiff, write_folder, write_zip
from training.data.checks import Problem, notes, verify
from training.data.discover import discover
from training.data.record import Record, drop_repeats
from training.data.simulated import SimulatedSource


def test_chips_that_cannot_be_read_are_named_and_the_others_are_not(tmp_path: Path) -> None:
    members = {"Cargo/a.tif": tiff(1), "Cargo/b.tif": b"no tiff", "Tanker/c.tif": tiff(2)[:60]}
    own = write_folder(tmp_path / "own", members)
    sources = discover([own])
    records = sources[0].index()
    (own / "Cargo/a.tif").unlink()  # it goes while the data are looked at
    reported: list[int] = []
    problems = verify(sources, records, lambda: reported.append(1))
    assert [(p.source, p.key, p.code) for p in problems] == [
        ("own", "Cargo/a.tif", "data_invalid"),
        ("own", "Cargo/b.tif", "unsupported_format"),
        ("own", "Tanker/c.tif", "truncated"),
    ]
    assert all(problem.message for problem in problems)
    assert len(reported) == 3


def test_sound_chips_give_no_problem() -> None:
    source = SimulatedSource({"Cargo": 2, "Fishing": 1, "Tanker": 1})
    assert verify([source], source.index()) == []
    assert notes([source]) == []


def test_a_problem_cannot_be_changed() -> None:
    with pytest.raises(AttributeError, match="cannot assign"):
        Problem("a", "b", "c", "d").code = "e"  # type: ignore[misc]


def test_notes_say_repeats_and_missing_classes_by_source(tmp_path: Path) -> None:
    groups = b"path,group\nCargo/a.tif,1\nCargo/b.tif,2\nTanker/c.tif,3\nTanker/d.tif,4\n"
    members = {
        "Cargo/a.tif": tiff(1),
        "Cargo/b.tif": tiff(1),
        "Tanker/c.tif": tiff(1),
        "Tanker/d.tif": tiff(2),
        "groups.csv": groups,
    }
    sources = discover([write_folder(tmp_path / "own", members)])
    assert notes(sources) == [
        "own: 2 byte-identical repeats are left out (1 of them are in another class here)",
        "own: there is no Fishing chip",
    ]


def test_notes_hold_what_each_source_says_of_itself(tmp_path: Path) -> None:
    members = {
        "Patch/Cargo_x1_y2.tif": amplitude(1),
        "Patch/Fishing_x3_y4.tif": amplitude(2),
        "Patch/Tanker_x5_y6.tif": amplitude(3),
        "Ship.xml": ship_xml({(1, 2): "1", (3, 4): "2", (5, 6): "3"}, "<\\ShipList>"),
    }
    write_zip(tmp_path / f"{GRD}.zip", members)
    assert notes(discover([tmp_path])) == [
        f"opensarship: Ship.xml was not valid XML and was mended in {GRD}.zip"
    ]


def record(source: str, group: str, sha256: str) -> Record:
    return Record(source, f"{group}/{sha256}", "Cargo", group, sha256)


def test_a_repeat_across_sources_makes_one_group_of_theirs() -> None:
    # A user's own copy of a scene's chip: its neighbours there show the same ship.
    records = [
        record("chips", "chips:a", "1"),
        record("chips", "chips:a", "2"),
        record("opensarship", "mmsi:413", "1"),
        record("fusar", "mmsi:413", "3"),
        record("fusar", "fusar:b", "4"),
    ]
    kept = drop_repeats(records)
    assert [r.sha256 for r in kept] == ["1", "2", "3", "4"]
    assert [r.group for r in kept] == ["mmsi:413"] * 3 + ["fusar:b"]
