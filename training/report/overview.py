"""What was run, and how to read the report."""

import json
from collections import Counter
from collections.abc import Mapping

from training.report.answers import UNION, Answers
from training.report.document import Block, Entry, Paragraph, Section, Table, Verbatim
from training.report.wording import entries, listed, path_name
from training.splits import SPLITS

_HOW_TO_READ = (
    "A path such as “fusar → opensarship → mix” is a base training on the first set and "
    "fine-tunings on the next. Of length 1 or 2 it is the independent protocol (each fine-tuning "
    "goes on from the base), of length 3 the sequential one. Every path is tested on every test "
    "set, once.",
    "A figure is the mean over seeds; the brackets are a 95 % bootstrap interval for which ships "
    "and seeds were resampled together, because chips of one ship are not independent. Few seeds "
    "show too little of their own spread. No correction is made for the number of comparisons: "
    "of twenty intervals that truly hold 0, one leaves it out by chance.",
    "Metrics are over the classes that a test set has. Nothing was chosen by the test side: where "
    "the report picks a path, it is the one of least validation loss.",
)
_POOLED = (
    "“{union}” pools the other sets. Where a class stands in one of them only, a model that "
    "recognises the sensor has half the answer: read the parts before the pool."
)


def overview(answers: Answers) -> Section:
    """Models, sets, seeds, the split, what is missing, how to read it all; the config, folded."""
    config = answers.results.config
    blocks: list[Block] = [_run_table(answers)]
    if counts := config.get("split"):
        blocks.append(_split_table(counts))
    blocks.append(_test_table(answers))
    blocks += [Paragraph(text) for text in _HOW_TO_READ]
    if UNION in answers.sets and len(answers.sets) > 1:
        blocks.append(Paragraph(_POOLED.format(union=UNION)))
    text = json.dumps(config, indent=2, ensure_ascii=False, default=str)
    blocks.append(Verbatim("The whole config", text))
    return Section("run", "What was run", tuple(blocks))


_VGG16 = "vgg16 has batch normalisation; vgg16-pretrained has none, as it was published"


def _run_table(answers: Answers) -> Table:
    config, cells = answers.results.config, answers.results.cells
    commits = sorted({cell.commit for cell in cells} | {str(config.get("git_commit", ""))} - {""})
    finished = sum(len(seeds) for seeds in answers.lines.values())
    hours = sum(cell.seconds for cell in cells) / 3600
    paths = dict.fromkeys(line.path for line in answers.lines)
    told = {
        "trainings": f"{finished}, {hours:.1f} hours in all",
        "models": listed(answers.models),
        "paths": listed([path_name(path) for path in paths]),
        "seeds": listed([str(seed) for seed in answers.seeds]),
        "variants": listed(answers.variants) if len(answers.variants) > 1 else "",
        "left out": listed(answers.left_out) or "nothing that the others have",
        "commit": listed(commits) + (" (several!)" if len(commits) > 1 else ""),
        "manifest": str(config.get("manifest_sha256", "not told")),
        "pretrained models": f"start from {config['pretrained']}" if "pretrained" in config else "",
        "VGG16": _VGG16 if any(name.startswith("vgg16") for name in answers.models) else "",
        "machine": str(config.get("machine", "not told")),
    }
    return Table("The run", ("", ""), tuple(entries(*row) for row in told.items() if row[1]))


def _split_table(counts: Mapping[str, Mapping[str, Mapping[str, int]]]) -> Table:
    rows = [
        entries(source, label, *(str(sides[side]) for side in SPLITS), str(sum(sides.values())))
        for source, classes in counts.items()
        for label, sides in classes.items()
    ]
    title = "Chips by source, class and side; no ship stands on two sides"
    return Table(title, ("source", "class", *SPLITS, "all"), tuple(rows))


def _test_table(answers: Answers) -> Table:
    classes = answers.results.test.classes
    rows = []
    for name in answers.sets:
        chips = Counter(answers.labels(name).tolist())
        counts = entries(*(str(chips[k]) if chips[k] else "none" for k in range(len(classes))))
        ships = entries(str(chips.total()), str(len(set(answers.groups(name)))))
        rows.append((Entry(name), *ships, *counts))
    return Table("The test sets", ("test set", "chips", "ships", *classes), tuple(rows))
