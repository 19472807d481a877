"""Creates what the schema declares, and says which declaration the server refuses."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from stele.ddl import Creation, Kind, Token, creations
from stele.diag import Diagnostics
from stele.libpq import ServerError
from stele.lower_catalog import parts_of
from stele.model import Module, Span, Table
from stele.partsql import Names, render_parts
from stele.verify_session import Session

_ORDER: Final = list(Kind)
_WHAT: Final = {
    Kind.TABLE: "table",
    Kind.INDEX: "index",
    Kind.FOREIGN_KEY: "foreign key",
    Kind.COMMENT: "comment",
    Kind.RAW: "object",
}


@dataclass(slots=True)
class Creator:
    """Creates everything once under each names; what failed once is not tried again."""

    session: Session
    diags: Diagnostics
    broken: set[tuple[str, str]] = field(default_factory=set)  # their statements make no sense
    _absent: set[tuple[str, str]] = field(default_factory=set)
    _failed: set[tuple[str, str, str]] = field(default_factory=set)

    def create(self) -> None:
        """All objects of all modules under the names in force."""
        every = [
            (module, one) for module in self.session.schema.modules for one in creations(module)
        ]
        every.sort(key=lambda pair: _ORDER.index(pair[1].kind))
        tables = {
            (module.name, table.name): table
            for module in self.session.schema.modules
            for table in module.tables
        }
        for module, one in every:
            if self._wanted(module, one, tables):
                self._create(module, one, tables.get((module.name, one.table)))
        self.session.keep()

    def _wanted(self, module: Module, one: Creation, tables: dict[tuple[str, str], Table]) -> bool:
        """Whether it can be there: neither it nor its table failed before."""
        if (module.name, one.table, one.label) in self._failed:
            return False
        if one.kind is Kind.TABLE or not one.table:
            return True
        needed = {(module.name, one.table)}
        if one.kind is Kind.FOREIGN_KEY:
            keys = tables[module.name, one.table].foreign_keys
            key = next(key for key in keys if f"{key.key}_fkey" == one.label)
            needed.add((key.ref_module, key.ref_table))
        return not needed & self._absent

    def _create(self, module: Module, one: Creation, table: Table | None) -> None:
        names = self.session.named(module.name)
        try:
            self.session.run("".join(_texts(one.create, names)))
        except ServerError as error:
            self._failed.add((module.name, one.table, one.label))
            if one.kind is Kind.TABLE or one.unique:
                self.broken.add((module.name, one.table))
            if one.kind is Kind.TABLE:
                self._absent.add((module.name, one.table))
            span, what = _place(module, table, one, error, names)
            message = f"the server refuses {what}: {self.session.plain(error.message)}"
            self.diags.error(span, "V001", message, self.session.plain(error.hint))


def _texts(tokens: Sequence[Token], names: Names) -> list[str]:
    return [render_parts(parts_of((token,)), names) for token in tokens]


def _place(
    module: Module, table: Table | None, one: Creation, error: ServerError, names: Names
) -> tuple[Span, str]:
    """What is meant by an error, and where it is declared."""
    if table is None:
        enum = next(each for each in module.enums if f"{each.name}_type" == one.label)
        return enum.span, f'enum "{enum.name}"'
    what = _WHAT[one.kind]
    if one.kind is Kind.TABLE:
        return _in_table(table, one, error, names) or (table.span, f'table "{table.name}"')
    spans = {f"{item.key}_index": item.span for item in table.indexes}
    spans |= {f"{item.key}_fkey": item.span for item in table.foreign_keys}
    spans |= {f"{item.key}_raw": item.span for item in table.objects}
    if one.label not in spans:
        return table.span, f'a {what} of table "{table.name}"'
    key = one.label.rpartition("_")[0]
    return spans[one.label], f'{what} "{key}" of table "{table.name}"'


def _in_table(
    table: Table, one: Creation, error: ServerError, names: Names
) -> tuple[Span, str] | None:
    """The column or check that an error of CREATE TABLE is about."""
    rows: list[tuple[Span, str]] = [
        (col.span, f'column "{col.name}" of table "{table.name}"') for col in table.columns
    ]
    if error.position:
        if table.primary_key:
            rows.append((table.span, f'the primary key of table "{table.name}"'))
        rows += [
            (check.span, f'check "{check.key}" of table "{table.name}"') for check in table.checks
        ]
        row, at = 0, 0
        for token, text in zip(one.create, _texts(one.create, names), strict=True):
            at += len(text)
            if at >= error.position:
                break
            row += token == ",\n"
        return rows[row] if row < len(rows) else None
    named = {error.column, *re.findall(r'"([^"]+)"', error.message)}
    for col, place in zip(table.columns, rows, strict=False):
        if col.name in named:
            return place
    return None
