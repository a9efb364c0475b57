"""JSON Schema, as far as /docs.json uses it -> hypothesis strategies."""

import base64
from typing import Any

from hypothesis import strategies as st

Schema = dict[str, Any]


def drawn(schema: Schema, named: dict[str, Schema], chips: list[bytes]) -> st.SearchStrategy[Any]:
    """Values that `schema` allows; where it asks for a file, some are whole chips.

    `named` are the schemas that a $ref may mean. Raises NotImplementedError for what it does not
    know, so that a new part of the document cannot go unchecked.
    """
    if "$ref" in schema:
        return drawn(named[schema["$ref"].rpartition("/")[2]], named, chips)
    if "anyOf" in schema:
        return st.one_of([drawn(part, named, chips) for part in schema["anyOf"]])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    files = st.sampled_from(chips) | st.binary(max_size=200)
    if schema.get("contentEncoding") == "base64":
        return files.map(lambda content: base64.b64encode(content).decode())
    if schema.get("format") == "binary":
        return files
    return _plain(schema, named, chips)


def _plain(schema: Schema, named: dict[str, Schema], chips: list[bytes]) -> st.SearchStrategy[Any]:
    match schema.get("type"):
        case "null":
            return st.none()
        case "boolean":
            return st.booleans()
        case "number":
            return st.floats(allow_nan=False, allow_infinity=False) | st.integers(1, 100)
        case "string":
            return _text(schema)
        case "array":
            low, high = schema.get("minItems", 0), schema.get("maxItems", 5)
            return st.lists(drawn(schema["items"], named, chips), min_size=low, max_size=high)
        case "object" if "properties" in schema:
            return _object(schema, named, chips)
    raise NotImplementedError(f"no strategy for {schema}")


def _text(schema: Schema) -> st.SearchStrategy[str]:
    # JSON may carry lone surrogates, which are no text; UTF-8 may not.
    anything = st.text(st.characters(exclude_categories=["Cs"]), max_size=schema.get("maxLength"))
    return anything | st.sampled_from(schema["examples"]) if "examples" in schema else anything


def _object(schema: Schema, named: dict[str, Schema], chips: list[bytes]) -> st.SearchStrategy[Any]:
    parts = {name: drawn(part, named, chips) for name, part in schema["properties"].items()}
    required = set(schema.get("required", ()))
    return st.fixed_dictionaries(
        {name: part for name, part in parts.items() if name in required},
        optional={name: part for name, part in parts.items() if name not in required},
    )
