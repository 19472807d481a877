"""Compares what the server says of a statement with what was declared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from stele.diag import Diagnostics
from stele.libpq import Description, ResultColumn
from stele.model import Scalar, Span, Type
from stele.types import text_of
from stele.verify_session import ANY_TYPE, Session


@dataclass(frozen=True, slots=True)
class DeclaredParam:
    """A parameter; `sent` is the type that the statement is prepared with."""

    span: Span
    name: str
    type: Type
    sent: int


@dataclass(frozen=True, slots=True)
class DeclaredColumn:
    """A result column. `asserted` says that the author vouches for NOT NULL."""

    span: Span
    name: str
    type: Type
    nullable: bool
    asserted: bool = False


@dataclass(slots=True)
class Comparer:
    """Reports each difference once: not for every shape, and not under other names again."""

    session: Session
    diags: Diagnostics
    said: set[tuple[str, Span, str]] = field(default_factory=set)

    def error(self, code: str, span: Span, key: str, message: str, hint: str = "") -> None:
        if (code, span, key) not in self.said:
            self.said.add((code, span, key))
            self.diags.error(span, code, message, hint)

    def warning(self, code: str, span: Span, key: str, message: str, hint: str = "") -> None:
        if (code, span, key) not in self.said:
            self.said.add((code, span, key))
            self.diags.warning(span, code, message, hint)

    def params(self, what: str, declared: Sequence[DeclaredParam], found: Sequence[int]) -> None:
        """The types that the server found itself: others it was told."""
        for one, oid in zip(declared, found, strict=True):
            if one.sent != ANY_TYPE or oid == self.session.type_oid(one.type):
                continue
            taken = self.session.type_name(oid)
            message = f'{what} takes "{one.name}" as {taken}, it is declared {text_of(one.type)}'
            self.error("V003", one.span, one.name, message, "change the type, or add a cast")

    def columns(
        self, what: str, span: Span, declared: Sequence[DeclaredColumn], found: Description
    ) -> bool:
        """False when there is not even the same number of columns."""
        count = len(found.columns)
        if count != len(declared):
            wanted = len(declared)
            message = f"{what} gives {_columns(count)}, {_columns(wanted)} {_be(wanted)} declared"
            self.error("V004", span, what, message, "declare each column, in order")
            return False
        for one, column in zip(declared, found.columns, strict=True):
            if not self.session.fits(one.type, column.type):
                self._wrong_type(what, one, column)
            elif not one.nullable and not one.asserted and column.table:
                self._nullable(what, one, column)
        return True

    def _wrong_type(self, what: str, one: DeclaredColumn, column: ResultColumn) -> None:
        given = self.session.type_name(column.type)
        message = f'{what} gives "{one.name}" as {given}, it is declared {text_of(one.type)}'
        hint = "change the type, or add a cast"
        if one.type.scalar is Scalar.OPAQUE:
            hint = f"an opaque type travels as text: add ::text{'[]' * given.endswith('[]')}"
        self.error("V005", one.span, one.name, message, hint)

    def _nullable(self, what: str, one: DeclaredColumn, column: ResultColumn) -> None:
        origin, not_null = self.session.origin(column.table, column.number)
        if not_null:
            return
        message = f'{what} declares "{one.name}" NOT NULL, but {origin} may be NULL'
        self.error("V006", one.span, one.name, message, null_hint(one))


def null_hint(one: DeclaredColumn) -> str:
    name = text_of(one.type)
    return f'write "{name}?", or "{name}!" if it never is NULL here'


def _columns(count: int) -> str:
    return {0: "no column", 1: "1 column"}.get(count, f"{count} columns")


def _be(count: int) -> str:
    return "is" if count < 2 else "are"
