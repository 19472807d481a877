"""A table with what checks ask of it again and again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from stele.diag import Diagnostics
from stele.draft import Draft
from stele.model import Column, Index, Module, Predicate, Scalar, Span, Table
from stele.suggest import remedy
from stele.types import is_unknown


@dataclass(frozen=True, slots=True)
class View:
    """One table. `known` is false when some of its columns could not be read."""

    draft: Draft
    diags: Diagnostics
    module: Module
    table: Table
    columns: dict[str, Column]
    known: bool

    def at(self, *place: str | int) -> Span:
        return self.draft.places.at(self.module, self.table, *place)

    def column(self, name: str, span: Span) -> Column | None:
        """The column of a name; reports one that does not exist."""
        column = self.columns.get(name)
        if column is None and self.known:
            self.diags.error(
                span,
                "S026",
                f'table "{self.table.name}" has no column "{name}"',
                remedy(name, self.columns, "column"),
            )
        return column

    def uniques(self) -> Iterable[Index]:
        return (index for index in self.table.indexes if index.unique)

    def spans_deleted(self, index: Index) -> bool:
        return (self.module.name, self.table.name, index.key) in self.draft.spans_deleted


@dataclass(slots=True)
class Tables:
    """All tables of a draft."""

    views: list[View] = field(default_factory=list)
    by_name: dict[tuple[str, str], View] = field(default_factory=dict)
    modules: dict[str, Module] = field(default_factory=dict)

    @staticmethod
    def of(draft: Draft, diags: Diagnostics) -> Tables:
        tables = Tables()
        for module in draft.schema.modules:
            tables.modules[module.name] = module
            for table in module.tables:
                columns = {column.name: column for column in table.columns}
                known = (module.name, table.name) not in draft.gaps.tables
                view = View(draft, diags, module, table, columns, known)
                tables.views.append(view)
                tables.by_name[module.name, table.name] = view
        return tables


def comparable(column: Column) -> bool:
    """Whether the type has an order and an equality, as keys and btree indexes need them."""
    return column.type.scalar is not Scalar.JSON or is_unknown(column.type)


def index_columns(index: Index) -> tuple[str, ...]:
    """The columns of an index; an expression stands as ''."""
    return tuple(item.column for item in index.items)


def sql_of(predicate: Predicate | None) -> str:
    return predicate.sql if predicate else ""
