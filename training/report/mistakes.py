"""The chips that a model is most sure of and wrong about."""

import numpy as np

from training.report.answers import UNION, Answers, Line
from training.report.document import Block, Gallery, Paragraph, Section
from training.report.plots import sprite
from training.report.wording import path_name

_MOST, _COLUMNS = 24, 6


def mistakes(answers: Answers, chips: bool = True) -> Section:
    """Up to 24 wrong chips of the model whose base training on the union validated best.

    Without `chips` they are named and not shown: data sets may not be passed on.
    """
    title = "Mistakes made with most confidence"
    bases = [Line(answers.main, model, (UNION,)) for model in answers.models]
    bases = [line for line in bases if line in answers.lines]
    if not bases or UNION not in answers.sets:
        text = f"No base training on “{UNION}” was run, from which this page takes its model."
        return Section("mistakes", title, (Paragraph(text),))
    line = min(bases, key=answers.nll)
    probs = answers.probs(line, UNION).mean(axis=0)
    said, labels = probs.argmax(axis=1), answers.labels(UNION)
    wrong = np.flatnonzero(said != labels)
    # Stable: of chips that are equally sure the first of the test side comes first.
    worst = wrong[np.argsort(-probs[wrong, said[wrong]], kind="stable")][:_MOST]
    text = (
        f"{line.model}, {path_name(line.path)}, whose validation loss on {UNION} is least of all "
        f"base trainings there. Answers and confidences are of the mean calibrated probability "
        f"over the seeds {', '.join(map(str, answers.lines[line]))}: {len(wrong)} of {len(labels)} "
        "chips are wrong."
    )
    blocks: list[Block] = [Paragraph(text)]
    if len(worst):
        gallery = _gallery(answers, worst, probs)
        blocks.append(gallery if chips else gallery.table())
    return Section("mistakes", title, tuple(blocks))


def _gallery(answers: Answers, worst: np.ndarray, probs: np.ndarray) -> Gallery:
    """`worst` and `probs` count the chips of the union's test set."""
    test = answers.results.test
    rows = np.flatnonzero(test.sets[UNION])[worst]
    facts = tuple(
        {
            "truth": test.classes[test.labels[row]],
            "answer": test.classes[int(probs[i].argmax())],
            "confidence": f"{probs[i].max():.0%}",
            "source": test.sources[row],
            "key": test.keys[row],
        }
        for row, i in zip(rows, worst, strict=True)
    )
    return Gallery("mistakes", sprite(test.inputs[rows, 0], _COLUMNS), _COLUMNS, facts)
