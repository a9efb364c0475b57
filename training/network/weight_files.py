"""Reads and writes files of weights: tensors by name, for all common layouts of checkpoints.

Files are read as safetensors, or by torch.load with weights_only=True, so nothing that could run
code is unpickled.
"""

import hashlib
import io
import json
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from shipchip.atomic import replacing
from training.errors import WeightsInvalid

# What torch and safetensors raise on files that are cut, empty or something else.
_UNREADABLE = (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError)
# Where training scripts keep the state dict in a checkpoint, and what wrappers put before names.
_NESTED = ("state_dict", "model_state_dict", "model")
_WRAPPERS = ("module.", "_orig_mod.")  # DataParallel and its kin, torch.compile


@dataclass(frozen=True, eq=False)
class WeightFile:
    """What a file held when it was read.

    metadata  of a safetensors file
    """

    path: Path
    sha256: str
    tensors: dict[str, Tensor]
    metadata: dict[str, str]


def read_weight_file(path: Path) -> WeightFile:
    """Read a file once; WeightsInvalid says what it holds where that is no state dict."""
    try:
        content = path.read_bytes()
        if path.suffix == ".safetensors":
            state: object = safetensors.torch.load(content)
        else:
            state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        reason = str(error).splitlines()[0]
        raise WeightsInvalid(
            f"{path} is not a file of weights ({reason}); expected safetensors, complete, or what "
            "torch.save(network.state_dict(), FILE) writes"
        ) from error
    metadata = _metadata(content) if path.suffix == ".safetensors" else {}
    sha256 = hashlib.sha256(content).hexdigest()
    return WeightFile(path, sha256, _state_dict(state, path), metadata)


def _metadata(content: bytes) -> dict[str, str]:
    """A safetensors file begins with the length of a JSON header, which load does not give."""
    length = int.from_bytes(content[:8], "little")
    found: dict[str, str] = json.loads(content[8 : 8 + length]).get("__metadata__") or {}
    return found


def _state_dict(state: object, path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint by the network's own names."""
    if isinstance(state, Mapping):
        state = next((state[key] for key in _NESTED if isinstance(state.get(key), Mapping)), state)
    if not isinstance(state, Mapping) or not state or not _all_tensors(state):
        raise WeightsInvalid(
            f"{path} holds {_description(state)}, expected a state dict, alone or under one of "
            f"{', '.join(_NESTED)}; write one with torch.save(network.state_dict(), FILE)"
        )
    return {_unwrapped(str(name)): value for name, value in state.items()}


def _all_tensors(state: Mapping[Any, Any]) -> bool:
    return all(isinstance(value, Tensor) for value in state.values())


def _description(state: object) -> str:
    if not isinstance(state, Mapping):
        return f"a {type(state).__name__}"
    keys = ", ".join(str(key) for key in list(state)[:5])
    return f"a mapping with the keys {keys}" if keys else "an empty mapping"


def _unwrapped(name: str) -> str:
    """
    >>> _unwrapped("module._orig_mod.features.0.weight")
    'features.0.weight'
    """
    for wrapper in _WRAPPERS:
        if name.startswith(wrapper):
            return _unwrapped(name.removeprefix(wrapper))
    return name


def write_tensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write tensors as safetensors, each in contiguous order, atomically."""
    contiguous = {name: value.contiguous() for name, value in tensors.items()}
    with replacing(path) as temporary:
        save_file(contiguous, temporary, dict(metadata or {}))
