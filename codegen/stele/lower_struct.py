"""The structs of one table: rows, inputs, patches, filters, keys and pages."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from stele.layout import COLUMNS, comment, comment_text, doc_comment, fields, prototype
from stele.lower_stmt import Input, Key
from stele.lower_types import CType, c_type, enum_name, has_equality, has_range, row_note
from stele.lower_view import StructView
from stele.model import Column, Identity, Module, Scalar, Table
from stele.names import c_global, c_ident

_TIMES = {Scalar.DATE, Scalar.TIME, Scalar.TIMESTAMP, Scalar.TIMESTAMPTZ}


def is_inserted(col: Column) -> bool:
    """True if insert takes a value for the column."""
    return not col.generated and col.identity is not Identity.ALWAYS


class Structs:
    """Makes the structs of a table; keys are collected as functions ask for them."""

    def __init__(self, table: Table, module: Module, c_prefixes: dict[str, str]) -> None:
        self.table = table
        self.base = module.c_prefix + table.name
        self.types: dict[str, CType] = {
            col.name: c_type(col.type, c_prefixes) for col in table.columns
        }
        self.enums = frozenset(enum_name(module.c_prefix, one.name) for one in module.enums)
        self.enums |= {one.enum for one in self.types.values() if one.enum}
        self.keys: list[StructView] = []

    def inputs(self) -> tuple[Input, ...]:
        """The columns that insert takes."""
        return tuple(
            self._input(col, f"{self.base}_input") for col in self.table.columns if is_inserted(col)
        )

    def patch(self) -> tuple[Input, ...]:
        fixed = {*self.table.primary_key, self.table.version}
        return tuple(
            self._input(col, f"{self.base}_patch")
            for col in self.table.columns
            if col.name not in fixed and not col.generated and col.identity is not Identity.ALWAYS
        )

    def _input(self, col: Column, struct: str) -> Input:
        return Input(
            column=col,
            member=c_ident(col.name),
            struct=struct,
            operator="EQ",
            nullable=col.nullable,
        )

    def filters(self) -> tuple[Input, ...]:
        out: list[Input] = []
        struct = f"{self.base}_filter"
        taken = {c_ident(col.name) for col in self.table.columns}
        for col in self.table.columns:
            if has_equality(col.type):
                out.append(self._input(col, struct))
            if has_range(col.type):
                for suffix, operator in (("from", "GE"), ("before", "LT")):
                    member = f"{col.name}_{suffix}"
                    if member not in taken:
                        out.append(Input(col, member, struct, operator, False))
        return tuple(out)

    def key(self, name: str, columns: Sequence[str], doc: str) -> Key:
        """How functions take a key: a struct for two columns or more, else a plain value."""
        if len(columns) == 1:
            ctype = self.types[columns[0]]
            param = c_global(columns[0])
            if param in self.enums:  # would hide the type
                param += "_"
            return Key(tuple(columns), f"{ctype.value} {param}", f"&{param}", ("0",))
        struct = f"{self.base}_{name}_key" if name else f"{self.base}_key"
        members = tuple(c_ident(column) for column in columns)
        if all(known.name != struct for known in self.keys):
            lines = [
                ("", f"{self.types[column].value} {member};", "")
                for column, member in zip(columns, members, strict=True)
            ]
            self.keys.append(StructView(struct, doc_comment(doc), fields(lines, self.enums)))
        return Key(
            tuple(columns),
            f"const {struct} *key",
            "key",
            tuple(f"offsetof({struct}, {member})" for member in members),
        )

    def row(self) -> StructView:
        lines = []
        for col in self.table.columns:
            ctype = self.types[col.name]
            kind = ctype.optional if col.nullable else ctype.value
            lines.append((col.doc, f"{kind} {c_ident(col.name)};", row_note(col)))
        doc = doc_comment(f"A row of {self.table.name}.")
        return StructView(f"{self.base}_row", doc, fields(lines, self.enums))

    def _wrapper(self, item: Input) -> str:
        return self.types[item.column.name].input + ("_n" if item.nullable else "")

    def input(
        self, inputs: Sequence[Input], required: Callable[[Column], bool], takers: str
    ) -> StructView:
        lines = [
            (
                "",
                f"{self._wrapper(item)} {item.member};",
                "required" if required(item.column) else "",
            )
            for item in inputs
        ]
        has_required = any(note for _, _, note in lines)
        doc = f"What {takers}. Unset columns get their default" + (
            "; required ones are marked." if has_required else "."
        )
        return StructView(f"{self.base}_input", doc_comment(doc), fields(lines, self.enums))

    def patch_struct(self, patch: Sequence[Input]) -> StructView:
        lines = [
            (
                "",
                f"{self._wrapper(item)} {item.member};",
                "unset: now" if item.column.name == self.table.touch else "",
            )
            for item in patch
        ]
        if self.table.version:
            note = "only if the row still has this version"
            lines.append(("", "stele_in_i64 if_version;", note))
        doc = doc_comment("What update changes. Unset columns stay as they are.")
        return StructView(f"{self.base}_patch", doc, fields(lines, self.enums))

    def filter(self, filters: Sequence[Input], scopes: Sequence[str]) -> StructView:
        notes = {"GE": "at or after", "LT": "before"}
        numbers = {"GE": "at least", "LT": "less than"}
        lines = []
        for item in filters:
            words = notes if item.column.type.scalar in _TIMES else numbers
            note = words.get(item.operator, "")
            lines.append(("", f"{self._wrapper(item)} {item.member};", note))
        lines += [("", f"stele_scope {scope};", "") for scope in scopes]
        doc = doc_comment("Restricts list, count and exists. Unset members do not restrict.")
        return StructView(f"{self.base}_filter", doc, fields(lines, self.enums))

    def page(self) -> StructView:
        body = fields(
            [
                ("", f"const {self.base}_row *rows;", ""),
                ("", "size_t count;", ""),
                ("", "bool more;", ""),
            ]
        )
        doc = doc_comment(f"A page of {self.table.name}; see stele/page.h.")
        return StructView(f"{self.base}_page", doc, body)


def inline(result: str, name: str, param: str) -> str:
    """The head of a function that is written in the header."""
    return prototype(f"static inline {result}", name, [param], "")


def opaque(name: str) -> str:
    """The declaration of an incomplete type."""
    line = f"typedef struct {name} {name};"
    return line if len(line) <= COLUMNS else f"typedef struct {name}\n    {name};"


def heading(table: Table) -> str:
    """What stands above a table's declarations."""
    text = comment_text(f"{table.name}: {table.doc}" if table.doc else table.name)
    line = f"/* ---- {text} ---- */"
    return line if len(line) <= COLUMNS else comment(f"---- {text} ----")
