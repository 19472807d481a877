"""Fuzzes the reader of query files: whatever the text, it answers with queries or diagnostics.

The corpus in corpus/query is replayed by tests/codegen/test_query_fuzz.py. To search for more, with
atheris in a virtual environment that sees Debian's packages:

    python3 -m venv --system-site-packages build/fuzz
    build/fuzz/bin/pip install atheris
    PYTHONPATH=codegen build/fuzz/bin/python tests/fuzz/query_fuzz.py NEW tests/fuzz/corpus/query
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from stele.diag import Diagnostics
from stele.draft import Draft
from stele.load import load_text as load_schema_text
from stele.model import Choice, Condition, ParamRef, QueryNode, SqlText
from stele.query_load import RawQuery, load_text
from stele.query_resolve import read_query
from stele.query_scan import Kind, ScanProblem, Source, scan
from stele.query_types import Scope
from stele.resolve import resolve
from stele.view import Tables

SCHEMA = """
module: fuzz
enums:
  status: [open, paid]
tables:
  orders:
    columns:
      id: bigserial
      name: text
      state: status
      tags: text[]
      placed_at: timestamp?
      deleted_at: timestamptz?
    primary_key: id
    soft_delete: deleted_at
  lines:
    columns:
      order_id: int8
      line: int4
    primary_key: [order_id, line]
"""

KEPT = {Kind.STRING, Kind.QUOTED, Kind.COMMENT, Kind.LINE_COMMENT}
CHANGED = {Kind.DIRECTIVE, Kind.BRACE}


@cache
def _draft() -> Draft:
    diags = Diagnostics()
    mapping = load_schema_text("fuzz.yaml", SCHEMA, diags)
    assert mapping is not None and not diags.failed
    return resolve([mapping], False, diags)


@cache
def _tables() -> Tables:
    return Tables.of(_draft(), Diagnostics())


def check(text: str) -> None:
    """Fails if the reader does, or if it changes what it must leave alone."""
    check_scan(text)
    diags = Diagnostics()
    draft = _draft()
    tables = _tables()
    for view in tables.views:  # which reports where the check of this text will look
        object.__setattr__(view, "diags", diags)
    raws = load_text("fuzz.sql", text, diags)
    scope = Scope(draft, tables, draft.schema.modules[0], diags)
    for raw in raws:
        before = len(diags.items)
        query = read_query(raw, scope)
        if query is not None and len(diags.items) == before:
            check_text(raw, query.body)
    check_places(text, diags)


def check_scan(text: str) -> None:
    """The tokens are the text, up to where one is never closed."""
    at = 0
    try:
        for token in scan(text):
            assert token.at == at and token.text
            at += len(token.text)
            assert text.startswith(token.text, token.at)
        assert at == len(text)
    except ScanProblem as problem:
        assert problem.at == at < len(text)


def check_text(raw: RawQuery, body: Sequence[QueryNode]) -> None:
    """Literals and comments come out byte for byte; all else too where nothing is replaced."""
    names = [param.name for param in raw.params]
    text = "".join(rendered(body, names))
    at = 0
    between = False  # behind a branch of a choice, where comments belong to nothing
    for token in raw.body:
        if token.kind is Kind.DIRECTIVE:
            between = token.text[3:].lstrip().startswith("or")
        if token.kind in KEPT and not between:
            at = text.find(token.text, at)
            assert at >= 0, token
            at += len(token.text)
    if all(token.kind not in CHANGED for token in raw.body):
        assert text == "".join(token.text for token in raw.body)


def rendered(nodes: Sequence[QueryNode], names: Sequence[str]) -> Iterator[str]:
    """The body with every clause and every branch, and parameters by their names."""
    for node in nodes:
        match node:
            case SqlText():
                yield node.text
            case ParamRef():
                yield f":{names[node.param]}"
            case Condition():
                yield from rendered(node.body, names)
            case Choice():
                for body in node.bodies:
                    yield from rendered(body, names)
            case _:
                yield "{}"


def check_places(text: str, diags: Diagnostics) -> None:
    lines = [*Source.of("", text).starts, len(text) + 1]
    for item in diags.items:
        assert 1 <= item.line < len(lines), item
        assert 1 <= item.column <= lines[item.line] - lines[item.line - 1] + 1, item
        assert item.hint and "\n" not in str(item), item


def check_bytes(data: bytes) -> None:
    check(data.decode("utf-8", "replace"))


def main() -> None:
    atheris = importlib.import_module("atheris")
    atheris.instrument_all()
    atheris.Setup([sys.argv[0], *sys.argv[1:]], check_bytes)
    atheris.Fuzz()


def corpus() -> list[Path]:
    return sorted((Path(__file__).parent / "corpus/query").iterdir())


if __name__ == "__main__":
    main()
