"""Prepares the queries of a module, each in every kind of shape."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Final

from stele.diag import Diagnostics
from stele.libpq import Description, ServerError
from stele.lower_query import QueryStmt, lower_queries
from stele.model import (
    Choice,
    Condition,
    Module,
    PolicyRef,
    Query,
    QueryNode,
    QueryReturn,
    RowRef,
    Scalar,
    Table,
    TableRef,
    Type,
)
from stele.partsql import AFTER, Rendered, Shape, Statement, Switch, render
from stele.query_load import RawQuery, load_queries
from stele.shapes import shapes
from stele.verify_compare import Comparer, DeclaredColumn, DeclaredParam, null_hint
from stele.verify_nulls import nulled
from stele.verify_plan import Plans
from stele.verify_session import Session
from stele.verify_source import QuerySource

_NO_SUCH_TABLE: Final = "42P01"
_MISSED: Final = "but an outer join may find"
_INTERVAL: Final = Type(Scalar.INTERVAL)


@dataclass(slots=True)
class QueryVerifier:
    """All queries of one module, under the names in force."""

    session: Session
    comparer: Comparer
    plans: Plans | None
    module: Module
    broken: set[tuple[str, str]]
    pglast: ModuleType | None
    tables: dict[tuple[str, str], Table] = field(init=False)

    def __post_init__(self) -> None:
        self.tables = {
            (module.name, table.name): table
            for module in self.session.schema.modules
            for table in module.tables
        }

    def run(self) -> None:
        if not self.module.queries:
            return
        raws = {one.name: one for one in load_queries(Path(self.module.query_path), Diagnostics())}
        lowered = lower_queries(self.module, self.session.schema)
        for query, stmt in zip(self.module.queries, lowered.stmts, strict=True):
            if not set(used_tables(query.body)) & self.broken:
                _One(self, query, raws[query.name], stmt).run()


class _One:
    """One query."""

    def __init__(
        self, verifier: QueryVerifier, query: Query, raw: RawQuery, stmt: QueryStmt
    ) -> None:
        self.query = query
        self.raw = raw
        self.verifier = verifier
        self.session = verifier.session
        self.comparer = verifier.comparer
        self.what = f'query "{query.name}"'
        switches = tuple(Switch(name, count, shift) for name, count, shift in stmt.switches)
        self.statement = Statement(
            stmt.name, stmt.parts, stmt.params, {}, groups=stmt.groups, switches=switches
        )
        self.source = QuerySource.of(raw, switches)
        self.declared = tuple(self._declared())

    def run(self) -> None:
        names = self.session.named(self.verifier.module.name)
        seen: set[tuple[str, tuple[str, ...]]] = set()
        for shape in shapes(self.statement, self.verifier.plans is not None):
            rendered = render(self.statement, shape, names)
            types = tuple(self.statement.type_of(i, shape) for i in rendered.order)
            if (rendered.text, types) not in seen:
                seen.add((rendered.text, types))
                self._shape(shape, rendered, types)
        self.session.progress(
            self.session.statements, f"{self.verifier.module.name}.{self.query.name}"
        )

    def _shape(self, shape: Shape, rendered: Rendered, types: Sequence[str]) -> None:
        params = []
        for i, sent in zip(rendered.order, types, strict=True):
            one = self.query.params[i]
            kind = _INTERVAL if shape.states[i] == AFTER else one.type
            params.append(DeclaredParam(one.span, one.name, kind, self.session.oid(sent)))
        try:
            found = self.session.describe(rendered.text, [one.sent for one in params])
            if self.verifier.plans is not None:
                self.verifier.plans.check(self.what, self.query.span, rendered.text, types)
        except ServerError as error:
            self._refused(error, shape, rendered)
            return
        self.comparer.params(self.what, params, found.params)
        if not self.query.returns:  # what comes back is dropped
            pass
        elif self.comparer.columns(self.what, self.query.span, self.declared, found):
            self._outer_joins(rendered.text, found)

    def _refused(self, error: ServerError, shape: Shape, rendered: Rendered) -> None:
        params = {f"${i + 1}": self.query.params[j] for i, j in enumerate(rendered.order)}

        def named(text: str) -> str:
            for number, param in params.items():
                text = re.sub(rf"\{number}\b", f":{param.name}", text)
            return self.session.plain(text)

        span = self.source.span(rendered.text, error.position, shape)
        about = re.search(r"\$\d+", error.message)
        if not error.position and about and about[0] in params:
            span = params[about[0]].span
        message = named(error.message)
        said = f"the server refuses {self.what}: {message}"
        hint = self._braces(error) or named(error.hint)
        self.comparer.error("V002", span, message, said, hint)

    def _braces(self, error: ServerError) -> str:
        """What to write where a table of the schema is named without braces."""
        unknown = re.search(r'"(\w+)"', error.message) if error.sqlstate == _NO_SUCH_TABLE else None
        if unknown is None or (self.verifier.module.name, unknown[1]) not in self.verifier.tables:
            return ""
        return f"write {{{unknown[1]}}}, so that schema and prefix apply"

    # ---- results ----

    def _declared(self) -> Iterator[DeclaredColumn]:
        marks = {one.name: one.type.rstrip()[-1:] for one in self.raw.returns}
        for one in self.query.returns:
            if one.table:
                for col in self.verifier.tables[one.table].columns:
                    name = f"{one.name}.{col.name}"
                    yield DeclaredColumn(one.span, name, col.type, col.nullable)
            elif one.type:
                sure = marks[one.name] == "!"
                yield DeclaredColumn(one.span, one.name, one.type, one.nullable, sure)

    def _outer_joins(self, text: str, found: Description) -> None:
        if self.verifier.pglast is None:
            return
        tables = [
            self.session.relation(column.table) if column.table else "" for column in found.columns
        ]
        nulls = nulled(self.verifier.pglast, text, tables)
        if len(nulls) != len(self.declared):
            return
        owners = list(self._owners())
        for owner, one, null in zip(owners, self.declared, nulls, strict=True):
            if not null or one.nullable or one.asserted:
                continue
            if owner.table:
                hint = "declare its columns one by one, those that may be NULL with ?"
                message = f'{self.what} gives the row "{owner.name}", {_MISSED} none'
            else:
                hint = null_hint(one)
                message = f'{self.what} declares "{one.name}" NOT NULL, {_MISSED} no row for it'
            self.comparer.error("V007", owner.span, owner.name, message, hint)

    def _owners(self) -> Iterator[QueryReturn]:
        """The declaration of each column."""
        for one in self.query.returns:
            count = len(self.verifier.tables[one.table].columns) if one.table else 1
            yield from [one] * count


def used_tables(nodes: Sequence[QueryNode]) -> Iterator[tuple[str, str]]:
    """The tables, and enum types, that a body names."""
    for node in nodes:
        if isinstance(node, TableRef | RowRef | PolicyRef):
            yield node.module, node.table
        elif isinstance(node, Condition):
            yield from used_tables(node.body)
        elif isinstance(node, Choice):
            for body in node.bodies:
                yield from used_tables(body)
