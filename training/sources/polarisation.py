"""Polarisations that a file's name tells and its format does not."""

import re
from dataclasses import replace

from shipchip.decode import Chip

_SUFFIX = re.compile(r"_([vh]{2})$", re.IGNORECASE)


def of_stem(stem: str) -> tuple[str, ...]:
    """("VV",) for a stem that ends in _vv, and so on; empty where it ends otherwise."""
    match = _SUFFIX.search(stem)
    return (match[1].upper(),) if match else ()


def without(stem: str) -> str:
    """The stem without its polarisation: files of one chip have this in common."""
    return _SUFFIX.sub("", stem)


def named(chip: Chip, *told: tuple[str, ...]) -> Chip:
    """The chip with its planes named by the first of `told` that names as many."""
    for names in told:
        if len(names) == len(chip.polarisations):
            return replace(chip, polarisations=names)
    return chip
