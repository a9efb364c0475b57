"""models/README.md says what the card inside the file says, and its pictures are drawn from it."""

import hashlib
import io
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from shipchip import ModelCard, ModelError, ShipClassifier
from tests.tiny_model import tiny_card, write_tiny_model
from tests.training.test_figures import marked, metrics, records, said
from training.card.page import CONFUSION, RELIABILITY, card_pictures, model_card
from training.card.record import (
    MEASURED,
    RECORD,
    config_of_card,
    figures_of_card,
    training_of_card,
)
from training.card.schema import ModelFigures
from training.config import (
    RECIPE,
    ImbalanceConfig,
    ModelConfig,
    RunConfig,
    StageConfig,
    read_config,
)
from training.errors import ConfigInvalid
from training.evaluation import targets
from training.evaluation.figures import measure
from training.promote import promote_model

DEFAULT_MODEL = Path(__file__).parents[2] / "models" / "ship.onnx"
CONFIG = RunConfig(
    seed=3,
    input=tiny_card().input,
    model=ModelConfig(width=0.25),
    stages=(StageConfig(name="all-at-once", sources=("fusar*", "own"), epochs=2, lr=1e-4),),
)


def counted(**chips: int) -> dict[str, dict[str, int]]:
    return {name: {"train": n, "validation": n // 10, "test": 5} for name, n in chips.items()}


def card(**changes: Any) -> ModelCard:
    training = {
        "sources": {
            "fusar": counted(Cargo=400, Fishing=150, Tanker=40),
            "opensarship": counted(Cargo=110, Fishing=0, Tanker=60),
        },
        "manifest_sha256": "ab" * 32,
        "config": CONFIG.model_dump(mode="json"),
        "git_commit": "c" * 40,
        "seed": 3,
        "protocol": "base then more",
        "pretraining": {"source": "other_sar", "chips": 9, "classes": ["sea/water", "cars/T62"]},
    }
    reported = {"metrics": metrics(), "training": training}
    return tiny_card(**(reported | changes))


def page(reported: ModelCard) -> str:
    return model_card(reported, "f" * 64, 3 * 2**20)


def line_of(text: str, *starts: str) -> list[str]:
    """The cells of the one table row that begins with these."""
    rows = [[c.strip() for c in line.strip("|").split("|")] for line in text.splitlines()]
    (row,) = [row for row in rows if row[: len(starts)] == list(starts) and len(row) > len(starts)]
    return row


def test_the_page_says_the_figures_of_the_card() -> None:
    reported, text = metrics(), page(card())
    figures = line_of(text, "fusar", "4 (4)")[2:]
    assert [figure.split()[0] for figure in figures] == ["0.78", "0.83", "0.75", "0.22"]
    recall = reported["sources"]["fusar"]["by_class_intervals"]["Cargo"]["recall"]
    assert line_of(text, "fusar", "Cargo", "1.00 (0.00 to 1.00)")[3] == (
        f"0.50 ({recall['low']:.2f} to {recall['high']:.2f})"
    )
    assert line_of(text, "OpenSARShip pooled", "4 (4)")[2].startswith("0.73 (")
    # Coverage of Cargo, Fishing, Tanker, and the mean size, over the nine chips.
    assert [cell.split()[0] for cell in line_of(text, "all sources")[1:]] == [
        "50.0%",
        "50.0%",
        "100.0%",
        "1.00",
    ]
    assert line_of(text, "sea", "3")[2].startswith("1.00")
    assert line_of(text, "fusar", "Tanker", "40", "4") == ["fusar", "Tanker", "40", "4", "5"]


HELD_OUT = {
    "Cargo": {"ships": 588, "chips": 1042},
    "Fishing": {"ships": 8, "chips": 180},
    "Tanker": {"ships": 0, "chips": 0},
}


def test_the_page_says_coverage_by_ship_below_coverage_by_chip() -> None:
    ships = ["a", "a", "a", "b"]
    reported = measure(
        marked(said([0, 1, 1, 0]), [0] * 4, ships), records(*["own"] * 4), None, 0
    ).plain()
    text = page(card(metrics=reported))
    assert line_of(text, "all sources")[1].startswith("50.0% (")
    assert line_of(text, "all sources, by ship")[1].startswith("66.7% (")
    assert line_of(text, "own, by ship")[2:4] == ["-", "-"]


def test_the_page_says_how_many_ships_each_set_rests_on_and_where_they_are_too_few() -> None:
    trust = tiny_card().trust.model_copy(update={"quantiles": (0.75, 1.0, 1.0)})
    text = page(card(trust=trust, training=card().training | {"held_out": HELD_OUT}))
    assert "With fewer than 9 ships of a class" in text
    assert line_of(text, "Cargo", "588") == ["Cargo", "588", "1042", "0.250", ""]
    assert line_of(text, "Fishing", "8")[-1] == "in every set: too few held-out ships"
    assert line_of(text, "Tanker", "0")[-1] == "in every set: no held-out chip"


def test_the_page_of_an_earlier_card_says_that_its_sets_count_chips() -> None:
    assert "does not say how many ships were held out to fit the sets" in page(card())


def test_the_page_of_an_int8_file_says_whose_trust_it_uses() -> None:
    record = {"of": "e" * 64, "metrics": MEASURED}
    text = page(card(training=card().training | {"quantisation": record}))
    assert f"made from the fp32 file of sha256 `{'e' * 64}`" in text
    assert "fitted on the answers of the fp32 file" in text
    assert "int8 file, made from" not in page(card())


def test_the_page_says_what_was_met_and_missed() -> None:
    text = page(card())
    for row in targets.rows(ModelFigures.model_validate(metrics()), 3 * 2**20):
        cells = line_of(text, row.what.replace("*", "\\*"), row.value())
        assert cells[2] == row.interval()
        assert cells[4] == row.verdict
    assert line_of(text, "chips a second")[-1] == "run `evaluate`"


def test_a_floor_stands_beside_each_ece() -> None:
    text = page(card())
    for name, score in metrics()["sources"].items():
        ece = f"{score['headline']['ece']['value']:.2f}"
        (row,) = [r for r in text.splitlines() if re.match(rf"\| {name} \| {ece} \(", r)]
        assert row.endswith(f"| {score['ece_floor']:.2f} |")


def test_what_was_learnt_before_is_said_of_ood_chips() -> None:
    assert "so these kinds may have been seen before: sea" in page(card())
    reported = card(training=card().training | {"ood_learnt": ["sea"]})
    assert "so these kinds were seen before, though not as ships: sea" in page(reported)
    plain = card(training=card().training | {"pretraining": None})
    assert "seen before" not in page(plain)
    without = card(metrics=metrics() | {"out_of_distribution": None})
    assert "how many the file refuses is unknown" in page(without)


def test_a_class_of_one_source_is_reported_as_a_limit() -> None:
    text = page(card())
    assert "- Fishing was learnt from 165 chips of fusar only. On other" in text
    assert "- Tanker was learnt from 44 chips of fusar, 66 chips of opensarship.\n" in text


def test_the_config_on_the_page_is_the_one_it_was_trained_with(tmp_path: Path) -> None:
    (toml,) = re.findall(r"```toml\n(.*?)```", page(card()), re.DOTALL)
    (tmp_path / "like.toml").write_text(toml)
    assert read_config(tmp_path / "like.toml", RunConfig, RECIPE) == CONFIG
    assert "--data DIR --config like.toml --pretrain OTHER_SAR" in page(card())
    assert "```\nmake dev " in page(card())  # the environment, without ten minutes of tests
    usual = RECIPE.model_copy(update={"input": tiny_card().input}).model_dump(mode="json")
    plain = card(training=card().training | {"config": usual, "pretraining": None})
    assert "model.width" not in page(plain)
    assert "--pretrain OTHER_SAR" not in page(plain)


@pytest.mark.parametrize("sampling", ["natural", "square_root"])
def test_a_config_of_another_loss_is_read_from_the_page(sampling: str, tmp_path: Path) -> None:
    imbalance = ImbalanceConfig.model_validate({"loss": "focal", "sampling": sampling})
    config = CONFIG.model_copy(update={"imbalance": imbalance})
    reported = card(training=card().training | {"config": config.model_dump(mode="json")})
    (toml,) = re.findall(r"```toml\n(.*?)```", page(reported), re.DOTALL)
    (tmp_path / "like.toml").write_text(toml)
    assert read_config(tmp_path / "like.toml", RunConfig, RECIPE) == config


def test_every_code_that_trained_is_named() -> None:
    assert f"commit `{'c' * 12}`, manifest" in page(card())
    codes = ["a" * 40, "a" * 40, f"{'b' * 40}+changed.1234567890ab"]
    makers = {"made_by": [{"code": code, "torch": str(n)} for n, code in enumerate(codes)]}
    reported = f"commit `{'a' * 12}`, then `{'b' * 12}+changed.1234567890ab`, manifest"
    assert reported in page(card(training=card().training | makers))


def test_a_card_from_before_vgg16_had_a_plain_form_means_the_batch_normalised_one() -> None:
    named = {"model": {"name": "vgg16", "width": 0.25}}
    older = card().training | {"config": named}
    assert config_of_card(card(training=older)).model.name == "vgg16_bn"
    newer = older | {"record": RECORD}
    assert config_of_card(card(training=newer)).model.name == "vgg16"


def test_published_weights_are_named_with_their_makers() -> None:
    record = {"source": "imagenet", "weights": "VGG16_Weights.X", "origin": "the Group (CC BY 4.0)"}
    text = page(card(training=card().training | {"pretraining": record}))
    assert "Training began with `VGG16_Weights.X`, by the Group (CC BY 4.0).\n" in text


def test_experts_bring_a_limit_of_their_own() -> None:
    assert "how the scene was scaled" not in page(card())
    content = card().training["config"] | {"experts": {"share": 0.5}}
    assert "how the scene was scaled" in page(card(training=card().training | {"config": content}))


def test_pictures_are_small_and_drawn_from_the_card() -> None:
    drawn = card_pictures(card())
    assert set(drawn) == {CONFUSION, RELIABILITY}
    for name, png in drawn.items():
        image = Image.open(io.BytesIO(png)).convert("RGB")
        assert len(png) < 60_000, name
        assert image.getpixel((0, 0)) == (255, 255, 255), "paper, so that it reads on dark pages"
    other = metrics()
    other["sources"]["fusar"]["confusion"] = [[2, 0, 0], [0, 1, 0], [0, 0, 1]]
    other["sources"]["fusar"]["reliability"]["accuracy"][7] = 0.1
    changed = card_pictures(card(metrics=other))
    assert all(changed[name] != drawn[name] for name in drawn)


def test_the_card_of_an_earlier_version_is_read_and_loses_nothing() -> None:
    older = ShipClassifier(DEFAULT_MODEL, device="cpu").card
    assert figures_of_card(older).plain() == older.metrics
    assert training_of_card(older).plain() == older.training


def test_figures_that_are_not_as_expected_are_refused() -> None:
    other = metrics()
    other["sources"]["fusar"]["chips"] = "many"
    with pytest.raises(ModelError, match=r"the card of tiny .* has other figures"):
        figures_of_card(card(metrics=other))
    with pytest.raises(ConfigInvalid, match=r"the training record .*'seed'"):
        training_of_card(card(training={"seed": "many"}))


def run_folder(folder: Path, reported: ModelCard) -> Path:
    folder.mkdir()
    write_tiny_model(folder / "ship.onnx", reported)
    return folder


def test_promote_puts_the_page_and_its_pictures_beside_the_file(tmp_path: Path) -> None:
    run, models = run_folder(tmp_path / "run", card()), tmp_path / "models"
    promote_model(run, models)
    assert {path.name for path in models.iterdir()} == {
        "README.md",
        "ship.onnx",
        "ship.onnx.sha256",
        CONFUSION,
        RELIABILITY,
    }
    ships = ShipClassifier(models / "ship.onnx", device="cpu")
    text = (models / "README.md").read_text()
    assert text == model_card(ships.card, ships.sha256, (models / "ship.onnx").stat().st_size)
    for name in re.findall(r"!\[.*?\]\((.*?)\)", text):
        assert (models / name).read_bytes() == card_pictures(ships.card)[name]


def test_promote_leaves_no_int8_file_of_another_model(tmp_path: Path) -> None:
    models, run = tmp_path / "models", run_folder(tmp_path / "run", card())
    models.mkdir()
    for name, of in {"this": ShipClassifier(run / "ship.onnx").sha256, "other": "e" * 64}.items():
        record = card().training | {"quantisation": {"of": of}}
        write_tiny_model(models / "ship.int8.onnx", card(training=record))
        digest = hashlib.sha256((models / "ship.int8.onnx").read_bytes()).hexdigest()
        (models / "ship.int8.onnx.sha256").write_text(f"{digest}  ship.int8.onnx\n")
        kept = name == "this"
        assert promote_model(run, models) is not kept
        assert (models / "ship.int8.onnx").exists() is kept, name
        assert (models / "ship.int8.onnx.sha256").exists() is kept, name
    (models / "ship.int8.onnx").write_text("damaged")
    assert promote_model(run, models)
    assert not (models / "ship.int8.onnx").exists()


def test_promote_writes_the_sum_that_sha256sum_checks(tmp_path: Path) -> None:
    models = tmp_path / "models"
    for reported in (card(), card(version="1.1")):
        promote_model(run_folder(tmp_path / reported.version, reported), models)
        check = ["sha256sum", "--check", "--strict", "ship.onnx.sha256"]
        done = subprocess.run(check, cwd=models, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (0, "ship.onnx: OK\n"), done.stderr


def test_promote_refuses_a_card_without_figures_and_leaves_the_default_alone(
    tmp_path: Path,
) -> None:
    models = tmp_path / "models"
    for name, message in {"none": {}, "earlier": {"fusar": metrics()["sources"]["fusar"]}}.items():
        with pytest.raises(ModelError, match="has no out_of_distribution, pooled, sets"):
            promote_model(run_folder(tmp_path / name, card(metrics=message)), models)
    assert not models.exists()


def test_promote_refuses_a_file_that_is_too_large(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run", card(terms="x" * (30 * 2**20)))
    with pytest.raises(ModelError, match=r"has 30\.\d MB, expected ≤ 30 MB"):
        promote_model(run, tmp_path / "models")
