"""The C names that generated code takes, so that two parts of a schema never take the same one.

A superset of what the templates declare at file scope: functions, types, constants, and the
descriptors behind them. A test compares it with generated headers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from stele.model import Condition, EnumType, Module, Query, QueryNode, Table
from stele.names import c_global, upper_ident
from stele.sqltext import tokens

_TYPES: Final = ("row", "input", "patch", "filter", "page", "key", "iter", "upserted")
_HELPERS: Final = (
    *("row_dup", "row_free", "row_autofree", "page_free", "page_autofree", "page_token"),
    *("iter_open", "iter_next", "iter_close", "iter_autofree", "iter_stmt", "iter_parts"),
    *("iter_params", "no_filter", "scope"),
    *("rows", "rows_free", "rows_autofree"),
    *("select", "live", "columns", "upserted_columns", "catalog", "table"),
    *("object_name", "object_create", "comment_name", "comment_create", "followers"),
)
_FUNCTIONS: Final = (
    *("find", "find_for_update", "find_for_update_nowait", "find_for_update_skip_locked"),
    *("count", "exists", "insert", "upsert", "update", "delete", "restore"),
    *("insert_many", "upsert_many"),
    *("hard_delete", "expire", "purge"),
)
# What the sweeper runs: descriptors without a function.
_SWEEPS: Final = (
    *("sweep", "sweep_oldest", "sweep_deleted", "sweep_oldest_deleted", "sweep_partitions"),
    "follow",
)
# What workers run on a queue of jobs.
_JOBS: Final = (
    *("enqueue", "claim", "finish", "finish_one", "fail", "renew", "give_back", "rescue"),
    *("purge_ended", "cancel", "revive", "tick", "depth", "clock"),
)
_QUERY_SUFFIXES: Final = (
    *("queue",),
    *("params", "row", "rows", "iter", "row_free", "row_autofree", "rows_free", "rows_autofree"),
    *("iter_next", "iter_close", "iter_autofree", "stmt", "parts", "inputs", "columns"),
    *("groups", "switches"),
)
_DESCRIPTORS: Final = ("", "_stmt", "_parts", "_params", "_queue")
_BULK_DESCRIPTORS: Final = ("_bulk", "_staged", "_stamped", "_unique")
_ENUM_SUFFIXES: Final = (
    *(
        "opt",
        "array",
        "in",
        "in_n",
        "v",
        "n_v",
        "n_null",
        "n_of",
        "name",
        "parse",
        "labels",
        "texts",
    ),
    *("array_in", "array_in_n", "array_v", "array_n_v", "array_n_null", "type_name", "type_create"),
)


def module_names(module: Module) -> Iterator[str]:
    for suffix in ("module", "tables", "objects"):
        yield f"{module.c_prefix}{module.name}_{suffix}"


def table_names(module: Module, table: Table) -> Iterator[str]:
    """Every name that belongs to a table; none of them twice."""
    base = module.c_prefix + table.name
    for suffix in (*_TYPES, *_HELPERS):
        yield f"{base}_{suffix}"
    for function in _functions(table):
        for descriptor in _DESCRIPTORS:
            yield f"{base}_{function}{descriptor}"
        if function.startswith(("insert_many", "upsert_many")):
            yield from (f"{base}_{function}{descriptor}" for descriptor in _BULK_DESCRIPTORS)
    for sweep in _SWEEPS:
        yield from (f"{base}_{sweep}_{what}" for what in ("stmt", "parts", "params", "columns"))
    if table.jobs:
        yield f"{base}_jobs"
        for verb in _JOBS:
            yield from (
                f"{base}_jobs_{verb}_{what}" for what in ("stmt", "parts", "params", "columns")
            )
    yield from (f"{base}_count_columns", f"{base}_exists_columns")
    for key in sorted(list_keys(table)):
        yield f"{base}_list_by_{key}_list"
    for key in sorted(key_structs(table)):
        yield f"{base}_{key}_key"
    for created in _objects(table):
        yield from (f"{base}_{created}_name", f"{base}_{created}_create")
    for key in _index_keys(table):
        yield f"{base}_{key}_index_concurrently"


def _index_keys(table: Table) -> list[str]:
    """A unique and an index of one key have one name on the server too: reported there."""
    return sorted({index.key for index in table.indexes})


def _objects(table: Table) -> Iterator[str]:
    """What the DDL of a table creates besides it."""
    yield from (f"{key}_index" for key in _index_keys(table))
    yield from (f"{key.key}_fkey" for key in table.foreign_keys)
    yield from (f"{column.name}_comment" for column in table.columns if column.doc)
    for item in table.objects:
        yield f"{item.key}_raw"
        statements = sum(token.text == ";" for token in tokens(item.create, statements=True)) + 1
        yield from (f"{item.key}_raw_{number}" for number in range(2, statements + 1))


def _functions(table: Table) -> Iterator[str]:
    yield from _FUNCTIONS
    if table.jobs:
        yield from ("enqueue", "cancel", "revive")
    for index in table.indexes:
        if index.unique:
            yield from (f"find_by_{index.key}", f"upsert_by_{index.key}")
            yield f"upsert_many_by_{index.key}"
    for key in sorted(list_keys(table)):
        yield from (f"list_by_{key}", f"{key}_resume")


def list_keys(table: Table) -> set[str]:
    return {spec.key for spec in table.lists} | {key.key for key in table.foreign_keys}


def key_structs(table: Table) -> dict[str, list[tuple[str, ...]]]:
    """The names that keys of two or more columns give to structs, with those columns."""
    found: dict[str, list[tuple[str, ...]]] = {}
    keys = [(spec.key, spec.by) for spec in table.lists]
    keys += [(key.key, key.columns) for key in table.foreign_keys]
    for index in table.indexes:
        columns = tuple(item.column for item in index.items)
        if index.unique and all(columns):
            keys.append((index.key, columns))
    for name, columns in keys:
        if len(columns) > 1 and columns not in found.setdefault(name, []):
            found[name].append(columns)
    return {name: columns for name, columns in found.items() if columns}


def query_names(module: Module, query: Query) -> Iterator[str]:
    base = f"{module.c_prefix}{module.name}_{query.name}"
    yield base
    for suffix in _QUERY_SUFFIXES:
        yield f"{base}_{suffix}"
    for number in range(query_conditions(query.body)):
        yield f"{base}_group_{number}"
    for choice in query.choices:
        yield f"{base}_{choice.name}"
        for label in dict.fromkeys(choice.labels):
            yield upper_ident(f"{base}_{choice.name}") + f"_{upper_ident(label)}"


def query_conditions(nodes: tuple[QueryNode, ...]) -> int:
    """How many conditions on several parameters there are."""
    return sum(isinstance(node, Condition) and len(node.params) > 1 for node in nodes)


def enum_names(module: Module, enum: EnumType) -> Iterator[str]:
    base = c_global(module.c_prefix + enum.name)
    yield base
    for suffix in _ENUM_SUFFIXES:
        yield f"{base}_{suffix}"


def enum_constants(module: Module, enum: EnumType) -> Iterator[tuple[str, str]]:
    """Label and constant; '' stands for the label of a value the program does not know."""
    base = upper_ident(module.c_prefix + enum.name)
    yield "", f"{base}_UNKNOWN"
    for label in enum.labels:
        word = upper_ident(label)
        yield label, f"{base}_{word}" if word else ""
