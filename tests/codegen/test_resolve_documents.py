"""The reference of the language and the schema for editors agree with the reader."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from stele.diag import Diagnostics
from stele.frontend import read_schema
from stele.grammar import OBJECTS
from stele.schema_json import json_schema, text

TOP = Path(__file__).resolve().parents[2]
REFERENCE = (TOP / "docs/reference/schema.md").read_text()
EXAMPLES = re.findall(r"```yaml\n(.*?)```", REFERENCE, re.DOTALL)
FILES = [TOP / "schema/sessions.yaml", TOP / "tests/schemas/shop.yaml"]


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_examples_are_right(number: int, tmp_path: Path) -> None:
    (tmp_path / "example.yaml").write_text(EXAMPLES[number])
    diags = Diagnostics()
    schema = read_schema([tmp_path / "example.yaml"], diags)
    assert schema is not None, "\n".join(map(str, diags.sorted()))
    assert not diags.items, "\n".join(map(str, diags.sorted()))


def test_every_key_is_explained() -> None:
    for keys in OBJECTS.values():
        for key in keys:
            assert re.search(rf"`[^`\n]*\b{key.name}\b[^`\n]*`", REFERENCE), key.name


def test_the_committed_schema_is_current() -> None:
    committed = TOP / "schema/stele.schema.json"
    refresh = "(cd codegen && python3 -m stele.schema_json) > schema/stele.schema.json"
    assert committed.read_text() == text(), f"out of date; refresh with: {refresh}"


def mistakes(value: Any, shape: dict[str, Any], where: str = "$") -> Iterator[str]:
    """What JSON Schema says of a value, for the keywords that ours uses."""
    definitions = json_schema()["$defs"]
    assert isinstance(definitions, dict)
    known = {"anyOf", "items", "minItems", "minLength", "minimum", "maximum", "pattern"}
    known |= {"$ref", "$schema", "$defs", "type", "title", "description", "properties", "enum"}
    assert set(shape) <= known | {"propertyNames", "additionalProperties", "required"}, shape
    if "$ref" in shape:
        yield from mistakes(value, definitions[shape["$ref"].removeprefix("#/$defs/")], where)
    if "anyOf" in shape and not any(not list(mistakes(value, s, where)) for s in shape["anyOf"]):
        yield f"{where}: fits none"
    kinds = shape.get("type", [])
    if kinds and not any(is_kind(value, k) for k in ([kinds] if isinstance(kinds, str) else kinds)):
        yield f"{where}: not {kinds}"
        return
    if "enum" in shape and value not in shape["enum"]:
        yield f"{where}: not one of {shape['enum']}"
    if "pattern" in shape and not re.search(shape["pattern"], value):
        yield f"{where}: does not match"
    if isinstance(value, (str, list)) and len(value) < shape.get(
        "minItems", shape.get("minLength", 0)
    ):
        yield f"{where}: too short"
    if isinstance(value, list) and "items" in shape:
        for at, item in enumerate(value):
            yield from mistakes(item, shape["items"], f"{where}[{at}]")
    if isinstance(value, dict):
        yield from object_mistakes(value, shape, where)


def object_mistakes(value: dict[str, Any], shape: dict[str, Any], where: str) -> Iterator[str]:
    for name in shape.get("required", []):
        if name not in value:
            yield f"{where}: lacks {name}"
    for name, item in value.items():
        yield from mistakes(name, shape.get("propertyNames", {}), f"{where} {name}")
        inner = shape.get("properties", {}).get(name, shape.get("additionalProperties", {}))
        if inner is False:
            yield f"{where}: unknown {name}"
        elif inner is not True:
            yield from mistakes(item, inner, f"{where}.{name}")


def is_kind(value: Any, kind: str) -> bool:
    kinds: dict[str, tuple[type, ...]] = {
        **{"string": (str,), "object": (dict,), "array": (list,)},
        **{"boolean": (bool,), "number": (int, float)},
    }
    if kind == "integer":
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, kinds[kind]) and (kind == "boolean" or not isinstance(value, bool))


class Editor(yaml.SafeLoader):  # type: ignore[misc]
    """Reads as an editor does, by YAML 1.2: `no`, `on` and dates are text."""


Editor.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in found if tag not in _OLD]
    for _OLD in [{"tag:yaml.org,2002:bool", "tag:yaml.org,2002:timestamp"}]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
Editor.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("true|false"), ["t", "f"])


def as_editor(source: str) -> Any:
    # The pure parser ends a plain value at a '?' inside brackets; editors do not.
    quoted = re.sub(r"(: )([a-z0-9()]+\?)(?=[,}])", r'\1"\2"', source)
    loaded: Any = yaml.load(quoted, Loader=Editor)
    return loaded


SOURCES = [path.read_text() for path in FILES] + EXAMPLES


@pytest.mark.parametrize("source", SOURCES, ids=lambda text: str(text)[:20].split("\n")[0])
def test_editors_accept_what_the_reader_accepts(source: str) -> None:
    assert list(mistakes(as_editor(source), json_schema())) == []


@pytest.mark.parametrize(
    "case", ["unknown_key", "missing_key", "wrong_kind", "bad_choice", "bad_name", "duplicate_key"]
)
def test_editors_refuse_what_the_reader_refuses(case: str) -> None:
    source = (TOP / "tests/golden/errors" / case / "schema.yaml").read_text()
    found = list(mistakes(as_editor(source), json_schema()))
    assert bool(found) == (case != "duplicate_key")


def test_the_schema_is_json_with_a_home_for_every_reference() -> None:
    schema = json.loads(text())
    references = set(re.findall(r"#/\$defs/(\w+)", text()))
    assert references <= set(schema["$defs"])
