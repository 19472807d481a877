"""Checks of columns and of the policies that rest on them."""

from __future__ import annotations

from collections import Counter
from typing import Final

from stele.grammar import ROLES
from stele.model import Column, Identity, parts_by_ttl
from stele.names import SQL_SYSTEM_COLUMNS, words
from stele.sqltext import not_null_columns, tokens, uses_word
from stele.types import INTEGERS, STRINGS, TIMESTAMPS, is_unknown, text_of
from stele.view import View, sql_of

COLUMNS_MAX: Final = 1600

# Bare words and functions whose value changes from one moment or row to the next.
_CHANGING_WORDS: Final = words(
    "current_date current_time current_timestamp localtime localtimestamp current_user user"
)
_CHANGING_CALLS: Final = words(
    """
    now clock_timestamp statement_timestamp transaction_timestamp timeofday random
    gen_random_uuid nextval currval
    """
)


def check_columns(view: View) -> None:
    table, diags = view.table, view.diags
    if len(table.columns) > COLUMNS_MAX:
        diags.error(
            table.span,
            "S064",
            f'table "{table.name}" has {len(table.columns)} columns',
            f"PostgreSQL takes at most {COLUMNS_MAX}; split the table",
        )
    for column in table.columns:
        _check_column(view, column)
    _check_renames(view)
    _check_roles(view)


def changing_word(sql: str) -> str:
    """A word of an expression that makes it useless for an index; '' for none."""
    found = tokens(sql)
    for at, token in enumerate(found):
        called = at + 1 < len(found) and found[at + 1].text == "("
        word = token.text.lower()
        if token.kind == "word" and word in (_CHANGING_CALLS if called else _CHANGING_WORDS):
            return token.text
    return ""


def _check_column(view: View, column: Column) -> None:
    diags = view.diags
    if column.name in SQL_SYSTEM_COLUMNS:
        diags.error(
            column.span,
            "S063",
            f'"{column.name}" is a column every table has already',
            "choose another name",
        )
    if column.identity in (Identity.ALWAYS, Identity.BY_DEFAULT):
        wrong = column.type.array or column.type.scalar not in INTEGERS
        if wrong and not is_unknown(column.type):
            diags.error(
                column.span,
                "S034",
                f'identity column "{column.name}" is {text_of(column.type)}',
                "make it int2, int4 or int8",
            )
        if column.nullable:
            diags.error(
                column.span,
                "S023",
                f'identity column "{column.name}" cannot be nullable',
                'remove the "?"',
            )
    if column.collation and column.type.scalar not in STRINGS and not is_unknown(column.type):
        diags.error(
            column.span,
            "S066",
            f'column "{column.name}" is {text_of(column.type)}, which has no collation',
            "remove 'collation'",
        )
    word = changing_word(column.generated) if column.generated else ""
    if word:
        diags.error(
            column.span,
            "S037",
            f'"{word}" is not immutable, but a generated column must be',
            "use 'default', or compute it when reading",
        )
    for other in view.table.columns:
        if column.generated and other.generated and uses_word(column.generated, other.name):
            view.diags.error(
                column.span,
                "S037",
                f'column "{column.name}" is generated from "{other.name}", which is generated too',
                "repeat the expression: the server has no order among them",
            )


def _check_renames(view: View) -> None:
    former = Counter(column.renamed_from for column in view.table.columns if column.renamed_from)
    for column in view.table.columns:
        name = column.renamed_from
        if not name:
            continue
        span = view.at("columns", column.name, "renamed_from")
        if name in view.columns:
            view.diags.error(
                span,
                "S060",
                f'"{name}" is still a column of "{view.table.name}"',
                "remove 'renamed_from', or the old column",
            )
        elif former[name] > 1:
            view.diags.error(
                span, "S060", f'two columns are renamed from "{name}"', "keep one 'renamed_from'"
            )


def _check_roles(view: View) -> None:
    table = view.table
    owners: dict[str, str] = {}
    for role in ROLES:
        name = getattr(table, role)
        if not name:
            continue
        span = view.at(role)
        column = view.column(name, span)
        if column is None:
            continue
        if name in owners:
            view.diags.error(
                span,
                "S050",
                f'column "{name}" is both {owners[name]} and {role}',
                "give each its own column",
            )
        owners.setdefault(name, role)
        _check_role(view, role, column)
    if table.ttl in view.columns and not _ttl_index(view):
        view.diags.error(
            view.at("ttl"),
            "S051",
            f'no index begins with "{table.ttl}", so every sweep would read the whole table',
            f"add to indexes: expires: {{columns: [{table.ttl}], "
            f'where: "{table.ttl} IS NOT NULL"}}',
        )


def _check_role(view: View, role: str, column: Column) -> None:
    span = view.at(role)
    kind = column.type
    # A table in partitions by time to live is parted by a column of its keys, which is never NULL.
    parts = role == "ttl" and parts_by_ttl(view.table)
    in_key = column.name in view.table.primary_key and not parts
    if column.generated or column.identity is not Identity.NONE or in_key:
        view.diags.error(
            span,
            "S049",
            f'{role} column "{column.name}" is part of the key or made by the server',
            "use a plain column",
        )
    if is_unknown(kind):
        return
    if role == "version":
        if kind.array or kind.scalar not in INTEGERS or column.nullable or not column.default:
            view.diags.error(
                span,
                "S049",
                f'version column "{column.name}" must be an integer, NOT NULL, with a default',
                f"declare it {column.name}: {{type: int4, value: 1}}",
            )
    elif kind.array or kind.scalar not in TIMESTAMPS:
        view.diags.error(
            span,
            "S049",
            f'{role} column "{column.name}" is {text_of(kind)}',
            "make it timestamptz or timestamp",
        )
    elif role != "touch" and not column.nullable and not parts:
        state = "a row that never expires" if role == "ttl" else "a row that is not deleted"
        view.diags.error(
            span,
            "S049",
            f'{role} column "{column.name}" is NOT NULL, but NULL says {state}',
            f"declare it {kind.scalar.value}?",
        )


def _ttl_index(view: View) -> bool:
    ttl = view.table.ttl
    if view.table.primary_key[:1] == (ttl,):
        return True
    for index in view.table.indexes:
        if index.method != "btree" or index.optional or not index.items:
            continue
        if index.items[0].column != ttl:
            continue
        sql = sql_of(index.predicate)
        if not sql or (not_null_columns(sql) == {ttl} and len(tokens(sql)) <= 6):
            return True
    return False
