"""A pickle is a program: nothing loads one, nor runs text as code, and what holds one is refused.

The first half reads the code of every package; the second tries files whose pickle would leave a
mark.
"""

import ast
import io
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shipchip import decode
from shipchip.errors import UnsupportedFormat

ROOT = Path(__file__).parent.parent
PACKAGES = ("shipchip", "serving", "training", "benchmarks")
FILES = sorted(file for package in PACKAGES for file in (ROOT / package).rglob("*.py"))

# Modules that unpickle, or turn bytes into code. `pickle` is let in for its exceptions alone.
LOADERS = {"cPickle", "_pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
CALLS = {
    "eval",
    "exec",
    "compile",
    "__import__",
    "os.system",
    "os.popen",
    "yaml.load",
    "yaml.full_load",
    "yaml.unsafe_load",
    "yaml.load_all",
    "pandas.read_pickle",
    "torch.hub.load",
    "torch.jit.load",
}
PICKLE_NAMES = {"pickle.UnpicklingError", "pickle.PicklingError", "pickle.PickleError"}


def faults(code: str) -> Iterator[str]:
    """What in a module's code could run a file's content as a program."""
    tree = ast.parse(code)
    full = dict(imported(tree))
    yield from (f"import of {name}" for name in full.values() if forbidden_import(name))
    for node in ast.walk(tree):
        match node:
            case ast.Attribute():
                name = spelled(node, full)
                if name.startswith("pickle.") and name not in PICKLE_NAMES:
                    yield name
            case ast.Call(func=func, keywords=keywords):
                given = {k.arg: ast.unparse(k.value) for k in keywords}
                yield from call_faults(spelled(func, full), given)


def imported(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Every name that an import gives, and what it stands for."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                for alias in names:
                    top = alias.name.partition(".")[0]
                    yield (alias.asname, alias.name) if alias.asname else (top, top)
            case ast.ImportFrom(module=str(module), names=names):
                for alias in names:
                    yield alias.asname or alias.name, f"{module}.{alias.name}"


def forbidden_import(name: str) -> bool:
    top = name.partition(".")[0]
    return top in LOADERS or (name.startswith("pickle.") and name not in PICKLE_NAMES)


def call_faults(name: str, given: dict[str | None, str]) -> Iterator[str]:
    if name in CALLS:
        yield name
    if name == "torch.load" and given.get("weights_only") != "True":
        yield "torch.load without weights_only=True"
    if given.get("allow_pickle", "False") != "False" or given.get("shell", "False") != "False":
        yield f"{name} with allow_pickle or shell"
    if name in ("numpy.load", "numpy.lib.format.read_array") and "allow_pickle" not in given:
        yield f"{name} without allow_pickle=False"


def spelled(node: ast.AST, full: dict[str, str]) -> str:
    """The dotted name of an expression, by its module's own name; "" for anything else."""
    match node:
        case ast.Name(id=name):
            return full.get(name, name)
        case ast.Attribute(value=value, attr=attr):
            return f"{spelled(value, full)}.{attr}"
    return ""


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_no_module_loads_a_pickle_or_runs_text(file: Path) -> None:
    assert list(faults(file.read_text(encoding="utf-8"))) == []


def test_every_package_is_looked_through() -> None:
    assert {file.relative_to(ROOT).parts[0] for file in FILES} == set(PACKAGES)
    assert len(FILES) > 80


@pytest.mark.parametrize(
    "line",
    [
        "import pickle; pickle.load(file)",
        "import pickle; pickle.loads(data)",
        "import pickle as p; p.Unpickler(file).load()",
        "from pickle import loads",
        "import joblib",
        "def f():\n    g(path)\n    from numpy import load as g",
        "from torch import load; load(path)",
        "from yaml import load; load(text)",
        "from joblib import load",
        "import dill",
        "import torch; torch.load(path)",
        "import torch; torch.load(path, weights_only=False)",
        "import torch; torch.load(path, weights_only=flag)",
        "import numpy as np; np.load(path)",
        "import numpy as np; np.load(path, allow_pickle=True)",
        "import numpy; numpy.load(path, allow_pickle=flag)",
        "import yaml; yaml.load(text, Loader=yaml.Loader)",
        "import yaml; yaml.unsafe_load(text)",
        "eval(text)",
        "exec(text)",
        "import subprocess; subprocess.run(text, shell=True)",
    ],
)
def test_each_way_would_be_found(line: str) -> None:
    assert list(faults(line))


@pytest.mark.parametrize(
    "line",
    [
        "import torch; torch.load(path, map_location='cpu', weights_only=True)",
        "import numpy as np; np.load(path, mmap_mode='r', allow_pickle=False)",
        "import pickle\ntry:\n    pass\nexcept pickle.UnpicklingError:\n    pass",
        "import yaml; yaml.safe_load(text)",
        "model.eval()",
        "import re; re.compile(text)",
    ],
)
def test_what_is_harmless_is_let_be(line: str) -> None:
    assert list(faults(line)) == []


class Attack:
    """Unpickling it makes a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


@pytest.fixture
def mark(tmp_path: Path) -> Iterator[Path]:
    """The file that an attack would make; it must not be there at the end."""
    path = tmp_path / "mark"
    pickle.loads(pickle.dumps(Attack(path)))
    assert path.exists(), "the attack would not have worked"
    path.unlink()
    yield path
    assert not path.exists(), "the pickle was run"


def test_an_npy_of_objects_is_refused(mark: Path) -> None:
    objects = np.full((16, 16), None, dtype=object)
    objects[0, 0] = Attack(mark)
    file = io.BytesIO()
    np.save(file, objects, allow_pickle=True)
    mark.unlink(missing_ok=True)
    with pytest.raises(UnsupportedFormat):
        decode(file.getvalue())


def test_a_pickle_is_no_chip(mark: Path) -> None:
    with pytest.raises(UnsupportedFormat):
        decode(pickle.dumps(Attack(mark)))


@pytest.mark.parametrize("plain", [True, False], ids=["pickle", "torch zip"])
def test_weights_that_hold_a_pickle_are_refused(mark: Path, tmp_path: Path, plain: bool) -> None:
    import torch  # noqa: PLC0415  (slow to import, and needed by these alone)

    from training.errors import WeightsInvalid  # noqa: PLC0415
    from training.network.weight_files import read_weight_file  # noqa: PLC0415

    path = tmp_path / "weights.pth"
    if plain:
        path.write_bytes(pickle.dumps(Attack(mark), protocol=2))
    else:
        torch.save({"features.0.weight": Attack(mark)}, path)
    with pytest.raises(WeightsInvalid):
        read_weight_file(path)


def test_a_checkpoint_that_holds_a_pickle_is_refused(mark: Path, tmp_path: Path) -> None:
    import torch  # noqa: PLC0415

    from training.errors import DataInvalid  # noqa: PLC0415
    from training.fit.checkpoint import Checkpoint  # noqa: PLC0415

    path = tmp_path / "stage.pt"
    torch.save({"identity": "a", "history": Attack(mark)}, path)
    with pytest.raises(DataInvalid):
        Checkpoint(path, "a").load()
