"""Where a result comes from: the code and the machine that made it, and hashes of what went in.

What identifies the code is the commit. Where a file of `shipchip` or `training` is not as committed
("+changed") or there is no checkout (an installed wheel, an image) a hash of the sources of both
packages stands beside it, so other code never has the same name.
"""

import hashlib
import json
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from shipchip import __version__
from training.models import device_of_choice
from training.parallel import Team

_PACKAGES = ("shipchip", "training")

Maker = dict[str, str]


def code_of(root: Path) -> str:
    """What identifies the code of both packages in the folder `root`; see above."""
    try:
        commit = _git(root, "rev-parse", "HEAD")
        # An installed package may lie inside somebody else's checkout, which does not track it.
        tracked = _git(root, "ls-files", "--", *_PACKAGES)
        changed = _git(root, "status", "--porcelain", "-uall", "--", *_PACKAGES)
    except (OSError, subprocess.CalledProcessError):
        return f"{__version__}+{_sources(root)}"
    if not tracked:
        return f"{__version__}+{_sources(root)}"
    return f"{commit}+changed.{_sources(root)}" if changed else commit


def _git(root: Path, *words: str) -> str:
    command = ["git", "--no-optional-locks", *words]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _sources(root: Path) -> str:
    """Twelve hexadecimal digits of the SHA-256 of all files of both packages."""
    digest = hashlib.sha256()
    for package in _PACKAGES:
        for path in sorted((root / package).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                content = hashlib.sha256(path.read_bytes()).hexdigest()
                digest.update(f"{path.relative_to(root).as_posix()}\0{content}\n".encode())
    return digest.hexdigest()[:12]


# Asked when the code is loaded, not at the end of a long run: this is the code that runs.
CODE = code_of(Path(__file__).parents[1])


def short(code: str) -> str:
    """What `code_of` says, a commit cut to twelve digits."""
    commit, plus, rest = code.partition("+")
    return f"{commit[:12]}{plus}{rest}"


def made_by(team: Team) -> Maker:
    """What trains now, as far as it decides the digits of a result beside config and data."""
    return {
        "code": CODE,
        "torch": torch.__version__,
        "device": device_of_choice().type,
        "processes": str(team.size),
    }


def identity(content: dict[str, Any]) -> str:
    """Twelve hexadecimal digits of the SHA-256 of a JSON object, whatever the order of its keys."""
    text = json.dumps(content, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def weights_sha256(state: Mapping[str, Tensor]) -> str:
    """SHA-256 over names and bytes of all tensors, in the order of their names."""
    return arrays_sha256(
        {name: value.detach().cpu().contiguous().numpy() for name, value in state.items()}
    )


def arrays_sha256(arrays: Mapping[str, NDArray[Any]]) -> str:
    """SHA-256 over names and bytes of all arrays, in the order of their names."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(name.encode())
        digest.update(arrays[name].tobytes())
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
