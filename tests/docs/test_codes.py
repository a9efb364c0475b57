"""docs/api.md: its codes are those of the code, and its answers are what the schemas say."""

import ast
import json
import re
from http import HTTPStatus

import pytest

from serving import http
from serving.schema import ClassifyResponse, ErrorEnvelope
from shipchip import errors
from tests.docs.blocks import ROOT, blocks

API = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")


def table(name: str) -> list[list[str]]:
    """The cells of the rows between two markers, without the head."""
    (part,) = re.findall(rf"<!-- {name} codes -->\n(.*?)<!-- /{name} codes -->", API, re.S)
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in part.splitlines()[2:]]


def named(cell: str) -> set[str]:
    return set(re.findall(r"`(\w+)`", cell))


def codes_below(error: type[errors.ShipchipError]) -> set[str]:
    return {c for sub in error.__subclasses__() for c in {sub.code} | codes_below(sub)}


def refusals() -> set[tuple[int, str]]:
    """(status, code) of every Refused that serving makes, read from its source.

    A code that is a variable is what the function assigns to it; `error.code` is a chip's.
    """
    found: set[tuple[int, str]] = {(s, code) for s, (code, _) in http._FOREIGN.items()}
    for file in (ROOT / "serving").rglob("*.py"):
        for function in ast.walk(ast.parse(file.read_text())):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                found |= made_in(function)
    return found


def made_in(function: ast.AST) -> set[tuple[int, str]]:
    found = set()
    for call in ast.walk(function):
        is_call = isinstance(call, ast.Call) and isinstance(call.func, ast.Name)
        if not is_call or call.func.id != "Refused" or isinstance(call.args[1], ast.Starred):
            continue
        status, code = call.args[:2]
        # Of `_foreign`, the only one that passes a status on.
        number = status.value if isinstance(status, ast.Constant) else 400
        found |= {(number, text) for text in values_of(code, function)}
    return found


def values_of(code: ast.expr, function: ast.AST) -> set[str]:
    if isinstance(code, ast.Constant):
        return {code.value}
    if isinstance(code, ast.Attribute):
        assert code.attr == "code"
        return {errors.BadPixelSpacing.code}
    assert isinstance(code, ast.Name)
    given = [
        node.value
        for node in ast.walk(function)
        if isinstance(node, ast.Assign) and [ast.unparse(t) for t in node.targets] == [code.id]
    ]
    assert given, f"{code.id} is assigned nowhere"
    return {
        constant.value
        for value in given
        for choice in ([value.body, value.orelse] if isinstance(value, ast.IfExp) else [value])
        for constant in [choice]
        if isinstance(constant, ast.Constant)
    }


def test_the_codes_of_a_chip_are_all_there() -> None:
    told = [code for row in table("chip") for code in named(row[0])]
    assert set(told) == codes_below(errors.ChipError) | {"internal_error"}
    assert len(told) == len(set(told))


def test_the_codes_of_a_request_are_all_there_with_their_status() -> None:
    told = {(int(row[0]), code) for row in table("request") for code in named(row[1])}
    assert told == refusals()
    assert len(told) == len(table("request"))


def test_the_codes_of_models_and_clients_are_all_there() -> None:
    told = {code for row in table("other") for code in named(row[0])}
    service = {errors.ServiceError.code} | codes_below(errors.ServiceError)
    assert told == codes_below(errors.ModelError) | service


def test_every_code_says_what_to_do() -> None:
    for name in ("chip", "request", "other"):
        assert all(len(row[-1]) >= 10 for row in table(name))
    assert {HTTPStatus(int(row[0])) for row in table("request")}


@pytest.mark.parametrize("text", [block.text for block in blocks("json")])
def test_the_answers_shown_are_answers(text: str) -> None:
    """Each field that is shown is one of the schema, and none that is always there is missing."""
    shown = json.loads(text)
    model = ErrorEnvelope if "error" in shown else ClassifyResponse
    read = model.model_validate(shown)
    assert json.loads(read.model_dump_json(exclude_none=True)) == shown
