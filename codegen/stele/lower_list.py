"""Paged lists of a table: which there are, and how a page continues where another ended."""

from __future__ import annotations

from dataclasses import dataclass

from stele.model import Order, Predicate, Table
from stele.sql import Part, column, param, sql


@dataclass(frozen=True, slots=True)
class ListPlan:
    name: str
    by: tuple[str, ...]
    order: tuple[tuple[str, Order], ...]  # ends with the primary key
    where: Predicate | None
    doc: str


def plans(table: Table) -> tuple[ListPlan, ...]:
    """Declared lists, then those of foreign keys; a declared one goes before its namesake."""
    if not table.primary_key:
        return ()
    out = [
        ListPlan(
            spec.key,
            spec.by,
            tuple((one.column, one.order) for one in spec.order),
            spec.where,
            spec.doc,
        )
        for spec in table.lists
    ]
    names = {plan.name for plan in out}
    order = tuple((name, Order.ASC) for name in table.primary_key)
    out += [
        ListPlan(key.key, key.columns, order, None, f"Rows that refer to one of {key.ref_table}.")
        for key in table.foreign_keys
        if key.key not in names
    ]
    return tuple(out)


def ordering(order: tuple[tuple[str, Order], ...]) -> str:
    return ", ".join(
        column(name) + (" DESC" if direction is Order.DESC else "") for name, direction in order
    )


def keyset(order: tuple[tuple[str, Order], ...], first: int) -> list[Part]:
    """What lies after a row: its order columns are the parameters from `first` on."""
    directions = {direction for _, direction in order}
    if len(order) == 1:
        name, direction = order[0]
        return [sql(f"{column(name)} {_after(direction)} "), param(first)]
    if len(directions) == 1:
        columns = ", ".join(column(name) for name, _ in order)
        out = [sql(f"({columns}) {_after(order[0][1])} (")]
        for i in range(len(order)):
            out += [*([sql(", ")] if i else []), param(first + i)]
        return [*out, sql(")")]
    # Mixed directions: a bound on the leading column for the index, then the exact condition.
    name, direction = order[0]
    out = [sql(f"{column(name)} {_after(direction)}= "), param(first), sql("\n  AND (")]
    return [*out, *_expanded(order, first), sql(")")]


def _expanded(order: tuple[tuple[str, Order], ...], first: int) -> list[Part]:
    name, direction = order[0]
    out = [sql(f"{column(name)} {_after(direction)} "), param(first)]
    if len(order) == 1:
        return out
    out += [sql(f" OR ({column(name)} = "), param(first), sql(" AND ")]
    rest = _expanded(order[1:], first + 1)
    inner = [sql("("), *rest, sql(")")] if len(order) > 2 else rest
    return [*out, *inner, sql(")")]


def _after(direction: Order) -> str:
    return "<" if direction is Order.DESC else ">"
