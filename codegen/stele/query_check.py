"""Judges a query whose parts are known: parameters, clauses, result, names in C."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from stele.model import Query, QueryKind, QueryParam, Scalar, Type
from stele.names import c_ident, upper_ident
from stele.query_body import Body, BodyReader
from stele.query_clause import IfClause, Tree
from stele.query_load import RawQuery
from stele.query_result import Item, comparisons, limits, result, stored
from stele.query_scan import SILENT, Kind, Token
from stele.query_types import Scope
from stele.sqltext import TRANSACTION_WORDS
from stele.suggest import remedy
from stele.types import INTEGERS, STRINGS, TIMESTAMPS, text_of

SHAPES_MAX: Final = 4096

_NUMBERS: Final = INTEGERS | {Scalar.FLOAT4, Scalar.FLOAT8, Scalar.NUMERIC}
_TIMES: Final = TIMESTAMPS | {Scalar.DATE}
_PREPARED: Final = "the runtime prepares statements itself"
_OF_THE_RUNTIME: Final = {
    "COPY": "use insert_many, or an iterator",
    "PREPARE": _PREPARED,
    "EXECUTE": _PREPARED,
    "DEALLOCATE": _PREPARED,
    "DISCARD": _PREPARED,
}
_ROWS: Final = (QueryKind.ONE, QueryKind.MAYBE, QueryKind.MANY, QueryKind.ITER)


@dataclass(frozen=True, slots=True)
class QueryChecker:
    """Checks one query; every method reports what it finds."""

    scope: Scope
    raw: RawQuery
    reader: BodyReader

    def error(self, at: int, code: str, message: str, hint: str) -> None:
        self.scope.diags.error(self.raw.source.span(at), code, message, hint)

    def verb(self) -> None:
        """Statements that are the runtime's to send."""
        token = next((one for one in self.raw.body if one.kind not in SILENT), None)
        word = token.text.upper() if token and token.kind is Kind.WORD else ""
        if token and word in TRANSACTION_WORDS:
            hint = "use stele_tx_run(), stele_tx_begin() or stele_tx_savepoint()"
            self.error(token.at, "S094", f"{word} is no query: it controls a transaction", hint)
        elif token and word in _OF_THE_RUNTIME:
            hint = _OF_THE_RUNTIME[word]
            self.error(token.at, "S094", f"{word} is no query of an application", hint)

    # ---- parameters ----

    def parameters(self, body: Body) -> None:
        used = {use.name for use in body.uses}
        flags = {flag.text for flag in body.flags}
        for param in self.raw.params:
            if param.name not in used:
                hint = "write :name where its value goes, or remove its -- param line"
                close = remedy(param.name, flags, "flag")
                if close.startswith("did you mean"):
                    hint = close
                elif any(name.text == param.name for name, _ in body.conditions):
                    hint = "without -- param it would be a flag"
                message = f'parameter "{param.name}" is not used'
                self.scope.diags.error(param.span, "S076", message, hint)
        required = {use.name for use in body.uses if use.clause is None}
        for name, _ in body.conditions:
            if name.text in required:
                hint = "remove the condition, or use the parameter in clauses only"
                message = f'"{name.text}" is always set: it is used outside clauses too'
                self.error(name.at, "S083", message, hint)
        for use in body.uses:
            if not isinstance(use.clause, IfClause) or use.name in required:
                continue
            names = [name.text for name in use.clause.names]
            if use.name not in names:
                message = f'"{use.name}" may be unset here: the clause does not depend on it'
                hint = f"write /*?if {', '.join([*self._params_of(names), use.name])}*/"
                close = remedy(use.name, [n for n in names if n not in self.reader.params], "")
                if close.startswith("did you mean"):
                    hint = f"write /*?if {use.name}*/"
                self.error(use.at, "S083", message, hint)

    def _params_of(self, names: Sequence[str]) -> list[str]:
        return [name for name in names if name in self.reader.params]

    def names(self, body: Body) -> None:
        """Members of the parameter struct."""
        members = {param.name: f'parameter "{param.name}"' for param in self.raw.params}
        for flag in body.flags:
            members[flag.text] = f'flag "{flag.text}"'
        for choice in body.choices:
            if choice.name in members:
                message = f'choice "{choice.name}" has the name of {members[choice.name]}'
                self.scope.diags.error(choice.span, "S082", message, "rename one")
            members[choice.name] = f'choice "{choice.name}"'
            constants: dict[str, str] = {}
            for label in choice.labels:
                other = constants.setdefault(upper_ident(label), label)
                if other != label or not upper_ident(label):
                    message = f'labels "{other}" and "{label}" would be one C constant'
                    if not upper_ident(label):
                        message = f'label "{label}" has nothing a C name could be made of'
                    self.scope.diags.error(choice.span, "S081", message, "rename one")
        self._distinct(members)
        self._distinct({one.name: f'column "{one.name}"' for one in self.raw.returns})

    def _distinct(self, members: dict[str, str]) -> None:
        taken: dict[str, str] = {}
        for name, owner in members.items():
            other = taken.setdefault(c_ident(name), owner)
            if other != owner:
                message = f"{owner} and {other} would be one member in C"
                self.scope.diags.error(self.raw.span, "S058", message, "rename one")

    def shapes(self, body: Body, conditions: int) -> None:
        count = 1 << min(conditions, 64)
        for choice in body.choices:
            count *= len(choice.labels)
        if count > SHAPES_MAX:
            message = f"the clauses make {count} statements of this query"
            hint = f"at most {SHAPES_MAX} are allowed: split it"
            self.scope.diags.error(self.raw.span, "S089", message, hint)

    # ---- types ----

    def compared(self, params: dict[str, QueryParam]) -> None:
        for one in comparisons(self.raw.body):
            aliases = self.reader.aliases.get(one.alias, [])
            param = params.get(one.param.text[1:])
            if len(aliases) != 1 or param is None:
                continue
            columns = aliases[0].view.table.columns
            column = next((c for c in columns if c.name == one.column), None)
            if column is None:
                continue
            array = param.type.array and not one.any
            if one.any != param.type.array and column.type.array == param.type.array:
                hint = f"declare it {text_of(column.type)}[]" if one.any else "write = ANY(:name)"
                self._mistyped(one.param, param, column.type, hint)
            elif not _alike(column.type, param.type, array):
                self._mistyped(one.param, param, column.type, "")
        for token in limits(self.raw.body):
            param = params.get(token.text[1:])
            if param is not None and param.type.scalar not in _NUMBERS:
                message = f'"{param.name}" is {text_of(param.type)}, but counts rows'
                self.error(token.at, "S090", message, f"declare it: -- param {param.name}: int8")
        for value in stored(self.raw.body):
            self._stored(value.table, value.column, value.param, params)

    def _stored(self, brace: str, name: str, token: Token, params: dict[str, QueryParam]) -> None:
        param = params.get(token.text[1:])
        parts = brace[1:-1].split()
        aliases = self.reader.aliases.get((parts[-1] if parts else "").lower(), [])
        if param is None or len(aliases) != 1:
            return
        columns = aliases[0].view.table.columns
        column = next((c for c in columns if c.name == name), None)
        if column is None or column.type.scalar in STRINGS:
            return
        if not _alike(column.type, param.type, param.type.array):
            self._mistyped(token, param, column.type, "")

    def _mistyped(self, token: Token, param: QueryParam, wanted: Type, hint: str) -> None:
        message = f'"{param.name}" is {text_of(param.type)}, the column is {text_of(wanted)}'
        hint = hint or f"declare it with the column's type, or cast it: {token.text}::…"
        self.error(token.at, "S090", message, hint)

    # ---- results ----

    def result(self, query: Query) -> None:
        returns = query.returns
        if query.kind not in _ROWS:
            if returns:
                message = f":{query.kind.value} returns no rows"
                hint = "remove the -- return lines, or use :one, :maybe, :many or :iter"
                self.scope.diags.error(returns[0].span, "S084", message, hint)
            return
        if not self.raw.returns:
            message = f":{query.kind.value} returns rows, but none are declared"
            hint = "add -- return name: type for each column, or use :exec"
            self.scope.diags.error(query.span, "S084", message, hint)
            return
        found = result(self.raw.body)
        if found is None or len(returns) < len(self.raw.returns):
            return
        self._unchanging(found.at, found.end)
        for item in found.items:
            if item.star:
                hint = "name the columns, or write {alias.*}"
                at = item.tokens[0].token.at
                self.error(at, "S085", "a result has named columns only, no *", hint)
                return
        if len(found.items) != len(returns):
            at = found.at if found.items else self.raw.body[0].at
            listed = f"lists {len(found.items)}" if found.items else "returns nothing"
            message = f"{len(returns)} declared with -- return, but the statement {listed}"
            hint = "make the -- return lines and the statement agree, in order"
            self.error(at, "S085", message, hint)
            return
        for i, (item, one) in enumerate(zip(found.items, returns, strict=True)):
            self._position(i, item, one.name if one.table else "")

    def _position(self, i: int, item: Item, alias: str) -> None:
        if item.brace.lower() == alias.lower():
            return
        at = item.tokens[0].token.at if item.tokens else self.raw.body[0].at
        if alias:
            message = f'whole row "{alias}" is declared as number {i + 1}'
            self.error(at, "S085", message, f"write {{{alias}.*}} here")
        else:
            message = f"{{{item.brace}.*}} stands where number {i + 1} is declared a single column"
            hint = f"declare -- return {item.brace}: <table>.*, or name one column"
            self.error(at, "S085", message, hint)

    def _unchanging(self, start: int, end: int) -> None:
        """A clause may not change how many columns there are."""
        depth, inside = 0, False
        for token in self.raw.body:
            if not start <= token.at < end:
                continue
            if token.kind is Kind.DIRECTIVE:
                inside = token.text[3:].strip().startswith(("if", "by"))
            depth += (token.text in ("(", "[")) - (token.text in (")", "]"))
            row = token.kind is Kind.BRACE and token.text[1:-1].strip().endswith(".*")
            if inside and ((token.text == "," and depth == 0) or row):
                hint = "keep the number and order of the columns"
                self.error(token.at, "S085", "a clause cannot change the result's columns", hint)
                return


def conditions_of(trees: Sequence[Tree]) -> int:
    """How many different conditions there are."""
    found = {
        tuple(sorted(name.text for name in tree.names))
        for tree in trees
        if isinstance(tree, IfClause)
    }
    return len(found)


def _alike(column: Type, param: Type, array: bool) -> bool:
    """Whether the server compares the two, or stores one in the other, without a cast."""
    if Scalar.OPAQUE in (column.scalar, param.scalar):
        return True
    if array and not column.array:
        return False
    if not array and column.array and not param.array:
        return False
    for group in (_NUMBERS, _TIMES, STRINGS):
        if column.scalar in group:
            return param.scalar in group
    same = (column.scalar, column.name, column.enum_module)
    return same == (param.scalar, param.name, param.enum_module)
