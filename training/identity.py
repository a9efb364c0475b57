"""Where a result comes from: the code and machine that made it, and the run folder that holds it.

The commit identifies the code. If a file of `shipchip` or `training` differs from the commit
("+changed"), or there is no checkout (an installed wheel, an image), a hash of the sources of both
packages is added, so other code never has the same name.

A run folder belongs to one process at a time, and to the code that began it. A killed run continues
only with the same code, the same torch and as many processes on the same kind of device. The folder
records what has run in it; anything that differs is refused, unless the user accepts it, and the
card then names all of them.
"""

import fcntl
import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from shipchip import __version__
from shipchip.atomic import write_text
from training.errors import RunBusy, RunChanged
from training.fit.processes import ALONE, Team
from training.network.models import device_of_choice

_PACKAGES = ("shipchip", "training")

Maker = dict[str, str]


def code_of(root: Path) -> str:
    """The identity of the code of both packages in the folder `root`; see above."""
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
    """The identity of `code_of` with the commit cut to twelve digits."""
    commit, plus, rest = code.partition("+")
    return f"{commit[:12]}{plus}{rest}"


def made_by(team: Team) -> Maker:
    """The code and machine that train now: what changes results besides config and data."""
    return {
        "code": CODE,
        "torch": torch.__version__,
        "device": device_of_choice().type,
        "processes": str(team.size),
    }


def identity(content: Mapping[str, object]) -> str:
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
    """The machine of a run in words: device, threads, versions."""
    device = (
        torch.cuda.get_device_name() if torch.cuda.is_available() else f"{platform.machine()} CPU"
    )
    return (
        f"{device}, {torch.get_num_threads()} threads, torch {torch.__version__}, "
        f"Python {platform.python_version()}"
    )


_RECORD = "run.json"


@contextmanager
def locked(folder: Path, team: Team = ALONE) -> Iterator[None]:
    """Lock `folder`, which is created if missing; RunBusy if another process holds it.

    The lock is on the folder itself, follows it when it is renamed, and ends with the process.
    """
    with ExitStack() as stack:
        team.agree(lambda: _lock(folder, stack))
        yield


def _lock(folder: Path, stack: ExitStack) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    stack.callback(os.close, descriptor)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise RunBusy(
            f"another process is at work in {folder}; wait until it has ended, or end it"
        ) from error


def makers_of(folder: Path) -> list[Maker]:
    """What has trained in `folder`, in order; RunChanged if a run in it has no record."""
    path = folder / _RECORD
    if not path.exists() and not (folder / "config.json").exists():
        return []
    try:
        makers: list[Maker] = json.loads(path.read_text(encoding="utf-8"))["made_by"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunChanged(
            f"{folder} does not say which code began it (no usable {_RECORD}); delete the folder "
            "to start anew"
        ) from error
    return makers


def write_makers(folder: Path, makers: list[Maker]) -> None:
    """Record what has trained in `folder`."""
    write_text(folder / _RECORD, json.dumps({"made_by": makers}, indent=2))


def accepted_makers(known: list[Maker], now: Maker, folder: Path, accept: bool) -> list[Maker]:
    """`known` with `now` appended, unless it is there already.

    known   what has run in `folder` so far, in order
    accept  whether other code, torch, device or number of processes may continue
    Raises RunChanged, which names what differs, if it may not.
    """
    if now in known:
        return known
    if known and not accept:
        last = known[-1]
        differs = ", ".join(
            f"{key} {short(last.get(key, 'unknown'))} (now {short(value)})"
            for key, value in now.items()
            if last.get(key) != value
        )
        raise RunChanged(
            f"{folder} was made with {differs}; go back to that, delete the folder to start anew, "
            "or add --accept-changes, which the result will record"
        )
    return [*known, now]
