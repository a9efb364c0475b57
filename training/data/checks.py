"""Checks of the data before training: chips that cannot be read, and notes for the user."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from shipchip.errors import ShipchipError
from training.data.record import CLASSES, Record, Source, drop_repeats


@dataclass(frozen=True)
class Problem:
    """A chip that cannot be read: where it is, the stable code of the error, and its message."""

    source: str
    key: str
    code: str
    message: str


def _nothing() -> None:
    """Called once per chip if the caller shows no progress."""


def verify(
    sources: Sequence[Source],
    records: Iterable[Record],
    on_chip: Callable[[], None] = _nothing,
) -> list[Problem]:
    """Decode every chip; the problems of those that cannot be read, in the order of `records`."""
    by_name = {source.name: source for source in sources}
    problems = []
    for record in records:
        try:
            by_name[record.source].read(record)
        except ShipchipError as error:
            problems.append(Problem(record.source, record.key, error.code, str(error)))
        on_chip()
    return problems


def notes(sources: Sequence[Source], kept: Sequence[Record] | None = None) -> list[str]:
    """One line each, starting with the source's name: repeats, classes that it lacks, and what it
    says of itself. Raises DataInvalid as the sources' `index` does.

    kept  the chips that are used, by default all but byte-identical repeats
    """
    everything = [record for source in sources for record in source.index()]
    unlike = drop_repeats(everything)
    labels = {record.sha256: record.label for record in unlike}
    count = Counter(record.source for record in everything)
    repeats = count - Counter(record.source for record in unlike)
    twins = count - repeats - Counter(r.source for r in (unlike if kept is None else kept))
    disputed = Counter(r.source for r in everything if r.label != labels[r.sha256])
    lines = []
    for source in sources:
        own = []
        if repeats[source.name]:
            otherwise = disputed[source.name]
            extra = f" ({otherwise} of them stand under another class here)" if otherwise else ""
            own.append(f"{repeats[source.name]} byte-identical repeats are left out{extra}")
        if twins[source.name]:
            own.append(f"{twins[source.name]} chips with the pixels of another file are left out")
        found = {record.label for record in everything if record.source == source.name}
        own += [f"there is no {label} chip" for label in CLASSES if label not in found]
        lines += [f"{source.name}: {line}" for line in (*own, *source.notes())]
    return lines
