"""The test side is read in one module, and nothing else can reach it by accident."""

import re
from pathlib import Path

import numpy as np
import pytest

import training
from tests.training.test_stages import chips, network
from training.final_test import final_logits, score_sources
from training.sides import SealedTest

PACKAGE = Path(training.__file__).parent


def test_only_final_test_breaks_the_seal() -> None:
    breakers = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if re.search(r"\.\s*break_seal\b|getattr\(.*seal", path.read_text(encoding="utf-8"))
    }
    assert breakers == {"final_test.py"}


def test_a_sealed_side_tells_its_size_and_nothing_else() -> None:
    sealed = SealedTest(chips(9))
    assert len(sealed) == 9
    for name in ("inputs", "labels", "records", "where"):
        with pytest.raises(AttributeError):
            getattr(sealed, name)


def test_scores_are_those_of_each_source_on_its_own() -> None:
    sealed = SealedTest(chips(9))
    logits = final_logits(network(), sealed)
    assert logits.shape == (9, 3)
    right = np.eye(3, dtype=np.float32)[chips(9).labels] * 9
    scores = score_sources(right, 1.0, sealed, seed=0)
    assert list(scores) == ["fusar"]
    assert scores["fusar"]["headline"]["macro_f1"]["value"] == 1.0
