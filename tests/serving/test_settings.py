"""SHIPCHIP_* variables: defaults that are safe, and values that do not fit."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from serving.settings import Settings
from shipchip import DecodeLimits
from tests.serving.server import ROOT


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting from outside, and a working directory that must not matter."""
    for name in Settings.model_fields:
        monkeypatch.delenv(f"SHIPCHIP_{name.upper()}", raising=False)
    monkeypatch.chdir(tmp_path)


def test_the_default_model_is_the_one_beside_the_code() -> None:
    assert Settings().model == ROOT / "models" / "ship.onnx"


def test_a_relative_model_counts_from_the_project_not_from_where_one_stands(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SHIPCHIP_MODEL", "models/other.onnx")
    assert Settings().model == ROOT / "models" / "other.onnx"


def test_an_absolute_model_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHIPCHIP_MODEL", "/srv/ship.onnx")
    assert Settings().model == Path("/srv/ship.onnx")


def test_chips_are_held_to_the_library_s_limits_unless_set() -> None:
    assert Settings().decode_limits() == DecodeLimits()
    assert Settings(max_pixels=100).decode_limits().max_pixels == 100


@pytest.mark.parametrize(
    ("name", "value"),
    [("device", "tpu"), ("batch_size", "0"), ("timeout_s", "0"), ("max_files", "many")],
)
def test_a_value_that_does_not_fit_stops_the_start(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"SHIPCHIP_{name.upper()}", value)
    with pytest.raises(ValidationError, match=name):
        Settings()


def test_every_setting_says_what_it_means() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []
