"""The JSON Schema of schema files, for editors: made from the grammar, so that it cannot differ.

`python3 -m stele.schema_json` prints it; the committed copy is schema/stele.schema.json.
"""

from __future__ import annotations

import json
import sys
from typing import Final

from stele.grammar import OBJECTS, SHORT, Key
from stele.names import IDENTIFIER

_DEFINITIONS: Final[dict[str, object]] = {
    "name": {"type": "string", "pattern": f"^{IDENTIFIER.pattern}$"},
    "sql": {
        "description": "SQL, in double quotes or a block unless it is one word or number.",
        "type": ["string", "number", "boolean"],
    },
    "literal": {
        "description": "A plain value, or a list of them for an array.",
        "type": ["string", "number", "boolean", "array"],
        "items": {"type": ["string", "number", "boolean"]},
    },
    "type": {
        "anyOf": [
            {"type": "string", "minLength": 1},
            {
                "type": "object",
                "properties": {"opaque": {"type": "string"}},
                "required": ["opaque"],
                "additionalProperties": False,
            },
        ]
    },
}


def json_schema() -> dict[str, object]:
    """The schema as a JSON object."""
    definitions = dict(_DEFINITIONS)
    for name, keys in OBJECTS.items():
        if name != "module":
            definitions[name] = _object(name, keys)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Stele schema",
        **_mapping(OBJECTS["module"]),
        "$defs": definitions,
    }


def _object(name: str, keys: tuple[Key, ...]) -> dict[str, object]:
    mapping = _mapping(keys)
    return {"anyOf": [SHORT[name], mapping]} if name in SHORT else mapping


def _mapping(keys: tuple[Key, ...]) -> dict[str, object]:
    out: dict[str, object] = {
        "type": "object",
        "properties": {key.name: dict(key.shape, description=key.doc) for key in keys},
        "additionalProperties": False,
    }
    required = [key.name for key in keys if key.required]
    return {**out, "required": required} if required else out


def text() -> str:
    """The schema as the committed file has it."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(text())
