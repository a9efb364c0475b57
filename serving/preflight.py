"""Can this be served? python -m serving.preflight

`bentoml serve` asks it before it starts workers, because a worker that cannot start is started
again for ever. Exit status 0: the model has answered; 1: one line on standard error names the
variable, what it holds and what is wrong with it.
"""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from pydantic import ValidationError

from serving.settings import PROJECT, Settings, misspelt_variables, setting_errors
from shipchip import ModelError, ShipClassifier
from shipchip.errors import ProviderUnavailable

_SECONDS = 300  # more than any model takes to load, on any GPU that still works


class CannotServe(Exception):
    """The message is the line that says why."""


def main() -> int:
    """The command line; returns the exit status."""
    try:
        settings = _settings()
        for hint in misspelt_variables():
            _say(hint)
        _say(check_model(settings))
    except CannotServe as error:
        _say(f"cannot serve: {error}")
        return 1
    return 0


@contextmanager
def cannot_serve_exits() -> Iterator[None]:
    """CannotServe in the block becomes SystemExit (1) after its line."""
    try:
        yield
    except CannotServe as error:
        _say(f"cannot serve: {error}")
        raise SystemExit(1) from error


def settings_or_exit() -> Settings:
    """The settings; SystemExit (1) after the line that says which does not fit."""
    with cannot_serve_exits():
        return _settings()


def model_or_exit() -> None:
    """SystemExit (1) after the line that says why the model cannot be used.

    The model is loaded in a process of its own: the one that watches the workers shall hold no GPU
    memory for as long as it lives, and must outlive a file on which ONNX Runtime crashes.
    """
    command = [sys.executable, "-m", "serving.preflight"]
    try:
        status = subprocess.run(command, cwd=PROJECT, timeout=_SECONDS, check=False).returncode
    except subprocess.TimeoutExpired as error:
        _say(f"cannot serve: the model did not load within {_SECONDS} s")
        raise SystemExit(1) from error
    if status < 0:
        _say(f"cannot serve: loading the model ended by {signal.Signals(-status).name}")
    if status:
        raise SystemExit(1)


def check_model(settings: Settings) -> str:
    """A line about the model after it has answered; CannotServe where it cannot be used."""
    where = f"SHIPCHIP_MODEL {settings.model}"
    try:
        ships = ShipClassifier(settings.model, device=settings.device, threads=settings.threads)
    except ProviderUnavailable as error:
        where = f"SHIPCHIP_DEVICE {settings.device}, {where}"
        raise CannotServe(f"{where}: {error.code}: {error}") from error
    except ModelError as error:
        raise CannotServe(f"{where}: {error.code}: {error}") from error
    size = ships.card.input.size
    try:
        outputs = ships.run(np.zeros((1, 1, size, size), np.float32), maps=True)
    # ONNX Runtime's exceptions share no base class but Exception; a graph may fail only when run.
    except Exception as error:
        raise CannotServe(f"{where}: model_corrupt: the model cannot run: {error}") from error
    if not np.isfinite(outputs.logits).all():
        raise CannotServe(f"{where}: model_corrupt: the model answers {outputs.logits[0]}")
    card = ships.card
    return f"{card.name} {card.version} ({ships.sha256[:12]}) answers on {ships.provider}"


def _settings() -> Settings:
    try:
        return Settings()
    except ValidationError as error:
        raise CannotServe("; ".join(setting_errors(error))) from error


def _say(line: str) -> None:
    sys.stderr.write(f"shipchip: {' '.join(line.split())}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
