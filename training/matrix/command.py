"""The command `matrix`: its request, and the experiment with its report."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from training.commands import learn_unseen_features, print_data
from training.config import RunConfig, read_config, validated, with_keys
from training.data.dataset import Workspace, distinct_records, index, load_dataset
from training.data.record import Source
from training.data.simulated import SimulatedSource
from training.errors import ConfigInvalid
from training.fit.processes import join_team
from training.matrix.config import (
    MatrixConfig,
    PaperModel,
    is_pretrained,
    simulated_matrix,
    with_sweep,
)
from training.matrix.folder import MatrixFolder
from training.matrix.report import SMOKE, write_matrix_report
from training.matrix.run import run_matrix
from training.pretrain import other_chips
from training.requests import TrainingRequest


@dataclass(frozen=True, kw_only=True)
class MatrixRequest(TrainingRequest):
    """Run the paper's experiment; None for `models` and `seeds` means the config's."""

    models: list[PaperModel] | None
    seeds: int | None
    sweep: str | None
    out: Path | None
    without_chips: bool

    @property
    def folder(self) -> Path:
        """Where cells and report go."""
        words = ("matrix", self.sweep, self.simulated and "simulated", self.smoke and "smoke")
        return self.out or self.runs / "-".join(word for word in words if word)

    def matrix_config(self) -> MatrixConfig:
        """The config of the matrix, its models and seeds filled in."""
        if self.config:
            config = read_config(self.config, MatrixConfig)
        else:
            config = simulated_matrix(self.smoke) if self.simulated else MatrixConfig()
        if self.sweep:
            config = with_sweep(config, self.sweep)
        config = with_keys(config, self.keys)
        # Also with a config of the user's own: it is the chips that are too few.
        changes: dict[str, object] = {"smoke": config.smoke or self.smoke}
        if self.models:
            changes["models"] = tuple(self.models)
        elif self.sweep:
            changes["models"] = config.models[-1:]
        if self.seeds is not None and self.seed is not None:
            raise ConfigInvalid("--seeds and --seed exclude each other; give one of them")
        if self.seeds is not None:
            changes["seeds"] = tuple(range(self.seeds))
        elif self.seed is not None:
            changes["seeds"] = (self.seed,)
        return validated(config.model_dump() | changes, MatrixConfig, "the options")

    def check_features(self, models: Collection[str]) -> None:
        """Raises ConfigInvalid for features that none of `models` would start from."""
        if not any(map(is_pretrained, models)):
            for option, given in (("pretrain", self.pretrain), ("pretrained", self.pretrained)):
                if given:
                    raise ConfigInvalid(
                        f"--{option} is for models named -pretrained, found {', '.join(models)} "
                        "alone; leave it out, or add such a model"
                    )
        self.check_pretraining()

    def pretraining_chips(self, config: RunConfig) -> Source | None:
        """Chips that are not ships, to learn features on; None if features are not learnt here.

        A simulated matrix learns them on simulated ships of another seed.
        """
        if self.simulated and (self.pretrain or self.pretrained in (None, "sar")):
            others = {"Cargo": 60, "Fishing": 60, "Tanker": 60}
            return SimulatedSource(others, seed=3, name="simulated-other")
        return other_chips(self.pretrain, config) if self.pretrain else None


def matrix(request: MatrixRequest, console: Console) -> None:
    """The paper's experiment and its report."""
    with join_team() as team:
        console.quiet = not team.writes
        _matrix(request, Workspace(request.store, console, team))


def print_summary(lines: Sequence[tuple[str, str]], smoke: bool, console: Console) -> None:
    """Print the summary of the report, each line once, with a warning after a smoke run."""
    if smoke:
        console.print(SMOKE, style="bold red", highlight=False)
    for what, found in lines:
        console.print(f"{what}: {found}", highlight=False, soft_wrap=True, markup=False)


def _matrix(request: MatrixRequest, work: Workspace) -> None:
    config = request.matrix_config()
    request.check_features(config.models)
    sources = request.sources()
    found = distinct_records(sources, config.run, work)
    items = work.team.agree(lambda: index(found, config.run))
    print_data(sources, items, work.console, work.console)
    dataset = load_dataset(sources, items, config.run, work)
    for name in filter(is_pretrained, config.models):
        run = config.run.model_copy(update={"model": config.model_of(name)})
        if other := request.pretraining_chips(run):
            learn_unseen_features(other, run, items, sources, request, work)
    place = MatrixFolder(
        folder=request.folder,
        weights=request.weights,
        pretrained=request.pretrained or "sar",
        console=work.console,
        team=work.team,
        log_epoch=request.epoch_logger(request.folder, work.team),
        accept=request.accept_changes,
    )
    results = run_matrix(config, dataset, items, place)
    if work.team.writes:
        summary = write_matrix_report(results, request.folder, chips=not request.without_chips)
        print_summary(summary, config.smoke, work.console)
        work.console.print(f"report: {request.folder / 'report.html'}", highlight=False)
