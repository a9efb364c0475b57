"""The requests of the commands of training.run: one dataclass per command, its fields the options.

A request also builds what its options describe: configs, sources, folders.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from training.config import (
    RECIPE,
    RunConfig,
    check_size,
    read_config,
    simulated_config,
    validated,
    with_keys,
)
from training.data.discover import WHAT_TO_DOWNLOAD, discover
from training.data.record import Source
from training.data.simulated import simulated_sources
from training.errors import ConfigInvalid, DataMissing
from training.fit.processes import Team
from training.fit.progress import OnEpoch
from training.fit.trackers import mlflow, tensorboard, together


@dataclass(frozen=True, kw_only=True)
class SourceRequest:
    """A command that reads chips.

    data       folders and archives, as downloaded
    simulated  draw chips instead of reading data; `smoke` draws fewer
    runs       the folder of run folders, of prepared chips and of weights
    """

    data: list[Path]
    simulated: bool
    smoke: bool
    runs: Path

    @property
    def store(self) -> Path:
        """The folder of prepared chips."""
        return self.runs / "store"

    def sources(self) -> list[Source]:
        """The sources in the folders given, or simulated ones; DataMissing says what to fetch."""
        if self.simulated and self.data:
            raise ConfigInvalid(
                "--simulated and folders of data exclude each other; give one of them"
            )
        if self.smoke and not self.simulated:
            raise ConfigInvalid("--smoke goes with --simulated")
        if self.simulated:
            return simulated_sources(self.smoke)
        if not self.data:
            raise DataMissing(f"no folder of data was given.\n{WHAT_TO_DOWNLOAD}")
        return discover(self.data)


@dataclass(frozen=True, kw_only=True)
class DataRequest(SourceRequest):
    """Index, check and split the data; write the manifest."""

    config: Path | None
    keys: list[str]
    manifest: Path

    def run_config(self) -> RunConfig:
        """The config that decides the split."""
        config = run_config(self.config, simulated=self.simulated, smoke=self.smoke)
        return with_keys(config, self.keys)


@dataclass(frozen=True, kw_only=True)
class TrainingRequest(SourceRequest):
    """What training one model and training the matrix have in common.

    keys            assignments KEY=VALUE that change the config
    pretrained      the features to start from: imagenet, sar or a file
    pretrain        other SAR chips to learn features on first
    accept_changes  continue a run that other code or another kind of machine began
    """

    config: Path | None
    keys: list[str]
    seed: int | None
    tensorboard: bool
    mlflow: bool
    weights_dir: Path | None
    pretrained: str | None
    pretrain: Path | None
    accept_changes: bool

    @property
    def weights(self) -> Path:
        """The folder of pre-trained weights."""
        name = "weights-simulated" if self.simulated else "weights"
        return self.weights_dir or self.runs / name

    def epoch_logger(self, folder: Path, team: Team) -> OnEpoch:
        """A hook that logs epochs where it was asked to; one process logs for all."""
        hooks = []
        if self.tensorboard:
            hooks.append(tensorboard(folder / "tensorboard", writes=team.writes))
        if self.mlflow:
            hooks.append(mlflow(folder, writes=team.writes))
        return together(hooks)

    def check_pretraining(self) -> None:
        """Raises ConfigInvalid if two kinds of features are asked for."""
        if self.pretrain and self.pretrained not in (None, "sar"):
            raise ConfigInvalid(
                f"--pretrain learns features, and --pretrained {self.pretrained} takes others; "
                "give one of them"
            )


@dataclass(frozen=True, kw_only=True)
class TrainRequest(TrainingRequest):
    """Train, test once, export.

    name  of the model; the run folder's name begins with it
    ood   chips that show no ship
    """

    name: str
    ood: list[Path]

    def model_name(self) -> str:
        """The name, checked: ConfigInvalid if it cannot name a folder."""
        if not re.fullmatch(r"\w[\w.+ -]{0,99}", self.name):
            raise ConfigInvalid(
                f"--name is {self.name!r}; expected letters, digits, spaces and . _ + -, the first "
                "a letter or digit, because it names a folder below --runs"
            )
        return self.name

    def run_config(self) -> RunConfig:
        """The config of the run, checked."""
        config = run_config(self.config, self.simulated, self.smoke, self.seed)
        config = with_keys(config, self.keys)
        check_large_enough(config)
        return config


@dataclass(frozen=True, kw_only=True)
class PretrainRequest:
    """Learn features on class folders of other SAR chips, and keep them as a file of weights."""

    chips: Path
    model: str
    width: float | None
    config: Path | None
    keys: list[str]
    runs: Path
    weights_dir: Path | None

    @property
    def store(self) -> Path:
        """The folder of prepared chips."""
        return self.runs / "store"

    @property
    def weights(self) -> Path:
        """The folder of the file of weights."""
        return self.weights_dir or self.runs / "weights"

    def run_config(self) -> RunConfig:
        """The config with the network asked for, checked."""
        config = with_keys(run_config(self.config), self.keys)
        width = self.width or (config.model.width if self.model.startswith("vgg16") else 1.0)
        asked = {"name": self.model, "width": width, "pooled": ()}
        model = config.model.model_dump() | asked
        # The stages of a run say nothing about how features are learnt.
        content = config.model_dump(exclude={"stages"}) | {"model": model}
        config = validated(content, RunConfig, "the options")
        check_large_enough(config)
        return config


@dataclass(frozen=True, kw_only=True)
class EvaluateRequest(SourceRequest):
    """Compare a model file with its targets.

    ood   chips that show no ship
    int8  the int8 file made from it
    json  where all figures are written
    """

    model: Path
    ood: list[Path]
    int8: Path | None
    json: Path | None


@dataclass(frozen=True, kw_only=True)
class ExportRequest(SourceRequest):
    """Export a model in int8, the only form so far."""

    model: Path
    int8: bool
    ood: list[Path]
    out: Path | None


@dataclass(frozen=True, kw_only=True)
class PromoteRequest:
    """Make the model of the run `folder` the default one, in the folder `to`."""

    folder: Path
    to: Path


def run_config(
    file: Path | None, simulated: bool = False, smoke: bool = False, seed: int | None = None
) -> RunConfig:
    """The config of a file, the simulated one, or the default; with another seed if given."""
    if file:
        config = read_config(file, RunConfig, RECIPE)
    elif simulated:
        config = simulated_config(smoke)
    else:
        config = RECIPE
    if seed is None:
        return config
    return validated(config.model_dump() | {"seed": seed}, RunConfig, "the options")


def check_large_enough(config: RunConfig) -> None:
    """Raises ConfigInvalid if the network is too deep for chips of the config's size."""
    try:
        check_size(config.model, config.input.size)
    except ValueError as error:
        raise ConfigInvalid(str(error)) from error
