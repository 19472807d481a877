"""What the header of a query declares: the types of its parameters and of its result."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final

from stele import types
from stele.diag import Diagnostics
from stele.draft import Draft
from stele.model import Module, QueryReturn, Scalar, Span, Type
from stele.query_load import Declared
from stele.suggest import remedy
from stele.view import Tables, View

_WORD: Final = r"[A-Za-z_][A-Za-z0-9_]*"
_DOTTED: Final = re.compile(
    rf"(?:(?P<module>{_WORD})\.)?(?P<table>{_WORD})\.(?P<column>{_WORD}|\*)(?P<array>\s*\[\s*\])?"
)


@dataclass(frozen=True, slots=True)
class Scope:
    """What the queries of one module may name."""

    draft: Draft
    tables: Tables
    module: Module
    diags: Diagnostics

    def table(self, module: str, name: str, span: Span) -> View | None:
        """The table of a name, in this module unless another is given; reports an unknown one."""
        where = module or self.module.name
        view = self.tables.by_name.get((where, name))
        if view is not None:
            return view
        gaps = self.draft.gaps
        if where not in self.tables.modules:
            if not gaps.files:
                hint = remedy(where, self.tables.modules, "module")
                self.diags.error(span, "S028", f'unknown module "{where}"', hint)
        elif where not in gaps.modules:
            known = [table for owner, table in self.tables.by_name if owner == where]
            self.diags.error(span, "S027", f'unknown table "{name}"', remedy(name, known, "table"))
        return None

    def enum(self, module: str, name: str) -> bool:
        found = self.tables.modules.get(module or self.module.name)
        return found is not None and any(one.name == name for one in found.enums)

    def type(self, declared: Declared, text: str) -> tuple[Type, bool] | None:
        """A type as written without its mark, and whether its column is nullable."""
        dotted = _DOTTED.fullmatch(text)
        if dotted and not self._is_enum(dotted):
            view = self.table(dotted["module"] or "", dotted["table"], declared.type_span)
            column = view.column(dotted["column"], declared.type_span) if view else None
            if column is None:
                return None
            if not dotted["array"]:
                return column.type, column.nullable
            if column.type.array:
                message = f'"{text}" would be an array of arrays'
                self.diags.error(declared.type_span, "S022", message, "write it without []")
                return None
            if column.type.scalar is Scalar.OPAQUE:
                return replace(column.type, name=f"{column.type.name}[]"), False
            return replace(column.type, array=True), False
        try:
            written = types.parse(text)
        except types.TypeProblem as problem:
            self.diags.error(declared.type_span, problem.code, problem.message, problem.hint)
            return None
        if written.nullable:
            message = f'"{declared.type}" has more than one mark'
            hint = 'one "?" says that it may be NULL'
            self.diags.error(declared.type_span, "S022", message, hint)
            return None
        if written.serial:
            hint = f"write {types.build(written).scalar.value}"
            self.diags.error(declared.type_span, "S023", f"{text} is a kind of column", hint)
            return None
        if written.scalar is not None:
            return types.build(written), False
        return self._enum_type(declared, written)

    def _is_enum(self, dotted: re.Match[str]) -> bool:
        if dotted["module"] or self.module.name == dotted["table"]:
            return False
        own = (self.module.name, dotted["table"]) in self.tables.by_name
        return not own and self.enum(dotted["table"], dotted["column"])

    def _enum_type(self, declared: Declared, written: types.TypeText) -> tuple[Type, bool] | None:
        module, _, name = written.name.rpartition(".")
        if self.enum(module, name):
            return types.build(written, module or self.module.name), False
        if self.module.name not in self.draft.gaps.modules:
            known = [*types.SPELLINGS, *(one.name for one in self.module.enums)]
            otherwise = "write a type, an enum, or table.column"
            hint = types.unknown_remedy(written.name, known, otherwise)
            message = f'unknown type "{written.name}"'
            self.diags.error(declared.type_span, "S017", message, hint)
        return None

    # ---- declarations ----

    def param_type(self, declared: Declared) -> tuple[Type, bool] | None:
        """A parameter's type, and whether it may be NULL."""
        text = declared.type
        if text.endswith("!") or text.rstrip("?").endswith("*"):
            what = "a whole row" if "*" in text else '"!"'
            hint = "name one column or type; a parameter is NOT NULL unless it ends in ?"
            self.diags.error(declared.type_span, "S022", f"a parameter cannot be {what}", hint)
            return None
        found = self.type(declared, text.removesuffix("?").rstrip())
        return None if found is None else (found[0], text.endswith("?"))

    def result(self, declared: Declared) -> QueryReturn | None:
        text = declared.type
        mark = text[-1:] if text[-1:] in ("?", "!") else ""
        plain = text[: len(text) - len(mark)].rstrip()
        if plain.endswith(".*"):
            if mark:
                message = f'a whole row cannot be "{mark}"'
                hint = "declare its columns one by one, those that may be NULL with ?"
                self.diags.error(declared.type_span, "S086", message, hint)
                return None
            dotted = _DOTTED.fullmatch(plain)
            view = (
                self.table(dotted["module"] or "", dotted["table"], declared.type_span)
                if dotted
                else None
            )
            if view is None:
                return None
            place = (view.module.name, view.table.name)
            return QueryReturn(declared.span, declared.name, None, False, place)
        found = self.type(declared, plain)
        if found is None:
            return None
        nullable = mark == "?" or (found[1] and mark != "!")
        return QueryReturn(declared.span, declared.name, found[0], nullable)
