"""training -> shipchip <- serving, and what serves a model needs nothing of what trains one."""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import shipchip

ROOT = Path(__file__).parent.parent
HEAVY = {"torch", "torchvision", "sklearn", "pandas", "matplotlib", "onnx", "training"}


def modules(package: str) -> list[str]:
    """Dotted names of a package's modules, from its files."""
    files = sorted((ROOT / package).rglob("*.py"))
    names = [file.relative_to(ROOT).with_suffix("").parts for file in files]
    dotted = [".".join(parts[:-1] if parts[-1] == "__init__" else parts) for parts in names]
    return [name for name in dotted if not name.endswith("__main__")]


def test_imports_keep_the_layers() -> None:
    """The contracts are [tool.importlinter] in pyproject.toml."""
    lint = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports())"
    ran = subprocess.run(
        [sys.executable, "-c", lint], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "4 kept, 0 broken" in ran.stdout


@pytest.mark.parametrize(
    ("package", "forbidden"), [("shipchip", HEAVY | {"serving", "bentoml"}), ("serving", HEAVY)]
)
def test_nothing_heavy_is_imported_even_by_way_of_others(package: str, forbidden: set[str]) -> None:
    """Every module of the package, in a fresh interpreter; but for one that `--engine ray` alone
    imports, with an extra of its own: Ray Data brings pandas."""
    names = [name for name in modules(package) if name != "serving.batch.ray_cluster"]
    assert package in names
    script = f"""
import importlib, json, sys
for name in {names!r}:
    importlib.import_module(name)
print(json.dumps(sorted({{name.split(".")[0] for name in sys.modules}})))
"""
    ran = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    loaded = set(json.loads(ran.stdout.splitlines()[-1]))
    assert package in loaded
    assert not loaded & forbidden


def test_only_the_modules_of_the_design_are_packages() -> None:
    """A new top-level package must be added to the contracts, too."""
    skipped = {"tests", "benchmarks", "docs", "build", "dist", "runs"}
    packages = {file.parent.name for file in ROOT.glob("*/__init__.py")} - skipped
    assert packages <= {"shipchip", "training", "serving"}


def test_the_version_is_the_same_where_it_is_installed_and_where_it_is_not() -> None:
    """A container has the sources alone, without what pyproject.toml says of them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert shipchip.__version__ == project["version"]


def test_nothing_is_sent_to_the_maker_of_onnx_runtime(tmp_path: Path) -> None:
    """From 1.29 on it keeps what it will tell in the home and in the temporary folder."""
    script = "from shipchip import ShipClassifier; ShipClassifier('models/ship.onnx')"
    kept = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"}
    env = {**kept, "HOME": str(tmp_path), "TMPDIR": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=env, check=True)
    assert list(tmp_path.iterdir()) == []
