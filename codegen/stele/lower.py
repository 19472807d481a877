"""Model → views: one for each module."""

from __future__ import annotations

import posixpath

from stele.layout import (
    COLUMNS,
    INDENT,
    c_string,
    comment,
    comment_text,
    doc_comment,
    fields,
    prototype,
    statement,
)
from stele.lower_catalog import lower_catalog
from stele.lower_query import lower_queries
from stele.lower_table import TableLowering
from stele.lower_types import enum_name
from stele.lower_view import ArrayView, BlockView, EnumView, ModuleView, too_wide
from stele.model import EnumType, Module, Scalar, Schema
from stele.names import upper_ident


def lower(schema: Schema, public: bool = False) -> tuple[ModuleView, ...]:
    """Views of all modules. `public` makes generated symbols visible outside a shared library."""
    c_prefixes = {module.name: module.c_prefix for module in schema.modules}
    return tuple(_module(module, schema, c_prefixes, public) for module in schema.modules)


def source_name(module: Module) -> str:
    """The schema file without its folder, which depends on who generates."""
    return posixpath.basename(module.span.path.replace("\\", "/"))


def _module(module: Module, schema: Schema, c_prefixes: dict[str, str], public: bool) -> ModuleView:
    results = [TableLowering(table, module, c_prefixes).run() for table in module.tables]
    sweeps = {
        table.name: result.sweeps for table, result in zip(module.tables, results, strict=True)
    }
    catalog, members = lower_catalog(module, sweeps)
    queries = lower_queries(module, schema)
    others = {
        col.type.enum_module
        for table in module.tables
        for col in table.columns
        if col.type.scalar is Scalar.ENUM and col.type.enum_module != module.name
    }
    return ModuleView(
        name=module.name,
        source=comment_text(source_name(module)),
        guard=f"STELE_GENERATED_{upper_ident(module.c_prefix + module.name)}_GEN_H",
        doc=comment(module.doc) if module.doc else "",
        module=module_constant(module),
        includes=tuple(sorted(others | queries.modules)),
        public=public,
        enums=tuple(_enum(one, module) for one in module.enums),
        tables=tuple(result.view for result in results),
        catalog=tuple(catalog),
        members=members,
        rows=queries.rows,
        queries=queries.queries,
        has_jobs=any(table.jobs for table in module.tables),
    )


def module_constant(module: Module) -> str:
    return f"{module.c_prefix}{module.name}_module"


def _enum(one: EnumType, module: Module) -> EnumView:
    name = enum_name(module.c_prefix, one.name)
    upper = upper_ident(module.c_prefix + one.name)
    lines = [("", f"{upper}_UNKNOWN = 0,", "a label this program does not know")]
    labels = [f"{upper}_{upper_ident(label)}" for label in one.labels]
    lines += [("", f"{label},", "") for label in labels[:-1]]
    lines += [("", label, "") for label in labels[-1:]]
    rows = tuple(f"    {c_string(label)}," for label in one.labels)
    texts = ArrayView("char *const", f"{name}_texts", rows)
    name_params = [f"{name} value"]
    parse_params = ["stele_str label"]
    return EnumView(
        name=name,
        doc=doc_comment(one.doc or f"Type {one.name}."),
        body=fields(lines),
        labels=f"{name}_labels",
        texts=BlockView((texts,), (), None, too_wide((texts,), ())),
        type_name=c_string(one.name),
        name_head=prototype("const char *", f"{name}_name", name_params, ";"),
        name_define=prototype("const char *", f"{name}_name", name_params, ""),
        name_body=_enum_call("stele_gen_enum_label", f"{name}_labels", "(int)value"),
        name_doc=doc_comment("The label of a value, NULL for an unknown one. Not to be freed."),
        parse_head=prototype(name, f"{name}_parse", parse_params, ";"),
        parse_define=prototype(name, f"{name}_parse", parse_params, ""),
        parse_body=_enum_call(f"({name})stele_gen_enum_value", f"{name}_labels", "label"),
        parse_doc=doc_comment(f"The value of a label; {upper}_UNKNOWN if there is none such."),
    )


def _enum_call(function: str, labels: str, argument: str) -> str:
    """The body of a function that asks the runtime about labels."""
    line = f"{INDENT}return {function}(&{labels}, {argument});"
    if len(line) <= COLUMNS:
        return line
    bind = statement("const stele_gen_enum *labels", f"&{labels}")
    return f"{bind}\n{INDENT}return {function}(labels, {argument});"
