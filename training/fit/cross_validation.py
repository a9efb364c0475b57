"""The networks of a run: the folds, and the final model.

With few chips of a class (four FUSAR-Ship Tanker blocks, one of which holds half of the chips) the
figures of one validation side depend on chance. So training and validation chips are dealt into
folds by ship. The whole recipe is run without each fold in turn, and the predictions for the chips
held out fit trust (Vovk 2015, "Cross-conformal predictors", doi 10.1007/s10472-013-9368-4). The
final model is trained on all of them.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold
from torch import Tensor

from training.config import RunConfig
from training.data.dataset import Dataset
from training.data.record import Record
from training.data.store import PreparedChips, concatenated
from training.errors import DataInvalid
from training.evaluation.trust import HeldOut
from training.fit.epoch import predict
from training.fit.linear_head import frozen_features
from training.fit.progress import Epoch
from training.network.experts import Experts, embed_chips, fit_experts
from training.network.models import ChipNet, Ensemble, Network, PooledNet
from training.network.size import FEWEST, SizeRegression, fit_size

Start = Callable[[RunConfig], ChipNet]
TrainOne = Callable[[ChipNet, Dataset, RunConfig, str], list[Epoch]]


@dataclass(frozen=True, eq=False)
class TrainedRun:
    """The result of training a run.

    network     the final network
    size        estimates sizes from its embeddings; None if too few ships have a known one
    embeddings  (N, D) of the chips it was trained on
    held_out    predictions for held-out chips, by it or by the networks of the folds
    """

    network: Network
    size: SizeRegression | None
    embeddings: NDArray[np.float32]
    held_out: list[HeldOut]


def cross_validate(
    dataset: Dataset, config: RunConfig, start: Start, train_one: TrainOne
) -> tuple[TrainedRun, list[Epoch]]:
    """Train the final network of a run and the networks of its folds.

    In the history, stages are prefixed with their network if there are several.

    start      gives the network of a config with its first weights
    train_one  trains it in place on the training side; its last argument is the network's name in
               this run ("fold-0/member-1"), for checkpoints and progress
    """
    if config.takes_features:
        dataset = _with_frozen_features(dataset, config, start)
    if not config.folds:
        network, epochs = _ensemble(dataset, config, "model", start, train_one)
        embeddings = _embeddings(network, dataset.train)
        size = _size(network, dataset.train)
        on_validation = _held_out(network, dataset, embeddings, size)
        return TrainedRun(network, size, embeddings, [on_validation]), epochs
    everything = concatenated(dataset.train, dataset.validation)
    held_out: list[HeldOut] = []
    history: list[Epoch] = []
    for number, held in enumerate(folds_of(everything, config)):
        part = replace(dataset, train=everything.where(~held), validation=everything.where(held))
        network, epochs = _ensemble(part, config, f"fold-{number}", start, train_one)
        history += epochs
        every = replace(part, validation=part.validation.every_view())
        size = _size(network, part.train)
        held_out.append(_held_out(network, every, _embeddings(network, part.train), size))
    nothing = everything.where(np.zeros(len(everything), dtype=bool))
    whole = replace(dataset, train=everything, validation=nothing)
    network, epochs = _ensemble(whole, config, "model", start, train_one)
    embeddings = _embeddings(network, everything)
    size = _size(network, everything)
    return TrainedRun(network, size, embeddings, held_out), history + epochs


def _with_frozen_features(dataset: Dataset, config: RunConfig, start: Start) -> Dataset:
    """The dataset with the features that no stage changes, computed once for all networks."""
    network = start(config)
    assert isinstance(network, PooledNet), "config.RunConfig asks for pooled blocks"
    train, validation = (
        replace(side, frozen=frozen_features(network, side))
        for side in (dataset.train, dataset.validation)
    )
    return replace(dataset, train=train, validation=validation)


def folds_of(chips: PreparedChips, config: RunConfig) -> Iterator[NDArray[np.bool_]]:
    """Which chips (N,) each fold holds out: stratified by source and class, no ship in two folds.

    Raises DataInvalid if there are fewer ships than folds.
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
        # A class with fewer chips than folds: some folds hold none of it.
        warnings.filterwarnings("ignore", message="The least populated class")
        dealt = list(dealer.split(cells, cells, groups))
    for _, rows in dealt:
        held = np.zeros(len(chips), dtype=bool)
        held[rows] = True
        yield held


def _ensemble(
    dataset: Dataset, config: RunConfig, name: str, start: Start, train_one: TrainOne
) -> tuple[Network, list[Epoch]]:
    """`config.members` networks of different seeds and the config's experts; a single network
    without experts is returned as it is."""
    members: list[ChipNet] = []
    history: list[Epoch] = []
    alone = config.members == 1 and not config.folds
    for number in range(config.members):
        own = config.model_copy(update={"seed": config.seed + number})
        network, called = start(own), f"{name}/member-{number}"
        if isinstance(network, PooledNet) and dataset.train.frozen is not None:
            torch.nn.init.zeros_(network.head.weight)
            torch.nn.init.zeros_(network.head.bias)
            network.standardise(
                torch.from_numpy(dataset.train.frozen.reshape(-1, len(network.mean)))
            )
        epochs = train_one(network, dataset, own, called)
        history += epochs if alone else [replace(e, stage=f"{called}/{e.stage}") for e in epochs]
        members.append(network)
    if config.experts.share:
        experts = fit_experts(dataset.train.every_view(), config.input, config.experts)
        device = next(members[0].parameters()).device
        seen = _principal(members, dataset.train)
        return Ensemble(members, experts.to(device), config.experts.share, seen), history
    return (members[0] if len(members) == 1 else Ensemble(members)), history


_SEEN = 50  # directions of a network's embedding


def _principal(members: list[ChipNet], chips: PreparedChips) -> Tensor | None:
    """The projection (D, _SEEN) of a frozen network's embedding on the directions in which the
    chips differ most, in standard deviations of these; None if the network is trained.

    Beside the measurements it separates vehicles and aircraft from ships, which the measurements
    alone do not do as well; alone it cannot tell sea (docs/experiments/log.md).
    """
    if chips.frozen is None:
        return None
    (network,) = members
    assert isinstance(network, PooledNet)
    embedding = network.standard(torch.from_numpy(chips.frozen[0]).to(network.mean.device))
    _, singular, directions = torch.linalg.svd(embedding - embedding.mean(0), full_matrices=False)
    kept = min(_SEEN, len(chips) - 1)
    deviation = singular[:kept] / (len(chips) - 1) ** 0.5
    projection: Tensor = (directions[:kept] / (deviation[:, None] + 1e-6)).T.contiguous()
    return projection


def _embeddings(network: Network, chips: PreparedChips) -> NDArray[np.float32]:
    """Embeddings (M, D) of chips as they are, from frozen features where there are some."""
    if not isinstance(network, Ensemble) or not isinstance(network.experts, Experts):
        return predict(network, chips.inputs)[1]
    measured = embed_chips(network.experts, chips.inputs)
    if chips.frozen is None:
        return measured
    member = network.members[0]
    assert isinstance(member, PooledNet)
    with torch.inference_mode():
        embedding = member.standard(torch.from_numpy(chips.frozen[0]).to(member.mean.device))
        both = network.beside(torch.from_numpy(measured).to(member.mean.device), embedding)
    return np.asarray(both.cpu().numpy())


def _size(network: Network, chips: PreparedChips) -> SizeRegression | None:
    """The regression of sizes on the embeddings of chips and their views, where sizes are known."""
    known = np.array([record.size_m is not None for record in chips.records], dtype=bool)
    ships = {record.group for record in chips.records if record.size_m is not None}
    if len(ships) < FEWEST:
        return None
    sized = chips.where(known).every_view()
    return fit_size(_embeddings(network, sized), _known_sizes(sized.records))


def _known_sizes(records: Sequence[Record]) -> NDArray[np.float64]:
    """Sizes (M, 2) in metres of the M records that have one."""
    return np.array([record.size_m for record in records if record.size_m is not None])


def _held_out(
    network: Network,
    dataset: Dataset,
    embeddings: NDArray[np.float32],
    size: SizeRegression | None,
) -> HeldOut:
    logits, held = predict(network, dataset.validation.inputs)
    records = dataset.validation.records
    errors, sized_ships = None, None
    if size:
        known = np.array([record.size_m is not None for record in records], dtype=bool)
        with torch.inference_mode():
            estimates = size(torch.from_numpy(held[known])).numpy()
        errors = np.abs(np.log(estimates / _known_sizes(records).reshape(-1, 2)))
        sized_ships = np.array([r.group for r in records if r.size_m is not None], dtype=str)
    return HeldOut(
        embeddings,
        logits,
        held,
        dataset.validation.labels,
        sources=np.array([record.source for record in records]),
        ships=np.array([record.group for record in records]),
        size_errors=errors,
        sized_ships=sized_ships,
    )
