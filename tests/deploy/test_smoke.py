"""The check of an environment with serving alone, which CI runs where there is no pytest."""

import importlib.util
import subprocess
import sys

import pytest

from tests.deploy import smoke
from tests.deploy.manifests import ROOT


@pytest.mark.slow
def test_every_module_of_serving_is_imported_and_a_chip_is_answered() -> None:
    answer = smoke.ask()
    assert answer.ok
    assert set(answer.probabilities) == {"Cargo", "Fishing", "Tanker"}


def test_it_refuses_to_run_where_it_would_show_nothing() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "tests.deploy.smoke"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 1
    assert ", pytest installed, so this shows nothing" in ran.stderr


def test_every_exception_is_a_module() -> None:
    for name in smoke.OPTIONAL:
        assert importlib.util.find_spec(name)


def test_modules_are_found_below_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    monkeypatch.setattr(smoke.importlib, "import_module", seen.append)
    assert smoke.import_everything() == len(seen)
    assert not smoke.OPTIONAL & set(seen)
    assert {"shipchip.decode", "serving.service", "serving.settings"} <= set(seen)
