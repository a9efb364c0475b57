"""What a model's card says of its training and its figures, and the chips it was trained on."""

from collections.abc import Collection, Mapping

from pydantic import ValidationError

from shipchip.card import ModelCard
from shipchip.errors import ModelError
from training.card.schema import ModelFigures, TrainingRecord
from training.config import RunConfig, validated
from training.data import splits
from training.data.dataset import Dataset, Workspace, distinct_records, index, load_dataset
from training.data.record import Source
from training.data.splits import Item
from training.errors import ConfigInvalid, DataInvalid

# The version of the training record in a card. In the first, which has no version, vgg16 was the
# name of the batch-normalised VGG16.
RECORD = 2
MEASURED = "measured on this file"  # in an int8 card's record: its figures are its own


def dataset_of_card(
    card: ModelCard, sources: list[Source], work: Workspace
) -> tuple[RunConfig, list[Item], Dataset]:
    """The run's config, its index and its prepared chips, split as they were for training.

    card     of a file that `python -m training.run` exported
    sources  the data; the same chips in the same groups as then

    Raises ConfigInvalid if the card lacks config or manifest, or this version cannot read them,
    DataInvalid if the sources hold other data than the model was trained on.
    """
    expected = training_of_card(card).manifest_sha256
    if expected is None:
        raise ConfigInvalid(
            f"the card of {card.name} {card.version} has no training.manifest_sha256; expected a "
            "file that training.run exported"
        )
    config = config_of_card(card)
    items = index(distinct_records(sources, config, work), config)
    found = splits.manifest_sha256(items)
    if found != expected:
        here, then = _in_words(splits.counts(items)), _in_words(training_of_card(card).sources)
        if here == then:
            _check_split_version(card)
        raise DataInvalid(
            f"these are not the chips that {card.name} {card.version} was trained on: found "
            f"{here}, manifest {found[:12]}; expected {then}, manifest {expected[:12]}; give the "
            "same folders of data as in training, or train again on these"
        )
    return config, items, load_dataset(sources, items, config, work)


def _check_split_version(card: ModelCard) -> None:
    """DataInvalid if the chips were split by another version of the rules."""
    record = training_of_card(card)
    if record.split_version != splits.SPLIT_VERSION:
        raise DataInvalid(
            f"{card.name} {card.version} was trained on split {record.split_version}, and this "
            f"version makes split {splits.SPLIT_VERSION}: its test side holds chips that the model "
            "was trained on, so no figure of it would be true; use the version that made the file "
            f"(commit {record.git_commit[:12]}), or train it again"
        )


def config_of_card(card: ModelCard) -> RunConfig:
    """The config that the model was trained with; ConfigInvalid if the card has none."""
    record = training_of_card(card)
    content = record.config
    where = f"the config in the card of {card.name} {card.version}"
    if content is None:
        raise ConfigInvalid(f"{where} is missing; expected a file that training.run exported")
    network = content.get("model")
    older = record.record != RECORD
    if older and isinstance(network, dict) and network.get("name") == "vgg16":
        content = content | {"model": network | {"name": "vgg16_bn"}}
    # The card's InputSpec is the one that the model is served with; the config's is a copy of it.
    asked = content | {"input": card.input.model_dump(mode="json")}
    return validated(asked, RunConfig, where)


def metrics_are_its_own(card: ModelCard) -> bool:
    """Whether a card's figures were measured on its own file.

    The int8 files of earlier versions kept the figures of the fp32 file.
    """
    record = training_of_card(card).quantisation
    return record is None or record.metrics == MEASURED


def training_of_card(card: ModelCard) -> TrainingRecord:
    """The training record; ConfigInvalid if it is not one."""
    where = f"the training record in the card of {card.name} {card.version}"
    return validated(card.training, TrainingRecord, where)


def figures_of_card(card: ModelCard) -> ModelFigures:
    """The figures; ModelError if the card has none, or those of an earlier version."""
    try:
        return ModelFigures.model_validate(card.metrics)
    except ValidationError as error:
        fields = ModelFigures.model_fields.items()
        needed = {name for name, field in fields if field.is_required()}
        missing = sorted(needed - set(card.metrics))
        found = f"has no {', '.join(missing)}" if missing else "has other figures"
        raise ModelError(
            f"the card of {card.name} {card.version} {found}, as files of an earlier version; "
            "train it again"
        ) from error


def seen_in_pretraining(
    training: TrainingRecord, kinds: Collection[str], ood_sha256: str | None
) -> str:
    """A sentence naming the kinds that the features were pretrained on; "" if there are none.

    Chips are compared where the card knows these; otherwise, only names of folders can be.

    kinds, ood_sha256  of the chips that show no ship
    """
    record = training.pretraining
    if record is None:
        return ""
    learnt = f"the features were pretrained on {record.chips} chips of {record.source}"
    if training.ood_learnt is not None and ood_sha256 == training.ood_sha256:
        known = sorted(set(kinds) & set(training.ood_learnt))
        which = "some of them, so these kinds were seen before, though not as ships"
    else:
        known = sorted(set(kinds) & {part for label in record.classes for part in label.split("/")})
        which = "in folders of these names, so these kinds may have been seen before"
    return f"{learnt}, {which}: {', '.join(known)}" if known else ""


def _in_words(counts: Mapping[str, Mapping[str, Mapping[str, int]]] | None) -> str:
    """`splits.counts` of a card in words: the chips of each source."""
    if counts is None:
        return "chips that the card does not count"
    chips = {
        source: sum(n for dataset in classes.values() for n in dataset.values())
        for source, classes in counts.items()
    }
    return ", ".join(f"{n} of {source}" for source, n in sorted(chips.items()))
