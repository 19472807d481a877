"""Queries as read → queries of the model, checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from stele.diag import Diagnostics
from stele.draft import Draft
from stele.model import Module, Query, QueryParam, Schema
from stele.query_body import BodyReader
from stele.query_check import QueryChecker, conditions_of
from stele.query_clause import ClauseReader
from stele.query_load import RawQuery, is_query_file, load_queries
from stele.query_result import reads_only
from stele.query_types import Scope
from stele.view import Tables


def add_queries(draft: Draft, diags: Diagnostics) -> Draft:
    """The draft with the queries that lie beside its schema files."""
    tables = Tables.of(draft, diags)
    modules = tuple(_module(module, draft, tables, diags) for module in draft.schema.modules)
    return replace(draft, schema=Schema(modules))


def _module(module: Module, draft: Draft, tables: Tables, diags: Diagnostics) -> Module:
    path = Path(module.span.path).with_suffix(".sql")
    if not is_query_file(path):
        return module
    scope = Scope(draft, tables, module, diags)
    raws = load_queries(path, diags)
    queries = [query for query in (read_query(raw, scope) for raw in raws) if query]
    _distinct(raws, diags)
    return replace(module, queries=tuple(queries), query_path=path.as_posix())


def _distinct(raws: Sequence[RawQuery], diags: Diagnostics) -> None:
    first: dict[str, RawQuery] = {}
    for raw in raws:
        other = first.setdefault(raw.name, raw)
        if other is not raw:
            message = f'query "{raw.name}" is declared in line {other.span.line} too'
            diags.error(raw.span, "S074", message, "rename one")


def read_query(raw: RawQuery, scope: Scope) -> Query | None:
    """The query; None when so much of it is wrong that nothing more can be said."""
    types = [scope.param_type(declared) for declared in raw.params]
    results = [scope.result(declared) for declared in raw.returns]
    returns = tuple(one for one in results if one is not None)
    if raw.broken:
        return None
    clauses = ClauseReader(raw.source, scope.diags)
    trees = clauses.read(raw.body)
    reader = BodyReader(scope, raw, returns)
    body = reader.read(trees)
    required = {use.name for use in body.uses if use.clause is None}
    params = tuple(
        QueryParam(declared.span, declared.name, type_[0], type_[1], declared.name not in required)
        for declared, type_ in zip(raw.params, types, strict=True)
        if type_ is not None
    )
    query = Query(
        span=raw.span,
        module=scope.module.name,
        name=raw.name,
        kind=raw.kind,
        doc=" ".join(line for line in raw.doc if line),
        params=params,
        returns=returns,
        flags=tuple(flag.text for flag in body.flags),
        choices=tuple(body.choices),
        body=body.nodes,
        custom_plan=raw.custom_plan,
        reads=reads_only(raw.body),
    )
    checker = QueryChecker(scope, raw, reader)
    checker.verb()
    checker.names(body)
    if not clauses.broken:
        checker.parameters(body)
        checker.shapes(body, conditions_of(trees))
        checker.result(query)
    checker.compared({param.name: param for param in params})
    return query
