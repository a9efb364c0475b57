"""Files that appear whole or not at all, whatever kills the process while they are written."""

from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor


def half_of(path: Path) -> Path:
    """Where a file or a folder is while it is not complete."""
    return path.with_name(f"{path.name}.half")


def write_text(path: Path, content: str) -> None:
    """Write UTF-8 text; an older file of that name stays until the new one is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    half = half_of(path)
    half.write_text(content, encoding="utf-8")
    half.replace(path)


def write_tensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write tensors as safetensors, each in contiguous order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    half = half_of(path)
    contiguous = {name: value.contiguous() for name, value in tensors.items()}
    save_file(contiguous, half, dict(metadata or {}))
    half.replace(path)
