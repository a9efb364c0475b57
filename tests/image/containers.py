"""The image in a container that tests run commands in, on the host's network.

SHIPCHIP_BUILD_IMAGE says who builds, as for `make image`: `docker`, `buildah`, or a program that
leaves the image with buildah, for machines without a container engine.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

# How buildah works where it may not do what a container engine does.
CHROOT = {"STORAGE_DRIVER": "vfs", "BUILDAH_ISOLATION": "chroot"}
_ITS_OWN = "buildah-chroot-exec"  # becomes the command's parent, and has its words, too

Done = subprocess.CompletedProcess[str]
Started = subprocess.Popen[bytes]

# Run where the processes are: exactly one has the word in its command line, and gets the signal.
_KILL = """
import sys, psutil
word, number = sys.argv[1:]
def has(process):
    return word in [part.rsplit("/")[-1] for part in process.cmdline()]
others = [p for p in psutil.process_iter() if p.pid != psutil.Process().pid]
(found,) = [p for p in others if has(p)]
found.send_signal(int(number))
"""


class Docker:
    """A container a command, with a read-only root and /tmp as tmpfs."""

    def __init__(self, image: str) -> None:
        self.image = image
        self.ids: dict[int, Path] = {}  # by the process id of what was started

    def remove(self) -> None:
        """The image; its containers went when they ended."""
        _said(["docker", "rmi", self.image])

    def config(self) -> dict[str, Any]:
        """What the image says of itself: User, Labels, Healthcheck, Env and the like."""
        config: dict[str, Any] = json.loads(_said(["docker", "image", "inspect", self.image]))[0]
        return config["Config"]

    def run(self, command: Sequence[str], **env: object) -> Done:
        """A command as the image's user, in its working directory, past its entry point."""
        words = [*self._words(env), "--entrypoint", command[0], self.image, *command[1:]]
        return subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)

    def start(self, log: Path, **env: object) -> Started:
        """The entry point and the command of the image, as they are."""
        id_file = log.with_suffix(".id")
        with log.open("wb") as file:
            words = [*self._words(env), "--cidfile", str(id_file), self.image]
            started = subprocess.Popen(words, stdout=file, stderr=subprocess.STDOUT)
        self.ids[started.pid] = id_file
        return started

    def kill(self, started: Started, word: str, number: signal.Signals) -> None:
        """Signal the process of what was started that has a word in its command line."""
        self._exec(started, "python", "-c", _KILL, word, str(int(number)))

    def stop(self, started: Started) -> None:
        """Whatever state it is in."""
        if started.poll() is None:
            _said(["docker", "rm", "--force", self.ids[started.pid].read_text()])

    def written(self, since: float) -> list[str] | None:
        """None: the root is read-only, so nothing was written outside /tmp."""
        del since
        return None

    def tmp(self, started: Started) -> list[str]:
        """The names in /tmp of what was started."""
        return self._exec(started, "ls", "-A", "/tmp").split()

    def _exec(self, started: Started, *words: str) -> str:
        return _said(["docker", "exec", self.ids[started.pid].read_text(), *words])

    def _words(self, env: Mapping[str, object]) -> list[str]:
        given = [word for name, value in env.items() for word in ("--env", f"{name}={value}")]
        held = ["--rm", "--read-only", "--tmpfs", "/tmp", "--network", "host"]
        return ["docker", "run", *held, *given]


class Buildah:
    """One working container for all commands, in a chroot that is read and write."""

    def __init__(self, image: str) -> None:
        self.image = image
        self.env = {**os.environ, **CHROOT}
        self.name = self._said("from", "--pull-never", image).strip()

    def remove(self) -> None:
        """The container and the image."""
        self._said("rm", self.name)
        self._said("rmi", self.image)

    def config(self) -> dict[str, Any]:
        """What the image says of itself, as docker tells it."""
        config: dict[str, Any] = json.loads(self._said("inspect", "--type", "image", self.image))
        return config["Docker"]["config"]

    def run(self, command: Sequence[str], **env: object) -> Done:
        """A command as the image's user, in its working directory."""
        words, pipe = self._words(command, env), subprocess.PIPE
        with subprocess.Popen(words, env=self.env, stdout=pipe, stderr=pipe, text=True) as started:
            try:
                out, err = started.communicate(timeout=60)
            finally:
                self.stop(started)
        return Done(words, started.returncode, out, err)

    def start(self, log: Path, **env: object) -> Started:
        """The entry point and the command of the image, which buildah itself leaves to others."""
        config = self.config()
        words = self._words([*config["Entrypoint"], *config["Cmd"]], env)
        with log.open("wb") as file:
            return subprocess.Popen(words, env=self.env, stdout=file, stderr=subprocess.STDOUT)

    def kill(self, started: Started, word: str, number: signal.Signals) -> None:
        """Signal the process below what was started that has a word in its command line."""
        below = psutil.Process(started.pid).children(recursive=True)
        (found,) = [p for p in below if word in _words_of(p) and _words_of(p)[0] != _ITS_OWN]
        found.send_signal(number)

    def stop(self, started: Started | subprocess.Popen[str]) -> None:
        """Whatever state it is in; buildah would leave what it runs behind."""
        if started.poll() is None:
            for process in psutil.Process(started.pid).children(recursive=True):
                process.kill()
            started.kill()

    def written(self, since: float) -> list[str] | None:
        """Files outside /tmp that were written at or after a time (seconds since the epoch)."""
        root = Path(self._said("mount", self.name).strip())
        return [
            str(path)
            for path in root.rglob("*")
            if root / "tmp" not in path.parents
            and not path.is_dir()
            and path.lstat().st_mtime >= since
            and path != root / "run" / ".containerenv"  # buildah's own
        ]

    def tmp(self, started: Started) -> list[str]:
        """The names in /tmp, which is one for all that are started."""
        del started
        return self.run(["ls", "-A", "/tmp"]).stdout.split()

    def _words(self, command: Sequence[str], env: Mapping[str, object]) -> list[str]:
        given = [word for name, value in env.items() for word in ("--env", f"{name}={value}")]
        return ["buildah", "run", *given, self.name, "--", *command]

    def _said(self, *words: str) -> str:
        return _said(["buildah", *words], self.env)


def _words_of(process: psutil.Process) -> list[str]:
    return [Path(word).name for word in process.cmdline()]


Container = Docker | Buildah


def container_of(builder: str, image: str) -> Container:
    """The way to run what `builder` built."""
    return Docker(image) if builder == "docker" else Buildah(image)


def _said(words: Sequence[str], env: Mapping[str, str] | None = None) -> str:
    done = subprocess.run(words, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.stderr.write(done.stderr)
    done.check_returncode()
    return done.stdout
