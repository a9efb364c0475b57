"""Atomic writes: a file appears complete or not at all, even if the process is killed."""

from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor


def temporary_of(path: Path) -> Path:
    """The path of a file or folder until it is complete."""
    return path.with_name(f"{path.name}.half")


def write_text(path: Path, content: str) -> None:
    """Write UTF-8 text; an older file of that name stays until the new one is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_of(path)
    temporary.write_text(content, encoding="utf-8")
    temporary.replace(path)


def write_tensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write tensors as safetensors, each in contiguous order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_of(path)
    contiguous = {name: value.contiguous() for name, value in tensors.items()}
    save_file(contiguous, temporary, dict(metadata or {}))
    temporary.replace(path)
