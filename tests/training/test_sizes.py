"""Sizes by AIS: where they are read, how they are learnt, and how estimates are scored."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from shipchip.card import SizeSpec, SpacingRange
from training.card.schema import Interval
from training.data.class_folders import FolderSource
from training.data.metadata import parse_ships
from training.data.record import Record
from training.data.splits import Item, manifest
from training.errors import DataInvalid
from training.evaluation.sizes import measure_sizes, share_kept
from training.evaluation.trust import HeldOut, size_factors
from training.network.size import fit_size

SPEC = SizeSpec(
    coverage=0.9,
    length_factor=1.2,
    width_factor=1.5,
    validated=(SpacingRange(finer_m=(3, 5), coarser_m=(10, 15)),),
)


def class_folders(folder: Path, table: str = "") -> Path:
    """A chip of each of two classes, and lengths.csv beside the class folders."""
    for number, label in enumerate(("Cargo", "Tanker")):
        (folder / label).mkdir(parents=True)
        np.save(folder / label / "ship.npy", np.full((32, 32), number + 1, np.float32))
    if table:
        (folder / "lengths.csv").write_text(table)
    return folder


def sizes_in(folder: Path) -> dict[str, tuple[float, float] | None]:
    return {record.label: record.size_m for record in FolderSource(folder).index()}


def test_lengths_csv_names_chips_by_their_path(tmp_path: Path) -> None:
    rows = "chip,length_m,width_m\nCargo/ship.npy,190,32.2\nTanker\\ship.npy,0,0\n"
    assert sizes_in(class_folders(tmp_path, rows)) == {"Cargo": (190, 32.2), "Tanker": None}


def test_a_name_alone_is_enough_where_it_is_the_only_one(tmp_path: Path) -> None:
    folder = class_folders(tmp_path, "chip,length_m,width_m\nlong.npy,250,40\n")
    np.save(folder / "Cargo" / "long.npy", np.full((32, 32), 7, np.float32))
    found = {record.key: record.size_m for record in FolderSource(folder).index()}
    assert found["Cargo/long.npy"] == (250, 40)
    assert found["Cargo/ship.npy"] is None


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("chip,length\nx,1\n", "needs the columns chip,length_m,width_m; found chip,length"),
        ("chip,length_m,width_m\nx,90,9\nx,91,9\n", "gives x two sizes, the second in line 3"),
    ],
)
def test_a_table_that_cannot_be_right_is_refused(tmp_path: Path, table: str, message: str) -> None:
    with pytest.raises(DataInvalid, match=message):
        sizes_in(class_folders(tmp_path, table))


def test_notes_say_how_many_ships_have_a_size(tmp_path: Path) -> None:
    folder = class_folders(tmp_path, "chip,length_m,width_m\nCargo/ship.npy,190,32\n")
    assert "lengths.csv gives the size of 1 of 2 ships" in FolderSource(folder).notes()


def test_ship_xml_gives_the_size_by_ais_alone() -> None:
    """Not the one that was measured by hand in the chip."""
    xml = b"""<ships><ship><SARShipInformation><Center_x>1</Center_x><Center_y>2</Center_y>
    <Manual_Length>245</Manual_Length></SARShipInformation><AISShipInformation><MMSI>413338000</MMSI>
    <Length>190</Length><Width>32</Width></AISShipInformation></ship></ships>"""
    assert parse_ships(xml, "a test").ships[1, 2].size_m == (190, 32)


def test_a_manifest_changes_with_a_size_and_only_where_there_is_one() -> None:
    record = Record("own", "a", "Cargo", "a", "0")
    without = manifest([Item(record, "train")])
    assert "size_m" not in without
    assert manifest([Item(replace(record, size_m=(90.0, 15.0)), "train")]) != without


def test_the_regression_finds_what_the_embedding_tells() -> None:
    rng = np.random.default_rng(0)
    embeddings = rng.normal(size=(300, 3)).astype(np.float32)
    sizes = np.exp(np.stack([5 + 0.3 * embeddings[:, 0], 3 + 0.2 * embeddings[:, 1]], 1))
    regression = fit_size(embeddings[:200], sizes[:200])
    with torch.inference_mode():
        found = regression(torch.from_numpy(embeddings[200:])).numpy()
    apart = np.abs(np.log(found / sizes[200:])).mean(0)
    assert apart.max() < 0.06
    assert np.abs(np.log(np.exp([5, 3]) / sizes[200:])).mean(0).min() > 0.1, "worth learning"


def test_far_from_every_ship_the_estimate_stays_one_of_a_ship() -> None:
    rng = np.random.default_rng(0)
    embeddings = rng.normal(size=(50, 3)).astype(np.float32)
    regression = fit_size(embeddings, np.tile([100.0, 20.0], (50, 1)) * (1 + rng.random((50, 2))))
    with torch.inference_mode():
        found = regression(torch.full((1, 3), 1e6)).numpy()[0]
    assert 100 < found[0] < 200
    assert 20 < found[1] < 40


def held_out(errors: list[float], ships: list[str]) -> HeldOut:
    nothing = np.zeros((0, 2), np.float32)
    return HeldOut(
        nothing,
        nothing,
        nothing,
        np.zeros(0, np.int64),
        np.zeros(0, str),
        np.zeros(0, str),
        np.array([errors, errors]).T,
        np.array(ships),
    )


def test_factors_are_the_conformal_quantile_over_ships() -> None:
    """Of nine ships whose estimates are 1 to 9 % off, the ninth: 0.9 (9 + 1) = 9."""
    errors = [math.log(1 + number / 100) for number in range(1, 10)]
    found = size_factors([held_out(errors, [str(k) for k in range(9)])], 0.9)
    assert found == pytest.approx((1.09, 1.09))


def test_too_few_ships_give_no_interval() -> None:
    assert size_factors([held_out([0.1] * 8, [str(k) for k in range(8)])], 0.9) is None
    assert size_factors([held_out([0.1] * 80, ["one"] * 80)], 0.9) is None


def test_estimates_are_scored_beside_ais() -> None:
    records = [
        Record("a", "1", "Cargo", "1", "1", (100.0, 10.0)),
        Record("a", "2", "Cargo", "2", "2", (200.0, 20.0)),
        Record("b", "3", "Cargo", "3", "3", None),
    ]
    estimates = np.array([[110, 10], [150, 20], [1, 1]], np.float32)
    report = measure_sizes(estimates, records, SPEC, 0)
    assert report is not None
    assert list(report.sources) == ["a"]
    assert report.all.chips == 2
    assert report.all.length_error_m.value == pytest.approx(30)
    assert report.all.length_error_share == pytest.approx((0.10 + 0.25) / 2)
    assert report.all.length_held.value == 0.5  # 150 over 200 is further than 1 / 1.2
    assert report.all.width_held == Interval(value=1, low=1, high=1)
    assert {name: part.chips for name, part in report.all.by_length.items()} == {
        "100 to 200 m": 1,
        "200 to 500 m": 1,
    }


def test_ships_of_unknown_size_alone_give_no_figures() -> None:
    record = Record("a", "1", "Cargo", "1", "1")
    assert measure_sizes(np.ones((1, 2), np.float32), [record], SPEC, 0) is None


def test_a_length_is_kept_within_its_interval_before_the_change() -> None:
    plain = np.array([[100, 1], [100, 1], [100, 1]], np.float32)
    changed = np.array([[119, 9], [121, 1], [84, 1]], np.float32)
    assert share_kept(plain, changed, SPEC) == pytest.approx(2 / 3)
