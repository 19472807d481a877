"""Checks of foreign keys."""

from __future__ import annotations

from stele.model import Action, Column, ForeignKey, Scalar, Span
from stele.sqltext import conjuncts, not_null_columns
from stele.suggest import remedy
from stele.types import STRINGS, is_unknown, text_of
from stele.view import Tables, View, index_columns, sql_of


def check_references(view: View, tables: Tables) -> None:
    for key in view.table.foreign_keys:
        columns = _own_columns(view, key)
        target = _target(view, key, tables)
        if target:
            _check_target(view, key, columns, target)
        _check_actions(view, key, columns)
        if None not in columns and not _is_indexed(view, key):
            view.diags.warning(
                key.span,
                "W101",
                f'foreign key "{key.key}" has no index: each delete there reads this whole table',
                f"add an index that begins with {', '.join(key.columns)}",
            )


def _own_columns(view: View, key: ForeignKey) -> list[Column | None]:
    return [
        view.column(name, _span(view, key, "columns", at)) for at, name in enumerate(key.columns)
    ]


def _span(view: View, key: ForeignKey, *place: str | int) -> Span:
    """Where a part of the key stands; the short form in a column has one place only."""
    span = view.at("foreign_keys", key.key, *place)
    return key.span if span == view.table.span else span


def _target(view: View, key: ForeignKey, tables: Tables) -> View | None:
    span = _span(view, key, "references")
    gaps = view.draft.gaps
    if key.ref_module not in tables.modules:
        if not gaps.files:
            hint = remedy(key.ref_module, tables.modules, "module")
            view.diags.error(span, "S028", f'unknown module "{key.ref_module}"', hint)
        return None
    target = tables.by_name.get((key.ref_module, key.ref_table))
    if target is None and key.ref_module not in gaps.modules:
        known = [table.name for table in tables.modules[key.ref_module].tables]
        hint = remedy(key.ref_table, known, "table")
        view.diags.error(span, "S027", f'unknown table "{key.ref_table}"', hint)
    return target


def _check_target(view: View, key: ForeignKey, columns: list[Column | None], target: View) -> None:
    span = _span(view, key, "references")
    others = [target.columns.get(name) for name in key.ref_columns]
    for name, other in zip(key.ref_columns, others, strict=True):
        if other is None and target.known:
            view.diags.error(
                span,
                "S026",
                f'table "{target.table.name}" has no column "{name}"',
                remedy(name, target.columns, "column"),
            )
    if len(columns) != len(others):
        view.diags.error(
            span,
            "S042",
            f'foreign key "{key.key}" pairs no columns: {len(columns)} here, {len(others)} there',
            "name as many on both sides, in the same order",
        )
        return
    for column, other in zip(columns, others, strict=True):
        if column and other and not same_type(column, other):
            view.diags.error(
                span,
                "S043",
                f'"{column.name}" is {text_of(column.type)}, but "{target.table.name}.{other.name}"'
                f" is {text_of(other.type)}",
                "give both the same type",
            )
    keys_known = target.known and set(target.table.primary_key) <= set(target.columns)
    if None not in others and keys_known and not _is_unique(target, key.ref_columns):
        names = ", ".join(key.ref_columns)
        view.diags.error(
            span,
            "S044",
            f'"({names})" is no key of "{target.table.name}" that holds for all its rows',
            "refer to its primary key, or to a unique without 'where'",
        )
    if target.table.soft_delete and key.on_delete not in (Action.NO_ACTION, Action.RESTRICT):
        view.diags.warning(
            _span(view, key, "on_delete"),
            "W102",
            f'a soft delete in "{target.table.name}" does not {key.on_delete.value}',
            "expect it of hard_delete and purge only, or use restrict",
        )


def same_type(column: Column, other: Column) -> bool:
    """Whether values of the two can be compared without a cast."""
    one, two = column.type, other.type
    if is_unknown(one) or is_unknown(two):
        return True
    if one.scalar in STRINGS and two.scalar in STRINGS:
        return one.array == two.array
    named = one.scalar in (Scalar.ENUM, Scalar.OPAQUE)
    same_name = not named or (one.name, one.enum_module) == (two.name, two.enum_module)
    return one.scalar is two.scalar and one.array == two.array and same_name


def _is_unique(target: View, columns: tuple[str, ...]) -> bool:
    wanted = sorted(columns)
    if sorted(target.table.primary_key) == wanted:
        return True
    return any(
        index.predicate is None and sorted(index_columns(index)) == wanted
        for index in target.uniques()
    )


def _check_actions(view: View, key: ForeignKey, columns: list[Column | None]) -> None:
    for name, action in (("on_delete", key.on_delete), ("on_update", key.on_update)):
        for column in columns:
            if column is None:
                continue
            span = _span(view, key, name)
            if action is Action.SET_NULL and not column.nullable:
                view.diags.error(
                    span,
                    "S045",
                    f'{name} cannot set "{column.name}" to NULL: it is NOT NULL',
                    "make it nullable, or use another action",
                )
            elif action is Action.SET_DEFAULT and not column.nullable and not column.default:
                view.diags.error(
                    span,
                    "S045",
                    f'{name} cannot set "{column.name}" to a default: it has none',
                    "give it one, or use another action",
                )
            elif column.generated and action in (Action.SET_NULL, Action.SET_DEFAULT):
                view.diags.error(
                    span,
                    "S045",
                    f'{name} cannot set "{column.name}": it is generated',
                    "use another action",
                )


def _is_indexed(view: View, key: ForeignKey) -> bool:
    wanted = set(key.columns)
    count = len(key.columns)
    if set(view.table.primary_key[:count]) == wanted:
        return True
    for index in view.table.indexes:
        if index.method != "btree" or set(index_columns(index)[:count]) != wanted:
            continue
        sql = sql_of(index.predicate)
        # Rows without a reference may be left out, and deleted ones by the policy.
        if not sql or (
            not_null_columns(sql) <= wanted and len(conjuncts(sql)) == len(not_null_columns(sql))
        ):
            return True
    return False
