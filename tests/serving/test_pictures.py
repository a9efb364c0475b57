"""The pictures of `explain`: what they show, and that they come over HTTP."""

import asyncio
import base64
import io
import threading
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import pytest
from matplotlib import colormaps
from numpy.typing import NDArray
from PIL import Image

from serving import pictures
from serving.chips import ChipFailure, ChipOptions
from serving.engine import Engine
from serving.pictures import (
    ExplainedPrediction,
    chip_grey,
    draw_answer,
    explain_chips,
    lay_over,
    ship_outline,
)
from serving.settings import Settings
from shipchip import ShipClassifier
from tests.tiny_model import SIZE, prepared_of


def pixels(png: str) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(base64.b64decode(png, validate=True))) as image:
        assert image.format == "PNG"
        return np.asarray(image)


def sea(side: int = 64) -> NDArray[np.uint8]:
    return chip_grey(np.zeros((side, side), np.float32))


def test_grey_runs_from_6_db_below_clutter_to_36_above() -> None:
    decibels = np.array([[-20, -6, 15, 36, 50]] * 5, np.float32)
    grey = chip_grey(decibels)
    assert list(grey[0, :: len(grey) // 5]) == [0, 0, 128, 255, 255]


@pytest.mark.parametrize(
    ("size", "side"), [(16, 192), (64, 192), (96, 192), (128, 256), (512, 512)]
)
def test_pixels_are_enlarged_evenly_to_about_192(size: int, side: int) -> None:
    chip = np.arange(size * size, dtype=np.float32).reshape(size, size) % 30
    grey, factor = chip_grey(chip), side // size
    assert grey.shape == (side, side)
    first = grey[::factor, ::factor]
    assert np.array_equal(grey, np.kron(first, np.ones((factor, factor), np.uint8)))
    assert len(np.unique(first)) == 30


def test_where_the_map_is_nothing_or_less_the_chip_is_untouched() -> None:
    heat = np.zeros((64, 64), np.float32)
    heat[:, :32] = -3
    heat[30:34, 50:54] = 2
    over = lay_over(sea(), heat)
    assert np.array_equal(over[:, :140], np.repeat(sea()[:, :140, None], 3, axis=2))
    assert np.ptp(over[96, 156].astype(int)) > 50, "where it is something there is colour"


@pytest.mark.parametrize("value", [0.0, -1.0])
def test_a_map_that_is_nowhere_positive_leaves_the_whole_chip(value: float) -> None:
    over = lay_over(sea(), np.full((4, 4), value, np.float32))
    assert np.array_equal(over, np.repeat(sea()[..., None], 3, axis=2))


@pytest.mark.parametrize("shape", [(64, 64), (4, 4), (8, 6), (1, 1), (300, 200)])
def test_a_map_of_any_size_lies_over_the_whole_chip(shape: tuple[int, int]) -> None:
    heat = np.zeros(shape, np.float32)
    heat[: (shape[0] + 1) // 2, : (shape[1] + 1) // 2] = 1
    over = lay_over(sea(), heat).astype(int)
    assert over.shape == (192, 192, 3)
    warmth = over[..., 0] - over[..., 2]
    assert warmth[10, 10] > 80
    if min(shape) > 1:
        assert np.array_equal(over[180, 180], [36, 36, 36])


def test_colours_show_shares_of_the_map_s_own_highest_value() -> None:
    heat = np.random.default_rng(0).random((64, 64), np.float32)
    assert np.array_equal(lay_over(sea(), heat), lay_over(sea(), 1000 * heat))


def test_more_evidence_is_always_lighter_for_every_kind_of_colour_vision() -> None:
    """On the sea; deuteranopia and protanopia by Machado et al. (2009), severity 1."""
    ramp = np.tile(np.linspace(0, 1, 192, dtype=np.float32), (192, 1))
    colours = lay_over(sea(), ramp)[96] / 255
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    kinds = {
        "usual": np.eye(3),
        "deuteranopia": np.array(
            [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]]
        ),
        "protanopia": np.array(
            [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]]
        ),
    }
    for name, matrix in kinds.items():
        light = np.clip(linear @ matrix.T, 0, None) @ (0.2126, 0.7152, 0.0722)
        lightness = 116 * np.cbrt(light) - 16
        steps = np.diff(lightness[24:])  # below an eighth there is hardly any colour
        assert steps.min() > -0.35, name
        assert lightness[-1] - lightness[24] > 40, name


def test_the_colours_are_those_of_plasma() -> None:
    at = np.linspace(0, 1, len(pictures._PLASMA))
    assert np.abs(colormaps["plasma"](at)[:, :3] * 255 - pictures._PLASMA).max() <= 1


def test_the_pictures_show_what_the_model_saw(ships: ShipClassifier) -> None:
    seen = np.zeros((1, SIZE, SIZE), np.float32)
    seen[0, 4:8, 20:24] = 1  # 20 dB
    prediction = ships.predict([prepared_of(seen)], explain=True)[0]
    failure = ChipFailure("empty", "0 bytes")
    drawn, untouched = explain_chips(
        [prepared_of(seen), failure], [prediction, failure], ships.card.input
    )
    assert untouched is failure
    assert isinstance(drawn, ExplainedPrediction)
    assert (drawn.label, drawn.ood_score) == (prediction.label, prediction.ood_score)
    grey = pixels(drawn.preview)
    assert grey.shape == (192, 192)
    assert set(np.unique(grey)) == {36, 158}
    assert grey[4 * 6, 20 * 6] == 158
    assert pixels(drawn.overlay).shape == (192, 192, 3)


@pytest.mark.parametrize(("rows", "columns"), [(16, 4), (4, 16)])
def test_the_outline_lies_on_the_ship(rows: int, columns: int) -> None:
    decibels = np.zeros((64, 64), np.float32)
    top, left = 30, 34
    decibels[top : top + rows, left : left + columns] = 25
    corners = ship_outline(decibels, 16, 4)
    assert corners is not None
    # To a pixel or so: what is nearer to the chip's centre counts a little more.
    assert corners.min(axis=0) == pytest.approx([top, left], abs=1.5)
    assert corners.max(axis=0) == pytest.approx([top + rows, left + columns], abs=1.5)


def test_a_chip_without_anything_bright_gets_no_outline() -> None:
    assert ship_outline(np.full((64, 64), 3, np.float32), 16, 4) is None


def test_a_ship_of_estimated_size_is_outlined(ships: ShipClassifier) -> None:
    seen = np.zeros((1, SIZE, SIZE), np.float32)
    seen[0, 14:18, 8:24] = 1  # 16 by 4 pixels of 10 m
    (prediction,) = ships.predict([prepared_of(seen)], explain=True)
    sized = replace(prediction, length_m=160.0, width_m=40.0)
    spec = ships.card.input
    decibels = seen[0] * spec.db_scale
    plain, outlined = (
        draw_answer(chip_grey(decibels), decibels, p, spec) for p in (prediction, sized)
    )
    assert plain is not None
    assert outlined is not None
    rows, columns = np.nonzero((plain != outlined).any(axis=2))
    assert (rows.min(), rows.max()) == pytest.approx((14 * 6, 18 * 6), abs=1)
    assert (columns.min(), columns.max()) == pytest.approx((8 * 6, 24 * 6), abs=1)


def test_a_prediction_without_a_map_stays_as_it_is(ships: ShipClassifier) -> None:
    seen = np.zeros((1, SIZE, SIZE), np.float32)
    prediction = ships.predict([prepared_of(seen)])[0]
    assert explain_chips([prepared_of(seen)], [prediction], ships.card.input) == [prediction]


def test_drawing_never_blocks_the_event_loop(
    model: Path, png: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    names: set[str] = set()

    def watched(grey: NDArray[np.uint8], heat: NDArray[np.float32]) -> NDArray[np.uint8]:
        names.add(threading.current_thread().name.partition("_")[0])
        return lay_over(grey, heat)

    monkeypatch.setattr(pictures, "lay_over", watched)
    engine = Engine(Settings(model=model, device="cpu"))
    try:
        chips = [*png.values(), b""]
        results = asyncio.run(engine.classify(chips, ChipOptions(), explain=True))
    finally:
        engine.close()
    assert [type(result) for result in results] == [
        ExplainedPrediction,
        ExplainedPrediction,
        ExplainedPrediction,
        ChipFailure,
    ]
    assert names == {"decode"}


def test_http_carries_both_pictures_as_bare_base64(
    client: httpx.Client, png: dict[str, bytes]
) -> None:
    upload = [("files", ("a.png", png["Cargo"])), ("files", ("b", b""))]
    body = client.post("/v1/classify", files=upload, data={"explain": "true"}).json()
    good, bad = body["results"]
    assert pixels(good["preview"]).shape == (192, 192)
    over = pixels(good["activation_map"])
    assert over.shape == (192, 192, 3)
    assert np.ptp(over[96, 96].astype(int)) > 50, "the ship is in the middle, and the map on it"
    assert "activation_map" not in bad
    plain = client.post("/v1/classify", files=upload).json()["results"][0]
    assert not {"preview", "activation_map"} & set(plain)


def test_the_document_says_their_media_type(client: httpx.Client) -> None:
    chip = client.get("/docs.json").json()["components"]["schemas"]["ChipOk"]["properties"]
    for name in ("preview", "activation_map"):
        reported = chip[name]["anyOf"][0]
        assert (reported["type"], reported["contentEncoding"], reported["contentMediaType"]) == (
            "string",
            "base64",
            "image/png",
        )
