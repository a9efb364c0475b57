"""Serve and classify with nothing installed but `.[cpu,serve]`: python -m tests.deploy.smoke

For environments without the tests' own tools, so it takes the standard library and the packages of
serving alone. Exit status 0 after a line with the answer, else 1 after what went wrong.
"""

import importlib
import importlib.util
import io
import os
import pkgutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import numpy as np

import serving
import shipchip
from shipchip.client import Answer, Client
from shipchip.errors import ServiceError

ROOT = Path(__file__).parent.parent.parent
START_SECONDS = 60
# Packages of other extras: with one of them this would show nothing.
FOREIGN = ("torch", "onnx", "sklearn", "pandas", "matplotlib", "pyarrow", "ray", "pytest")
# Modules that are imported only where their extra is asked for.
OPTIONAL = {"serving.batch.ray_cluster"}  # ray


def main() -> None:
    """Import everything, serve, classify."""
    there = [name for name in FOREIGN if importlib.util.find_spec(name)]
    if there:
        sys.exit(
            f"{', '.join(there)} installed, so this shows nothing; expected .[cpu,serve] alone"
        )
    answer = ask()
    sys.stdout.write(f"{import_everything()} modules; a chip is {answer.label}\n")


def import_everything() -> int:
    """Import what serving needs: every module but commands and OPTIONAL; how many there are."""
    names = {name for package in (shipchip, serving) for name in _modules(package)} - OPTIONAL
    for name in sorted(names):
        importlib.import_module(name)
    return len(names)


def ask() -> Answer:
    """The default model's answer for a chip, over HTTP, from a service of its own."""
    sea = np.random.default_rng(0).gamma(3, 20, (64, 64)).astype(np.uint8)
    sea[28:34, 16:48] = 250
    chip = io.BytesIO()
    np.save(chip, sea, allow_pickle=False)
    with _service() as client:
        (answer,) = client.classify([chip.getvalue()], pixel_spacing_m=10)
    if not isinstance(answer, Answer) or answer.label not in answer.probabilities:
        sys.exit(f"no answer: {answer}")
    return answer


def _modules(package: ModuleType) -> list[str]:
    found = pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    return [module.name for module in found if not module.name.endswith("__main__")]


@contextmanager
def _service() -> Iterator[Client]:
    """`bentoml serve` on a free port, ready; ended at the end of the block."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "bentoml", "serve", ".", "--host", "127.0.0.1"]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SHIPCHIP_")}
    environment = {**kept, "BENTOML_DO_NOT_TRACK": "True", "SHIPCHIP_DEVICE": "cpu"}
    command += ["--port", str(port)]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=sys.stderr
    ) as process:
        try:
            with Client(f"http://127.0.0.1:{port}", tries=1) as client:
                _wait(client, process)
                yield client
        finally:
            process.terminate()


def _wait(client: Client, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            client.model()
        except ServiceError:
            time.sleep(0.2)
        else:
            return
    sys.exit("the service did not start")


if __name__ == "__main__":
    main()
