"""A pickle is a program: a file that holds one is refused and never run.

Each file here holds a pickle that would leave a mark. In the code, ruff's S rules and banned-api
(pyproject.toml) find what loads a pickle or runs text.
"""

import io
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shipchip import decode
from shipchip.errors import UnsupportedFormat


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
