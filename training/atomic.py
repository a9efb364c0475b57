"""Atomic writes of tensors, and the name of a run's folder until it is complete.

Text is written by shipchip.atomic.
"""

from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor


def unfinished_path(path: Path) -> Path:
    """The path of a file or folder until it is complete."""
    return path.with_name(f"{path.name}.half")


def write_tensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write tensors as safetensors, each in contiguous order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = unfinished_path(path)
    contiguous = {name: value.contiguous() for name, value in tensors.items()}
    save_file(contiguous, temporary, dict(metadata or {}))
    temporary.replace(path)
