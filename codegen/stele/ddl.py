"""What creates a module's objects, in order; what schema and prefix add to names is left open."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from stele.lower_types import ddl_type
from stele.model import (
    Action,
    Check,
    Column,
    Deferrable,
    EnumType,
    ForeignKey,
    Identity,
    Index,
    IndexItem,
    Module,
    Nulls,
    Order,
    RawObject,
    Scalar,
    Table,
)
from stele.names import quote_literal, sql_ident
from stele.policy import Policy
from stele.statements import split_statements


@dataclass(frozen=True, slots=True)
class Ref:
    """A table, type or function by its qualified name; `module` is '' for the own one."""

    name: str
    module: str = ""


class Hole(Enum):
    """What a made name takes from the schema and prefix in force."""

    SCHEMA_ = "schema_"
    PREFIX = "prefix"


@dataclass(frozen=True, slots=True)
class Made:
    """A name without a schema, made of texts and holes; stands in quotes where it must."""

    pieces: tuple[str | Hole, ...]


Token = str | Ref | Made


class Kind(Enum):
    ENUM = "enum"
    TABLE = "table"
    INDEX = "index"
    FOREIGN_KEY = "foreign_key"
    COMMENT = "comment"
    RAW = "raw"


@dataclass(frozen=True, slots=True)
class Creation:
    """One object, or one statement about one."""

    kind: Kind
    table: str  # base name of the table it belongs to, '' for an enum
    name: Made
    create: tuple[Token, ...]
    concurrently: tuple[Token, ...] = ()
    unique: bool = False
    note: str = ""  # for who reads the DDL
    label: str = ""  # tells it from others of its table
    optional: str = ""  # table.key of an index that is created only where it is asked for


def prefixed(name: str) -> Made:
    return Made((Hole.PREFIX, name))


def index_made(module: Module, table: Table, index: Index) -> Made:
    """The name of an index by the module's pattern."""
    pieces: list[str | Hole] = []
    for piece in re.split(r"(\{\w+\})", module.index_name):
        match piece:
            case "{schema_}":
                pieces.append(Hole.SCHEMA_)
            case "{prefix}":
                pieces.append(Hole.PREFIX)
            case _:
                text = {"{table}": table.name, "{key}": index.key}.get(piece, piece)
                if text and pieces and isinstance(pieces[-1], str):
                    pieces[-1] += text
                elif text:
                    pieces.append(text)
    return Made(tuple(pieces))


def creations(module: Module) -> tuple[Creation, ...]:
    """Everything of a module, in the order in which it can be created."""
    out = [_enum(one) for one in module.enums]
    out += [_table(module, table) for table in module.tables]
    out += [_index(module, table, one) for table in module.tables for one in table.indexes]
    out += [
        _foreign_key(module, table, one) for table in module.tables for one in table.foreign_keys
    ]
    out += [one for table in module.tables for one in _comments(table)]
    out += [
        creation
        for table in module.tables
        for one in table.objects
        for creation in _raw(table, one)
    ]
    return tuple(out)


def _enum(one: EnumType) -> Creation:
    labels = ",\n    ".join(quote_literal(label) for label in one.labels)
    create = ("CREATE TYPE ", Ref(one.name), f" AS ENUM (\n    {labels}\n)")
    name = prefixed(one.name)
    return Creation(Kind.ENUM, "", name, create, note=one.doc, label=f"{one.name}_type")


def _table(module: Module, table: Table) -> Creation:
    name_width = max(len(sql_ident(col.name)) for col in table.columns)
    type_width = max(
        (len(_shown_type(col)) for col in table.columns if _tail(col)),
        default=0,
    )
    rows: list[list[Token]] = []
    for col in table.columns:
        column = sql_ident(col.name).ljust(name_width)
        tail = _tail(col)
        if _is_enum(col):
            kind = col.type
            other = "" if kind.enum_module == module.name else kind.enum_module
            gap = " " * (type_width - len(_shown_type(col)))
            rest = f"{ddl_type(col)}{gap} {tail}".rstrip()
            rows.append([f"{column} ", Ref(kind.name, other), rest])
        else:
            rows.append([f"{column} {ddl_type(col).ljust(type_width)} {tail}".rstrip()])
    if table.primary_key:
        rows.append([f"PRIMARY KEY ({_names(table.primary_key)})"])
    rows += [_check(table, check) for check in table.checks]

    create: list[Token] = ["CREATE TABLE ", Ref(table.name), " (\n"]
    for i, row in enumerate(rows):
        create += ["    ", *row, ",\n" if i + 1 < len(rows) else "\n"]
    create.append(")")
    if table.partition_by:
        by = table.partition_by
        create.append(f" PARTITION BY {by.method.upper()} ({_names(by.columns)})")
    if table.storage:
        create.append(f"\nWITH ({table.storage})")
    name = prefixed(table.name)
    return Creation(Kind.TABLE, table.name, name, tuple(create), note=table.doc, label="object")


def _shown_type(col: Column) -> str:
    """The type as it looks without schema and prefix."""
    return (col.type.name if _is_enum(col) else "") + ddl_type(col)


def _is_enum(col: Column) -> bool:
    return col.type.scalar is Scalar.ENUM


def _tail(col: Column) -> str:
    """What follows a column's type."""
    out = []
    if col.collation:
        out.append(f"COLLATE {sql_ident(col.collation)}")
    if col.generated:
        out.append(f"GENERATED ALWAYS AS ({col.generated}) STORED")
    elif col.identity in (Identity.ALWAYS, Identity.BY_DEFAULT):
        out.append(f"GENERATED {col.identity.value.upper()} AS IDENTITY")
    elif col.default:
        out.append(f"DEFAULT {col.default}")
    if not col.nullable and col.identity is not Identity.SERIAL:
        out.insert(1 if col.collation else 0, "NOT NULL")
    return " ".join(out)


def _check(table: Table, check: Check) -> list[Token]:
    name = prefixed(f"{table.name}_{check.key}")
    return ["CONSTRAINT ", name, f" CHECK ({check.sql.strip()})"]


def _names(columns: Sequence[str]) -> str:
    return ", ".join(sql_ident(name) for name in columns)


def _item(item: IndexItem) -> str:
    text = sql_ident(item.column) if item.column else f"({item.expression.strip()})"
    if item.collation:
        text += f" COLLATE {sql_ident(item.collation)}"
    if item.opclass:
        text += f" {item.opclass}"
    if item.order is Order.DESC:
        text += " DESC"
    if item.nulls is not Nulls.DEFAULT:
        text += f" NULLS {item.nulls.value.upper()}"
    return text


def _index(module: Module, table: Table, index: Index) -> Creation:
    name = index_made(module, table, index)
    tail = f" ({', '.join(_item(item) for item in index.items)})"
    if index.method != "btree":
        tail = f" USING {index.method}{tail}"
    if index.include:
        tail += f" INCLUDE ({_names(index.include)})"
    if index.nulls_not_distinct:
        tail += " NULLS NOT DISTINCT"
    if index.with_options:
        tail += f" WITH ({index.with_options.strip()})"
    terms = Policy(table).index_predicate(index.predicate)
    if terms:
        tail += f"\n    WHERE {' AND '.join(terms)}"
    what = "UNIQUE INDEX" if index.unique else "INDEX"

    def create(how: str) -> tuple[Token, ...]:
        return (f"CREATE {what} {how}", name, "\n    ON ", Ref(table.name), tail)

    # A partitioned table's index cannot be built concurrently as a whole.
    concurrently = () if table.partition_by else create("CONCURRENTLY ")
    return Creation(
        Kind.INDEX,
        table.name,
        name,
        create(""),
        concurrently,
        index.unique,
        index.doc,
        label=f"{index.key}_index",
        optional=f"{table.name}.{index.key}" if index.optional else "",
    )


def _foreign_key(module: Module, table: Table, key: ForeignKey) -> Creation:
    name = prefixed(f"{table.name}_{key.key}")
    other = "" if key.ref_module == module.name else key.ref_module
    tail = f" ({_names(key.ref_columns)})"
    if key.on_delete is not Action.NO_ACTION:
        tail += f" ON DELETE {key.on_delete.value.upper()}"
    if key.on_update is not Action.NO_ACTION:
        tail += f" ON UPDATE {key.on_update.value.upper()}"
    if key.deferrable is not Deferrable.NO:
        tail += f" DEFERRABLE {key.deferrable.value.upper()}"
    create: tuple[Token, ...] = (
        "ALTER TABLE ",
        Ref(table.name),
        "\n    ADD CONSTRAINT ",
        name,
        f"\n    FOREIGN KEY ({_names(key.columns)}) REFERENCES ",
        Ref(key.ref_table, other),
        tail,
    )
    return Creation(Kind.FOREIGN_KEY, table.name, name, create, label=f"{key.key}_fkey")


def _comments(table: Table) -> list[Creation]:
    out = []
    if table.doc:
        create: tuple[Token, ...] = (
            "COMMENT ON TABLE ",
            Ref(table.name),
            f" IS {quote_literal(table.doc)}",
        )
        out.append(_comment(table, create, "comment"))
    for col in table.columns:
        if col.doc:
            create = (
                "COMMENT ON COLUMN ",
                Ref(table.name),
                f".{sql_ident(col.name)} IS {quote_literal(col.doc)}",
            )
            out.append(_comment(table, create, f"{col.name}_comment"))
    return out


def _comment(table: Table, create: tuple[Token, ...], label: str) -> Creation:
    return Creation(Kind.COMMENT, table.name, prefixed(table.name), create, label=label)


def _raw(table: Table, one: RawObject) -> list[Creation]:
    """One creation for each statement of the author's text."""
    out = []
    for text in split_statements(one.create):
        tokens: list[Token] = []
        for piece in re.split(r"(\{table\}|\{name\})", text):
            if piece == "{table}":
                tokens.append(Ref(table.name))
            elif piece == "{name}":
                tokens.append(Ref(one.key))
            elif piece:
                tokens.append(piece)
        label = f"{one.key}_raw"
        out.append(Creation(Kind.RAW, table.name, prefixed(one.key), tuple(tokens), label=label))
    return out
