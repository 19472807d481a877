"""Prepares the statements of tables' functions, each in every kind of shape."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from stele.libpq import ServerError
from stele.lower_stmt import Stmt
from stele.lower_table import TableLowering
from stele.lower_view import ArrayView
from stele.model import Module, Scalar, Span, Table, Type
from stele.partsql import AFTER, UNSET, Shape, Statement, column_of, kind_of, render
from stele.shapes import shapes
from stele.verify_compare import Comparer, DeclaredColumn, DeclaredParam
from stele.verify_plan import Plans
from stele.verify_session import Session

_COLUMN: Final = re.compile(
    r'\{(?P<name>"\w+"),\s+(?P<kind>STELE_GEN_[\w |]+),\s+(?P<null>true|false),'
    r"\s+(?P<row>offsetof\((?!stele_gen_))?"
)
_INTERVAL: Final = Type(Scalar.INTERVAL)
_SCALARS: Final = {one.name: one for one in Scalar} | {"BPCHAR": Scalar.CHAR}
# Functions whose filters are for the caller to choose: no index fits them all.
_FREE: Final = ("count", "exists")


@dataclass(slots=True)
class TableVerifier:
    """All functions of one table, under the names in force."""

    session: Session
    comparer: Comparer
    plans: Plans | None
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
        arrays = frozenset(col.name for col in self.table.columns if col.type.array)
        for stmt in result.stmts:
            self._statement(stmt, Statement.of(stmt, constants, arrays))

    def _statement(self, stmt: Stmt, statement: Statement) -> None:
        names = self.session.named(self.module.name)
        span = self._span(stmt.name)
        what = f"{stmt.name}()"
        declared = self._declared(stmt, span)
        seen: set[tuple[str, tuple[str, ...]]] = set()
        for shape in shapes(statement, self.plans is not None):
            rendered = render(statement, shape, names)
            types = tuple(statement.type_of(i, shape) for i in rendered.order)
            if (rendered.text, types) in seen:
                continue
            seen.add((rendered.text, types))
            params = [
                self._param(stmt.params[i], shape.states[i], span, sent)
                for i, sent in zip(rendered.order, types, strict=True)
            ]
            try:
                found = self.session.describe(rendered.text, [one.sent for one in params])
                self._plan(stmt, statement, shape, rendered.text, types, len(seen) == 1)
            except ServerError as error:
                self._refused(what, span, error)
                return
            self.comparer.params(what, params, found.params)
            if statement.stores_many:  # what comes back is read as that of one row is
                continue
            gives = declared if found.columns or not _returns_on_demand(statement, shape) else ()
            if not self.comparer.columns(what, span, gives, found):
                return
        self.session.progress(self.session.statements, f"{self.module.name}.{self.table.name}")

    def _refused(self, what: str, span: Span, error: ServerError) -> None:
        message = f"the server refuses {what}: {self.session.plain(error.message)}"
        self.comparer.error("V002", span, what, message, self.session.plain(error.hint))

    def _plan(
        self,
        stmt: Stmt,
        statement: Statement,
        shape: Shape,
        text: str,
        types: Sequence[str],
        first: bool,
    ) -> None:
        """Plans the first shape, and those in which a large table must be found by an index.

        No index fits all filters that a caller may choose.
        """
        if self.plans is None:
            return
        free = stmt.name.endswith(tuple(f"{self.table.name}_{verb}" for verb in _FREE))
        inputs = range(statement.inputs_from, len(shape.states))
        free = free or any(statement.optional(i) and shape.states[i] != UNSET for i in inputs)
        large = self.table.large and not free
        if first or large:
            what, span = f"{stmt.name}()", self._span(stmt.name)
            self.plans.check(what, span, text, types, warn=large)

    def _span(self, name: str) -> Span:
        """The declaration that a function comes from."""
        verb = name.removeprefix(f"{self.module.c_prefix}{self.table.name}_")
        spans = {f"list_by_{key.key}": key.span for key in self.table.foreign_keys}
        spans |= {f"list_by_{one.key}": one.span for one in self.table.lists}
        for index in self.table.indexes:
            leads = ("find_by", "upsert_by", "upsert_many_by")
            spans |= {f"{lead}_{index.key}": index.span for lead in leads}
        return spans.get(verb, self.table.span)

    def _param(self, param: tuple[str, ...], state: str, span: Span, sent: str) -> DeclaredParam:
        name = column_of(param)
        column = self.columns.get(name)
        kind = _INTERVAL if state == AFTER else self._type(param)
        return DeclaredParam(column.span if column else span, name, kind, self.session.oid(sent))

    def _type(self, row: Sequence[str]) -> Type:
        """The type of a descriptor's row: that of a column, or of an array of its values."""
        column = self.columns.get(column_of(row))
        if column is None:
            return Type(_SCALARS[kind_of(row)], "ARRAY" in row[1])
        if "ARRAY" not in row[1] or column.type.array:
            return column.type
        if column.type.scalar is Scalar.OPAQUE:
            return replace(column.type, name=f"{column.type.name}[]")
        return replace(column.type, array=True)

    def _declared(self, stmt: Stmt, span: Span) -> tuple[DeclaredColumn, ...]:
        """The columns that the statement's descriptor promises."""
        array = next((one for one in stmt.arrays if one.kind == "stele_gen_column"), None)
        return tuple(self._column(one, span) for one in _descriptors(array))

    def _column(self, match: re.Match[str], span: Span) -> DeclaredColumn:
        name = match["name"].strip('"')
        known = self.columns.get(name) if match["row"] else None
        nullable = match["null"] == "true"
        if known is None:  # made by the generator, which knows what its conditions leave
            row = (match["name"], match["kind"])
            kind = Type(_SCALARS[kind_of(row)], "ARRAY" in match["kind"])
            return DeclaredColumn(span, name, kind, nullable, asserted=True)
        kind = self._type((match["name"], match["kind"]))
        return DeclaredColumn(known.span, name, kind, nullable)


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
