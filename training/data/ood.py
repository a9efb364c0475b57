"""Out-of-distribution chips (sea, vehicles, aircraft), to measure whether a model refuses them.

They are read like a user's upload without a pixel spacing, so the default rules of the model's card
apply. Pretraining on such chips is separate: training.pretrain.
"""

from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress

from shipchip.card import InputSpec
from training.data.class_folders import FolderSource
from training.data.dataset import Workspace
from training.data.record import drop_repeats
from training.data.store import prepare_all
from training.errors import DataInvalid


def load_ood_chips(
    paths: Sequence[Path], spec: InputSpec, work: Workspace
) -> dict[str, NDArray[np.float32]]:
    """Kind -> prepared chips (N, 1, S, S) of folders or archives of class folders.

    The kind is the name of the top folder, inside the one that wraps an archive. Byte-identical
    repeats are left out. Each chip is decoded once; the store keeps it prepared.
    Raises DataMissing or DataInvalid if there are no chips, if some cannot be read, or if two paths
    hold one kind.
    """
    found: dict[str, NDArray[np.float32]] = {}
    for path in paths:
        kinds = _of_path(path, spec, work)
        twice = sorted(found.keys() & kinds.keys())
        if twice:
            raise DataInvalid(f"{path} holds {twice[0]}, as a path before it does; rename one")
        found |= kinds
    return found


def _of_path(path: Path, spec: InputSpec, work: Workspace) -> dict[str, NDArray[np.float32]]:
    source = FolderSource(path, None)
    records = drop_repeats(source.index())
    with Progress(console=work.console) as progress:
        task = progress.add_task("preparing other chips", total=len(records))
        step = partial(progress.advance, task)
        chips = prepare_all([source], records, spec, work.store, step)
        progress.update(task, completed=len(records))
    wrapper = source.archive.wrapper
    kinds = np.array([ood_kind(record.label.removeprefix(wrapper)) for record in records])
    return {kind: chips.inputs[kinds == kind] for kind in sorted(set(kinds.tolist()))}


def ood_kind(label: str) -> str:
    """The kind of a class folder.

    >>> ood_kind("vehicle_mstar/T62"), ood_kind("sea")
    ('vehicle_mstar', 'sea')
    """
    return label.split("/", maxsplit=1)[0]


def seen_in_pretraining(training: dict[str, Any], kinds: Collection[str]) -> str:
    """A sentence naming the kinds that the features were pretrained on; "" if there are none.

    training  of a card; its "pretraining" names the class folders learnt on, if any
    """
    record = training.get("pretraining") or {}
    trained = {part for label in record.get("classes", ()) for part in label.split("/")}
    known = sorted(trained & set(kinds))
    if not known:
        return ""
    return (
        f"the features were pretrained on {record['chips']} chips of {record['source']}, so these "
        f"kinds were seen before, though not as ships: {', '.join(known)}"
    )
