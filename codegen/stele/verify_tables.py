"""Prepares the statements of tables' functions, each in every kind of shape."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from stele.libpq import ServerError
from stele.lower_stmt import Stmt
from stele.lower_table import TableLowering
from stele.lower_view import ArrayView
from stele.model import Module, Scalar, Span, Table, Type
from stele.partsql import AFTER, VALUE, Shape, Statement, column_of, kind_of, render, sql_type
from stele.shapes import shapes
from stele.verify_compare import Comparer, DeclaredColumn, DeclaredParam
from stele.verify_plan import Plans
from stele.verify_session import Session

_COLUMN: Final = re.compile(r'\{"(?P<name>\w+)",\s+STELE_GEN_(?P<kind>\w+)[^,]*,\s+(?P<null>\w+),')
_INTERVAL: Final = Type(Scalar.INTERVAL)
# What is no column of a table.
_MADE: Final = {"INT8": Type(Scalar.INT8), "BOOL": Type(Scalar.BOOL)}
# Functions whose filters are for the caller to choose: no index fits them all.
_FREE: Final = ("count", "exists")


@dataclass(slots=True)
class TableVerifier:
    """All functions of one table, under the names in force."""

    session: Session
    comparer: Comparer
    plans: Plans
    module: Module
    table: Table
    c_prefixes: Mapping[str, str]
    columns: dict[str, DeclaredColumn] = field(init=False)

    def __post_init__(self) -> None:
        self.columns = {
            col.name: DeclaredColumn(col.span, col.name, col.type, col.nullable)
            for col in self.table.columns
        }

    def run(self) -> None:
        lowering = TableLowering(self.table, self.module, dict(self.c_prefixes))
        result = lowering.run()
        constants = lowering.stmts.shared_texts()
        for stmt in result.stmts:
            self._statement(stmt, Statement.of(stmt, constants))

    def _statement(self, stmt: Stmt, statement: Statement) -> None:
        names = self.session.named(self.module.name)
        span = self._span(stmt.name)
        what = f"{stmt.name}()"
        declared = self._declared(stmt, span)
        seen: set[tuple[str, tuple[str, ...]]] = set()
        for shape in shapes(statement):
            rendered = render(statement, shape, names)
            types = tuple(sql_type(stmt.params[i], shape.states[i]) for i in rendered.order)
            if (rendered.text, types) in seen:
                continue
            seen.add((rendered.text, types))
            params = [
                self._param(stmt.params[i], shape.states[i], span, sent)
                for i, sent in zip(rendered.order, types, strict=True)
            ]
            try:
                found = self.session.describe(rendered.text, [one.sent for one in params])
            except ServerError as error:
                self._refused(what, span, error)
                return
            self.comparer.params(what, params, found.params)
            gives = declared if found.columns or not _returns_on_demand(statement, shape) else ()
            if not self.comparer.columns(what, span, gives, found):
                return
            if self.table.large and self._must_find_an_index(stmt, shape, statement):
                self.plans.check(what, span, rendered.text, types)
        self.session.progress(self.session.statements, f"{self.module.name}.{self.table.name}")

    def _refused(self, what: str, span: Span, error: ServerError) -> None:
        message = f"the server refuses {what}: {self.session.plain(error.message)}"
        self.comparer.error("V002", span, what, message, self.session.plain(error.hint))

    def _must_find_an_index(self, stmt: Stmt, shape: Shape, statement: Statement) -> bool:
        if stmt.name.endswith(tuple(f"{self.table.name}_{verb}" for verb in _FREE)):
            return False
        inputs = shape.states[statement.inputs_from :]
        return not any(
            state == VALUE and statement.optional(i)
            for i, state in enumerate(inputs, statement.inputs_from)
        )

    def _span(self, name: str) -> Span:
        """The declaration that a function comes from."""
        verb = name.removeprefix(f"{self.module.c_prefix}{self.table.name}_")
        spans = {f"list_by_{key.key}": key.span for key in self.table.foreign_keys}
        spans |= {f"list_by_{one.key}": one.span for one in self.table.lists}
        for index in self.table.indexes:
            spans |= {f"{lead}_by_{index.key}": index.span for lead in ("find", "upsert")}
        return spans.get(verb, self.table.span)

    def _param(
        self, param: tuple[str, ...], state: str, span: Span, sent: str
    ) -> DeclaredParam:
        name = column_of(param)
        column = self.columns.get(name)
        kind = column.type if column else _MADE[kind_of(param)]
        place = column.span if column else span
        return DeclaredParam(
            place, name, _INTERVAL if state == AFTER else kind, self.session.oid(sent)
        )

    def _declared(self, stmt: Stmt, span: Span) -> tuple[DeclaredColumn, ...]:
        """The columns that the statement's descriptor promises."""
        array = next((one for one in stmt.arrays if one.kind == "stele_gen_column"), None)
        return tuple(self._column(one, span) for one in _descriptors(array))

    def _column(self, match: re.Match[str], span: Span) -> DeclaredColumn:
        known = self.columns.get(match["name"])
        kind = known.type if known else _MADE[match["kind"]]
        return DeclaredColumn(
            known.span if known else span, match["name"], kind, match["null"] == "true"
        )


def _descriptors(array: ArrayView | None) -> list[re.Match[str]]:
    rows = array.rows if array else ()
    found = [_COLUMN.search(row) for row in rows]
    assert all(found), rows
    return [match for match in found if match]


def _returns_on_demand(statement: Statement, shape: Shape) -> bool:
    """Whether this shape of it gives no rows: the caller did not ask for them."""
    flag = "STELE_FLAG_RETURNING"
    asked = any(flag in part.flags for part in statement.parts)
    return asked and flag not in shape.flags
