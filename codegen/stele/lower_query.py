"""Queries → their types, descriptors and functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from stele.layout import COLUMNS, c_string, doc_comment, fields, prototype, statement
from stele.lower_queue import iterator, queue_query
from stele.lower_types import c_type, modifier, row_note, select_item
from stele.lower_view import (
    ArrayView,
    BlockView,
    FunctionView,
    InlineView,
    QueryView,
    RowsView,
    StmtView,
    StructView,
    parts_array,
    rows_array,
    too_wide,
)
from stele.model import (
    Choice,
    Column,
    Condition,
    Module,
    Now,
    ParamRef,
    PolicyRef,
    Query,
    QueryKind,
    QueryNode,
    QueryParam,
    RowRef,
    Scalar,
    Schema,
    Span,
    SqlText,
    Table,
    TableRef,
    Type,
)
from stele.names import c_ident, upper_ident
from stele.policy import Policy, statement_now
from stele.sql import END, Part, merge, param, sql, table

_TEXT_MAX: Final = 3800  # bytes of one literal; C promises no more than 4095
_CONN: Final = "stele_conn *conn"
_ERR: Final = "stele_error *err"
_RUN: Final = {
    QueryKind.ONE: "stele_gen_one",
    QueryKind.MAYBE: "stele_gen_maybe",
    QueryKind.MANY: "stele_gen_rows",
    QueryKind.ITER: "stele_gen_iter_open",
    QueryKind.EXEC: "stele_gen_exec",
    QueryKind.EXECROWS: "stele_gen_exec",
}
_SLOTS: Final = {
    QueryKind.ONE: "ROW",
    QueryKind.MAYBE: "ROW",
    QueryKind.MANY: "LIST",
    QueryKind.ITER: "",
    QueryKind.EXEC: "EXEC",
    QueryKind.EXECROWS: "EXEC",
}


@dataclass(frozen=True, slots=True)
class QueryStmt:
    """A query's statement, as tests look at it."""

    name: str
    parts: tuple[Part, ...]
    params: tuple[tuple[str, ...], ...]
    columns: tuple[tuple[str, ...], ...]
    groups: tuple[tuple[int, ...], ...]
    switches: tuple[tuple[str, int, int], ...]  # name, number of values, shift


@dataclass(frozen=True, slots=True)
class Lowered:
    """The queries of a module."""

    queries: tuple[QueryView, ...]
    rows: tuple[RowsView, ...]
    modules: frozenset[str]  # others whose types are used
    stmts: tuple[QueryStmt, ...]


def lower_queries(module: Module, schema: Schema) -> Lowered:
    lowerings = [QueryLowering(query, module, schema) for query in module.queries]
    views = tuple(one.run() for one in lowerings)
    shared = sorted({one.shared_rows for one in lowerings if one.shared_rows})
    modules = frozenset(name for one in lowerings for name in one.modules)
    stmts = tuple(one.stmt for one in lowerings)
    return Lowered(views, tuple(_rows(base) for base in shared), modules - {module.name}, stmts)


def _rows(base: str) -> RowsView:
    doc = doc_comment(f"Rows of {base}, in one block.")
    struct = _rows_struct(f"{base}_rows", f"{base}_row", doc)
    return RowsView(struct, _frees(f"{base}_rows", "rows"))


def _rows_struct(name: str, row: str, doc: str) -> StructView:
    lines = [("", f"const {row} *rows;", ""), ("", "size_t count;", "")]
    return StructView(name, doc, fields(lines))


def _frees(name: str, what: str) -> tuple[InlineView, ...]:
    """What frees a type, and the same for STELE_AUTO."""
    return (
        InlineView(
            doc_comment(f"Frees {'a row' if what == 'row' else 'rows'}. NULL is ignored."),
            prototype("static inline void", f"{name}_free", [f"{name} *{what}"], ""),
            (f"    stele_gen_free({what});",),
        ),
        InlineView(
            doc_comment(f"For STELE_AUTO({name})."),
            prototype("static inline void", f"{name}_autofree", [f"{name} **{what}"], ""),
            (f"    stele_gen_free(*{what});",),
        ),
    )


@dataclass(slots=True)
class QueryLowering:
    """Makes the view of one query."""

    query: Query
    module: Module
    schema: Schema
    modules: set[str] = field(default_factory=set)
    shared_rows: str = ""  # base name of the own table whose rows type is used
    groups: list[tuple[int, ...]] = field(default_factory=list)
    shifts: dict[str, tuple[int, int]] = field(default_factory=dict)  # shift, number of values
    stmt: QueryStmt = field(init=False)

    @property
    def base(self) -> str:
        return f"{self.module.c_prefix}{self.module.name}_{self.query.name}"

    @property
    def prefixes(self) -> dict[str, str]:
        return {module.name: module.c_prefix for module in self.schema.modules}

    def table(self, module: str, name: str) -> Table:
        owner = next(one for one in self.schema.modules if one.name == module)
        return next(one for one in owner.tables if one.name == name)

    def table_base(self, place: tuple[str, str]) -> str:
        self.modules.add(place[0])
        return f"{self.prefixes[place[0]]}{place[1]}"

    # -- SQL --

    def switches(self) -> list[tuple[str, int, int]]:
        out = []
        shift = 0
        counts = [(name, 2) for name in self.query.flags]
        counts += [(choice.name, len(choice.labels)) for choice in self.query.choices]
        for name, count in counts:
            out.append((name, count, shift))
            self.shifts[name] = (shift, count)
            shift += (count - 1).bit_length()
        return out

    def parts(self, nodes: Sequence[QueryNode]) -> list[Part]:
        out: list[Part] = []
        for node in nodes:
            match node:
                case SqlText():
                    out.append(sql(node.text))
                case TableRef():
                    own = node.module == self.module.name
                    out.append(table(node.table if own else f"{node.module}.{node.table}"))
                case ParamRef():
                    out.append(param(node.param))
                case RowRef():
                    columns = self.table(node.module, node.table).columns
                    out.append(sql(", ".join(select_item(col, node.alias) for col in columns)))
                case PolicyRef():
                    policy = Policy(self.table(node.module, node.table))
                    out.append(sql(policy.condition(node.kind, node.alias)))
                case Now():
                    out.append(sql(statement_now(node.scalar)))
                case Condition():
                    out += [self.condition(node), *self.parts(node.body), END]
                case Choice():
                    out += self.choice(node)
        return out

    def condition(self, node: Condition) -> Part:
        if node.flag:
            return Part("IF_FLAG", (1 << self.shifts[node.flag][0],))
        if len(node.params) == 1:
            return Part("IF_SET", node.params)
        if node.params not in self.groups:
            self.groups.append(node.params)
        return Part("IF_ALL", (self.groups.index(node.params),))

    def choice(self, node: Choice) -> list[Part]:
        shift, count = self.shifts[node.choice]
        mask = ((1 << (count - 1).bit_length()) - 1) << shift
        out: list[Part] = []
        for value, body in enumerate(node.bodies):
            if body:
                out += [Part("IF_CHOICE", (mask, value << shift)), *self.parts(body), END]
        return out

    # -- parameters --

    def struct(self) -> StructView | None:
        """The parameters, flags and choices of a call."""
        query = self.query
        lines = []
        for one in query.params:
            wrapper = c_type(one.type, self.prefixes).input + ("_n" if one.nullable else "")
            note = _note(one.type)
            need = "optional" if one.optional else "required"
            note = f"{need}, {note}" if note else need
            lines.append(("", f"{wrapper} {c_ident(one.name)};", note))
        for flag in query.flags:
            lines.append(("", f"bool {c_ident(flag)};", ""))
        for choice in query.choices:
            name = f"{self.base}_{choice.name}"
            lines.append(("", f"{name} {c_ident(choice.name)};", f"{choice.labels[0]} unless set"))
        if not lines:
            return None
        doc = doc_comment(f"Parameters of {self.base}().")
        enums = frozenset(f"{self.base}_{choice.name}" for choice in query.choices)
        return StructView(f"{self.base}_params", doc, fields(lines, enums))

    def enums(self) -> tuple[StructView, ...]:
        out = []
        for choice in self.query.choices:
            name = f"{self.base}_{choice.name}"
            upper = upper_ident(name)
            lines = []
            for i, label in enumerate(choice.labels):
                first = " = 0" if i == 0 else ""
                comma = "," if i + 1 < len(choice.labels) else ""
                lines.append(("", f"{upper}_{upper_ident(label)}{first}{comma}", ""))
            doc = doc_comment(f"What {self.base}() offers as {choice.name}.")
            out.append(StructView(name, doc, fields(lines)))
        return tuple(out)

    def param_row(self, one: QueryParam) -> tuple[str, ...]:
        ctype = c_type(one.type, self.prefixes)
        self.use(one.type)
        return (
            c_string(one.name),
            ctype.gen,
            "STELE_GEN_IN_N" if one.nullable else "STELE_GEN_IN",
            "false" if one.optional else "true",
            "0",
            f"offsetof({self.base}_params, {c_ident(one.name)})",
            modifier(one.type),
            f"&{ctype.enum}_labels" if ctype.enum else "NULL",
        )

    def use(self, kind: Type) -> None:
        if kind.scalar is Scalar.ENUM:
            self.modules.add(kind.enum_module)

    # -- results --

    @property
    def whole(self) -> tuple[str, str] | None:
        """The table whose row the query returns, and nothing else."""
        returns = self.query.returns
        return returns[0].table if len(returns) == 1 else None

    @property
    def row(self) -> str:
        return f"{self.table_base(self.whole)}_row" if self.whole else f"{self.base}_row"

    def row_struct(self) -> StructView | None:
        if not self.query.returns or self.whole:
            return None
        lines = []
        enums = set()
        for one in self.query.returns:
            member = c_ident(one.name)
            if one.table:
                lines.append(("", f"{self.table_base(one.table)}_row {member};", ""))
                continue
            assert one.type is not None
            self.use(one.type)
            ctype = c_type(one.type, self.prefixes)
            kind = ctype.optional if one.nullable else ctype.value
            col = Column(one.span, one.name, one.type, one.nullable)
            lines.append(("", f"{kind} {member};", row_note(col)))
            enums.add(ctype.enum)
        doc = doc_comment(f"A row of {self.base}().")
        return StructView(f"{self.base}_row", doc, fields(lines, frozenset(enums)))

    def column_rows(self) -> list[tuple[str, ...]]:
        out: list[tuple[str, ...]] = []
        for one in self.query.returns:
            prefix = "" if self.whole else f"{c_ident(one.name)}."
            if one.table:
                for col in self.table(*one.table).columns:
                    out.append(self.column_row(col.name, col.type, col.nullable, prefix))
            else:
                assert one.type is not None
                out.append(self.column_row(one.name, one.type, one.nullable, ""))
        return out

    def column_row(self, name: str, kind: Type, nullable: bool, prefix: str) -> tuple[str, ...]:
        ctype = c_type(kind, self.prefixes)
        return (
            c_string(name),
            ctype.gen,
            "true" if nullable else "false",
            f"offsetof({self.row}, {prefix}{c_ident(name)})",
            f"&{ctype.enum}_labels" if ctype.enum else "NULL",
        )

    # -- descriptors --

    def block(self) -> BlockView:
        query = self.query
        arrays: list[ArrayView] = []
        members = [("module", f"&{self.module.c_prefix}{self.module.name}_module")]
        members.append(("name", c_string(self.base)))

        def add(array: ArrayView, what: str) -> None:
            arrays.append(array)
            members.append((f"{what}{'es' if what == 'switch' else 's'}", array.name))
            members.append((f"{what}_count", f"STELE_COUNT({array.name})"))

        switches = self.switches()
        parts = tuple(_bounded(merge(self.parts(query.body))))
        params = tuple(self.param_row(one) for one in query.params)
        columns = tuple(self.column_rows())
        add(parts_array(f"{self.base}_parts", parts), "part")
        if params:
            add(rows_array("param", f"{self.base}_inputs", list(params)), "param")
        if self.whole and self.whole[0] == self.module.name:
            known = f"{self.table_base(self.whole)}_columns"
            members += [("columns", known), ("column_count", f"STELE_COUNT({known})")]
        elif columns:
            add(rows_array("column", f"{self.base}_columns", list(columns)), "column")
        if columns:
            members.append(("row_size", f"sizeof({self.row})"))
        words = ["QUERY"] + ["READ"] * query.reads + ["CUSTOM_PLAN"] * query.custom_plan
        members.append(("properties", " | ".join(f"STELE_STMT_{word}" for word in words)))
        rows: list[tuple[str, ...]] = []
        if self.groups:
            for i, group in enumerate(self.groups):
                name = f"{self.base}_group_{i}"
                lines = tuple(f"    {index}," for index in group)
                arrays.append(ArrayView("uint16_t", name, lines))
                rows.append((name, str(len(group))))
            add(rows_array("group", f"{self.base}_groups", rows), "group")
        if switches:
            rows = self.switch_rows(switches)
            add(rows_array("switch", f"{self.base}_switches", rows), "switch")
        self.stmt = QueryStmt(
            self.base, parts, params, columns, tuple(self.groups), tuple(switches)
        )
        stmts = (StmtView("stmt", f"{self.base}_stmt", tuple(members)),)
        return BlockView(tuple(arrays), stmts, None, too_wide(tuple(arrays), stmts))

    def switch_rows(self, switches: Sequence[tuple[str, int, int]]) -> list[tuple[str, ...]]:
        return [
            (
                c_string(name),
                f"offsetof({self.base}_params, {c_ident(name)})",
                str(count),
                str(shift),
                "true" if name in self.query.flags else "false",
            )
            for name, count, shift in switches
        ]

    # -- the function --

    def run(self) -> QueryView:
        query = self.query
        enums, struct, row = self.enums(), self.struct(), self.row_struct()
        structs = [one for one in (struct, row) if one is not None]
        inlines: list[InlineView] = []
        result = self.row if query.returns else ""
        if query.kind is QueryKind.MANY:
            if self.whole and self.whole[0] == self.module.name:
                self.shared_rows = self.table_base(self.whole)
                result = f"{self.shared_rows}_rows"
            else:
                result = f"{self.base}_rows"
                doc = doc_comment(f"Rows of {self.base}(), in one block.")
                structs.append(_rows_struct(result, self.row, doc))
                inlines += _frees(result, "rows")
        elif query.kind is QueryKind.ITER:
            result = f"{self.base}_iter"
            inlines += iterator(result, self.row)
        elif row is not None:
            inlines += _frees(self.row, "row")
        block = self.block()
        opaque = result if query.kind is QueryKind.ITER else ""
        function, queue = self.function(struct is not None, result)
        return QueryView(enums, tuple(structs), opaque, block, function, queue, tuple(inlines))

    def function(self, has_params: bool, result: str) -> tuple[FunctionView, FunctionView | None]:
        """The query's function, and its form for pipelines."""
        query = self.query
        params = [_CONN]
        if has_params:
            params.append(f"const {self.base}_params *params")
        target = {
            QueryKind.MANY: "ret_rows",
            QueryKind.ITER: "ret_iter",
            QueryKind.EXECROWS: "ret_count",
        }.get(query.kind, "ret_row" if result else "")
        if query.kind is QueryKind.EXECROWS:
            params.append("uint64_t *ret_count")
        elif result:
            params.append(f"{result} **{target}")
        params.append(_ERR)
        setup, call = self.call(target, bool(result))
        view = FunctionView(
            kind=("query" if result else "exec") + ("_switched" if self.shifts else ""),
            doc=doc_comment(query.doc or f"Query {query.name}.", self.notes(result)),
            head=prototype("STELE_MUST_CHECK stele_status", self.base, params, ";"),
            define=prototype("stele_status", self.base, params, ""),
            setup=tuple(setup),
            call=call,
            result=target,
        )
        slot = _SLOTS[query.kind]
        if not slot or (slot == "ROW" and not result):
            slot = "EXEC" if slot else ""
        if not slot:
            return view, None
        switched = bool(self.shifts)
        return view, queue_query(slot, self.base, params, target, bool(query.params), switched)

    def call(self, target: str, gives: bool) -> tuple[list[str], str]:
        """The lines before the call, and the call."""
        query = self.query
        switched = bool(self.shifts)
        args = "args" if query.params else "NULL"
        flags = "flags" if switched else "0"
        rest = "&out, err" if gives else f"false, {target or 'NULL'}, err"
        lead = "    stele_status st = " if gives and not switched else "        return "

        def text(stmt: str) -> str:
            return f"{_RUN[query.kind]}(conn, {stmt}, {args}, {flags}, {rest});"

        descriptor = f"&{self.base}_stmt"
        setup: list[str] = []
        if len(lead) + len(text(descriptor)) > COLUMNS or switched:
            setup.append(statement("const stele_gen_stmt *stmt", descriptor))
            descriptor = "stmt"
        if query.params:
            setup.append("    const void *args[] = {params};")
        if gives:
            setup.append("    void *out = NULL;")
        if switched:
            setup.append("    uint32_t flags;")
            setup.append("    stele_status st = stele_gen_flags(stmt, params, &flags, err);")
        return setup, text(descriptor)

    def notes(self, result: str) -> list[tuple[str, str]]:
        kind = self.query.kind
        notes = []
        if kind is QueryKind.ITER:
            notes.append(("Owns", f"the caller, on success: {result}_close()."))
        elif result:
            notes.append(("Owns", f"the caller, on success: {result}_free()."))
        if kind is QueryKind.MAYBE:
            notes.append(("NULL", "*ret_row when there is no row."))
        if kind is QueryKind.EXECROWS:
            notes.append(("NULL", "`ret_count` may be NULL."))
        errors = []
        if kind is QueryKind.ONE:
            errors.append("STELE_E_NOT_FOUND")
        if any(not one.optional for one in self.query.params):
            errors.append("STELE_E_INPUT when a required parameter is unset")
        if errors:
            notes.append(("Errors", "; ".join(errors) + "."))
        return notes


def _note(kind: Type) -> str:
    """What the C type of a parameter does not say."""
    return row_note(Column(Span("", 1, 1), "", kind, False))


def _bounded(parts: Sequence[Part]) -> list[Part]:
    """The same with texts that are not longer than a C literal may be."""
    out: list[Part] = []
    for part in parts:
        if part.macro != "SQL" or part.text is None:
            out.append(part)
            continue
        text = part.text
        while len(text.encode()) > _TEXT_MAX:
            cut = text.rfind(" ", 0, _TEXT_MAX // 4) + 1 or _TEXT_MAX // 4
            out.append(sql(text[:cut]))
            text = text[cut:]
        out.append(sql(text))
    return out
