"""The trait `jobs`: what it brings, and that its names are known."""

from __future__ import annotations

import re
from pathlib import Path

from stele.cnames import table_names
from stele.diag import Diagnostics
from stele.frontend import read_schema
from stele.lower import lower
from stele.model import Module
from stele.render import render

HEAD = "module: work\ntables:\n  errands:\n    use: [jobs]\n"


def module(tmp_path: Path, more: str = "") -> Module:
    path = tmp_path / "work.yaml"
    path.write_text(HEAD + more)
    diags = Diagnostics()
    schema = read_schema([path], diags)
    assert schema is not None, diags.sorted()
    return schema.modules[0]


def test_the_trait_brings_key_columns_and_storage(tmp_path: Path) -> None:
    table = module(tmp_path).tables[0]
    assert table.jobs and table.primary_key == ("id",)
    assert "fillfactor" in table.storage
    assert {"dedupe_key", "gen", "done_gen", "token", "lease_until"} <= {
        column.name for column in table.columns
    }
    assert [index.key for index in table.indexes] == ["dedupe", "available", "held"]


def test_own_columns_come_first(tmp_path: Path) -> None:
    table = module(tmp_path, "    columns: {tenant: text?}\n").tables[0]
    assert [column.name for column in table.columns][:2] == ["tenant", "id"]


def test_every_place_of_the_trait_is_its_use(tmp_path: Path) -> None:
    table = module(tmp_path).tables[0]
    assert {column.span.line for column in table.columns} == {4}


def test_every_generated_name_is_known_and_taken_once(tmp_path: Path) -> None:
    path = tmp_path / "work.yaml"
    path.write_text(HEAD)
    schema = read_schema([path], Diagnostics())
    assert schema is not None
    texts = render(lower(schema))
    code = "\n".join(text for name, text in texts.items() if name.endswith((".gen.h", ".gen.c")))
    code = re.sub(r"/\*.*?\*/|\"(?:[^\"\\]|\\.)*\"|^#include.*?$", " ", code, flags=re.S | re.M)
    names = list(table_names(schema.modules[0], schema.modules[0].tables[0]))
    assert set(re.findall(r"\berrands_\w+", code)) - set(names) == set()
    assert len(names) == len(set(names))


def test_claims_are_materialised_and_ends_name_the_token(tmp_path: Path) -> None:
    path = tmp_path / "work.yaml"
    path.write_text(HEAD)
    schema = read_schema([path], Diagnostics())
    assert schema is not None
    code = render(lower(schema))["work.gen.c"]
    parts = dict(re.findall(r"errands_jobs_(\w+)_parts\[\] = \{(.*?)^\};", code, re.S | re.M))
    assert "AS MATERIALIZED" in parts["claim"] and "SKIP LOCKED" in parts["claim"]
    for verb in ("finish", "finish_one", "fail", "renew", "give_back"):
        assert "t.token = " in parts[verb], verb
        assert "t.state = 'running'" in parts[verb], verb
