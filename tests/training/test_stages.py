"""A stage trains what it says, of the model it is given, and repeats itself."""

import numpy as np
import pytest
import torch

from training.config import AugmentConfig, ImbalanceConfig, ModelConfig, RunConfig, StageConfig
from training.data.record import CLASSES, Record
from training.data.store import PreparedChips
from training.errors import Diverged
from training.fit.epoch import TrainingTask, compute_bank, predict, sampling_weights
from training.fit.progress import Epoch
from training.fit.stage import StageContext, of_sources, run_stage, thaw
from training.network.augment import augment, mixup
from training.network.models import ChipNet, build, copy_state

CONFIG = RunConfig(model=ModelConfig(width=0.05), batch_size=8)


def chips(n: int = 24, source: str = "fusar") -> PreparedChips:
    """Bars whose length tells the class."""
    rng = np.random.default_rng(n)
    inputs = rng.normal(0, 0.1, (n, 1, 32, 32)).astype(np.float32)
    labels = np.arange(n) % 3
    for row, label in enumerate(labels):
        inputs[row, 0, 12 - 4 * label : 20 + 4 * label, 14:18] += 1.5
    records = tuple(
        Record(source, str(i), CLASSES[k], str(i), str(i)) for i, k in enumerate(labels)
    )
    return PreparedChips(inputs, labels.astype(np.int64), records, CLASSES)


def network(seed: int = 0) -> ChipNet:
    torch.manual_seed(seed)
    return build(CONFIG.model, 3)


def moved(before: dict[str, torch.Tensor], model: ChipNet) -> set[str]:
    after = model.state_dict()
    return {name for name in before if not torch.equal(before[name], after[name])}


def stage(trains: str = "all", epochs: int = 2) -> StageConfig:
    return StageConfig(name="base", sources=("*",), trains=trains, epochs=epochs, lr=3e-3)


def test_a_stage_on_all_moves_every_weight() -> None:
    model = network()
    before = copy_state(model)
    run_stage(model, chips(), chips(9), stage("all"), CONFIG)
    weights = {name for name, _ in model.named_parameters()}
    assert weights <= moved(before, model)


def test_a_stage_on_the_head_moves_the_head_and_nothing_else() -> None:
    model = network()
    before = copy_state(model)
    run_stage(model, chips(), chips(9), stage("head"), CONFIG)
    assert moved(before, model) == {"head.weight", "head.bias"}


def test_training_one_model_leaves_another_alone() -> None:
    first, second = network(0), network(1)
    before = copy_state(second)
    run_stage(first, chips(), chips(9), stage(), CONFIG)
    assert moved(before, second) == set()


def test_equal_seeds_give_equal_weights() -> None:
    first, second = network(), network()
    for model in (first, second):
        run_stage(model, chips(), chips(9), stage(), CONFIG)
    assert moved(copy_state(first), second) == set()


def test_the_model_keeps_the_epoch_that_validation_chose() -> None:
    model, seen = network(), list[Epoch]()
    result = run_stage(model, chips(), chips(9), stage(epochs=4), CONFIG, StageContext(seen.append))
    assert result.history == tuple(seen)
    assert result.chosen == int(np.argmin([epoch.nll for epoch in seen]))
    logits, _ = predict(model, chips(9).inputs)
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    nll = -log_p[np.arange(9), chips(9).labels].reshape(3, 3).mean(0).mean()
    assert nll == pytest.approx(seen[result.chosen].nll, abs=1e-4)


def test_a_stage_that_diverges_says_so_and_what_to_do() -> None:
    wild = stage().model_copy(update={"lr": 1e30})
    with pytest.raises(Diverged, match=r"stage base, epoch 1: .* lower the stage's lr \(1e\+30\)"):
        run_stage(network(), chips(), chips(9), wild, CONFIG)


def test_gradual_unfreezing_thaws_from_the_top_down() -> None:
    model, gradual = network(), stage("gradual", epochs=6)
    frozen = []
    for epoch in range(6):
        thaw(model, gradual, epoch)
        frozen.append(
            [not any(p.requires_grad for m in b for p in m.parameters()) for b in model.blocks()]
        )
    assert len(model.blocks()) == 5
    assert frozen[0] == [True] * 5
    assert frozen[2] == [False, False, True, True, True]
    assert frozen[5] == [False] * 5


def test_blocks_that_never_thaw_keep_their_weights_and_their_statistics() -> None:
    model = network()
    before = copy_state(model)
    run_stage(model, chips(), chips(9), stage("gradual", epochs=2), CONFIG)  # three blocks at most
    changed = moved(before, model)
    top, bottom = model.blocks()[0], model.blocks()[-1]
    names = {m: n for n, m in model.named_modules()}
    assert {f"{names[m]}.{k}" for m in top for k in m.state_dict()} <= changed
    assert not {f"{names[m]}.{k}" for m in bottom for k in m.state_dict()} & changed


def test_a_stage_on_the_last_blocks_leaves_those_below_alone() -> None:
    model = network()
    before = copy_state(model)
    last = stage("last_blocks").model_copy(update={"blocks": 2})
    run_stage(model, chips(), chips(9), last, CONFIG)
    changed = moved(before, model)
    trained = [any(n in changed for n in names_of(model, block)) for block in model.blocks()]
    assert trained == [True, True, False, False, False]
    assert {"head.weight", "head.bias"} <= changed


def names_of(model: ChipNet, block: list[torch.nn.Module]) -> set[str]:
    names = {module: name for name, module in model.named_modules()}
    return {f"{names[module]}.{key}" for module in block for key in module.state_dict()}


def test_a_head_stage_gives_the_same_with_features_computed_before() -> None:
    first, second = network(), network()
    head, train, held = stage("head", epochs=3), chips(), chips(9)
    bank = compute_bank(first, train, held, head, CONFIG)
    run_stage(first, train, held, head, CONFIG, StageContext(bank=bank))
    run_stage(second, train, held, head, CONFIG)
    assert moved(copy_state(first), second) == set()


def test_a_bank_holds_the_views_and_the_plain_features_of_its_chips() -> None:
    model, train, held = network(), chips(), chips(9)
    bank = compute_bank(model, train, held, stage("head"), CONFIG)
    assert bank.views.shape == (4, len(train), model.head.in_features)
    assert not torch.allclose(bank.views[0], bank.views[1])
    _, plain = predict(model, held.inputs)
    assert np.allclose(bank.validation.numpy(), plain, atol=1e-5)
    some = bank.where(np.arange(len(train)) % 2 == 0, np.arange(9) < 3)
    assert torch.equal(some.views, bank.views[:, ::2])
    assert len(some.validation) == 3


def test_natural_sampling_takes_every_chip_once() -> None:
    natural = CONFIG.model_copy(update={"imbalance": ImbalanceConfig(sampling="natural")})
    task = TrainingTask.of(chips(21), natural, torch.device("cpu"))
    batches = list(task.batches(np.random.default_rng(0)))
    assert sorted(torch.cat(batches).tolist()) == list(range(21))
    assert len(batches) == task.steps == 2


def test_the_mean_of_the_activation_map_is_the_logit() -> None:
    model = network().eval()
    out = model(torch.from_numpy(chips(6).inputs))
    assert out.activation_map.shape[:2] == (6, 3)
    assert torch.allclose(out.activation_map.mean(dim=(2, 3)), out.logits, atol=1e-5)


def test_sampling_weighs_sources_alike_and_in_each_its_classes_alike() -> None:
    records = [Record("a", "1", "Cargo", "1", "1")] * 3 + [Record("a", "2", "Tanker", "2", "2")]
    records += [Record("b", "3", "Cargo", "3", "3")] * 2
    labels = np.array([0, 0, 0, 2, 0, 0], dtype=np.int64)
    data = PreparedChips(np.zeros((6, 1, 1, 1), np.float32), labels, tuple(records), CLASSES)
    assert sampling_weights(data, 0) == pytest.approx([1 / 12] * 3 + [1 / 4] + [1 / 4] * 2)
    # By the root of their chips: three Cargo weigh as 3**0.5 against one Tanker.
    cargo = 3**0.5 / (3**0.5 + 1) / 2
    assert sampling_weights(data, 0.5) == pytest.approx(
        [cargo / 3] * 3 + [0.5 - cargo] + [1 / 4] * 2
    )


def test_a_stage_takes_the_sources_of_its_patterns() -> None:
    fusar, slc = chips(3), chips(6, "opensarship_slc")
    both = PreparedChips(
        np.concatenate([fusar.inputs, slc.inputs]),
        np.concatenate([fusar.labels, slc.labels]),
        fusar.records + slc.records,
        CLASSES,
    )
    assert len(of_sources(both, ("opensarship*",))) == 6
    assert len(of_sources(both, ("*",))) == 9
    assert len(of_sources(both, ("nothing",))) == 0


def test_augmentation_off_changes_nothing() -> None:
    off = AugmentConfig(
        rotate=False, flip=False, shift=0, zoom=0, contrast=0, level_db=0, noise_db=0
    )
    batch = torch.from_numpy(chips(6).inputs)
    changed = augment(batch, off, 20.0, torch.Generator().manual_seed(0))
    assert torch.allclose(changed, batch, atol=1e-5)


def test_augmentation_keeps_the_ship_and_its_size() -> None:
    calm = AugmentConfig(shift=0, zoom=0, contrast=0, level_db=0, noise_db=0)
    batch = torch.zeros(16, 1, 33, 33)
    batch[:, :, 10:23, 14:19] = 1.0
    changed = augment(batch, calm, 20.0, torch.Generator().manual_seed(0))
    assert torch.allclose(changed.sum((1, 2, 3)), batch.sum((1, 2, 3)), rtol=0.03)
    assert not torch.allclose(changed, batch, atol=0.1)


def test_mixup_mixes_chips_and_targets_alike() -> None:
    batch = torch.arange(4.0)[:, None, None, None].expand(4, 1, 2, 2)
    mixed, targets = mixup(batch, torch.eye(4), 0.4, torch.Generator().manual_seed(0))
    assert torch.allclose(targets.sum(1), torch.ones(4))
    assert torch.allclose(mixed[:, 0, 0, 0], targets @ torch.arange(4.0))
