"""The config of a matrix: the paper's models, data sets and protocols, and the sweeps."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Literal, TypeVar

from pydantic import Field, field_validator, model_validator

from shipchip.card import Frozen
from training.config import (
    DEFAULT_INPUT,
    AugmentConfig,
    ImbalanceConfig,
    ModelConfig,
    RunConfig,
    Seed,
    StageConfig,
    check_size,
)

# Named as in the published table; `MatrixConfig.model_of` says which network each one is.
PaperModel = Literal["cnn", "resnet50", "vgg16", "resnet50-pretrained", "vgg16-pretrained"]
MODELS: tuple[PaperModel, ...] = (
    "cnn",
    "resnet50",
    "vgg16",
    "resnet50-pretrained",
    "vgg16-pretrained",
)


PAPER_SETS: dict[str, tuple[str, ...]] = {
    "fusar": ("fusar*",),
    "opensarship": ("opensarship*",),
    "mix": ("*",),
}


T = TypeVar("T")


class Variant(Frozen):
    """What one row of a sweep changes; None leaves the matrix's own."""

    imbalance: ImbalanceConfig | None = None
    fine_tune: StageConfig | None = None


@dataclass(frozen=True, order=True)
class Cell:
    """One training of the matrix.

    variant  "default", or what a sweep changes ("focal", ...)
    model    a name of published_scores.csv: cnn, resnet50, vgg16, resnet50-pretrained, ...
    seed     of weights, batches and augmentation; the split does not depend on it
    path     base set, then the sets of the fine-tunings: ("fusar", "opensarship", "mix").
             Of length 2 it is the paper's independent protocol, of length 3 the sequential one
    """

    variant: str
    model: str
    seed: int
    path: tuple[str, ...]

    @property
    def parent(self) -> "Cell | None":
        """The cell whose weights this one starts from; None for a base training."""
        if len(self.path) == 1:
            return None
        return Cell(self.variant, self.model, self.seed, self.path[:-1])

    @property
    def place(self) -> str:
        """Its folder below the run's `cells`, with forward slashes."""
        return f"{self.variant}/{self.model}/seed-{self.seed}/{'.'.join(self.path)}"


class MatrixConfig(Frozen):
    """A matrix: every model, seed and order of the sets.

    sets       data set -> patterns of its sources; the last is the union of the others
    base       the base training from random weights; `name` and `sources` are filled in for each
               cell
    fine_tune  each of the two fine-tunings, alike; of a pre-trained network all three trainings are
               fine-tunings, as in the paper ("freezing the network weights, except for the final
               layers")
    depth      how many trainings a path has at most: 1 base only, 2 independent, 3 sequential
    orders     the paths to run, with the trainings that they continue from; empty: every order
    smoke      the run only shows that everything works: the report says that its figures mean
               nothing
    vgg_width  width of the VGG16s, see ModelConfig
    run        everything else that a training needs; its stages and model are not used
    """

    models: tuple[PaperModel, ...] = Field(default=MODELS, min_length=1)
    seeds: tuple[Seed, ...] = Field(default=(0, 1, 2), min_length=1)
    sets: dict[str, tuple[str, ...]] = Field(default=PAPER_SETS, min_length=1)
    variants: dict[str, Variant] = Field(default={"default": Variant()}, min_length=1)
    depth: int = Field(default=3, ge=1, le=3)
    orders: tuple[tuple[str, ...], ...] = ()
    smoke: bool = False
    base: StageConfig = StageConfig(name="base", epochs=20, lr=1e-3)
    fine_tune: StageConfig = StageConfig(name="fine-tune", trains="head", epochs=40, lr=2e-3)
    vgg_width: float = Field(default=0.5, gt=0, le=1)
    run: RunConfig = RunConfig()

    @field_validator("sets", "variants")
    @classmethod
    def _names_are_folders(cls, named: dict[str, T]) -> dict[str, T]:
        for name in named:
            if not name.replace("-", "").replace("_", "").isalnum():
                raise ValueError(f"such a name is letters, digits, - and _, found {name!r}")
        return named

    @model_validator(mode="after")
    def _chips_are_large_enough(self) -> "MatrixConfig":
        for name in self.models:
            check_size(self.model_of(name), self.run.input.size)
        return self

    @model_validator(mode="after")
    def _one_network_a_cell(self) -> "MatrixConfig":
        run = self.run
        if run.folds or run.members > 1 or run.experts.share:
            raise ValueError(
                "a cell is one network chosen on validation, found run.folds, run.members or "
                "run.experts.share; leave them out"
            )
        return self

    @model_validator(mode="after")
    def _nothing_twice(self) -> "MatrixConfig":
        for what, values in (("models", self.models), ("seeds", self.seeds)):
            if len(set(values)) != len(values):
                raise ValueError(f"{what} are repeated in {values}")
        return self

    @model_validator(mode="after")
    def _orders_are_of_the_sets(self) -> "MatrixConfig":
        for order in self.orders:
            if not order or len(set(order)) < len(order) or not set(order) <= set(self.sets):
                raise ValueError(
                    f"an order names sets, each once, found {order}; the sets are "
                    f"{', '.join(self.sets)}"
                )
        return self

    def paths(self) -> list[tuple[str, ...]]:
        """The `orders` up to `depth`, each after the path that it continues."""
        longest = min(self.depth, len(self.sets))
        orders = self.orders or permutations(self.sets, longest)
        return sorted({order[:n] for order in orders for n in range(1, longest + 1)})

    def cells(self) -> list[Cell]:
        """All trainings, in the order they are run."""
        return [
            Cell(variant, model, seed, path)
            for seed in self.seeds
            for variant in self.variants
            for model in self.models
            for path in self.paths()
        ]

    def run_of(self, cell: Cell) -> RunConfig:
        """The config of one cell's training, its only stage filled in."""
        variant = self.variants[cell.variant]
        from_random = cell.parent is None and not is_pretrained(cell.model)
        recipe = self.base if from_random else variant.fine_tune or self.fine_tune
        changes = {"name": ".".join(cell.path), "sources": self.sets[cell.path[-1]]}
        return self.run.model_copy(
            update={
                "seed": cell.seed,
                "model": self.model_of(cell.model),
                "imbalance": variant.imbalance or self.run.imbalance,
                "stages": (recipe.model_copy(update=changes),),
            }
        )

    def model_of(self, name: str) -> ModelConfig:
        """The network behind a published name, pre-trained or not.

        The pre-trained VGG16 is the published one, without batch normalisation. From random weights
        that trains worse (docs/experiments/log.md), so the one that is not pre-trained has it.
        """
        architecture = "vgg16_bn" if name == "vgg16" else name.removesuffix("-pretrained")
        width = self.vgg_width if name.startswith("vgg16") else 1.0
        return ModelConfig.model_validate(
            {"name": architecture, "width": width, "dropout": self.run.model.dropout}
        )


def is_pretrained(model: str) -> bool:
    """Whether a model of the matrix starts from features that were learnt elsewhere."""
    return model.endswith("-pretrained")


SWEEPS = ("imbalance", "freezing")

_IMBALANCE = {
    "cross_entropy": Variant(imbalance=ImbalanceConfig(sampling="natural")),
    "balanced_sampling": Variant(imbalance=ImbalanceConfig(sampling="balanced")),
} | {
    word: Variant(imbalance=ImbalanceConfig.model_validate({"loss": word, "sampling": "natural"}))
    for word in ("inverse_frequency", "effective_number", "focal", "logit_adjusted")
}

# What a fine-tuning trains -> its peak rate relative to that of the head alone. A head starts from
# random weights; pre-trained features are lost at its rate.
_RATES: dict[Literal["head", "last_blocks", "gradual", "all"], float] = {
    "head": 1.0,
    "last_blocks": 0.1,
    "gradual": 0.1,
    "all": 0.05,
}


def with_sweep(config: MatrixConfig, sweep: str) -> MatrixConfig:
    """The config with the variants of a sweep: "imbalance" on base trainings alone, "freezing" on
    fine-tunings, where more than the head is trained for three eighths of the head's epochs."""
    if sweep == "imbalance":
        return config.model_copy(update={"variants": _IMBALANCE, "depth": 1})
    head = config.fine_tune
    variants = {}
    for trains, rate in _RATES.items():
        epochs = head.epochs if trains == "head" else max(1, head.epochs * 3 // 8)
        changes = {"trains": trains, "lr": head.lr * rate, "epochs": epochs}
        variants[trains] = Variant(fine_tune=head.model_copy(update=changes))
    return config.model_copy(update={"variants": variants})


def add_cells(config: MatrixConfig, models: Sequence[str], seeds: Sequence[int]) -> MatrixConfig:
    """The config with these models and seeds beside its own, each once and in their usual order."""
    wanted, numbers = {*config.models, *models}, {*config.seeds, *seeds}
    both = {"models": [m for m in MODELS if m in wanted], "seeds": sorted(numbers)}
    return MatrixConfig.model_validate(config.model_dump() | both)


def simulated_matrix(smoke: bool) -> MatrixConfig:
    """The matrix on two simulated sensors.

    `smoke` is twelve tiny trainings, the fewest that give every section of the report something to
    show: a network with and without pre-training, a base on the union, and both orders of the two
    fine-tunings of another base.
    """
    sets: dict[str, tuple[str, ...]] = {
        "simulated-fine": ("simulated-fine",),
        "simulated-coarse": ("simulated-coarse",),
        "mix": ("*",),
    }
    if not smoke:
        return MatrixConfig(sets=sets)
    small = DEFAULT_INPUT.model_copy(update={"size": 40, "spacing_m": 8.0})
    return MatrixConfig(
        models=("vgg16", "vgg16-pretrained"),
        seeds=(0,),
        sets=sets,
        orders=(
            ("mix",),
            ("simulated-fine", "simulated-coarse", "mix"),
            ("simulated-fine", "mix", "simulated-coarse"),
        ),
        base=StageConfig(name="base", epochs=2, lr=2e-3),
        fine_tune=StageConfig(name="fine-tune", trains="head", views=2, epochs=8, lr=2e-3),
        vgg_width=0.125,
        run=RunConfig(
            input=small,
            batch_size=32,
            augment=AugmentConfig(mixup=0),
            pretrain=StageConfig(name="pretrain", epochs=2, lr=2e-3),
        ),
    )
