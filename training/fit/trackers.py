"""Where epochs are logged besides the run folder: hooks for TensorBoard and MLflow."""

import math
import sys
from collections.abc import Sequence
from pathlib import Path

from training.errors import ConfigInvalid
from training.fit.progress import Epoch, OnEpoch

_FIGURES = ("loss", "nll", "macro_f1")
_EXPERIMENT = "shipchip"


def together(hooks: Sequence[OnEpoch]) -> OnEpoch:
    """A hook that calls each of these."""

    def hook(epoch: Epoch) -> None:
        for one in hooks:
            one(epoch)

    return hook


def tensorboard(folder: Path, writes: bool = True) -> OnEpoch:
    """A hook that logs every epoch for TensorBoard below `folder`, if this process `writes`.

    Each stage of each network is a TensorBoard run of its name. A stage that resumes replaces what
    was logged from its first epoch on.
    Raises ConfigInvalid if TensorBoard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 - optional
    except ImportError as error:
        raise ConfigInvalid(
            "--tensorboard needs the package tensorboard; to install: "
            f"{sys.executable} -m pip install 'shipchip[tensorboard]'"
        ) from error
    if not writes:
        return lambda _: None
    writers: dict[str, SummaryWriter] = {}  # one: that of the stage under way

    def hook(epoch: Epoch) -> None:
        if epoch.stage not in writers:
            for writer in writers.values():
                writer.close()
            writers.clear()
            place = str(folder / epoch.stage)
            writers[epoch.stage] = SummaryWriter(place, purge_step=epoch.epoch)
        for name in _FIGURES:
            writers[epoch.stage].add_scalar(name, getattr(epoch, name), epoch.epoch)
        writers[epoch.stage].flush()

    return hook


def mlflow(folder: Path, writes: bool = True) -> OnEpoch:
    """A hook that logs every epoch to MLflow, if this process `writes`.

    MLflow itself decides where to: MLFLOW_TRACKING_URI, otherwise its default. Each stage of each
    network is an MLflow run of the experiment "shipchip", named by the run folder and the stage. A
    stage that resumes goes on in its run. Raises ConfigInvalid if MLflow is not installed.
    """
    try:
        from mlflow import MlflowClient  # noqa: PLC0415 - optional
    except ImportError as error:
        raise ConfigInvalid("--mlflow needs the package mlflow: pip install mlflow") from error
    if not writes:
        return lambda _: None
    client = MlflowClient()
    found = client.get_experiment_by_name(_EXPERIMENT)
    experiment = found.experiment_id if found else client.create_experiment(_EXPERIMENT)
    runs: dict[str, str] = {}

    def run_of(stage: str) -> str:
        name = f"{folder.name.removesuffix('.half')}/{stage}"
        if name not in runs:
            query = f"tags.`mlflow.runName` = '{name}'"
            known = client.search_runs([experiment], query, max_results=1)
            run = known[0] if known else client.create_run(experiment, run_name=name)
            runs[name] = run.info.run_id
        return runs[name]

    def hook(epoch: Epoch) -> None:
        run = run_of(epoch.stage)
        for name in _FIGURES:
            value = getattr(epoch, name)
            if math.isfinite(value):  # MLflow refuses what is no number
                client.log_metric(run, name, value, step=epoch.epoch)
        # Nothing says which epoch is the last; a run that ended can still be added to.
        client.set_terminated(run)

    return hook
