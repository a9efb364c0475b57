"""Makes a run's model the default one, with a model card for people beside it."""

import shutil
from pathlib import Path

from shipchip.atomic import replacing, write_text
from shipchip.classifier import ShipClassifier
from shipchip.errors import ModelError
from training.card.page import card_pictures, model_card
from training.card.record import figures_of_card, metrics_are_its_own, training_of_card
from training.errors import ConfigInvalid, DataMissing
from training.evaluation.targets import FILE_SIZE, MEGABYTE


def promote_model(run: Path, models: Path) -> bool:
    """Copy `ship.onnx` of a finished run to `models`; write its sum, README.md and pictures there.

    An int8 file of another model there is deleted: `ship.int8.onnx`, as `export --int8` names it.
    Returns whether there was one.
    Raises DataMissing if the run has no model, ModelError if the file is too large, cannot be
    loaded, or has no figures to write down.
    """
    source = run / "ship.onnx"
    if not source.is_file():
        raise DataMissing(f"{run} holds no ship.onnx; expected a finished run folder")
    size = source.stat().st_size
    if not FILE_SIZE.met(size / MEGABYTE):
        raise ModelError(f"{source} has {size / MEGABYTE:.1f} MB, expected {FILE_SIZE.text()}")
    ships = ShipClassifier(source, device="cpu")
    figures_of_card(ships.card)
    if not metrics_are_its_own(ships.card):
        raise ModelError(
            f"the card of {source} is of an int8 file and has the figures of the fp32 file; "
            "export it again with `export --int8`, which measures it"
        )
    with replacing(models / "ship.onnx") as temporary:
        shutil.copyfile(source, temporary)
        for name, png in card_pictures(ships.card).items():
            (models / name).write_bytes(png)
        write_text(models / "README.md", model_card(ships.card, ships.sha256, size))
        outdated = _outdated(models / "ship.int8.onnx", ships.sha256)
        if outdated:  # before the model is in place, so that the two are never side by side
            (models / "ship.int8.onnx.sha256").unlink(missing_ok=True)
            (models / "ship.int8.onnx").unlink()
        # The service refuses a file with another sum: killed between these two, promote once more.
        write_text(models / "ship.onnx.sha256", f"{ships.sha256}  ship.onnx\n")
    return outdated


def _outdated(int8: Path, sha256: str) -> bool:
    """Whether there is an int8 file of another model than the one with this SHA-256."""
    if not int8.exists():
        return False
    try:
        record = training_of_card(ShipClassifier(int8, device="cpu").card).quantisation
    except (ModelError, ConfigInvalid):
        return True
    return record is None or record.of != sha256
