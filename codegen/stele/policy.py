"""What soft delete, time to live, touch and version mean in SQL. Nothing else writes these.

Reads never see a deleted row, also where soft delete is switched off at run time: peers of the same
table may leave deleted rows. They never see an expired row either, since sweeping is lazy. Writes
by key reach expired rows but no deleted ones.
"""

from __future__ import annotations

from dataclasses import dataclass

from stele.model import Column, Identity, PolicyKind, Predicate, Scalar, Table
from stele.names import sql_ident
from stele.sql import column, group

_NOW = {
    Scalar.TIMESTAMPTZ: "statement_timestamp()",
    Scalar.TIMESTAMP: "(statement_timestamp() AT TIME ZONE 'UTC')",
}


_TRANSACTION_NOW = {
    Scalar.TIMESTAMPTZ: "transaction_timestamp()",
    Scalar.TIMESTAMP: "(transaction_timestamp() AT TIME ZONE 'UTC')",
}


def now(col: Column) -> str:
    """The server's time, as a value of the column's type."""
    return _NOW[col.type.scalar]


def statement_now(scalar: Scalar) -> str:
    """The same for {now}, as a value of a timestamp type."""
    return _NOW[scalar]


@dataclass(frozen=True, slots=True)
class Policy:
    """The policies of one table. A policy that the table lacks gives '' or nothing."""

    table: Table

    def _column(self, name: str) -> Column:
        return next(col for col in self.table.columns if col.name == name)

    # -- predicates --

    def not_deleted(self, alias: str = "t") -> str:
        name = self.table.soft_delete
        return f"{column(name, alias)} IS NULL" if name else ""

    def deleted(self, alias: str = "t") -> str:
        name = self.table.soft_delete
        return f"{column(name, alias)} IS NOT NULL" if name else ""

    def not_expired(self, alias: str = "t") -> str:
        name = self.table.ttl
        if not name:
            return ""
        col = self._column(name)
        later = f"{column(name, alias)} > {now(col)}"
        return f"({column(name, alias)} IS NULL OR {later})" if col.nullable else later

    def expired(self, alias: str = "t") -> str:
        name = self.table.ttl
        return f"{column(name, alias)} <= {now(self._column(name))}" if name else ""

    def expired_before(self, alias: str = "t") -> str:
        """The same as the transaction began: never later than what shared_stamp() says."""
        name = self.table.ttl
        if not name:
            return ""
        return f"{column(name, alias)} <= {_TRANSACTION_NOW[self._column(name).type.scalar]}"

    def live(self, alias: str = "t") -> list[str]:
        """What every read asks for."""
        return [text for text in (self.not_deleted(alias), self.not_expired(alias)) if text]

    def condition(self, kind: PolicyKind, alias: str) -> str:
        """What {live alias} and {not_deleted alias} of a query stand for; else `true`."""
        terms = self.live(alias) if kind is PolicyKind.LIVE else [self.not_deleted(alias)]
        terms = [term for term in terms if term]
        return f"({' AND '.join(terms)})" if len(terms) > 1 else "".join(terms) or "true"

    def writable(self, alias: str = "t") -> list[str]:
        """What every write by key asks for."""
        return [text for text in (self.not_deleted(alias),) if text]

    def index_predicate(self, predicate: Predicate | None, alias: str = "") -> list[str]:
        """The terms of an index predicate; `alias` is for statements, indexes have none.

        An author's own terms name columns bare, which every statement of ours allows.
        """
        if predicate is None:
            return []
        terms = []
        if predicate.not_deleted:
            bare = f"{sql_ident(self.table.soft_delete)} IS NULL"
            terms.append(self.not_deleted(alias) if alias else bare)
        if predicate.sql:
            terms.append(group(predicate.sql) if terms or alias else predicate.sql.strip())
        return terms

    # -- stamps --

    def soft_stamp(self) -> str:
        """What a soft delete sets."""
        name = self.table.soft_delete
        return f"{sql_ident(name)} = {now(self._column(name))}"

    def shared_stamp(self) -> str:
        """The same, equal in all statements of a transaction: what goes together is known by it."""
        name = self.table.soft_delete
        return f"{sql_ident(name)} = {_TRANSACTION_NOW[self._column(name).type.scalar]}"

    def restore_stamp(self) -> str:
        """What takes a soft delete back."""
        return f"{sql_ident(self.table.soft_delete)} = NULL"

    def touch_stamp(self) -> str:
        """What an update sets where the caller does not; '' without touch."""
        name = self.table.touch
        return f"{sql_ident(name)} = {now(self._column(name))}" if name else ""

    def version_stamp(self) -> str:
        """What every update does to the version; '' without one."""
        name = self.table.version
        return f"{sql_ident(name)} = {column(name)} + 1" if name else ""

    def revive_ttl(self) -> str:
        """An upsert of an expired row gives it the time to live of a new one."""
        name = self.table.ttl
        if not name or self._column(name).generated:
            return ""
        return (
            f"{sql_ident(name)} = CASE WHEN {self.expired()} "
            f"THEN EXCLUDED.{sql_ident(name)} ELSE {column(name)} END"
        )

    def revive_deleted(self, predicate: Predicate | None) -> str:
        """An upsert whose key spans deleted rows takes a deletion back; '' if it meets none."""
        name = self.table.soft_delete
        if not name or (predicate is not None and predicate.not_deleted):
            return ""
        return f"{sql_ident(name)} = EXCLUDED.{sql_ident(name)}"

    def insert_value(self, col: Column) -> str:
        """What an insert stores where neither caller nor column has a value; '' for nothing."""
        if col.nullable or col.default or col.generated or col.identity is not Identity.NONE:
            return ""
        if col.name == self.table.touch:
            return now(col)
        return "1" if col.name == self.table.version else ""
