"""What a file answers becomes figures: each against numbers worked out by hand."""

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from shipchip import Chip, ShipClassifier, decode
from tests.tiny_model import CLASSES, draw_chip, prepared_of
from training.card.schema import ModelFigures, ReliabilityBins
from training.data.record import Record
from training.evaluation.figures import (
    LabelledPredictions,
    ModelPredictions,
    calibration_floor,
    measure,
    ood_figures,
    predict_chips,
    reliability_bins,
    reliability_of,
    sets,
)
from training.evaluation.metrics import (
    auroc_of_draws,
    drawn_by_ship,
    drawn_one_by_one,
    expected_calibration_error,
    mean_by_ship,
)
from training.int8.comparison import macro_f1_loss

CARGO, FISHING, TANKER = range(3)


def said(
    predicted: Sequence[int],
    confidence: float = 0.78,
    member: Sequence[str] | None = None,
    score: Sequence[float] | None = None,
    refused: Sequence[int] = (),
) -> ModelPredictions:
    """Answers of one confidence; sets by initials ("CT"); rows `refused` out of distribution."""
    count = len(predicted)
    probs = np.full((count, 3), (1 - confidence) / 2)
    probs[np.arange(count), predicted] = confidence
    held = member or [CLASSES[k][0] for k in predicted]
    return ModelPredictions(
        probs,
        np.array(predicted),
        np.array([[name[0] in one for name in CLASSES] for one in held]),
        np.array(score or [1.0] * count),
        ~np.isin(np.arange(count), refused),
    )


def marked(
    given: ModelPredictions, truth: Sequence[int], ships: Sequence[str] | None = None
) -> LabelledPredictions:
    groups = np.array(ships or [str(i) for i in range(len(truth))])
    return LabelledPredictions(given, np.array(truth), groups, CLASSES)


def records(*sources: str) -> list[Record]:
    return [Record(name, str(i), "Cargo", str(i), str(i)) for i, name in enumerate(sources)]


# Nine chips of three sources, whose scores are worked out below.
SOURCES = ["fusar"] * 4 + ["opensarship"] * 3 + ["opensarship_slc"] * 2
TRUTH = [CARGO, CARGO, FISHING, TANKER, CARGO, TANKER, FISHING, CARGO, TANKER]
SAID = [CARGO, FISHING, FISHING, TANKER, CARGO, TANKER, CARGO, TANKER, TANKER]


def metrics() -> dict[str, Any]:
    """Of the nine chips, and of three OOD chips."""
    others = {"sea": said([0] * 3, score=[3, 4, 5])}
    return measured(others).plain()


def measured(others: dict[str, ModelPredictions] | None = None) -> ModelFigures:
    return measure(marked(said(SAID), TRUTH), records(*SOURCES), others, 0)


def test_answers_are_those_of_the_file_chip_by_chip_over_all_batches(
    tiny_model_file: Path,
) -> None:
    ships = ShipClassifier(tiny_model_file, device="cpu")
    labels = [CLASSES[i % 3] for i in range(70)]
    inputs = np.stack([ships.prepare(drawn(label, i)).input for i, label in enumerate(labels)])
    found = predict_chips(ships, inputs)
    assert [CLASSES[k] for k in found.predicted] == labels
    for i in (0, 31, 32, 69):
        (one,) = ships.predict([prepared_of(inputs[i])])
        assert found.probabilities[i] == pytest.approx([one.probabilities[c] for c in CLASSES])
        assert found.confidence[i] == pytest.approx(one.confidence)
        held = {c for c, inside in zip(CLASSES, found.member[i], strict=True) if inside}
        assert held == set(one.prediction_set)
        assert found.ood_score[i] == pytest.approx(one.ood_score)
        assert found.in_distribution[i] == one.in_distribution


def drawn(label: str, seed: int) -> Chip:
    return decode(npy(draw_chip(label, seed=seed)))


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def test_each_source_is_scored_on_its_own_chips() -> None:
    found = measured().plain()["sources"]
    assert list(found) == ["fusar", "opensarship", "opensarship_slc"]
    # Cargo: precision 1, recall 1/2; Fishing: 1/2, 1; Tanker: 1, 1.
    fusar = found["fusar"]["headline"]
    assert fusar["macro_f1"]["value"] == pytest.approx((2 / 3 + 2 / 3 + 1) / 3)
    assert fusar["balanced_accuracy"]["value"] == pytest.approx((1 / 2 + 1 + 1) / 3)
    assert found["fusar"]["confusion"] == [[1, 1, 0], [0, 1, 0], [0, 0, 1]]
    # Cargo: precision 1/2 by the Fishing chip called Cargo, recall 1; Fishing 0; Tanker 1.
    grd = found["opensarship"]["headline"]["macro_f1"]["value"]
    assert grd == pytest.approx((2 / 3 + 0 + 1) / 3)


def test_opensarship_is_also_scored_over_cargo_and_tanker_and_as_one() -> None:
    found = measured().plain()
    assert "cargo_and_tanker" not in found["sources"]["fusar"]
    assert found["sources"]["opensarship"]["cargo_and_tanker"]["value"] == 1.0
    # Cargo is never said: 0; Tanker: precision 1/2, recall 1.
    slc = found["sources"]["opensarship_slc"]["cargo_and_tanker"]["value"]
    assert slc == pytest.approx((0 + 2 / 3) / 2)
    # The four chips C T C T were called C T T T: Cargo 2/3, Tanker 4/5.
    assert found["pooled"]["chips"] == 4
    pooled = found["pooled"]["headline"]["macro_f1"]["value"]
    assert pooled == pytest.approx((2 / 3 + 4 / 5) / 2)


def test_without_both_classes_there_is_nothing_pooled() -> None:
    own = measure(marked(said([0, 2]), [0, 2]), records("own", "own"), None, 0).plain()
    assert own["pooled"] is None
    one = measure(marked(said([0, 1]), [0, 1]), records(*["opensarship"] * 2), None, 0).plain()
    assert one["pooled"] is None
    assert "cargo_and_tanker" not in one["sources"]["opensarship"]


def test_the_label_counts_where_another_class_is_more_probable() -> None:
    probs = np.array([[0.6, 0.3, 0.1], [0.6, 0.3, 0.1]])
    given = ModelPredictions(
        probs, np.array([1, 0]), probs > 0.2, np.ones(2), np.ones(2, dtype=bool)
    )
    score = measure(marked(given, [FISHING, CARGO]), records("own", "own"), None, 0).plain()
    own = score["sources"]["own"]
    assert own["confusion"] == [[1, 0, 0], [0, 1, 0], [0, 0, 0]]
    # Both right, at confidences 0.3 and 0.6: |1 - 0.3| / 2 + |1 - 0.6| / 2.
    assert own["headline"]["ece"]["value"] == pytest.approx(0.55)


def test_sets_cover_what_they_hold_in_each_class() -> None:
    held = ["C", "CF", "F", "CT", "T", "CFT"]
    truth = [CARGO, CARGO, CARGO, CARGO, TANKER, FISHING]
    found = sets(marked(said([0] * 6, member=held), truth), 0).plain()
    assert {name: f["value"] for name, f in found["coverage"].items()} == {
        "Cargo": 0.75,
        "Fishing": 1.0,
        "Tanker": 1.0,
    }
    assert {name: f["chips"] for name, f in found["coverage"].items()} == {
        "Cargo": 4,
        "Fishing": 1,
        "Tanker": 1,
    }
    assert found["mean_size"]["value"] == pytest.approx((1 + 2 + 1 + 2 + 1 + 3) / 6)


def test_coverage_by_ship_is_the_mean_of_each_ships_share() -> None:
    # Ship a: 1 chip of 4 is covered, ship b: 1 of 1. By chip 2/5, by ship (1/4 + 1) / 2.
    held, ships = ["C", "F", "F", "F", "C"], list("aaaab")
    found = sets(marked(said([0] * 5, member=held), [CARGO] * 5, ships), 0).plain()["coverage"][
        "Cargo"
    ]
    assert (found["value"], found["chips"]) == (0.4, 5)
    # One bootstrap draw of two ships in four is a twice, and one in four b twice.
    assert found["by_ship"] == {"value": 0.625, "low": 0.25, "high": 1.0, "ships": 2}


def test_a_source_says_its_own_sets_and_the_share_of_its_ships_refused() -> None:
    given = said(SAID, member=["C", "C", "F", "T", "CT", "T", "F", "CT", "CT"], refused=[0, 8])
    found = measure(marked(given, TRUTH), records(*SOURCES), None, 0).plain()
    fusar, slc = found["sources"]["fusar"], found["sources"]["opensarship_slc"]
    assert fusar["refused"]["value"] == 0.25
    assert slc["refused"]["value"] == 0.5
    assert fusar["sets"]["mean_size"]["value"] == 1.0
    assert slc["sets"]["mean_size"]["value"] == 2.0
    assert found["sets"]["mean_size"]["value"] == pytest.approx((4 + 4 + 4) / 9)


def test_auroc_is_the_chance_that_a_stranger_scores_higher_than_a_ship() -> None:
    ships = marked(said([0] * 4, score=[1, 2, 3, 4]), [0, 0, 0, 2])
    others = {"sea": said([0], score=[2.5]), "cars": said([0], score=[5.0], refused=[0])}
    found = ood_figures(ships, others, 0).plain()
    # 2.5 is above two ships of four, 5 above all: 2/4, 4/4, and 6/8 together.
    assert found["kinds"]["sea"]["auroc"]["value"] == 0.5
    assert found["kinds"]["cars"]["auroc"]["value"] == 1.0
    assert found["all"]["auroc"]["value"] == 0.75
    assert found["all"]["chips"] == 2
    assert [found["kinds"][k]["refused"]["value"] for k in ("sea", "cars")] == [0.0, 1.0]
    assert found["all"]["refused"]["value"] == 0.5


def test_the_interval_of_an_auroc_is_that_of_resampled_ships_and_ood_chips() -> None:
    rng = np.random.default_rng(3)
    scores = rng.integers(0, 9, 40).astype(float), rng.integers(4, 12, 20).astype(float)
    names = [str(i // 2) for i in range(40)]
    ships = marked(said([0] * 40, score=scores[0].tolist()), [0] * 40, names)
    found = ood_figures(ships, {"sea": said([0] * 20, score=scores[1].tolist())}, 5).plain()
    times, drawn = drawn_by_ship(names, 5), drawn_one_by_one(20, 5)
    truth, score = np.repeat([0, 1], [40, 20]), np.concatenate(scores)
    draws = [
        roc_auc_score(truth, score, sample_weight=np.concatenate(pair))
        for pair in zip(times[:100], drawn[:100], strict=True)
    ]
    assert auroc_of_draws(scores[0], times[:100], scores[1], drawn[:100]) == pytest.approx(draws)
    auroc = found["all"]["auroc"]
    assert auroc["low"] < roc_auc_score(truth, score) == auroc["value"] < auroc["high"]


def test_ships_refused_where_nine_ood_chips_of_ten_are() -> None:
    ships = marked(said([0] * 4, score=[0.5, 1.9, 2.0, 3.0], refused=[3]), [0, 0, 0, 2])
    found = ood_figures(ships, {"sea": said([0] * 10, score=list(range(1, 11)))}, 0).plain()
    # 2 to 10 are nine of ten: so 2 is refused, and two ships of four with it.
    assert found["all"]["ships_refused_at_90"]["value"] == 0.5
    assert found["all"]["ships_refused"]["value"] == 0.25


def test_ships_are_resampled_whole() -> None:
    values = np.tile([1, 1, 1, 0], 25)
    each_its_own = mean_by_ship(values, [str(i) for i in range(100)], 0)
    ten_ships = mean_by_ship(values, [str(i % 4 + 4 * (i % 3)) for i in range(100)], 0)
    assert each_its_own.value == ten_ships.value == 0.75
    width = [figure.high - figure.low for figure in (each_its_own, ten_ships)]
    # By chips: 2 * 1.96 * sqrt(0.75 * 0.25 / 100) = 0.17.
    assert width[0] == pytest.approx(0.17, abs=0.03)
    assert width[1] > 2 * width[0]


def test_the_floor_is_the_ece_of_a_model_without_fault() -> None:
    # Two answers at 0.5: none, one or both right with 1/4, 1/2, 1/4; mean |right - 1| / 2 = 1/4.
    assert calibration_floor(np.array([0.5, 0.5])) == pytest.approx(0.25)
    # In bins of their own: |right - 0.5| is 0.5 always; |right - 0.9| is 0.9 * 0.1 + 0.1 * 0.9.
    assert calibration_floor(np.array([0.5, 0.9])) == pytest.approx((0.5 + 0.18) / 2)
    assert calibration_floor(np.ones(7)) == 0.0


def test_the_floor_is_the_mean_over_draws_of_what_a_faultless_model_gets_right() -> None:
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.4, 1.0, 60)
    probs = np.stack([confidence, 1 - confidence], axis=1)
    probs[:, 1] = np.minimum(probs[:, 1], probs[:, 0] / 2)  # the first is the answer
    drawn_right = rng.random((2000, 60)) < confidence
    ece = [expected_calibration_error(probs, (~right).astype(np.int64)) for right in drawn_right]
    assert calibration_floor(confidence) == pytest.approx(np.mean(ece), abs=0.003)


def test_bins_go_through_a_card_and_come_back() -> None:
    probs = np.array([[0.95, 0.05], [0.97, 0.03], [0.45, 0.55]])
    bins = reliability_bins(probs, np.array([0, 1, 1])).plain()
    record = json.loads(json.dumps(bins, allow_nan=False))
    assert record["answers"] == [0, 0, 0, 0, 0, 1, 0, 0, 0, 2]
    assert record["accuracy"][9] == 0.5
    assert record["accuracy"][0] is None
    table = reliability_of(ReliabilityBins.model_validate(record))
    assert table.confidence[9] == pytest.approx(0.96)
    assert np.isnan(table.confidence[0])


def test_the_figures_are_plain_values_and_repeat_themselves() -> None:
    others = {"sea": said([0] * 3, score=[3, 4, 5])}
    one, two = (measure(marked(said(SAID), TRUTH), records(*SOURCES), others, 7) for _ in range(2))
    assert one == two
    written = json.loads(json.dumps(one.plain(), allow_nan=False))
    assert written == one.plain()
    assert ModelFigures.model_validate(written) == one


def test_a_smaller_file_loses_what_it_gets_wrong() -> None:
    whole, less = list(TRUTH), list(TRUTH)
    less[4] = TANKER  # one Cargo of opensarship: Cargo 0; Tanker 2/3; of the pooled: 2/3, 4/5
    found = macro_f1_loss(
        marked(said(less), TRUTH), marked(said(whole), TRUTH), records(*SOURCES), 0
    ).plain()
    assert found["sources"]["fusar"]["value"] == 0.0
    assert found["sources"]["opensarship"]["value"] == pytest.approx(1 - (0 + 2 / 3) / 2)
    assert found["pooled"]["value"] == pytest.approx(1 - (2 / 3 + 4 / 5) / 2)
