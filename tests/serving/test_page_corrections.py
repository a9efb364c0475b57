"""/demo: corrections as CSV and as class folders in a zip for training; the CSV's columns."""

import csv
import io
import json
import zipfile
import zlib
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.batch.rows import columns, csv_writer, to_row
from serving.chips import ChipFailure
from serving.schema import chip_result
from shipchip import Prediction, ShipClassifier, decode
from tests.serving.browser import Tab
from tests.serving.pages import HOSTILE, finished, fits, in_browser, in_node, needs_node
from tests.tiny_model import draw_chip
from training.data.class_folders import FolderSource


def pick(tab: Tab, row: int, right: str) -> None:
    """Pick the right class in a row, counted from 1."""
    tab.run(
        f"(() => {{ const list = document.querySelector('tbody tr:nth-child({row}) select');"
        f"list.value = {right!r};"
        "list.dispatchEvent(new Event('change', {bubbles: true})); })()"
    )


def picked(tab: Tab, count: int) -> None:
    tab.wait(f"document.querySelector('#picked').textContent.startsWith('{count} chip')")


class TestInTheBrowser:
    pytestmark = in_browser

    @pytest.mark.parametrize("width", [360, 1200])
    def test_corrected_rows_are_those_of_the_csv_with_the_right_class_after_them(
        self, tab: Tab, chips: list[Path], width: int
    ) -> None:
        tab.resize(width)
        tab.choose("#files", chips)
        finished(tab, 3)
        assert tab.run("[...document.querySelectorAll('tbody select')].length") == 2, "no failure"
        assert tab.run("document.querySelector('#corrected').disabled")
        pick(tab, 2, "Tanker")
        picked(tab, 1)
        assert fits(tab)
        tab.click("#csv")
        tab.click("#corrected")
        whole, corrected = (
            list(csv.DictReader(io.StringIO(tab.downloaded(name).decode("utf-8-sig"), newline="")))
            for name in ("shipchip.csv", "corrected.csv")
        )
        assert corrected == [whole[1] | {"right_class": "Tanker"}]
        assert list(corrected[0])[-1] == "right_class"

    def test_a_pick_stays_when_chips_are_run_again_and_can_be_taken_back(
        self, tab: Tab, chips: list[Path]
    ) -> None:
        tab.choose("#files", chips)
        finished(tab, 3)
        pick(tab, 1, "Fishing")
        picked(tab, 1)
        tab.click("#again")
        finished(tab, 3)
        assert tab.run("document.querySelector('tbody select').value") == "Fishing"
        pick(tab, 1, "")
        tab.wait("document.querySelector('#folders').disabled")

    def test_the_zip_holds_each_file_in_the_folder_of_its_right_class(
        self, tab: Tab, tmp_path: Path, png: dict[str, bytes]
    ) -> None:
        scene = tmp_path / "Fishing"  # a folder's name must not become the chip's class
        scene.mkdir()
        contents = {
            "Fishing/a.png": png["Cargo"],
            "Fishing_a.png": png["Tanker"],  # the same name, once the folder is part of it
            HOSTILE: png["Fishing"],
            "plain": png["Cargo"],  # training goes by endings
            "船.png": png["Tanker"],
        }
        for name, content in contents.items():
            (tmp_path / name).write_bytes(content)
        np.save(tmp_path / "boat.npy", draw_chip("Fishing"))
        contents["boat.npy"] = (tmp_path / "boat.npy").read_bytes()
        tab.drop("#drop", [scene, *(tmp_path / name for name in contents if "/" not in name)])
        finished(tab, 6)
        for row, name in enumerate(tab.text("tbody .c-file"), 1):
            pick(tab, row, "Fishing" if name == "boat.npy" else "Cargo")
        picked(tab, 6)
        tab.click("#folders")
        archive = zipfile.ZipFile(io.BytesIO(tab.downloaded("corrected.zip")))
        assert archive.testzip() is None
        found = {name: archive.read(name) for name in archive.namelist()}
        assert found == {
            **dict.fromkeys(["Cargo/", "Fishing/", "Tanker/"], b""),
            "Cargo/Fishing_a.png": contents["Fishing/a.png"],
            "Cargo/2-Fishing_a.png": contents["Fishing_a.png"],
            "Cargo/_img src=x onerror=alert(1)_.png": contents[HOSTILE],
            "Cargo/plain.png": contents["plain"],
            "Cargo/船.png": contents["船.png"],
            "Fishing/boat.npy": contents["boat.npy"],
        }
        stored = tab.downloads / "corrected.zip"
        assert FolderSource.recognises(stored)
        labels = {record.key: record.label for record in FolderSource(stored).index()}
        assert labels == {name: name.split("/")[0] for name, content in found.items() if content}

    def test_a_zip_of_one_class_is_still_known_as_class_folders(
        self, tab: Tab, chips: list[Path]
    ) -> None:
        tab.choose("#files", chips[1:2])
        finished(tab, 1)
        pick(tab, 1, "Tanker")
        picked(tab, 1)
        tab.click("#folders")
        assert tab.downloaded("corrected.zip")
        stored = tab.downloads / "corrected.zip"
        assert FolderSource.recognises(stored)
        assert [record.label for record in FolderSource(stored).index()] == ["Tanker"]


@needs_node
def test_the_csv_of_the_page_and_that_of_a_batch_agree(
    tmp_path: Path, ships: ShipClassifier, png: dict[str, bytes]
) -> None:
    """Every column and every cell, whatever fields an answer has."""
    (plain,) = ships.classify([decode(png["Cargo"])])
    sizes = {f.name: 12.5 for f in fields(Prediction) if f.name.endswith("_m")}
    flags = {f.name: True for f in fields(Prediction) if f.name.endswith("_validated")}
    full = replace(plain, lon=-8.25, lat=57.5, **sizes, **flags)
    results: dict[str, Prediction | ChipFailure] = {
        "plain.png": plain,
        "=full.png": full,
        "bad, bad.png": ChipFailure("empty", 'the file has "0" bytes'),
    }
    names, file = columns(ships.classes), io.StringIO(newline="")
    write = csv_writer(file, names)
    items: list[dict[str, Any]] = []
    for path, result in results.items():
        write(to_row(path, result, ships.card))
        answer = chip_result(path, result).model_dump(mode="json")
        items.append({"path": path, "result": answer | {"version": ships.card.version}})
    given = json.dumps(items), json.dumps(list(ships.classes))
    text = in_node(tmp_path, "table", f"page.csv({given[0]}, {given[1]})").decode()
    batch, page = (list(csv.reader(io.StringIO(t, newline=""))) for t in (file.getvalue(), text))
    assert page[0] == batch[0]
    assert [list(map(number, row)) for row in page] == [list(map(number, row)) for row in batch]


def number(cell: str) -> str | float:
    """A cell as it counts: 10 and 10.0 are one number."""
    try:
        return float(cell)
    except ValueError:
        return cell


@needs_node
@pytest.mark.parametrize("content", [b"", b"a", b"123456789", bytes(range(256)) * 40])
def test_the_checksum_is_that_of_zip(tmp_path: Path, content: bytes) -> None:
    given = f"String(page.crc32(Uint8Array.from({json.dumps(list(content))})))"
    assert int(in_node(tmp_path, "zip", given)) == zlib.crc32(content)
