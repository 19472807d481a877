"""Checks of tables whose rows live and die with those of another."""

from __future__ import annotations

from typing import Final

from stele.check_references import same_type
from stele.model import Column, Follows
from stele.suggest import remedy
from stele.types import text_of
from stele.view import Tables, View, comparable, index_columns, sql_of

KEYS_MAX: Final = 8  # as stele_gen_swept has room for


def check_follows(view: View, tables: Tables) -> None:
    follows = view.table.follows
    if follows is None:
        return
    own = [
        view.column(name, view.at("follows", "columns", at))
        for at, name in enumerate(follows.columns)
    ]
    for at, column in enumerate(own):
        if column and (column.type.array or not comparable(column)):
            view.diags.error(
                view.at("follows", "columns", at),
                "S040",
                f'column "{column.name}" is {text_of(column.type)}, which rows are not found by',
                "name columns of plain types",
            )
    target = tables.by_name.get((view.module.name, follows.table))
    if target is None:
        if view.module.name not in view.draft.gaps.modules:
            known = [table.name for table in view.module.tables]
            hint = remedy(follows.table, known, "table")
            span = view.at("follows", "table")
            view.diags.error(span, "S027", f'unknown table "{follows.table}"', hint)
        return
    _check_target(view, target)
    _check_columns(view, follows, own, target)
    if None not in own and not _is_indexed(view, follows):
        view.diags.error(
            view.at("follows", "columns"),
            "S069",
            "no index begins with the columns of 'follows', so each sweep would read the whole "
            "table",
            f"add to indexes: owner: [{', '.join(follows.columns)}]",
        )


def _check_target(view: View, target: View) -> None:
    span = view.at("follows", "table")
    if target.table.name == view.table.name or target.table.follows:
        what = "itself" if target.table.name == view.table.name else "a table that follows another"
        view.diags.error(
            span,
            "S067",
            f'"{view.table.name}" follows {what}',
            "follow the table whose rows expire",
        )
    elif not target.table.ttl and target.known:
        view.diags.error(
            span,
            "S067",
            f'"{target.table.name}" has no ttl, so its rows are never swept',
            "give it a ttl, or remove 'follows'",
        )


def _check_columns(view: View, follows: Follows, own: list[Column | None], target: View) -> None:
    span = view.at("follows", "to")
    others = [
        target.column(name, view.at("follows", "to", at)) for at, name in enumerate(follows.to)
    ]
    if len(own) != len(others) or len(own) > KEYS_MAX:
        view.diags.error(
            span,
            "S042",
            f"'follows' pairs no columns: {len(own)} here, {len(others)} there",
            f"name as many on both sides, at most {KEYS_MAX}",
        )
        return
    for column, other in zip(own, others, strict=True):
        if column and other and not same_type(column, other):
            view.diags.error(
                span,
                "S043",
                f'"{column.name}" is {text_of(column.type)}, but "{target.table.name}.{other.name}"'
                f" is {text_of(other.type)}",
                "give both the same type",
            )
    if target.known and None not in others and not _is_key(target, follows.to):
        names = ", ".join(follows.to)
        view.diags.error(
            span,
            "S068",
            f'"({names})" is no key of the undeleted rows of "{target.table.name}"',
            "follow its primary key, or a unique on all rows or on those not_deleted",
        )


def _is_key(target: View, columns: tuple[str, ...]) -> bool:
    wanted = sorted(columns)
    if sorted(target.table.primary_key) == wanted:
        return True
    return any(
        not sql_of(index.predicate) and sorted(index_columns(index)) == wanted
        for index in target.uniques()
    )


def _is_indexed(view: View, follows: Follows) -> bool:
    wanted = set(follows.columns)
    keys = [view.table.primary_key]
    for index in view.table.indexes:
        if index.method == "btree" and not index.optional and not sql_of(index.predicate):
            keys.append(index_columns(index))
    return any(set(key[: len(wanted)]) == wanted for key in keys)
