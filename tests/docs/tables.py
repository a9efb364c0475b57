"""Tables of the documents that are generated from the code: `python -m tests.docs.tables`.

A document marks the place of a table with `<!-- NAME -->` and `<!-- /NAME -->`. The command writes
all tables. A test compares the documents with what the code gives.
"""

import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from pydantic.fields import FieldInfo

from serving.batch.rows import SCENE_COLUMNS, column_list
from serving.refusals import REFUSALS
from serving.settings import PROJECT, Settings
from shipchip import ShipClassifier, errors
from tests.docs import declared, formats
from tests.docs.blocks import ROOT
from training.card.record import figures_of_card
from training.data.dataset import OTHER_SHIPS
from training.errors import TrainingError
from training.evaluation.presentations import worst_change
from training.evaluation.targets import NEAR

_PART = re.compile(r"(<!-- ([\w ]+) -->\n)(.*?)(<!-- /\2 -->)", re.S)
_SOURCES = {
    "fusar": "FUSAR-Ship (Gaofen-3)",
    "opensarship": "OpenSARShip scenes (Sentinel-1)",
    "opensarship_slc": "OpenSARShip SLC chips (Sentinel-1)",
}


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def settings() -> str:
    """Every variable of the service."""
    rows = [
        (f"`SHIPCHIP_{name.upper()}`", default(field), str(field.description))
        for name, field in Settings.model_fields.items()
    ]
    return markdown(("variable", "default", "meaning"), rows)


def default(field: FieldInfo) -> str:
    """A setting's default; empty where its description says what it is."""
    value = field.default
    if value in (None, ()) or field.default_factory is not None:
        return ""
    if field.annotation is int and value >= 2**20:
        mebi, rest = divmod(value, 2**20)
        return f"{value} ({mebi} Mi)" if not rest else str(value)
    path = str(value).removeprefix(f"{PROJECT}/")
    return f"`{path}`"


def below(error: type[errors.ShipchipError]) -> list[type[errors.ShipchipError]]:
    """The errors below one, at any depth, in the order of their definition."""
    return [e for sub in error.__subclasses__() for e in (sub, *below(sub))]


def code_rows(found: Iterable[type[errors.ShipchipError]]) -> list[tuple[str, str]]:
    """Code and first paragraph of the docstring of each."""
    return [
        (f"`{e.code}`", " ".join((inspect.getdoc(e) or "").split("\n\n")[0].split())) for e in found
    ]


def chip_codes() -> str:
    """Codes of one chip."""
    fault = ("`internal_error`", "A fault of the program on this chip. Report it with its log.")
    return markdown(("code", "meaning"), [*code_rows(below(errors.ChipError)), fault])


def request_codes() -> str:
    """Codes of a whole request, by status."""
    rows = [(str(status), f"`{code}`", todo) for (status, code), todo in REFUSALS.items()]
    return markdown(("status", "code", "what to do"), rows)


def other_codes() -> str:
    """Codes of model files, of samples and of the client."""
    found = [*below(errors.ModelError), errors.FolderNotEmpty]
    found += [errors.ServiceError, *below(errors.ServiceError)]
    return markdown(("code", "meaning"), code_rows(found))


def training_codes() -> str:
    """Codes of `training.run`."""
    return markdown(("code", "meaning"), code_rows(below(TrainingError)))


def columns() -> str:
    """Columns of a batch run, with the default model's classes."""
    rows = [
        (f"`{name}`", kind, meaning)
        for name, kind, meaning in column_list(("Cargo", "Fishing", "Tanker"))
    ]
    return markdown(("column", "holds", "meaning"), rows)


def scene_columns() -> str:
    """Columns of scenes alone."""
    return markdown(
        ("column", "holds", "meaning"), [(f"`{c.name}`", c.kind, c.meaning) for c in SCENE_COLUMNS]
    )


def scores() -> str:
    """Figures of the default model on the test side, from its card."""
    card = ShipClassifier(ROOT / "models" / "ship.onnx").card
    metrics: Mapping[str, Any] = card.metrics
    sources, presentations = metrics["sources"], figures_of_card(card).presentations
    assert presentations is not None
    worst = {name: worst_change(lines) for name, lines in presentations.items()}
    rows = [
        (
            f"{_SOURCES[name]}: {source['chips']} chips of {source['ships']} ships or blocks",
            ", ".join(source["classes"]),
            f"{presentations[name][worst[name]].macro_f1:.2f} ({worst[name]})",
            "{value:.2f} ({low:.2f} to {high:.2f})".format(**source["headline"]["macro_f1"]),
            f"{source['majority_macro_f1']:.2f}",
        )
        for name, source in sources.items()
    ]
    heads = ("test chips", "classes", "worst presentation", "as they are (95 %)", "all Cargo")
    ece = [source["headline"]["ece"]["value"] for source in sources.values()]
    floor = [source["ece_floor"] for source in sources.values()]
    coverage = [100 * share["value"] for share in metrics["sets"]["coverage"].values()]
    tanker = sources["opensarship_slc"]["by_class"]["Tanker"]["precision"]
    kinds = metrics["out_of_distribution"]["kinds"]
    land = {name: kind for name, kind in kinds.items() if name in NEAR}
    far = {n: kind for n, kind in kinds.items() if n not in NEAR and n != OTHER_SHIPS}
    size = metrics["sizes"]["all"]
    notes = (
        f"- Length is {size['length_error_m']['value']:.0f} m off on average, width "
        f"{size['width_error_m']['value']:.1f} m, on {size['chips']} Sentinel-1 chips whose ships "
        f"have a size by AIS. The 90 % intervals hold {100 * size['length_held']['value']:.0f} % "
        f"of lengths and {100 * size['width_held']['value']:.0f} % of widths.",
        f'- On SLC chips only {100 * tanker:.0f} % of the answers "Tanker" are right.',
        f"- Calibration error (ECE) is {min(ece):.2f} to {max(ece):.2f}. On so few chips even "
        f"a perfectly calibrated model shows {min(floor):.2f} to {max(floor):.2f}.",
        f"- Prediction sets contain the true class for {min(coverage):.0f} to {max(coverage):.0f} "
        f"% of chips, depending on the class. Their mean size is "
        f"{metrics['sets']['mean_size']['value']:.1f}.",
        f"- {refused(far)} of vehicles, aircraft or sea are flagged as unlike the training chips, "
        f"{refused(land)} of land and harbour, and {refused({'': kinds[OTHER_SHIPS]})} of other "
        "ship types. So are "
        f"{100 * metrics['out_of_distribution']['all']['ships_refused']['value']:.1f} % of ships.",
    )
    return "\n".join((markdown(heads, rows), *notes, ""))


def refused(kinds: Mapping[str, Any]) -> str:
    """The share of chips of some kinds that are refused, and how many chips these are."""
    chips = sum(kind["chips"] for kind in kinds.values())
    share = sum(kind["chips"] * kind["refused"]["value"] for kind in kinds.values()) / chips
    return f"{100 * share:.0f} % of {chips:,} chips"


FORMATS: Mapping[str, Callable[[], str]] = {
    "planes": lambda: markdown(("planes", "order"), formats.plane_rows()),
    "band names": lambda: markdown(("bands are named", "read as"), formats.name_rows()),
    "samples": lambda: markdown(("stored as", "taken as"), formats.sample_rows()),
    "what files say": lambda: markdown(("in the file", "what is done"), declared.declared_rows()),
    "spacing rules": lambda: markdown(
        ("chip", f"spacing, row{formats.TIMES}column", "because"), formats.rule_rows()
    ),
}
TABLES: Mapping[str, Callable[[], str]] = {
    "settings": settings,
    "chip codes": chip_codes,
    "request codes": request_codes,
    "other codes": other_codes,
    "training codes": training_codes,
    "columns": columns,
    "scene columns": scene_columns,
    "scores": scores,
    **FORMATS,
}
PAPERS = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])


def written(text: str) -> dict[str, str]:
    """Name -> content of the marked tables in a document."""
    return {name: table for _, name, table, _ in _PART.findall(text)}


def updated(text: str) -> str:
    """A document with its marked tables as the code gives them."""
    return _PART.sub(lambda part: f"{part[1]}{TABLES[part[2]]()}{part[4]}", text)


if __name__ == "__main__":
    for paper in PAPERS:
        paper.write_text(updated(paper.read_text(encoding="utf-8")), encoding="utf-8")
