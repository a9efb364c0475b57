"""The progress of a long run: a bar with the time left, or one line per epoch in a log."""

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import Progress, TextColumn, TimeElapsedColumn


@dataclass(frozen=True)
class Epoch:
    """One line of a stage's history; validation chooses by `nll` (metrics.balanced_nll).

    loss      mean training loss
    nll       validation: negative log-likelihood, balanced over source and class
    macro_f1  validation: macro-F1 averaged over the sources

    The last two are NaN, and null in a file, if no chips were held out.
    """

    stage: str
    epoch: int
    loss: float
    nll: float
    macro_f1: float

    def to_json(self) -> str:
        """One line."""
        figures = {
            k: v if math.isfinite(v) else None for k, v in asdict(self).items() if k != "stage"
        }
        return json.dumps({"stage": self.stage} | figures)

    @classmethod
    def of_json(cls, line: str) -> "Epoch":
        """The epoch that `to_json` wrote."""
        content: dict[str, Any] = json.loads(line)
        missing = {name: math.nan for name, value in content.items() if value is None}
        return cls(**(content | missing))


OnEpoch = Callable[[Epoch], None]


class EpochProgress:
    """Progress over pieces of work of known cost; a context manager.

    total      the cost of everything, in any unit
    log_epoch  called for every epoch as well
    lines      whether a log, which has no bar, gets a line per epoch
    """

    def __init__(
        self,
        console: Console,
        total: float,
        log_epoch: OnEpoch = lambda _: None,
        lines: bool = True,
    ) -> None:
        columns = (*Progress.get_default_columns(), TextColumn("after"), TimeElapsedColumn())
        self._progress = Progress(*columns, console=console)
        self._task = self._progress.add_task("training", total=total)
        self._log_epoch, self._lines = log_epoch, lines

    def __enter__(self) -> "EpochProgress":
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def on_epoch(self, cost: float, name: str = "") -> OnEpoch:
        """A hook for a stage whose epochs cost this much each.

        name  what is trained; if not empty, it prefixes the name of the stage
        """

        def hook(trained: Epoch) -> None:
            epoch = replace(trained, stage=f"{name}/{trained.stage}") if name else trained
            line = f"{epoch.stage}: loss {epoch.loss:.3f}"
            if not math.isnan(epoch.nll):
                line = f"{epoch.stage}: val NLL {epoch.nll:.3f}, macro-F1 {epoch.macro_f1:.3f}"
            self._progress.update(self._task, advance=cost, description=line)
            self._log_epoch(epoch)
            if self._lines and not self._progress.console.is_terminal:
                self.say(f"epoch {epoch.epoch + 1} of {line}")

        return hook

    def on_restored(self, cost: float) -> OnEpoch:
        """A hook for epochs that were trained, and logged, before this process began."""
        return lambda _: self._progress.update(self._task, advance=cost)

    def say(self, line: str) -> None:
        """Print a line above the bar; in a log, which has no bar, with the time left."""
        if not self._progress.console.is_terminal:
            left = self._progress.tasks[self._task].time_remaining
            line += f" ({left / 60:.0f} min left)" if left is not None else ""
        self._progress.console.print(line, highlight=False, soft_wrap=True)
