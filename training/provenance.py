"""Where a result comes from: the commit of this code, and hashes that tell runs apart."""

import hashlib
import json
import platform
import subprocess
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


def _git_commit() -> str:
    """The commit of this code, or "unknown" outside a checkout."""
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()


# Asked when the code is loaded, not at the end of a long run: this is the code that runs.
GIT_COMMIT = _git_commit()


def identity(content: dict[str, Any]) -> str:
    """Twelve hexadecimal digits of the SHA-256 of a JSON object, whatever the order of its keys."""
    text = json.dumps(content, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def weights_sha256(state: dict[str, Tensor]) -> str:
    """SHA-256 over names and bytes of all tensors, in the order of their names."""
    digest = hashlib.sha256()
    for name in sorted(state):
        digest.update(name.encode())
        digest.update(state[name].detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def machine() -> str:
    """Where a run ran, in a few words: device, threads, versions."""
    device = (
        torch.cuda.get_device_name() if torch.cuda.is_available() else f"{platform.machine()} CPU"
    )
    return (
        f"{device}, {torch.get_num_threads()} threads, torch {torch.__version__}, "
        f"Python {platform.python_version()}"
    )
