"""The configs of a run: frozen, rejecting unknown keys, with defaults or read from TOML.

A config is written into the run folder and into the model card, so that a result can be repeated.
"""

import difflib
import json
import tomllib
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import Field, ValidationError, field_validator, model_validator

from shipchip.card import Frozen, InputSpec, SpacingRule
from shipchip.opensarship import GRD_SPACING_M, slc_spacing
from training.data.fusar import NOMINAL_SPACING_M
from training.errors import ConfigInvalid

DEFAULT_INPUT = InputSpec(
    size=64,
    spacing_m=6.0,
    polarisations=("VV", "HH", "unknown", "VH", "HV"),
    db_min=-10.0,
    db_max=40.0,
    db_scale=20.0,
    spacing_rules=(
        SpacingRule(
            encoding="complex",
            spacing_m=slc_spacing(None),
            why="single-look complex chips are Sentinel-1 IW SLC, ground range at 37 degrees",
        ),
        SpacingRule(
            encoding="integer",
            min_side=256,
            spacing_m=NOMINAL_SPACING_M,
            why="large 8-bit chips are Gaofen-3 fine strip-map, as FUSAR-Ship's",
        ),
        SpacingRule(
            encoding="any", spacing_m=GRD_SPACING_M, why="other chips are Sentinel-1 IW GRD"
        ),
    ),
)


Seed = Annotated[int, Field(ge=0, lt=2**32)]  # what every library here takes


class SplitConfig(Frozen):
    """Shares of each class that go to validation and test; training gets the rest.

    seed   of the split alone, so that runs of several seeds are tested on the same chips; of 0 to
           99 the one whose shares are nearest to these on the chips that the project has, found
           by counting chips, before anything was trained
    """

    seed: Seed = 12
    validation: float = Field(default=0.1, gt=0, lt=0.5)
    test: float = Field(default=0.2, gt=0, lt=0.5)


class AugmentConfig(Frozen):
    """Random changes of training chips, drawn anew each time a chip is seen.

    rotate    any angle; flip both axes
    shift     of the chip's side, each axis, either way
    zoom      largest relative change of scale: small, for length is the strongest cue there is
    contrast  largest relative change of the decibel scale
    level_db  largest shift of the clutter level
    noise_db  largest standard deviation of added noise
    mixup     alpha of the Beta distribution of mixing weights; 0 is off (Zhang et al. 2018)
    """

    rotate: bool = True
    flip: bool = True
    shift: float = Field(default=0.05, ge=0, le=0.5)
    zoom: float = Field(default=0.1, ge=0, le=0.5)
    contrast: float = Field(default=0.15, ge=0, le=0.5)
    level_db: float = Field(default=1.0, ge=0, le=10)
    noise_db: float = Field(default=1.5, ge=0, le=10)
    mixup: float = Field(default=0.2, ge=0, le=2)


NetworkName = Literal["cnn", "resnet50", "vgg16", "vgg16_bn"]
NETWORKS: tuple[NetworkName, ...] = get_args(NetworkName)


class ModelConfig(Frozen):
    """The network. `width` multiplies every layer's channels; 1.0 is the paper's.

    name  named as in torchvision: `vgg16` has no batch normalisation, `vgg16_bn` has it after each
          convolution and is the one to train from random weights

    pooled  blocks of a VGG16 whose averages are the head's features, side by side; what lies above
            them is left out. (): the average of the last

    A ResNet50 has one width, because torchvision builds it and its weights fit no other.
    """

    name: NetworkName = "vgg16_bn"
    width: float = Field(default=0.5, gt=0, le=1)
    pooled: tuple[Annotated[int, Field(ge=1, le=5)], ...] = ()
    dropout: float = Field(default=0.3, ge=0, lt=1)

    @model_validator(mode="after")
    def _resnet_is_whole(self) -> "ModelConfig":
        if self.name == "resnet50" and self.width != 1:
            raise ValueError(f"a resnet50 has width 1.0, found {self.width}")
        if self.pooled and self.name not in ("vgg16", "vgg16_bn"):
            raise ValueError(f"only a VGG16 has blocks to pool, found {self.name}")
        if any(above != below + 1 for below, above in pairwise(self.pooled)):
            raise ValueError(f"pooled blocks must follow each other, found {list(self.pooled)}")
        return self


# Below these the last map is a single place: nothing is left to average or to show, and bfloat16
# gradients of such a ResNet50 were seen to be NaN on a CPU (torch 2.15).
_SMALLEST = {"cnn": 16, "vgg16": 32, "vgg16_bn": 32, "resnet50": 33}


def check_size(model: ModelConfig, size: int) -> None:
    """Raises ValueError if chips of `size` pixels a side are too small for the network."""
    if size < _SMALLEST[model.name]:
        raise ValueError(
            f"a {model.name} needs chips of at least {_SMALLEST[model.name]} pixels, found {size}"
        )


class ImbalanceConfig(Frozen):
    """What is done about rare classes; see training.network.losses for the formulas.

    loss      a loss of training.network.losses; all but "cross_entropy" correct the imbalance
              themselves, so `sampling` must be given with them, or it might be corrected twice
    sampling  "natural": every chip once an epoch; "balanced": sources alike, and in each its
              classes alike; "square_root": sources alike, in each the classes by the root of their
              chips
    beta      of the effective number of samples (Cui et al. 2019)
    gamma     of the focal loss (Lin et al. 2017)
    tau       of logit adjustment (Menon et al. 2021)
    """

    loss: Literal[
        "cross_entropy", "inverse_frequency", "effective_number", "focal", "logit_adjusted"
    ] = "cross_entropy"
    sampling: Literal["natural", "balanced", "square_root"] = "balanced"
    beta: float = Field(default=0.999, ge=0, lt=1)
    gamma: float = Field(default=2.0, ge=0)
    tau: float = Field(default=1.0, ge=0)

    @model_validator(mode="after")
    def _sampling_goes_with_the_loss(self) -> "ImbalanceConfig":
        if self.loss != "cross_entropy" and "sampling" not in self.model_fields_set:
            raise ValueError(
                f"the loss {self.loss} corrects the imbalance itself: give `sampling` as well, "
                '"natural" to correct it once'
            )
        return self


class ExpertsConfig(Frozen):
    """Linear experts on measurements of the ship (training.network.experts), beside the networks.

    share     of their log-probabilities in the model's answer; the networks have the rest. 0: there
              are no experts
    strength  inverse of the ridge penalty of their logistic regressions
    power     a source's classes weigh as chips**power: 0 alike, 1 as they come
    borrowed  weight of a class that a source lacks, over that of all it has
    """

    share: float = Field(default=0, ge=0, lt=1)
    strength: float = Field(default=0.2, gt=0)
    power: float = Field(default=0.15, ge=0, le=1)
    borrowed: float = Field(default=0.05, gt=0, lt=1)


class StageConfig(Frozen):
    """One stage of training; it continues from the weights the stage before it chose.

    sources   names or patterns (`opensarship*`) of the sources it trains on
    trains    "all" parameters; the "head" on frozen features, as the paper says; the head and the
              "last_blocks"; "gradual": the head first, then one block more at a time from the top
              down; or "linear": the head, solved exactly (training.fit.linear_head), on features
              that are computed once a run; then all stages must be so
    blocks    how many blocks "last_blocks" trains: of a VGG16, what lies between two poolings
    views     of each chip, augmented, whose frozen features the head is trained on
    lr        peak of a one-cycle schedule for AdamW
    strength  of "linear": inverse of the ridge penalty on the distance from the stage before,
              against the mean loss
    """

    name: str = Field(pattern=r"^[\w.-]+$")  # it names files
    sources: tuple[str, ...] = Field(default=("*",), min_length=1)
    trains: Literal["all", "head", "last_blocks", "linear", "gradual"] = "all"
    blocks: int = Field(default=2, ge=1)
    views: int = Field(default=4, ge=1)
    epochs: int = Field(ge=1)
    lr: float = Field(default=1e-3, gt=0)
    strength: float = Field(default=1.0, gt=0)
    weight_decay: float = Field(default=0.02, ge=0)


class RunConfig(Frozen):
    """Everything that decides a run's result besides the data.

    folds    0: the validation side chooses epochs and fits trust. Else training and validation
             chips are one side: networks trained without one fold of it after the other fit trust
             on that fold, the model is trained on all of it, and last epochs are taken
    views    random presentations of each chip (training.data.presentation) that "linear" stages and
             experts are fitted on besides the chip itself, and that trust is fitted on with folds
    members  networks in the model, of the seeds `seed`, `seed` + 1, ...; their mean answers
    """

    seed: Seed = 0
    folds: int = Field(default=0, ge=0, le=20)
    views: int = Field(default=0, ge=0, le=50)
    members: int = Field(default=1, ge=1, le=16)
    experts: ExpertsConfig = ExpertsConfig()
    input: InputSpec = DEFAULT_INPUT
    split: SplitConfig = SplitConfig()
    augment: AugmentConfig = AugmentConfig()
    model: ModelConfig = ModelConfig()
    imbalance: ImbalanceConfig = ImbalanceConfig()
    batch_size: int = Field(default=64, ge=2)
    label_smoothing: float = Field(default=0.05, ge=0, lt=1)
    ema: float = Field(default=0.99, ge=0, lt=1)
    coverage: float = Field(default=0.9, gt=0.5, lt=1)
    pretrain: StageConfig | None = StageConfig(name="pretrain", epochs=6, lr=2e-3)
    stages: tuple[StageConfig, ...] = (
        StageConfig(name="base", sources=("fusar*",), epochs=20, lr=1e-3),
        StageConfig(name="fine-tune-1", sources=("opensarship*",), epochs=10, lr=5e-4),
        StageConfig(name="fine-tune-2", sources=("*",), epochs=25, lr=5e-4),
    )

    @field_validator("input", mode="before")
    @classmethod
    def _input_changes_the_default(cls, value: object) -> object:
        """A config file says `[input] size = 96` and keeps the rest."""
        return DEFAULT_INPUT.model_dump() | value if isinstance(value, dict) else value

    @field_validator("folds")
    @classmethod
    def _one_fold_holds_back_everything(cls, folds: int) -> int:
        if folds == 1:
            raise ValueError("one fold leaves nothing to train on: give 0, or 2 and more")
        return folds

    @property
    def takes_features(self) -> bool:
        """Whether no stage trains the features, so that they must come from somewhere else."""
        return self.stages[0].trains == "linear"

    @model_validator(mode="after")
    def _stages_differ(self) -> "RunConfig":
        names = [stage.name for stage in self.stages]
        if not names or len(set(names)) != len(names):
            raise ValueError(f"stages need different names, found {names}")
        linear = {stage.trains == "linear" for stage in self.stages}
        if len(linear) == 2:
            raise ValueError('either all stages train "linear" or none')
        if linear == {True} and not self.model.pooled:
            raise ValueError(
                'stages that train "linear" need a VGG16 with `pooled` blocks: give it, or other '
                "`stages`"
            )
        if linear == {True} and self.members > 1:
            raise ValueError('stages that train "linear" have one solution: give `members` = 1')
        return self


# What `python -m training.run` does where no config says otherwise. Chosen by cross-validation on
# training and validation chips, see docs/experiments/log.md.
RECIPE = RunConfig(
    # 45 dB, not 40: an 8-bit chip of a calm sea saturates near there.
    input=DEFAULT_INPUT.model_copy(update={"db_max": 45.0, "clutter_window_m": 384.0}),
    folds=4,
    views=4,
    # A chip and its views count as five.
    experts=ExpertsConfig(share=0.75, strength=0.003),
    model=ModelConfig(name="vgg16", width=1.0, pooled=(3, 4), dropout=0),
    imbalance=ImbalanceConfig(sampling="square_root"),
    stages=(
        StageConfig(name="base", sources=("fusar*",), trains="linear", epochs=1),
        StageConfig(name="fine-tune-1", sources=("opensarship*",), trains="linear", epochs=1),
        StageConfig(name="fine-tune-2", trains="linear", epochs=1),
    ),
)


def simulated_config(smoke: bool) -> RunConfig:
    """The same three stages on two simulated sensors; `smoke` is small enough for a minute."""
    epochs = (4, 3, 4) if smoke else (20, 10, 20)
    names = (("simulated-fine",), ("simulated-coarse",), ("simulated-*",))
    stages = tuple(
        StageConfig(name=name, sources=sources, epochs=n, lr=2e-3)
        for name, sources, n in zip(
            ("base", "fine-tune-1", "fine-tune-2"), names, epochs, strict=True
        )
    )
    small = DEFAULT_INPUT.model_copy(update={"size": 48, "spacing_m": 6.0})
    return RunConfig(
        folds=2,
        experts=ExpertsConfig(share=0.75),
        stages=stages,
        pretrain=None,
        input=small if smoke else DEFAULT_INPUT,
        model=ModelConfig(width=0.125 if smoke else 0.5),
        batch_size=16 if smoke else 64,
    )


C = TypeVar("C", bound=Frozen)


def read_config(path: Path, kind: type[C], base: C | None = None) -> C:
    """A config from a TOML file; ConfigInvalid names the first key that is wrong.

    base  what the file's keys change; None takes the defaults of `kind`
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigInvalid(f"cannot read the config {path}: {error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigInvalid(f"{path} is not TOML: {error}") from error
    if base is not None:
        content = _changed(base.model_dump(mode="json"), content)
    return validated(content, kind, str(path))


def with_keys(config: C, assignments: Sequence[str]) -> C:
    """A config with the keys of `--set KEY=VALUE` changed: `stages.0.epochs=5`.

    A key's parts are separated by dots; a number is a place in a list. A value is JSON, or else
    text. Raises ConfigInvalid for a key that does not exist, and for values as `validated` does.
    """
    known = config.model_dump(mode="json")
    content: object = known
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals:
            raise ConfigInvalid(f"--set takes KEY=VALUE, such as seed=1; found {assignment!r}")
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        content = _with_key(content, known, key.split("."), value, key)
    return validated(content, type(config), "--set")


def _with_key(node: object, known: object, parts: Sequence[str], value: object, key: str) -> object:
    """A part of a config with one key below it changed.

    known  the same part before any change: it has all keys
    key    the whole key, for messages
    """
    if not parts:
        return value
    first, rest = parts[0], parts[1:]
    if isinstance(node, list):
        if not (first.isdecimal() and int(first) < len(node)):
            raise ConfigInvalid(
                f"--set {key}: {first!r} is no place in a list of {len(node)}; expected 0 to "
                f"{len(node) - 1}"
            )
        place = int(first)
        before = known[place] if isinstance(known, list) and place < len(known) else node[place]
        changed = _with_key(node[place], before, rest, value, key)
        return [*node[:place], changed, *node[place + 1 :]]
    if not isinstance(node, dict):
        raise ConfigInvalid(f"--set {key}: there are no keys below {node!r}; leave {first!r} out")
    every = known if isinstance(known, dict) else node
    if first not in every:
        near = difflib.get_close_matches(first, every, 1)
        meant = f"; did you mean {near[0]!r}?" if near else "."
        raise ConfigInvalid(
            f"--set {key}: no key is named {first!r}{meant} There are {', '.join(every)}"
        )
    if not rest:
        return _changed(node, {first: value})
    return node | {first: _with_key(node.get(first), every[first], rest, value, key)}


def _changed(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`base` with `changes`, table by table; a table whose value in `base` is None is new."""
    if changes.get("loss", base.get("loss")) != base.get("loss"):
        # It was chosen for another loss: ImbalanceConfig asks for one that goes with this.
        base = {key: value for key, value in base.items() if key != "sampling"}
    if changes.get("name", base.get("name")) != base.get("name"):
        base = {key: value for key, value in base.items() if key != "pooled"}  # of that network
    return base | {
        key: _changed(base[key], value)
        if isinstance(value, dict) and isinstance(base.get(key), dict)
        else value
        for key, value in changes.items()
    }


def validated(content: object, kind: type[C], where: str) -> C:
    """A config from plain values that `where` names; ConfigInvalid names the first wrong key."""
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        message = f"'{key}': {first['msg']}" if key else first["msg"]
        raise ConfigInvalid(f"{where}: {message}") from error
