"""What a module tells the runtime about itself: tables, columns, and how each object is created."""

from __future__ import annotations

from collections.abc import Iterable

from stele.ddl import Creation, Hole, Kind, Made, Ref, Token, creations
from stele.layout import c_string
from stele.lower_struct import is_inserted
from stele.lower_sweep import followers
from stele.lower_types import catalog_type
from stele.lower_view import ArrayView, BlockView, StmtView, parts_array, rows_array, too_wide
from stele.model import Module, Scalar, Table
from stele.names import c_ident
from stele.sql import PREFIX, SCHEMA_, Part, merge, sql
from stele.sql import table as table_part

_KINDS = {
    Kind.ENUM: "ENUM",
    Kind.TABLE: "TABLE",
    Kind.INDEX: "INDEX",
    Kind.FOREIGN_KEY: "FOREIGN_KEY",
    Kind.COMMENT: "OTHER",
    Kind.RAW: "OTHER",
}


def made_parts(made: Made) -> list[Part]:
    """A name that the runtime completes."""
    out = []
    for piece in made.pieces:
        if piece is Hole.SCHEMA_:
            out.append(SCHEMA_)
        elif piece is Hole.PREFIX:
            out.append(PREFIX)
        else:
            out.append(sql(str(piece)))
    return out


def parts_of(tokens: Iterable[Token]) -> tuple[Part, ...]:
    """A statement that the runtime completes."""
    out: list[Part] = []
    for token in tokens:
        if isinstance(token, Ref):
            out.append(table_part(f"{token.module}.{token.name}" if token.module else token.name))
        elif isinstance(token, Made):
            out += [sql('"'), *made_parts(token), sql('"')]
        else:
            out.append(sql(token))
    return merge(out)


def _object(creation: Creation, base: str) -> tuple[tuple[ArrayView, ...], str]:
    """A creation's arrays, and its row in the module's list."""
    arrays = [
        parts_array(f"{base}_name", tuple(made_parts(creation.name))),
        parts_array(f"{base}_create", parts_of(creation.create)),
    ]
    members = [
        ("kind", f"STELE_GEN_OBJECT_{_KINDS[creation.kind]}"),
        ("unique", "true" if creation.unique else ""),
        ("optional", c_string(creation.optional) if creation.optional else ""),
        ("table", c_string(creation.table) if creation.table else ""),
        ("name", f"{base}_name"),
        ("name_count", f"STELE_COUNT({base}_name)"),
        ("create", f"{base}_create"),
        ("create_count", f"STELE_COUNT({base}_create)"),
    ]
    if creation.concurrently:
        name = f"{base}_concurrently"
        arrays.append(parts_array(name, parts_of(creation.concurrently)))
        members += [
            ("create_concurrently", name),
            ("create_concurrently_count", f"STELE_COUNT({name})"),
        ]
    lines = [f"        .{name} = {value}," for name, value in members if value]
    return tuple(arrays), "\n".join(["    {", *lines, "    },"])


def _base(module: Module, creation: Creation, taken: set[str]) -> str:
    """What the names of a creation's constants begin with."""
    owner = f"{creation.table}_" if creation.table else ""
    base = name = c_ident(f"{module.c_prefix}{owner}{creation.label}")
    number = 1
    while name in taken:
        number += 1
        name = f"{base}_{number}"
    taken.add(name)
    return name


def _column_rows(table: Table) -> list[tuple[str, ...]]:
    return [
        (
            c_string(col.name),
            c_string(catalog_type(col.type)),
            "false" if col.nullable else "true",
            "true" if col.type.scalar is Scalar.ENUM else "false",
        )
        for col in table.columns
    ]


def _table(module: Module, table: Table, sweeps: tuple[tuple[str, str], ...]) -> BlockView:
    """A table's descriptor."""
    base = module.c_prefix + table.name
    columns = rows_array("catalog_column", f"{base}_catalog", _column_rows(table))
    members = [
        ("name", c_string(table.name)),
        ("columns", columns.name),
        ("column_count", f"STELE_COUNT({columns.name})"),
        *sweeps,
    ]
    arrays: tuple[ArrayView, ...] = (columns,)
    if followers(module, table):
        rows = tuple(
            f"    &{module.c_prefix}{one.name}_follow_stmt," for one in followers(module, table)
        )
        kept = ArrayView("stele_gen_stmt *const", f"{base}_followers", rows)
        arrays = (columns, kept)
        members.append(("followers", kept.name))
        members.append(("follower_count", f"STELE_COUNT({kept.name})"))
    if table.soft_delete:
        members.append(("has_tombstones", "true"))
    if any(is_inserted(col) for col in table.columns):
        members.append(("insert_many", f"&{base}_insert_many_bulk"))
    return _block(arrays, (StmtView("table", f"{base}_table", tuple(members)),))


def lower_catalog(
    module: Module, sweeps: dict[str, tuple[tuple[str, str], ...]]
) -> tuple[list[BlockView], tuple[tuple[str, str], ...]]:
    """Descriptors of the module, and the members of its constant.

    `sweeps` gives the members of each table's descriptor that name its statements.
    """
    blocks: list[BlockView] = []
    table_rows = []
    for table in module.tables:
        blocks.append(_table(module, table, sweeps[table.name]))
        table_rows.append(f"    &{module.c_prefix}{table.name}_table,")

    name = c_ident(module.c_prefix + module.name)
    object_rows = []
    taken: set[str] = set()
    for creation in creations(module):
        arrays, row = _object(creation, _base(module, creation, taken))
        blocks.append(_block(arrays, ()))
        object_rows.append(row)

    constants = []
    members = [("abi", "&stele_gen_abi_1"), ("name", c_string(module.name))]
    if table_rows:
        constants.append(ArrayView("stele_gen_table *const", f"{name}_tables", tuple(table_rows)))
        members += [
            ("tables", f"{name}_tables"),
            ("table_count", f"STELE_COUNT({name}_tables)"),
        ]
    if object_rows:
        constants.append(ArrayView("stele_gen_object", f"{name}_objects", tuple(object_rows)))
        members += [
            ("objects", f"{name}_objects"),
            ("object_count", f"STELE_COUNT({name}_objects)"),
        ]
    if module.fold_lower:
        members.append(("fold_lower", "true"))
    members += [
        ("longest_schema", str(module.longest.schema)),
        ("longest_prefix", str(module.longest.prefix)),
    ]
    blocks += [_block((constant,), ()) for constant in constants]
    return blocks, tuple(members)


def _block(arrays: tuple[ArrayView, ...], stmts: tuple[StmtView, ...]) -> BlockView:
    return BlockView(arrays, stmts, None, too_wide(arrays, stmts))
