"""What the options of a command stand for: configs, sources, folders."""

import argparse
import re
from collections.abc import Collection
from pathlib import Path

from training.config import RECIPE, RunConfig, check_size, read_config, simulated_config, validated
from training.data.discover import WHAT_TO_DOWNLOAD, discover
from training.data.record import Source
from training.data.simulated import SimulatedSource
from training.errors import ConfigInvalid, DataMissing
from training.fit.processes import Team
from training.fit.progress import OnEpoch, tensorboard
from training.matrix.config import MatrixConfig, is_pretrained, simulated_matrix, with_sweep
from training.pretrain import other_chips


def run_config(options: argparse.Namespace) -> RunConfig:
    """The config that the options name: a file's, the simulated one, or the default."""
    if options.config:
        config = read_config(options.config, RunConfig, RECIPE)
    elif options.simulated:
        config = simulated_config(options.smoke)
    else:
        config = RECIPE
    if options.seed is None:
        return config
    return validated(config.model_dump() | {"seed": options.seed}, RunConfig, "the options")


def run_name(options: argparse.Namespace) -> str:
    """The model's name, which also starts the name of the run's folder."""
    name: str = options.name
    if not re.fullmatch(r"\w[\w.+ -]{0,99}", name):
        raise ConfigInvalid(
            f"--name is {name!r}; expected letters, digits, spaces and . _ + -, the first a letter "
            "or digit, because it names a folder below --runs"
        )
    return name


def large_enough(config: RunConfig) -> None:
    """Raises ConfigInvalid where the network is too deep for the chips of the config."""
    try:
        check_size(config.model, config.input.size)
    except ValueError as error:
        raise ConfigInvalid(str(error)) from error


def matrix_config(options: argparse.Namespace) -> MatrixConfig:
    """The matrix that the options name, its models and seeds filled in."""
    if options.config:
        config = read_config(options.config, MatrixConfig)
    else:
        config = simulated_matrix(options.smoke) if options.simulated else MatrixConfig()
    if options.sweep:
        config = with_sweep(config, options.sweep)
    changes: dict[str, object] = {}
    if options.models:
        changes["models"] = tuple(options.models)
    elif options.sweep:
        changes["models"] = config.models[-1:]
    if options.seeds is not None and options.seed is not None:
        raise ConfigInvalid("--seeds and --seed exclude each other; give one of them")
    if options.seeds is not None:
        changes["seeds"] = tuple(range(options.seeds))
    elif options.seed is not None:
        changes["seeds"] = (options.seed,)
    return validated(config.model_dump() | changes, MatrixConfig, "the options")


def sources_of(folders: list[Path], options: argparse.Namespace) -> list[Source]:
    """The sources in the folders given, or the simulated ones; DataMissing says what to fetch."""
    if options.simulated and folders:
        raise ConfigInvalid("--simulated and folders of data exclude each other; give one of them")
    if options.smoke and not options.simulated:
        raise ConfigInvalid("--smoke goes with --simulated")
    if options.simulated:
        return simulated_sources(options.smoke)
    if not folders:
        raise DataMissing(f"no folder of data was given.\n{WHAT_TO_DOWNLOAD}")
    return discover(folders)


def simulated_sources(smoke: bool) -> list[Source]:
    """A fine and a coarse simulated sensor; the coarse one sees no fishing boats, as Sentinel-1's
    chips here do not."""
    many = 1 if smoke else 6
    fine = {"Cargo": 60 * many, "Fishing": 30 * many, "Tanker": 30 * many}
    coarse = {"Cargo": 60 * many, "Tanker": 30 * many}
    return [
        SimulatedSource(fine, 1, size=96, spacing_m=4.0, looks=3.0, name="simulated-fine"),
        SimulatedSource(coarse, 2, size=40, spacing_m=10.0, looks=5.0, name="simulated-coarse"),
    ]


def other_source(options: argparse.Namespace, run: RunConfig) -> Source:
    """Chips that are not ships, to learn features on; simulated ones are ships of other seeds."""
    if options.simulated:
        others = {"Cargo": 60, "Fishing": 60, "Tanker": 60}
        return SimulatedSource(others, seed=3, name="simulated-other")
    return other_chips(options.pretrain, run)


def weights_dir(options: argparse.Namespace) -> Path:
    """Where pre-trained weights are kept."""
    name = "weights-simulated" if options.simulated else "weights"
    return Path(options.weights_dir or options.runs / name)


def check_pretraining(options: argparse.Namespace, models: Collection[str] = ()) -> None:
    """Raises ConfigInvalid where features are asked for that nothing would begin with.

    models  of a matrix
    """
    if models and not any(map(is_pretrained, models)):
        for option in ("pretrain", "pretrained"):
            if getattr(options, option):
                raise ConfigInvalid(
                    f"--{option} is for models named -pretrained, found {', '.join(models)} alone; "
                    "leave it out, or add such a model"
                )
    if options.pretrain and options.pretrained not in (None, "sar"):
        raise ConfigInvalid(
            f"--pretrain learns features, and --pretrained {options.pretrained} takes others; give "
            "one of them"
        )


def scribe_of(options: argparse.Namespace, folder: Path, team: Team) -> OnEpoch:
    """A hook that logs for TensorBoard, where it is asked for; one process logs for all."""
    if not options.tensorboard:
        return lambda _: None
    return tensorboard(folder / "tensorboard", writes=team.writes)
