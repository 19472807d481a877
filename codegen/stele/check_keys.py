"""Checks of primary keys, indexes, uniques, lists and partitioning."""

from __future__ import annotations

from typing import Final

from stele.check_columns import changing_word
from stele.model import Column, Index, IndexItem, ListSpec, Nulls, Order, Predicate, Scalar, Span
from stele.sqltext import not_null_columns, uses_word
from stele.types import is_unknown, text_of
from stele.view import View, comparable, index_columns, sql_of

INDEX_COLUMNS_MAX: Final = 32

_WITH_INCLUDE: Final = frozenset({"btree", "gist", "spgist"})
_WITH_MANY_COLUMNS: Final = frozenset({"btree", "gin", "gist", "brin"})


def check_keys(view: View) -> None:
    _check_primary_key(view)
    for index in view.table.indexes:
        _check_index(view, index)
        if index.unique:
            _check_unique(view, index)
    for spec in view.table.lists:
        _check_list(view, spec)
    _check_partition(view)
    if view.table.distribute_by:
        span = view.at("distribute_by")
        if view.column(view.table.distribute_by, span):
            _check_spread(view, (view.table.distribute_by,), "distribution", span)


def _check_primary_key(view: View) -> None:
    for at, name in enumerate(view.table.primary_key):
        span = view.at("primary_key", at)
        column = view.column(name, span)
        if column is None:
            continue
        if column.nullable:
            view.diags.error(
                span,
                "S046",
                f'primary key column "{name}" is nullable',
                'remove the "?" of its type',
            )
        _check_comparable(view, column, span, "a primary key")
    if len(view.table.primary_key) > INDEX_COLUMNS_MAX:
        _too_many(view, view.at("primary_key"), len(view.table.primary_key))


def _too_many(view: View, span: Span, count: int) -> None:
    view.diags.error(
        span, "S064", f"a key of {count} columns", f"PostgreSQL takes at most {INDEX_COLUMNS_MAX}"
    )


def _check_comparable(view: View, column: Column, span: Span, use: str) -> None:
    if not comparable(column):
        view.diags.error(
            span,
            "S040",
            f'column "{column.name}" is {text_of(column.type)}, which {use} cannot compare',
            "make it jsonb",
        )


# ---- indexes ----


def _check_index(view: View, index: Index) -> None:
    for at, item in enumerate(index.items):
        _check_item(view, index, item)
        same = [one for one in index.items[:at] if item.column and item.column == one.column]
        if same and (index.unique or item.opclass in [one.opclass for one in same]):
            message = f'"{item.column}" stands in this list twice'
            view.diags.error(item.span, "S025", message, "remove one")
    part = "unique" if index.unique else "indexes"
    for at, name in enumerate(index.include):
        view.column(name, view.at(part, index.key, "include", at))
    if len(index.items) + len(index.include) > INDEX_COLUMNS_MAX:
        _too_many(view, index.span, len(index.items) + len(index.include))
    _check_method(view, index)
    if index.predicate:
        span = view.at(part, index.key, "where")
        _check_predicate(view, index.predicate, span)
        word = changing_word(index.predicate.sql)
        if word:
            view.diags.error(
                span,
                "S037",
                f'"{word}" is not immutable, but an index predicate must be',
                "put the condition on time into the query",
            )


def _check_item(view: View, index: Index, item: IndexItem) -> None:
    if item.expression:
        word = changing_word(item.expression)
        if word:
            view.diags.error(
                item.span,
                "S037",
                f'"{word}" is not immutable, but an index expression must be',
                "index a column instead",
            )
        return
    column = view.column(item.column, item.span) if item.column else None
    if column is None or item.opclass or is_unknown(column.type):
        return
    if index.method in ("btree", "hash"):
        _check_comparable(view, column, item.span, f"a {index.method} index")
    elif index.method == "gin":
        fits = column.type.array or column.type.scalar in (Scalar.JSONB, Scalar.OPAQUE)
        if not fits:
            view.diags.error(
                item.span,
                "S040",
                f'column "{column.name}" is {text_of(column.type)}, which gin cannot take apart',
                "use btree, or name an opclass",
            )


def _check_method(view: View, index: Index) -> None:
    def wrong(span: Span, what: str, hint: str) -> None:
        view.diags.error(span, "S039", f"a {index.method} index cannot have {what}", hint)

    if index.include and index.method not in _WITH_INCLUDE:
        wrong(index.span, "'include'", "use btree, or remove 'include'")
    if len(index.items) > 1 and index.method not in _WITH_MANY_COLUMNS:
        wrong(index.span, "more than one column", "use btree, or one index for each column")
    for item in index.items:
        if index.method != "btree" and (
            item.order is not Order.ASC or item.nulls is not Nulls.DEFAULT
        ):
            wrong(item.span, "an order", "use btree, or remove it")


def _check_predicate(view: View, predicate: Predicate, span: Span) -> None:
    if predicate.not_deleted and not view.table.soft_delete and view.known:
        view.diags.error(
            span,
            "S036",
            f'not_deleted says nothing here: table "{view.table.name}" has no soft_delete',
            "declare soft_delete, or remove it",
        )
    if predicate.sql and "live" not in view.columns and uses_word(predicate.sql, "live"):
        view.diags.error(
            span,
            "S037",
            '"live" depends on the time, so it is not immutable and cannot stand in a predicate',
            "use not_deleted; reads leave expired rows out by themselves",
        )


def _check_unique(view: View, index: Index) -> None:
    bare = not (index.predicate and index.predicate.not_deleted)
    spans = view.spans_deleted(index)
    if (view.module.name, view.table.name, index.key) in view.draft.gaps.predicates:
        return
    if view.table.soft_delete and bare and not spans:
        view.diags.error(
            index.span,
            "S052",
            f'unique "{index.key}" counts deleted rows, so a deleted key could not be used again',
            "add 'where: not_deleted', or 'spans_deleted: true' if that is meant",
        )
    elif spans and (not view.table.soft_delete or not bare) and view.known:
        reason = "leaves deleted rows out" if view.table.soft_delete else "has no deleted rows"
        view.diags.error(
            index.span,
            "S036",
            f'unique "{index.key}" {reason}, so spans_deleted says nothing',
            "remove 'spans_deleted'",
        )


# ---- lists ----


def _check_list(view: View, spec: ListSpec) -> None:
    if not view.table.primary_key:
        view.diags.error(
            spec.span,
            "S047",
            f'list "{spec.key}" needs a primary key to tell equal rows apart',
            "declare 'primary_key'",
        )
    for at, name in enumerate(spec.by):
        span = view.at("list", spec.key, "by", at)
        column = view.column(name, span)
        if column:
            _check_comparable(view, column, span, "a list")
    present = not_null_columns(sql_of(spec.where)) if spec.where and spec.where.sql else set()
    for item in spec.order:
        if item.span == spec.span:
            continue  # the primary key, appended: judged with the key itself
        column = view.column(item.column, item.span)
        if column is None:
            continue
        _check_comparable(view, column, item.span, "a list")
        if item.column in spec.by:
            view.diags.error(
                item.span,
                "S025",
                f"\"{item.column}\" is given by 'by', so it cannot order rows",
                "remove it from 'order'",
            )
        elif column.nullable and item.column not in present:
            view.diags.error(
                item.span,
                "S048",
                f'list "{spec.key}" orders by "{item.column}", which may be NULL',
                f'make it NOT NULL, or add where: "{item.column} IS NOT NULL" to the list',
            )
    if spec.where:
        _check_predicate(view, spec.where, view.at("list", spec.key, "where"))
    _warn_without_index(view, spec)


def _warn_without_index(view: View, spec: ListSpec) -> None:
    """A list should find its rows in an index: `by` first, or what comes first in its order."""
    wanted = set(spec.by) or {item.column for item in spec.order[:1]}
    if not wanted or not view.known or not wanted <= set(view.columns):
        return
    starts = [view.table.primary_key]
    for index in view.table.indexes:
        if index.method == "btree" and sql_of(index.predicate) in ("", sql_of(spec.where)):
            starts.append(index_columns(index))
    if not any(set(columns[: len(wanted)]) == wanted for columns in starts):
        names = ", ".join(spec.by) or spec.order[0].column
        view.diags.warning(
            spec.span,
            "W103",
            f'list "{spec.key}" reads the whole table',
            f"add an index that begins with {names}",
        )


# ---- partitions ----


def _check_partition(view: View) -> None:
    partition = view.table.partition_by
    if partition is None:
        return
    span = view.at("partition_by")
    known = True
    for at, name in enumerate(partition.columns):
        column = view.column(name, view.at("partition_by", at))
        known = known and column is not None
        if column and column.generated:
            view.diags.error(
                view.at("partition_by", at),
                "S054",
                f'generated column "{name}" cannot part a table',
                "use a plain column",
            )
        if column:
            _check_comparable(view, column, view.at("partition_by", at), "partitioning")
    if partition.method == "list" and len(partition.columns) > 1:
        view.diags.error(
            span, "S054", "partitioning by list takes one column", "use range, or one column"
        )
    if known:
        _check_spread(view, partition.columns, "partition", span)


def _check_spread(view: View, columns: tuple[str, ...], what: str, span: Span) -> None:
    """Every unique key must hold the columns that decide where a row lies."""
    keys = [("the primary key", view.table.primary_key)] if view.table.primary_key else []
    keys += [(f'unique "{index.key}"', index_columns(index)) for index in view.uniques()]
    for name, key in keys:
        missing = [column for column in columns if column not in key]
        if missing:
            view.diags.error(
                span,
                "S053",
                f"{name} lacks the {what} column {', '.join(missing)}, so it cannot be kept unique",
                "add it to the key",
            )
