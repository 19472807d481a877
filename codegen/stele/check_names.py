"""Checks of names: their length, and whether they collide on the server or in C."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from stele import cnames
from stele.diag import Diagnostics
from stele.draft import Draft
from stele.model import Identity, Index, Module, Scalar, Span, Table
from stele.names import SQL_NAME_MAX, byte_length, c_ident, is_identifier

_INDEX_PARTS: Final = ("schema_", "prefix", "table", "key")
_NEEDED_PARTS: Final = ("prefix", "table", "key")
_RANGE_TYPES: Final = frozenset(
    {
        *(Scalar.INT2, Scalar.INT4, Scalar.INT8, Scalar.FLOAT4, Scalar.FLOAT8, Scalar.NUMERIC),
        *(Scalar.DATE, Scalar.TIME, Scalar.TIMESTAMP, Scalar.TIMESTAMPTZ),
    }
)


@dataclass(slots=True)
class _Owners:
    """Who has a name already."""

    diags: Diagnostics
    code: str
    taken: dict[str, tuple[str, Span]] = field(default_factory=dict)

    def take(self, name: str, owner: str, span: Span, remedy: str) -> bool:
        """False, and a report, if someone else has the name."""
        other, place = self.taken.setdefault(name, (owner, span))
        if place == span and other == owner:
            return True
        line = f"line {place.line}"
        where = line if place.path == span.path else f"{place.path}, {line}"
        message = f'{owner} takes the name "{name}", which {other} has ({where})'
        self.diags.error(span, self.code, message, remedy)
        return False


def check_names(draft: Draft, diags: Diagnostics) -> None:
    c_names = _Owners(diags, "S057")
    for module in draft.schema.modules:
        _check_header(draft, module, diags)
        _check_relations(module, diags)
        _check_types(module, c_names, diags)
        former: dict[str, Span] = {}
        for table in module.tables:
            _check_fold(module, table, diags)
            _check_lengths(module, table, diags)
            _check_constraints(table, diags)
            _check_members(table, diags)
            _check_rename(draft, module, table, former, diags)
    for module in draft.schema.modules:
        _check_queries(module, c_names, diags)


# ---- modules ----


def _check_header(draft: Draft, module: Module, diags: Diagnostics) -> None:
    if module.c_prefix and not is_identifier(module.c_prefix):
        diags.error(
            draft.places.spans.get((module.name, "", ("c_prefix",)), module.span),
            "S021",
            f'"{module.c_prefix}" cannot begin a C name',
            'use letters, digits and underscores, as in "shop_"',
        )
    span = draft.places.spans.get((module.name, "", ("index_name",)), module.span)
    parts = re.findall(r"\{([^{}]*)\}", module.index_name)
    unknown = [part for part in parts if part not in _INDEX_PARTS]
    missing = [part for part in _NEEDED_PARTS if part not in parts]
    literal = re.sub(r"\{[^{}]*\}", "", module.index_name)
    if unknown:
        diags.error(
            span,
            "S061",
            f'index_name has an unknown part "{{{unknown[0]}}}"',
            "use {schema_} {prefix} {table} {key}",
        )
    elif missing:
        diags.error(
            span,
            "S061",
            f'index_name lacks "{{{missing[0]}}}", so two indexes could take one name',
            'write "{prefix}{table}_{key}"',
        )
    elif literal and not re.fullmatch(r"\w+", literal, re.ASCII):
        diags.error(
            span,
            "S061",
            f'index_name holds "{literal}", which is not part of a plain name',
            "use letters, digits and underscores between the parts",
        )


def index_name(module: Module, table: Table, index: Index, schema: str, prefix: str) -> str:
    """An index's name under a schema ('' for none) and a prefix."""
    parts = {
        "{schema_}": f"{schema}_" if schema else "",
        "{prefix}": prefix,
        "{table}": table.name,
        "{key}": index.key,
    }
    return re.sub(r"\{\w+\}", lambda part: parts.get(part.group(), ""), module.index_name)


# ---- SQL ----


def _check_relations(module: Module, diags: Diagnostics) -> None:
    """Tables, indexes and sequences share one space of names; tables and enums another."""
    relations = _Owners(diags, "S056")
    types = _Owners(diags, "S056")
    for table in module.tables:
        owner = f'table "{table.name}"'
        relations.take(table.name, owner, table.span, "rename one")
        types.take(table.name, owner, table.span, "rename one")
    for enum in module.enums:
        types.take(enum.name, f'enum "{enum.name}"', enum.span, "rename one: a table is a type too")
    for table in module.tables:
        for index in table.indexes:
            kind = "unique" if index.unique else "index"
            name = index_name(module, table, index, "", "")
            owner = f'{kind} "{index.key}" of table "{table.name}"'
            relations.take(name, owner, index.span, "rename one, or change index_name")
        for name, owner, span in _implied(table):
            relations.take(name, owner, span, "rename one")


def _implied(table: Table) -> Iterator[tuple[str, str, Span]]:
    if table.primary_key:
        yield f"{table.name}_pkey", f'the primary key of table "{table.name}"', table.span
    for column in table.columns:
        if column.identity is not Identity.NONE:
            owner = f'the sequence of "{table.name}.{column.name}"'
            yield f"{table.name}_{column.name}_seq", owner, column.span


def _check_lengths(module: Module, table: Table, diags: Diagnostics) -> None:
    schema, prefix = "s" * module.longest.schema, "p" * module.longest.prefix

    def measure(name: str, what: str, span: Span, remedy: str) -> None:
        size = byte_length(name)
        if size > SQL_NAME_MAX:
            diags.error(
                span,
                "S055",
                f"{what} is {size} bytes long, and the server cuts it at {SQL_NAME_MAX}",
                remedy,
            )

    under = f" under a prefix of {module.longest.prefix}" if prefix else ""
    shorten = "shorten it, or lower 'longest'" if prefix or schema else "shorten it"
    measure(prefix + table.name, f'the name of table "{table.name}"{under}', table.span, shorten)
    for column in table.columns:
        measure(column.name, f'the name of column "{column.name}"', column.span, "shorten it")
    if schema:
        under = (
            f" under a schema of {module.longest.schema} and a prefix of {module.longest.prefix}"
        )
    for index in table.indexes:
        name = index_name(module, table, index, schema, prefix)
        measure(name, f'the name of index "{index.key}"{under}', index.span, shorten)
    constraints = [("foreign key", key.key, key.span) for key in table.foreign_keys]
    constraints += [("check", check.key, check.span) for check in table.checks]
    under = f" under a prefix of {module.longest.prefix}" if prefix else ""
    for kind, key, span in constraints:
        name = f"{prefix}{table.name}_{key}"
        measure(name, f'the name of {kind} "{key}"{under}', span, shorten)
    for item in table.objects:
        measure(prefix + item.key, f'the name of object "{item.key}"{under}', item.span, shorten)


def _check_constraints(table: Table, diags: Diagnostics) -> None:
    constraints = _Owners(diags, "S056")
    for check in table.checks:
        constraints.take(check.key, f'check "{check.key}"', check.span, "rename one")
    for key in table.foreign_keys:
        constraints.take(key.key, f'foreign key "{key.key}"', key.span, "rename one")


def _check_fold(module: Module, table: Table, diags: Diagnostics) -> None:
    if not module.fold_lower:
        return
    named: list[tuple[str, Span]] = [(table.name, table.span)]
    named += [(column.name, column.span) for column in table.columns]
    named += [(index.key, index.span) for index in table.indexes]
    for name, span in named:
        if name != name.lower():
            diags.error(
                span,
                "S062",
                f'"{name}" has capital letters, which fold: lower would not keep',
                f'write "{name.lower()}"',
            )


def _check_rename(
    draft: Draft, module: Module, table: Table, former: dict[str, Span], diags: Diagnostics
) -> None:
    name = table.renamed_from
    if not name:
        return
    span = draft.places.at(module, table, "renamed_from")
    if any(other.name == name for other in module.tables):
        diags.error(
            span,
            "S060",
            f'"{name}" is still a table of the module',
            "remove 'renamed_from', or the old table",
        )
    elif name in former:
        diags.error(
            span, "S060", f'two tables are renamed from "{name}"', "keep one 'renamed_from'"
        )
    former.setdefault(name, span)


# ---- C ----


def _check_types(module: Module, c_names: _Owners, diags: Diagnostics) -> None:
    """Names at file scope, over all modules: a program may include every header."""
    shown = module.name.partition("\0")[0]
    for name in cnames.module_names(module):
        c_names.take(name, f'module "{shown}"', module.span, "rename one, or give it a c_prefix")
    for enum in module.enums:
        owner = f'enum "{enum.name}"'
        if _reserved(module.c_prefix + enum.name, owner, enum.span, diags):
            _take_all(c_names, cnames.enum_names(module, enum), owner, enum.span)
        constants = _Owners(diags, "S059")
        for label, constant in cnames.enum_constants(module, enum):
            if not constant:
                diags.error(
                    enum.span,
                    "S059",
                    f'label "{label}" of enum "{enum.name}" has nothing a C name could be made of',
                    "use a label with ASCII letters or digits",
                )
                continue
            what = f'label "{label}"' if label else "the unknown value"
            if constants.take(constant, what, enum.span, "rename one label"):
                c_names.take(
                    constant, f'{what} of enum "{enum.name}"', enum.span, "rename one label"
                )
    for table in module.tables:
        owner = f'table "{table.name}"'
        if _reserved(module.c_prefix + table.name, owner, table.span, diags):
            _take_all(c_names, cnames.table_names(module, table), owner, table.span)
        for key, columns in cnames.key_structs(table).items():
            if len(columns) > 1:
                diags.error(
                    table.span,
                    "S057",
                    f'two keys "{key}" of table "{table.name}" would be one C type',
                    "rename one",
                )
        listed = _Owners(diags, "S057")
        for spec in table.lists:
            listed.take(f"list_by_{spec.key}", f'list "{spec.key}"', spec.span, "rename one")
        for foreign in table.foreign_keys:
            name = f"list_by_{foreign.key}"
            listed.take(name, f'foreign key "{foreign.key}"', foreign.span, "rename one")


def _check_queries(module: Module, c_names: _Owners, diags: Diagnostics) -> None:
    seen: set[str] = set()
    for query in module.queries:
        owner = f'query "{query.name}"'
        base = f"{module.c_prefix}{module.name}_{query.name}"
        if query.name not in seen and _reserved(base, owner, query.span, diags):
            _take_all(c_names, cnames.query_names(module, query), owner, query.span)
        seen.add(query.name)


def _take_all(c_names: _Owners, wanted: Iterator[str], owner: str, span: Span) -> None:
    """Takes names until one is not free: one report is enough for two owners."""
    own: set[str] = set()
    for name in wanted:
        if name in own:
            message = f'two parts of {owner} take the name "{name}"'
            c_names.diags.error(span, "S057", message, "rename a key of it")
            return
        own.add(name)
        if not c_names.take(name, owner, span, "rename one, or give a module a c_prefix"):
            return


def _reserved(base: str, owner: str, span: Span, diags: Diagnostics) -> bool:
    if base.startswith("_") or base.lower().startswith("stele_"):
        what = "an underscore" if base.startswith("_") else '"stele_"'
        diags.error(
            span,
            "S063",
            f"the C names of {owner} would begin with {what}, which is reserved",
            "rename it, or give the module a c_prefix",
        )
        return False
    return True


def _check_members(table: Table, diags: Diagnostics) -> None:
    """Members of the structs of one table."""
    members = _Owners(diags, "S058")
    for column in table.columns:
        members.take(c_ident(column.name), f'column "{column.name}"', column.span, "rename one")
    for name, owner in _extra_members(table):
        for taken in table.columns:
            if c_ident(taken.name) == name:
                diags.error(
                    taken.span,
                    "S058",
                    f'column "{taken.name}" takes the name of {owner}',
                    "rename the column",
                )


def _extra_members(table: Table) -> Iterator[tuple[str, str]]:
    names = {c_ident(column.name) for column in table.columns}
    if table.version and "if_version" in names:
        yield "if_version", "the patch's version check"
    if table.soft_delete and "deleted" in names:
        yield "deleted", "the filter's scope of deleted rows"
    if table.ttl and "expired" in names:
        yield "expired", "the filter's scope of expired rows"
    for column in table.columns:
        if column.type.array or column.type.scalar not in _RANGE_TYPES:
            continue
        for suffix in ("from", "before"):
            name = f"{column.name}_{suffix}"
            if name in names:
                yield name, f'the filter\'s range of "{column.name}"'
