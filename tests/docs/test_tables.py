"""Tables of settings, codes, columns and options agree with the code; shown answers are answers."""

import json
import re
from pathlib import Path

import pytest

from serving.batch.command import main as batch
from serving.refusals import REFUSALS, Refused
from serving.schema import ClassifyResponse, ErrorEnvelope
from shipchip.command import COMMANDS as COMMANDS_OF_SHIPCHIP
from tests.docs.blocks import ROOT, Block, blocks
from tests.docs.tables import FORMATS, PAPERS, TABLES, updated, written
from training.run import main as training

BATCH = (ROOT / "docs" / "batch.md").read_text(encoding="utf-8")
TRAINING = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
COMMANDS = ("train", "data", "pretrain", "matrix", "evaluate", "export", "promote")


@pytest.mark.parametrize("paper", PAPERS, ids=lambda path: path.name)
def test_generated_tables_are_up_to_date(paper: Path) -> None:
    text = paper.read_text(encoding="utf-8")
    assert updated(text) == text, "run `python -m tests.docs.tables`"


def test_every_generated_table_is_in_one_document() -> None:
    names = [name for paper in PAPERS for name in written(paper.read_text(encoding="utf-8"))]
    assert sorted(names) == sorted(TABLES)


@pytest.mark.parametrize("name", sorted(TABLES.keys() - FORMATS.keys() - {"scores"}))
def test_every_setting_and_every_code_is_explained(name: str) -> None:
    rows = TABLES[name]().splitlines()[2:]
    assert len(rows) > 1
    assert all(len(row.strip("| ").split(" | ")[-1]) > 10 for row in rows)


def test_the_service_cannot_refuse_with_a_code_that_is_not_documented() -> None:
    for status, code in REFUSALS:
        assert Refused(status, code, "why").code == code
    assert Refused(418, "bad_request", "why").status == 418
    with pytest.raises(ValueError, match="add it with its remedy"):
        Refused(400, "no_such_code", "why")
    with pytest.raises(ValueError, match="add it with its remedy"):
        Refused(500, "no_files", "why")


def options_of(help_text: str) -> set[str]:
    return set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", help_text)) - {"--help"}


def test_every_option_of_a_batch_is_documented_and_no_other(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for words in (["--help"], ["merge", "--help"]):
        with pytest.raises(SystemExit):
            batch(words)
    listed = {row for row in BATCH.splitlines() if row.startswith("| `")}
    assert options_of("\n".join(listed)) == options_of(capsys.readouterr().out)


def test_every_option_of_training_is_documented_and_no_other(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for command in COMMANDS:
        with pytest.raises(SystemExit):
            training([command, "--help"])
    listed = {row for row in TRAINING.splitlines() if row.startswith("| `")}
    assert options_of("\n".join(listed)) == options_of(capsys.readouterr().out)


def test_every_command_is_documented_with_its_extras_and_no_other() -> None:
    text = (ROOT / "docs" / "command.md").read_text(encoding="utf-8")
    (part,) = re.findall(r"\| command \|.*?\n\n", text, re.S)
    rows = [[cell.strip() for cell in row.strip("|").split("|")] for row in part.split("\n")[2:-2]]
    reported = {row[0].strip("`"): tuple(re.findall(r"`(\w+)`", row[2])) for row in rows}
    assert reported == {name: command.extras for name, command in COMMANDS_OF_SHIPCHIP.items()}


@pytest.mark.parametrize("block", blocks("json"), ids=str)
def test_the_answers_shown_are_answers(block: Block) -> None:
    """Each field that is shown is one of the schema, and none that is always there is missing."""
    shown = json.loads(block.text)
    model = ErrorEnvelope if "error" in shown else ClassifyResponse
    read = model.model_validate(shown)
    assert json.loads(read.model_dump_json()) == shown
