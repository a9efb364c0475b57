"""training -> shipchip <- serving, and what serves a model needs nothing of what trains one."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

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
    assert "3 kept, 0 broken" in ran.stdout


@pytest.mark.parametrize(
    ("package", "forbidden"), [("shipchip", HEAVY | {"serving", "bentoml"}), ("serving", HEAVY)]
)
def test_nothing_heavy_is_imported_even_by_way_of_others(package: str, forbidden: set[str]) -> None:
    """Every module of the package, in a fresh interpreter; but for one that `--engine ray` alone
    imports, with an extra of its own: Ray Data brings pandas."""
    names = [name for name in modules(package) if name != "serving.batch.cluster"]
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
