"""A half-done stage on disk, so that a killed run goes on where it was, bit for bit.

Everything that the next epoch depends on is kept: weights, their average, the optimiser, the
schedule, all random states, the history and the best weights so far. Between checkpoints the same
epochs are run again from the same state, so how often one is written changes no result.
"""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from training.errors import DataInvalid


@dataclass(eq=False)
class Dice:
    """The random states of a stage: batches (numpy), augmentation (torch), dropout (global)."""

    rng: np.random.Generator
    generator: torch.Generator

    @classmethod
    def of(cls, seed: int, name: str, device: torch.device) -> "Dice":
        """Equal seeds and names give equal draws; torch's global state is seeded too."""
        rng = np.random.default_rng([seed, *name.encode()])
        generator = torch.Generator(device).manual_seed(int(rng.integers(2**62)))
        torch.manual_seed(int(rng.integers(2**62)))
        return cls(rng, generator)

    def state(self) -> dict[str, Any]:
        """As plain values and tensors."""
        return {
            "numpy": json.dumps(self.rng.bit_generator.state),
            "generator": self.generator.get_state(),
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """The inverse of `state`."""
        self.rng.bit_generator.state = json.loads(state["numpy"])
        self.generator.set_state(state["generator"])
        torch.set_rng_state(state["torch"])
        if state["cuda"]:
            torch.cuda.set_rng_state_all(state["cuda"])


class Checkpoint:
    """One file that holds the state of one stage.

    identity  what the state belongs to; a file of another identity is refused
    every_s   least seconds between two writes
    """

    def __init__(self, path: Path, identity: str, every_s: float = 20.0) -> None:
        self._path, self._identity, self._every_s = path, identity, every_s
        self._last = time.monotonic()

    def load(self) -> dict[str, Any] | None:
        """The state, or None where there is no file. Raises DataInvalid for another run's."""
        if not self._path.exists():
            return None
        try:
            state: dict[str, Any] = torch.load(self._path, map_location="cpu", weights_only=True)
        except (RuntimeError, EOFError, OSError, ValueError) as error:
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
        """Write the state, unless the last write was a moment ago; whole or not at all."""
        if time.monotonic() - self._last < self._every_s:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        half = self._path.with_suffix(".half")
        torch.save(state | {"identity": self._identity}, half)
        half.replace(self._path)
        self._last = time.monotonic()

    def clear(self) -> None:
        """Forget the stage: it is finished, and its weights are kept elsewhere."""
        self._path.unlink(missing_ok=True)
