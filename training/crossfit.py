"""The networks of a run: those that ship, and those that tell how good the shipped ones are.

With few chips of a class (four FUSAR-Ship Tanker blocks, one of which holds half of the chips) one
validation side is a lucky draw. So training and validation chips are dealt into folds by ship, the
whole recipe is run without one fold after the other, and what these networks say of the chips that
they never saw fits trust (Vovk 2015, "Cross-conformal predictors", doi 10.1007/s10472-013-9368-4).
The model that ships is trained on all of them.
"""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold

from training.config import RunConfig
from training.errors import DataInvalid
from training.experts import fit_experts
from training.loop import evaluate
from training.models import ChipNet, Ensemble, Network
from training.results import Epoch
from training.sides import Sides
from training.store import Prepared, joined
from training.trust_fit import HeldOut

Start = Callable[[RunConfig], ChipNet]
TrainOne = Callable[[ChipNet, Sides, RunConfig, str], list[Epoch]]


@dataclass(frozen=True, eq=False)
class Learnt:
    """What a run has learnt.

    network     the one that ships
    embeddings  (N, D) of the chips it was trained on
    held_out    what it, or its like trained without them, says of chips held back
    """

    network: Network
    embeddings: NDArray[np.float32]
    held_out: list[HeldOut]


def learn(
    sides: Sides, config: RunConfig, start: Start, train_one: TrainOne
) -> tuple[Learnt, list[Epoch]]:
    """Train everything that a run needs; the history names each network before its stages where
    there are several.

    start      gives the network of a config with its first weights
    train_one  trains it in place on the training side; its last argument is the network's name in
               this run ("fold-0/member-1"), for whoever keeps or shows what is done
    """
    if not config.folds:
        network, epochs = _ensemble(sides, config, "model", start, train_one)
        embeddings = evaluate(network, sides.train.inputs)[1]
        return Learnt(network, embeddings, [_held_out(network, sides, embeddings)]), epochs
    everything = joined(sides.train, sides.validation)
    held_out: list[HeldOut] = []
    history: list[Epoch] = []
    for number, held in enumerate(folds_of(everything, config)):
        part = replace(sides, train=everything.where(~held), validation=everything.where(held))
        network, epochs = _ensemble(part, config, f"fold-{number}", start, train_one)
        history += epochs
        held_out.append(_held_out(network, part, evaluate(network, part.train.inputs)[1]))
    nothing = everything.where(np.zeros(len(everything), dtype=bool))
    whole = replace(sides, train=everything, validation=nothing)
    network, epochs = _ensemble(whole, config, "model", start, train_one)
    embeddings = evaluate(network, everything.inputs)[1]
    return Learnt(network, embeddings, held_out), history + epochs


def folds_of(chips: Prepared, config: RunConfig) -> Iterator[NDArray[np.bool_]]:
    """Which chips (N,) each fold holds back: no ship in two folds, sources and classes in each
    alike as far as their ships allow.

    Raises DataInvalid where the chips show fewer ships than there are folds.
    """
    groups = [record.group for record in chips.records]
    if len(set(groups)) < config.folds:
        raise DataInvalid(
            f"{len(set(groups))} ships cannot be dealt into {config.folds} folds; "
            "lower `folds` in the config, or bring more ships"
        )
    cells = [f"{record.source} {record.label}" for record in chips.records]
    dealer = StratifiedGroupKFold(config.folds, shuffle=True, random_state=config.split.seed)
    with warnings.catch_warnings():
        # A class with fewer chips than folds: some folds hold none of it, which is told below.
        warnings.filterwarnings("ignore", message="The least populated class")
        dealt = list(dealer.split(cells, cells, groups))
    for _, rows in dealt:
        held = np.zeros(len(chips), dtype=bool)
        held[rows] = True
        yield held


def _ensemble(
    sides: Sides, config: RunConfig, name: str, start: Start, train_one: TrainOne
) -> tuple[Network, list[Epoch]]:
    """`config.members` networks trained alike from other seeds, and the config's experts; one
    network alone is itself."""
    members: list[ChipNet] = []
    history: list[Epoch] = []
    alone = config.members == 1 and not config.folds
    for number in range(config.members):
        own = config.model_copy(update={"seed": config.seed + number})
        network, called = start(own), f"{name}/member-{number}"
        epochs = train_one(network, sides, own, called)
        history += epochs if alone else [replace(e, stage=f"{called}/{e.stage}") for e in epochs]
        members.append(network)
    if config.experts.share:
        experts = fit_experts(sides.train, config.input, config.experts)
        device = next(members[0].parameters()).device
        return Ensemble(members, experts.to(device), config.experts.share), history
    return (members[0] if len(members) == 1 else Ensemble(members)), history


def _held_out(network: Network, sides: Sides, embeddings: NDArray[np.float32]) -> HeldOut:
    logits, held = evaluate(network, sides.validation.inputs)
    records = sides.validation.records
    return HeldOut(
        embeddings,
        logits,
        held,
        sides.validation.labels,
        sources=np.array([record.source for record in records]),
        ships=np.array([record.group for record in records]),
    )
