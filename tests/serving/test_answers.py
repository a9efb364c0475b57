"""Library, service, client and batch runs say the same of a chip, and assume the same of it."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from serving.batch.command import main
from serving.batch.rows import to_row
from serving.schema import chip_result
from shipchip import ShipClassifier, Used, decode
from shipchip.client import Answer, Client
from tests.serving.archives import write_zip
from tests.shipchip.inputs import geo_tags, npy, tiff
from tests.tiny_model import draw_chip

SCENE = "S1A_IW_GRDH_1SDV_20160131T101646_20160131T101715_009737_00E392_36F7"


@dataclass(frozen=True)
class Case:
    """A file, what the caller says of it, and what is then used."""

    name: str
    content: bytes
    spacing: str | None
    polarisation: str | None
    used: Used


def cases() -> Iterator[Case]:
    ship = draw_chip("Cargo")
    metres = geo_tags((7.0, 7.0), 1, (500_000, 4_600_000), k3072=32633)
    rule = Used((10.0, 10.0), "rule", "unknown", "amplitude")
    yield Case("plain.tif", tiff(ship), None, None, rule)
    yield Case(
        "spacing.tif", tiff(ship), "13.93x3.87", None,
        replace(rule, pixel_spacing_m=(13.93, 3.87), pixel_spacing_from="request"),
    )  # fmt: skip
    placed = replace(rule, pixel_spacing_m=(7.0, 7.0), pixel_spacing_from="file")
    yield Case("placed.tif", tiff(ship, extratags=metres), None, None, placed)
    yield Case(
        "both.tif", tiff(ship, extratags=metres), "8", None,
        replace(rule, pixel_spacing_m=(8.0, 8.0), pixel_spacing_from="request"),
    )  # fmt: skip
    yield Case(
        "sigma0.tif", tiff(np.square(ship + np.float32(0.5))), None, None,
        replace(rule, quantity="sigma0"),
    )  # fmt: skip
    yield Case(
        "complex.npy", npy(ship.astype(np.complex64)), None, None,
        replace(rule, quantity="complex"),
    )  # fmt: skip
    two = npy(np.stack([ship, draw_chip("Fishing")]))
    yield Case("two.npy", two, None, None, replace(rule, polarisation="VV"))
    yield Case("vh.npy", two, None, "VH", replace(rule, polarisation="VH"))


def batch_row(case: Case, model: Path, folder: Path) -> dict[str, Any]:
    chip, out = folder / case.name, folder / "out.jsonl"
    chip.write_bytes(case.content)
    options = [str(chip), "--out", str(out), "--model", str(model), "--device", "cpu"]
    if case.spacing:
        options += ["--pixel-spacing", case.spacing]
    if case.polarisation:
        options += ["--polarisation", case.polarisation]
    assert main(options) == 0
    row: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    return row


@pytest.mark.parametrize("case", [*cases()], ids=lambda case: case.name)
def test_every_surface_says_the_same_of_a_chip(
    case: Case, client: httpx.Client, ships: ShipClassifier, model: Path, tmp_path: Path
) -> None:
    given = {"pixel_spacing_m": case.spacing, "polarisation": case.polarisation}
    numbers = None if case.spacing is None else [float(n) for n in case.spacing.split("x")]
    library = ships.classify_file(
        case.content,
        pixel_spacing_m=None if numbers is None else (numbers[0], numbers[-1]),
        polarisation=case.polarisation,
    )
    assert library.used == case.used

    form = {name: value for name, value in given.items() if value is not None}
    upload = [("files", (case.name, case.content))]
    http = client.post("/v1/classify", files=upload, data=form).json()["results"][0]
    reported = {name: value for name, value in asdict(case.used).items() if value is not None}
    assert http["used"] == reported | {"pixel_spacing_m": list(case.used.pixel_spacing_m)}
    assert (http["verdict"], http["lon"], http["lat"]) == (
        library.verdict, library.lon, library.lat,
    )  # fmt: skip

    with Client(str(client.base_url)) as ask:
        (answer,) = ask.classify(
            case.content, pixel_spacing_m=case.spacing, polarisation=case.polarisation
        )
    assert isinstance(answer, Answer)
    assert answer.used == case.used
    assert (answer.verdict, answer.lon, answer.lat) == (library.verdict, library.lon, library.lat)

    row = batch_row(case, model, tmp_path)
    spacing = (row["pixel_spacing_row_m"], row["pixel_spacing_column_m"])
    assert case.used == Used(
        spacing, row["pixel_spacing_from"], row["polarisation"], row["quantity"]
    )
    assert (row["verdict"], row["lon"], row["lat"]) == (library.verdict, library.lon, library.lat)


def test_a_clipped_share_and_a_position_reach_every_answer(ships: ShipClassifier) -> None:
    chip = replace(decode(tiff(draw_chip("Cargo"))), clipped=0.25, position=(-9.5, 0.0))
    (answer,) = ships.classify([chip])
    assert answer.used.clipped == 0.25
    assert (answer.lon, answer.lat) == (-9.5, 0.0)
    http = json.loads(chip_result("a.tif", answer).model_dump_json())
    assert http["used"]["clipped"] == 0.25
    assert (http["lon"], http["lat"]) == (-9.5, 0.0)
    row = to_row("a.tif", answer, ships.card)
    assert (row["lon"], row["lat"]) == (-9.5, 0.0)


def test_the_spacing_of_a_scene_is_the_files(model: Path, tmp_path: Path) -> None:
    scene = write_zip(
        tmp_path / f"{SCENE}.zip", {"Patch/Cargo_x1_y2.tif": tiff(draw_chip("Cargo"))}
    )
    out = tmp_path / "out.jsonl"
    assert main([str(scene), "--out", str(out), "--model", str(model), "--device", "cpu"]) == 0
    row = json.loads(out.read_text(encoding="utf-8"))
    assert (row["pixel_spacing_row_m"], row["pixel_spacing_column_m"]) == (10.0, 10.0)
    assert row["pixel_spacing_from"] == "file"


def test_what_failed_says_nothing_of_how_it_was_read(model: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.tif").write_bytes(b"")
    out = tmp_path / "out.jsonl"
    main([str(tmp_path / "empty.tif"), "--out", str(out), "--model", str(model)])
    row = json.loads(out.read_text(encoding="utf-8"))
    assert row["error_code"] == "empty"
    names = ("verdict", "pixel_spacing_row_m", "pixel_spacing_from", "polarisation", "lon")
    assert [row[name] for name in names] == [None] * 5
