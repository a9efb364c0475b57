"""The state of an unfinished stage on disk, so that a killed run resumes bit for bit.

It holds everything that the next epoch depends on: weights, their average, the optimiser, the
schedule, all random states, the history and the best weights so far. Epochs after a checkpoint are
repeated from the same state, so how often one is written does not change a result.
"""

import json
import pickle
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from shipchip.atomic import replacing
from training.errors import DataInvalid


@dataclass(eq=False)
class RandomStates:
    """The random states of a stage: batches (numpy) and augmentation (torch).

    Dropout draws from torch's global state, which `reseed` sets at each epoch, equally in every
    process.
    """

    rng: np.random.Generator
    generator: torch.Generator

    @classmethod
    def of(cls, seed: int, name: str, device: torch.device) -> "RandomStates":
        """Equal seeds and names give equal draws."""
        rng = np.random.default_rng([seed, *name.encode()])
        generator = torch.Generator(device).manual_seed(int(rng.integers(2**62)))
        return cls(rng, generator)

    def reseed(self) -> None:
        """Seed torch's global state for the next epoch."""
        torch.manual_seed(int(self.rng.integers(2**62)))

    def state(self) -> dict[str, Any]:
        """As plain values and tensors."""
        return {
            "numpy": json.dumps(self.rng.bit_generator.state),
            "generator": self.generator.get_state(),
            "device": self.generator.device.type,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """The inverse of `state`."""
        self.rng.bit_generator.state = json.loads(state["numpy"])
        if state["device"] != self.generator.device.type:
            raise DataInvalid(
                f"the checkpoint was made on {state['device']}, expected "
                f"{self.generator.device.type}; continue there, or delete it"
            )
        self.generator.set_state(state["generator"])


class Checkpoint:
    """One file that holds the state of one stage.

    identity  of the stage; a file of another identity is refused
    every_s   minimum seconds between two writes
    """

    def __init__(self, path: Path, identity: str, every_s: float = 20.0) -> None:
        self._path, self._identity, self._every_s = path, identity, every_s
        self._last = time.monotonic()

    def load(self) -> dict[str, Any] | None:
        """The state, or None if there is no file. Raises DataInvalid for another run's."""
        if not self._path.exists():
            return None
        try:
            state: dict[str, Any] = torch.load(self._path, map_location="cpu", weights_only=True)
        except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError) as error:
            raise DataInvalid(
                f"{self._path} cannot be read ({error}); delete it to train this stage again"
            ) from error
        if state["identity"] != self._identity:
            raise DataInvalid(
                f"{self._path} is of {state['identity']}, expected {self._identity}; delete it, "
                "or name another folder"
            )
        return state

    def save(self, state: dict[str, Any]) -> None:
        """Write the state atomically, unless the last write was less than `every_s` ago."""
        if time.monotonic() - self._last < self._every_s:
            return
        with replacing(self._path) as temporary:
            torch.save(state | {"identity": self._identity}, temporary)
        self._last = time.monotonic()

    def clear(self) -> None:
        """Delete the file: the stage is finished, and its weights are kept elsewhere."""
        self._path.unlink(missing_ok=True)
