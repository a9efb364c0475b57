"""`--set KEY=VALUE` changes one key of a config, as if it stood in the file."""

from pathlib import Path

import pytest

from training.config import RECIPE, RunConfig, read_config, simulated_config, with_keys
from training.errors import ConfigInvalid
from training.matrix.config import MatrixConfig
from training.run import main


def test_a_key_at_any_depth_is_changed_and_nothing_else() -> None:
    config = with_keys(RECIPE, ["stages.0.epochs=5", "split.seed=3", "model.width=0.5"])
    assert (config.stages[0].epochs, config.split.seed, config.model.width) == (5, 3, 0.5)
    assert with_keys(config, ["stages.0.epochs=1", "split.seed=12", "model.width=1"]) == RECIPE


def test_values_are_json_or_text() -> None:
    config = with_keys(
        simulated_config(smoke=True),
        [
            "pretrain=null",
            'stages.1.sources=["a*", "b"]',
            "stages.1.name=second",
            "augment.flip=false",
        ],
    )
    assert config.pretrain is None
    assert config.stages[1].sources == ("a*", "b")
    assert config.stages[1].name == "second"
    assert config.augment.flip is False


def test_the_last_of_equal_keys_counts() -> None:
    assert with_keys(RECIPE, ["seed=1", "seed=2"]).seed == 2


def test_it_is_the_same_as_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text('[imbalance]\nloss = "focal"\nsampling = "natural"\n')
    set_here = with_keys(RECIPE, ["imbalance.loss=focal", "imbalance.sampling=natural"])
    assert set_here == read_config(file, RunConfig, RECIPE)


def test_a_loss_asks_for_its_sampling_as_in_a_file() -> None:
    with pytest.raises(ConfigInvalid, match="give `sampling` as well"):
        with_keys(RECIPE, ["imbalance.loss=focal"])


def test_the_config_of_the_matrix_has_keys_too() -> None:
    assert with_keys(MatrixConfig(), ["run.batch_size=8"]).run.batch_size == 8


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("seed", "takes KEY=VALUE, such as seed=1; found 'seed'"),
        ("sead=1", "no key is named 'sead'; did you mean 'seed'?"),
        ("model.depth=3", "no key is named 'depth'.* There are name, width, pooled, dropout"),
        ("stages.9.epochs=1", "'9' is no place in a list of 3; expected 0 to 2"),
        ("stages.first.epochs=1", "'first' is no place in a list"),
        ("seed.low=1", "there are no keys below 0; leave 'low' out"),
        ("stages.0.epochs=many", "'stages.0.epochs': Input should be a valid integer"),
        ("seed=-1", "'seed': Input should be greater than or equal to 0"),
    ],
)
def test_what_cannot_be_set_is_reported(assignment: str, message: str) -> None:
    with pytest.raises(ConfigInvalid, match=message):
        with_keys(RECIPE, [assignment])


def test_a_command_refuses_it_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--simulated", "--smoke", "--set", "sead=1"]) == 1
    assert "config_invalid: --set sead: no key is named 'sead'" in capsys.readouterr().err
