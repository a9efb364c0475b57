"""Several processes under `torchrun`, one per GPU: gradients are averaged, one process writes.

Every process draws the same batches and the same augmentation and takes its own part of each batch.
Batch-norm statistics are those of the part, so figures equal one process's within a tolerance.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

T = TypeVar("T")


@dataclass(frozen=True)
class Team:
    """The processes that train together, and which of them this one is."""

    rank: int = 0
    size: int = 1

    @property
    def writes(self) -> bool:
        """Whether this process is the one that writes files and prints."""
        return self.rank == 0

    def part(self, total: int) -> slice:
        """The part of a batch of `total` chips that this process takes; parts differ by at most
        one, and none is empty if there are as many chips as processes."""
        return slice(total * self.rank // self.size, total * (self.rank + 1) // self.size)

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model with gradients averaged over the team; alone, the model itself."""
        return model if self.size == 1 else DistributedDataParallel(model)

    def agree(self, decide: Callable[[], T]) -> T:
        """The result of `decide` in the first process, which all others wait for and return too."""
        if self.size == 1:
            return decide()
        word: list[T | BaseException | None] = [None]
        if self.writes:
            try:
                word[0] = decide()
            except Exception as error:  # noqa: BLE001 - sent to the others, then raised by all
                word[0] = error
        distributed.broadcast_object_list(word, src=0)
        if isinstance(word[0], BaseException):
            raise word[0]
        return word[0]  # type: ignore[return-value]

    def mean(self, value: torch.Tensor) -> float:
        """The mean of a scalar over the team."""
        if self.size > 1:
            distributed.all_reduce(value)
        return float(value) / self.size

    def share(self, model: nn.Module) -> None:
        """Give every process the first one's weights and buffers."""
        if self.size > 1:
            for value in model.state_dict().values():
                distributed.broadcast(value, src=0)


ALONE = Team()


@contextmanager
def join_team() -> Iterator[Team]:
    """The team that `torchrun` started, or a team of one."""
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        yield ALONE
        return
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    distributed.init_process_group("nccl" if cuda else "gloo")
    try:
        yield Team(distributed.get_rank(), distributed.get_world_size())
    finally:
        distributed.destroy_process_group()
