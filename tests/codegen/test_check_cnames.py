"""The check for colliding C names knows every name that generated code takes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from stele.cnames import enum_constants, enum_names, module_names, query_names, table_names
from stele.diag import Diagnostics
from stele.frontend import read_schema
from stele.lower import lower
from stele.model import Module, Schema
from stele.render import render

TOP = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def shop() -> Schema:
    diags = Diagnostics()
    schema = read_schema([TOP / "tests/schemas/shop.yaml"], diags)
    assert schema is not None
    return schema


def known(module: Module) -> list[str]:
    found = list(module_names(module))
    for table in module.tables:
        found += table_names(module, table)
    for query in module.queries:
        found += query_names(module, query)
    for enum in module.enums:
        found += enum_names(module, enum)
        found += [constant for _, constant in enum_constants(module, enum)]
    return found


def test_every_generated_name_is_known(shop: Schema) -> None:
    texts = render(lower(shop))
    code = "\n".join(text for name, text in texts.items() if name.endswith((".gen.h", ".gen.c")))
    code = re.sub(r"/\*.*?\*/|\"(?:[^\"\\]|\\.)*\"|^#include.*?$", " ", code, flags=re.S | re.M)
    generated = set(re.findall(r"\bshop_\w+|\bSHOP_\w+", code))
    assert len(generated) > 500
    assert generated - set(known(shop.modules[0])) == set()


def test_no_table_takes_a_name_twice(shop: Schema) -> None:
    names = known(shop.modules[0])
    assert len(names) == len(set(names))
